"""``audioctl doctor`` where jobs are submitted to Slurm: what it asks, and what it makes of the answers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_day import ClusterDay
from clusters import cluster_folder
from slurm import Cluster

from audioctl.doctor.cluster import examine_cluster
from audioctl.doctor.examination import examine
from audioctl.doctor.findings import Finding, Verdict
from audioctl.doctor.folders import shared
from audioctl.executors.slurm_partitions import time_limit_seconds
from audioctl.mounts import mount_of
from audioctl.settings import Container, Paths, Settings, Slurm, Submit, Transcribe, Upload

SMALL: dict[str, Any] = {
    **{"partition": "main", "gpus": "1", "mem": "500M", "cpus_per_task": 2},
    **{"finish_mem": "200M", "finish_cpus_per_task": 1},
}
MOUNTS = r"""/dev/vda / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
tmpfs /home/scratch tmpfs rw 0 0
automatic /big\040disk autofs rw 0 0
files@o2ib:/files /big\040disk lustre rw 0 0
"""


@pytest.fixture(scope="module")
def strict_cluster() -> Iterator[Cluster]:
    """One that knows what its users may do, and has partitions in which a job does not run."""
    partitions = [
        *("off Nodes=ALL State=DOWN", "closed Nodes=ALL State=DRAIN", "empty"),
        "short Nodes=ALL MaxTime=30:00 Hidden=YES",
    ]
    enforced = {"AccountingStorageEnforce": "associations,limits,qos", "MessageTimeout": "3"}
    with cluster_folder() as folder, Cluster(folder, gpus_per_node=1, settings=enforced, partitions=partitions) as one:
        yield one


@pytest.fixture
def on_strict_cluster(strict_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    use(strict_cluster, monkeypatch)
    return strict_cluster


@pytest.fixture(autouse=True)
def on_a_machine_without_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the tests run on; those with a cluster ``use`` it."""
    monkeypatch.setenv("PATH", "/nowhere")
    for variable in ("SLURM_JOB_ID", "APPTAINER_CONTAINER", "SINGULARITY_CONTAINER"):
        monkeypatch.delenv(variable, raising=False)


def use(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)


def findings(*, device: str = "auto", **slurm: Any) -> dict[str, Finding]:
    settings = Settings(
        slurm=Slurm(**{**SMALL, **slurm}),
        transcribe=Transcribe(device=device),  # type: ignore[arg-type]
    )
    return {finding.check: finding for finding in examine_cluster(settings)}


# --- with a cluster -------------------------------------------------------------------------------


def test_where_jobs_are_submitted_all_that_they_need_is_checked(idle_cluster: Cluster, tmp_path: Path) -> None:
    day = ClusterDay(idle_cluster, tmp_path, ["00_00"], gpus="1")
    before = idle_cluster.jobs()

    found = {finding["check"]: finding for finding in json.loads(day.run("doctor", "--json").stdout)["findings"]}

    good = {name for name, finding in found.items() if finding["verdict"] == "good"}
    assert good >= {"gpus", "time", "slurm", "partition", "submission", "accounting", "model"}, found
    assert found["shared"]["verdict"] == "look"  # tests have no other machine to share with
    assert "Slurm 2" in found["slurm"]["message"]
    assert idle_cluster.jobs() == before


@pytest.mark.parametrize(
    ("slurm", "verdict", "said", "todo"),
    [
        ({"partition": "nosuch"}, "bad", "slurm.partition: there is no partition nosuch", "main, off, closed, empty, "),
        ({"finish_partition": "main,nosuch"}, "bad", "slurm.finish_partition: there is no partition nosuch", "main"),
        ({"partition": ""}, "good", "main is up, with 2 idle and 0 busy nodes", None),
        ({"partition": "off"}, "look", "off is down", "wait until that changes"),
        ({"partition": "off,main"}, "good", "off is down, main is up", None),
        ({"partition": "closed"}, "bad", "closed is drain", "be refused"),
        ({"partition": "empty"}, "look", "empty has no node that works", "wait until that changes"),
        ({"partition": "short", "time": "00:30:00"}, "good", "short is up", None),
        ({"partition": "short", "time": "00:31:00"}, "look", 'less than slurm.time = "00:31:00"', "Lower slurm.time"),
        ({"finish_partition": "short"}, "look", 'less than slurm.finish_time = "01:00:00"', "Lower slurm.finish_time"),
    ],
)
@pytest.mark.usefixtures("on_strict_cluster")
def test_a_partition_is_there_and_takes_jobs_of_this_length(
    slurm: dict[str, str], verdict: str, said: str, todo: str | None
) -> None:
    found = findings(**slurm)
    partition = found["partition"]
    assert partition.verdict == verdict
    assert said in partition.message
    assert (todo or "") in (partition.hint or "")
    # Slurm would say the same again, or something that is about another partition.
    assert ("submission" in found) == (verdict == "good")


