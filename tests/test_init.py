"""``audioctl init``: the file that it writes where there is a cluster and where there is none."""

import os
import pty
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import typer
from clusters import cluster_folder
from configurations import load, load_file, write
from slurm import Cluster
from terminals import read_terminal
from typer.testing import CliRunner, Result

from audioctl.cli.context import CliContext
from audioctl.cli.init import register
from audioctl.errors import ConfigurationError
from audioctl.executors.slurm_partitions import Accounts, Gpus, Partition, gpus_in, known_accounts
from audioctl.settings import Settings
from audioctl.settings_reference import example_toml
from audioctl.site import Cluster as Site
from audioctl.site import settings_for, settings_for_folders

LOCAL_DISK = "/dev/vda / ext4 rw 0 0\nserver:/home /home nfs4 rw 0 0\n"


def run(*arguments: str, config_file: Path | None = None) -> Result:
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, arguments, obj=CliContext(config_file), catch_exceptions=True)


# --- without a cluster ----------------------------------------------------------------------------


@pytest.fixture
def lonely(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder on a machine without Slurm, of which the environment tells nothing."""
    monkeypatch.setenv("PATH", "/nowhere")
    for variable in ("SLURM_TMPDIR", "TMPDIR", "LOCAL_SCRATCH", "SCRATCH"):
        monkeypatch.delenv(variable, raising=False)
    return folder


def test_without_a_cluster_the_file_changes_nothing(lonely: Path) -> None:
    done = run()

    assert done.exit_code == 0
    assert (done.stdout, done.stderr) == (
        "",
        "Wrote audioctl.toml. Nothing in it needs to be changed to begin with.\n",
    )
    assert (lonely / "audioctl.toml").read_text() == example_toml()
    assert load().settings == Settings()


def test_a_file_that_exists_is_kept_unless_forced(lonely: Path) -> None:
    existing = write(lonely / "audioctl.toml", "mine")

    refused = run("--yes")
    assert isinstance(refused.exception, ConfigurationError)
    assert refused.exception.message == "audioctl.toml exists already."
    assert existing.read_text() == "mine"

    assert run("--force").exit_code == 0
    assert existing.read_text() == example_toml()


def test_it_can_be_shown_instead_of_written(lonely: Path) -> None:
    assert run("--dry-run").stdout == example_toml()
    assert list(lonely.iterdir()) == []


@pytest.mark.usefixtures("lonely")
def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    failed = run(config_file=tmp_path / "none" / "config.toml")

    assert isinstance(failed.exception, ConfigurationError)
    assert "cannot be written: No such file or directory" in failed.exception.message


def test_a_slurm_that_does_not_answer_is_told_and_left_out(lonely: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sinfo = lonely / "bin" / "sinfo"
    write(sinfo, "#!/bin/sh\necho 'sinfo: error: Unable to contact slurm controller' >&2\nexit 1\n").chmod(0o755)
    monkeypatch.setenv("PATH", f"{sinfo.parent}:/bin")

    done = run()

    assert "not known, so jobs are to run on this machine" in done.stderr
    assert "Unable to contact slurm controller" in done.stderr
    assert load().settings == Settings()


# --- what follows from what Slurm tells -----------------------------------------------------------


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [
        ("(null)", []),
        ("gpu:2", [Gpus("", 2)]),
        ("gpu", [Gpus("", 1)]),
        ("gpu:h100:4(S:0-1)", [Gpus("h100", 4)]),
        ("tmp:900G,gpu:a100:8(S:0-1),gpu:v100:1", [Gpus("a100", 8), Gpus("v100", 1)]),
        ("craynetwork:4,mps:100", []),
    ],
)
def test_gpus_are_read_from_generic_resources(gres: str, gpus: list[Gpus]) -> None:
    assert list(gpus_in(gres)) == gpus


def large_node(name: str, **more: object) -> Partition:
    values = {"busy_nodes": 1, "nodes": 1, "cpus": 64, "memory_mb": 1_000_000, **more}
    return Partition(name, False, "up", "2-00:00:00", **values)  # type: ignore[arg-type]


def values(site: Site, partition: Partition, account: str | None = None) -> dict[str, object]:
    found = settings_for(site, partition, account)
    return {dotted: each.value for dotted, each in found.items() if each.value is not None}


def test_a_job_gets_one_gpu_and_no_more_than_its_share_of_the_node() -> None:
    gpu = large_node("gpu", gpus={Gpus("h100", 8)})
    assert values(Site([gpu], Accounts([], [])), gpu) == {
        "submit.executor": "slurm",
        "slurm.partition": "gpu",
        "slurm.gpus": "1",
        "slurm.cpus_per_task": 8,
    }


def test_a_cluster_without_gpus_hears_on_the_cpu() -> None:
    cpu = large_node("cpu")
    assert values(Site([cpu], Accounts([], [])), cpu)["transcribe.device"] == "cpu"


def test_the_job_that_finishes_a_day_does_not_take_a_gpu() -> None:
    gpu, cpu = large_node("gpu", gpus={Gpus("", 4)}), large_node("cpu")
    assert values(Site([gpu, cpu], Accounts([], [])), gpu)["slurm.finish_partition"] == "cpu"


def test_what_there_is_to_choose_from_stands_beside_the_value() -> None:
    site = Site([large_node("gpu", gpus={Gpus("h100", 8)})], Accounts(["birds", "bees"], ["normal", "long"]))
    found = settings_for(site, site.partitions[0], "birds")
    assert found["slurm.account"].value == "birds"
    assert "birds, bees" in found["slurm.account"].remark
    assert "normal, long" in found["slurm.qos"].remark
    assert '"h100:1"' in found["slurm.gpus"].remark
    assert '"gpu:h100:1"' in found["slurm.gpus"].remark
    assert "gpu (1 node with 8 h100 each, up to 2-00:00:00)" in found["slurm.partition"].remark


def test_scratch_and_a_folder_that_the_nodes_may_not_see_are_remarked() -> None:
    found = settings_for_folders(
        {"LOCAL_SCRATCH": "/local", "SCRATCH": "/lustre/me"}, Path("/srv"), LOCAL_DISK, is_cluster=True
    )
    assert "$LOCAL_SCRATCH (/local)" in found["paths.scratch"].remark
    assert "not taken by itself: $SCRATCH (/lustre/me)" in found["paths.scratch"].remark
    assert "/srv is on a file system of this machine (ext4)" in found["paths.state_dir"].remark
    assert settings_for_folders({}, Path("/home/me"), LOCAL_DISK, is_cluster=True) == {}


# --- with a cluster -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site_cluster() -> Iterator[Cluster]:
    partitions = ["short Nodes=node1 MaxTime=30:00", "off Nodes=ALL State=DOWN"]
    with cluster_folder() as folder, Cluster(folder, gpus_per_node=2, partitions=partitions) as one:
        for account in ("birds", "bees"):
            one.run("sacctmgr", "-i", "add", "account", account)
            one.run("sacctmgr", "-i", "add", "user", "root", f"account={account}")
        yield one


def environment(cluster: Cluster) -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")} | cluster.environment


def test_what_the_cluster_has_is_in_the_file_and_nothing_is_asked(site_cluster: Cluster, folder: Path) -> None:
    command = [sys.executable, "-m", "audioctl", "init"]
    done = subprocess.run(command, env=environment(site_cluster), capture_output=True, text=True, check=True)

    settings = load_file(folder / "audioctl.toml").settings
    assert settings.submit.executor == "slurm"
    slurm = settings.slurm
    assert (slurm.partition, slurm.gpus, slurm.cpus_per_task, slurm.mem) == ("main", "1", 4, "4000M")
    assert slurm.account == "root"
    assert 'slurm.partition = "main"' in done.stderr
    text = (folder / "audioctl.toml").read_text().replace("\n# ", " ")
    assert "short (1 node" in text
    assert "up to 30:00" in text
    assert "birds" in text


def on_terminal(cluster: Cluster, answers: Sequence[str]) -> str:
    """What is shown while ``init`` is answered: nothing reads ahead, so all answers may lie ready."""
    process, terminal = pty.fork()
    if process == 0:
        os.execve(sys.executable, [sys.executable, "-m", "audioctl", "init"], dict(environment(cluster)))
    os.write(terminal, "".join(f"{answer}\n" for answer in answers).encode())
    shown = read_terminal(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0, shown
    return shown


def test_on_a_terminal_four_questions_are_asked(site_cluster: Cluster, folder: Path) -> None:
    shown = on_terminal(site_cluster, ["/staging/{day}", "", "nosuch", "short", "bees"])

    assert "choose from" in shown
    written = tomllib.loads((folder / "audioctl.toml").read_text())
    assert written["paths"] == {"archives": "/staging/{day}"}
    assert written["upload"] == {}
    assert written["slurm"]["partition"] == "short"
    assert written["slurm"]["account"] == "bees"
    assert written["slurm"]["time"] == "30:00"


def test_a_user_whom_slurm_does_not_know_has_no_accounts(
    site_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in site_cluster.environment.items():
        monkeypatch.setenv(name, value)
    assert known_accounts("daemon") == Accounts([], [])
    assert set(known_accounts("root").accounts) == {"root", "birds", "bees"}