def test_nodes_that_are_out_of_service_are_noticed(idle_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    use(idle_cluster, monkeypatch)
    for node in idle_cluster.nodes():
        idle_cluster.run("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    assert "main has no node that works" in findings()["partition"].message


@pytest.mark.parametrize(
    ("slurm", "said", "todo"),
    [
        ({"account": "nosuch"}, "array-0.sbatch: Slurm says (sbatch): allocation failure: Invalid account", "account"),
        ({"qos": "nosuch"}, "Invalid qos specification", "slurm.qos"),
        ({"gpus": "h100:1"}, "Requested node configuration is not available", "gpus"),
        ({"mem": "lots"}, "Invalid --mem specification", "[slurm]"),
        ({"finish_mem": "900G"}, "finish.sbatch: Slurm says (sbatch): ", "mem"),
        ({"extra": ("--nosuch",)}, "unrecognized option", "slurm.extra"),
    ],
)
@pytest.mark.usefixtures("on_strict_cluster")
def test_what_slurm_would_refuse_is_told_in_its_own_words(slurm: dict[str, Any], said: str, todo: str) -> None:
    submission = findings(**slurm)["submission"]
    assert submission.verdict is Verdict.BAD
    assert said in submission.message
    assert todo in (submission.hint or "")


@pytest.mark.usefixtures("on_strict_cluster")
def test_an_account_that_one_has_is_good() -> None:
    assert findings(account="root", qos="normal")["submission"].verdict is Verdict.GOOD


def test_accounts_that_do_not_answer_are_worth_a_look(on_strict_cluster: Cluster) -> None:
    on_strict_cluster.stop_accounting()
    try:
        accounting = findings()["accounting"]
    finally:
        on_strict_cluster.start_accounting()
    assert accounting.verdict is Verdict.LOOK
    assert "Connection refused" in accounting.message


def test_a_controller_that_is_down_is_bad_and_asked_no_more(on_strict_cluster: Cluster) -> None:
    on_strict_cluster.stop_controller()
    try:
        found = findings()
    finally:
        on_strict_cluster.start_controller()
    assert set(found) == {"gpus", "time", "shared", "slurm"}
    assert found["slurm"].verdict is Verdict.BAD
    assert "Unable to contact slurm controller" in found["slurm"].message
    assert "controller is down" in (found["slurm"].hint or "")


def test_a_site_without_accounts_says_for_how_long_ends_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    with cluster_folder() as folder, Cluster(folder, nodes=1, accounting=False) as cluster:
        use(cluster, monkeypatch)
        accounting = findings()["accounting"]
    assert accounting.verdict is Verdict.LOOK
    assert "it forgets why a job ended after 300 sec" in accounting.message


# --- without one ----------------------------------------------------------------------------------


def test_a_machine_without_slurm_is_told_so() -> None:
    slurm = findings()["slurm"]
    assert (slurm.verdict, slurm.message) == (Verdict.BAD, "There is no sbatch here.")
    assert "login node" in (slurm.hint or "")


@pytest.mark.parametrize(
    ("slurm", "device", "verdict"),
    [
        ({"gpus": "1"}, "auto", "good"),
        ({"gpus": "", "gres": "gpu:h100:1"}, "auto", "good"),
        ({"gpus": "", "extra": ("--nice=1", "--gpus-per-node=1")}, "cuda", "good"),
        ({"gpus": ""}, "auto", "look"),
        ({"gpus": "", "extra": ("--nice=1",)}, "cuda", "look"),
        ({"gpus": ""}, "cpu", "good"),
    ],
)
def test_jobs_ask_for_a_gpu_or_need_none(slurm: dict[str, Any], device: str, verdict: str) -> None:
    gpus = findings(device=device, **slurm)["gpus"]
    assert gpus.verdict == verdict
    assert ("slurm.gpus" in (gpus.hint or "")) == (verdict == "look")


@pytest.mark.parametrize(
    ("slurm", "setting"),
    [
        ({"time": "5"}, "slurm.time"),
        ({"time": "5:30", "drain_seconds": 300}, "slurm.time"),
        ({"finish_time": "00:10:00", "drain_seconds": 590}, "slurm.finish_time"),
    ],
)
def test_a_time_limit_that_leaves_no_time_to_work_is_bad(slurm: dict[str, Any], setting: str) -> None:
    time = findings(**slurm)["time"]
    assert time.verdict is Verdict.BAD
    assert f"no time to work: {setting} is" in time.message


@pytest.mark.parametrize("time", ["6", "00:06:00", "1-0", "0", "UNLIMITED", "", "what the site knows"])
def test_other_time_limits_are_good(time: str) -> None:
    assert findings(time=time)["time"].verdict is Verdict.GOOD


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5400),
        ("30:15", 1815),
        ("02:00:01", 7201),
        ("1-12", 129600),
        ("1-12:30", 131400),
        ("1-02:00:01", 93601),
        ("0", math.inf),
        ("infinite", math.inf),
        ("1:2:3:4", None),
        ("soon", None),
        ("", None),
    ],
)
def test_time_limits_are_read_as_slurm_reads_them(text: str, seconds: float | None) -> None:
    assert time_limit_seconds(text) == seconds


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/srv/state", "ext4"),
        ("/", "ext4"),
        ("/home/me", "nfs4"),
        ("/homes", "ext4"),
        ("/home/scratch", "tmpfs"),
        ("/big disk/state", "lustre"),
    ],
)
def test_the_kind_of_a_file_system_is_that_of_the_nearest_mount(folder: str, kind: str) -> None:
    mount = mount_of(Path(folder), MOUNTS)
    assert mount is not None
    assert mount.kind == kind


def test_folders_that_the_nodes_may_not_see_are_named() -> None:
    paths = Paths(archives="/home/days/{day}", state_dir="/home/scratch/state", models="/srv/models")
    finding = shared(Settings(paths=paths, upload=Upload(destination="me@server:/srv/store")), MOUNTS)
    assert isinstance(finding, Finding)
    assert finding.verdict is Verdict.LOOK
    assert finding.message.endswith("this machine: paths.state_dir (tmpfs), paths.models (ext4).")


def test_folders_on_a_shared_disk_are_good() -> None:
    paths = Paths(archives="/home/days/{day}", state_dir="/big disk/state")
    assert isinstance(shared(Settings(paths=paths, upload=Upload(destination="/home/store")), MOUNTS), str)


# --- what else is different where jobs are submitted ----------------------------------------------


def submitting(tmp_path: Path, **sections: Any) -> dict[str, Finding]:
    settings = Settings(
        paths=Paths(archives=f"{tmp_path}/{{day}}", state_dir=f"{tmp_path}/state"),
        submit=Submit(executor="slurm"),
        upload=Upload(destination=f"{tmp_path}/storage"),
        **{"transcribe": Transcribe(model="bundled"), **sections},
    )
    return {finding.check: finding for finding in examine(settings, [])}


@pytest.fixture
def without_audio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audioctl.doctor.machine.requires", lambda _: ["no-such-package>=1; extra == 'worker'"])


@pytest.mark.usefixtures("without_audio")
def test_jobs_run_the_python_that_submits_them_and_need_its_audio_libraries(tmp_path: Path) -> None:
    worker = submitting(tmp_path)["worker"]
    assert worker.verdict is Verdict.BAD
    assert "no-such-package is missing" in worker.message


@pytest.mark.usefixtures("without_audio")
def test_with_an_image_this_python_needs_none(tmp_path: Path) -> None:
    image = tmp_path / "audioctl.sif"
    image.touch()
    found = submitting(tmp_path, container=Container(image=f"{image}"))
    assert "worker" not in found
    assert found["image"].verdict is Verdict.GOOD


def test_an_image_that_is_not_there_is_bad(tmp_path: Path) -> None:
    found = submitting(tmp_path, container=Container(image=f"{tmp_path}/audioctl.sif"))
    assert found["image"].verdict is Verdict.BAD
    assert f"{tmp_path}/audioctl.sif is not there" in found["image"].message


def test_an_image_that_the_nodes_have_to_fetch_is_worth_a_look(tmp_path: Path) -> None:
    found = submitting(tmp_path, container=Container(image="docker://registry/audioctl"))
    assert found["image"].verdict is Verdict.LOOK


def test_a_model_that_was_not_fetched_is_missed_before_a_job_needs_it(tmp_path: Path) -> None:
    found = submitting(tmp_path, transcribe=Transcribe(model=f"{tmp_path}/nowhere", device="cuda"))
    assert found["model"].verdict is Verdict.BAD
    assert f"no folder {tmp_path}/nowhere" in found["model"].message


@pytest.mark.parametrize("variable", ["SLURM_JOB_ID", "APPTAINER_CONTAINER", "SINGULARITY_CONTAINER"])
def test_in_a_job_or_an_image_the_recogniser_is_tried_and_slurm_is_not_asked(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")
    found = submitting(tmp_path, transcribe=Transcribe(model="bundled", device="cpu"))
    assert "slurm" not in found
    assert "The bundled model heard" in found["model"].message
