"""The image for jobs: its definition is built and used here, without a container engine and without CUDA."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from apptainer_definition import read_definition
from container_image import REPOSITORY, install_stand_in
from packaging.requirements import Requirement
from workspace import DAY, PATIENCE_SECONDS, SLOT, Workspace, wait_until

from audioctl.states import ExitCode

CONTAINERS = REPOSITORY / "containers"
COMPILERS = re.compile(r"(.+-)?(as|cc|cpp|c\+\+|gcc|g\+\+|clang|ld|make|nvcc|tcc)(-[\d.]+)?")


def pins() -> dict[str, str]:
    lines = (CONTAINERS / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


class Engine:
    """A container runtime, and the image that it runs."""

    def __init__(self, program: Path, image: Path) -> None:
        self.program = program
        self.image = image

    def command(self, *arguments: str, binds: tuple[str, ...] = ()) -> list[str]:
        options = [option for bind in binds for option in ("--bind", bind)]
        return [str(self.program), "exec", "--nv", "--cleanenv", *options, str(self.image), *arguments]

    def run(self, *arguments: str, binds: tuple[str, ...] = (), **environment: str) -> subprocess.CompletedProcess[str]:
        return run(self.command(*arguments, binds=binds), **environment)


def run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )


@pytest.fixture(params=["apptainer", "singularity"])
def engine(request: pytest.FixtureRequest, container_image: Path, tmp_path: Path) -> Engine:
    return Engine(install_stand_in(tmp_path / "engine", request.param) / request.param, container_image)


@pytest.fixture
def apptainer(container_image: Path, tmp_path: Path) -> Engine:
    return Engine(install_stand_in(tmp_path / "engine") / "apptainer", container_image)


@pytest.fixture
def busy(workspace: Workspace) -> Workspace:
    workspace.write_clips(80)
    return workspace


# --- what is in it --------------------------------------------------------------------------------


def test_the_base_image_is_one_of_a_date() -> None:
    header = read_definition(CONTAINERS / "audioctl.def").header
    assert re.fullmatch(r"debian:bookworm-20\d{6}-slim", header["From"])


def test_every_package_is_one_that_is_pinned(container_image: Path) -> None:
    folders = (container_image / "opt/audioctl/lib/python3.11/site-packages").glob("*.dist-info")
    installed = dict(folder.name.removesuffix(".dist-info").split("-") for folder in folders)
    assert installed.pop("audioctl") == version("audioctl")
    # These come with Python.
    del installed["pip"], installed["setuptools"]
    installed = {name.lower().replace("_", "-"): number for name, number in installed.items()}
    assert installed.keys() >= {"av", "ctranslate2", "faster-whisper", "psycopg-binary"}
    assert installed.items() <= pins().items()


def test_all_that_audioctl_asks_for_is_pinned_in_a_version_that_will_do() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [Requirement(line) for line in [*project["dependencies"], *extras["worker"], *extras["gpu"]]]
    wanted = [requirement for requirement in wanted if requirement.name != "audioctl"]
    assert {"typer", "ctranslate2", "torch"} <= {requirement.name for requirement in wanted}
    for requirement in wanted:
        assert requirement.specifier.contains(pins()[requirement.name.lower()]), requirement


def test_the_cuda_libraries_are_those_that_ctranslate2_loads() -> None:
    """libcublas.so.12: torch for CUDA 13 would bring another."""
    assert pins()["nvidia-cublas-cu12"].startswith("12.")
    assert not [name for name in pins() if name.startswith("nvidia-") and not name.endswith("-cu12")]


def test_no_compiler_is_left_inside(container_image: Path) -> None:
    programs = [
        path for folder in ("bin", "sbin", "local/bin") for path in (container_image / "usr" / folder).iterdir()
    ]
    assert {"rsync", "ssh", "python3"} <= {path.name for path in programs}
    assert [path for path in programs if COMPILERS.fullmatch(path.name)] == []


@pytest.mark.parametrize("folder", ["var/lib/apt/lists", "var/cache/apt/archives", "root/.cache", "opt/payload", "tmp"])
def test_nothing_is_left_over_from_the_build(folder: str, container_image: Path) -> None:
    left = [path for path in (container_image / folder).rglob("*") if path.is_file() and path.name != "lock"]
    assert left == []


def test_labels_say_what_it_is_and_where_it_comes_from(container_image: Path) -> None:
    labels = json.loads((container_image / ".singularity.d/labels.json").read_text())
    named = {name.removeprefix("org.opencontainers.image."): value for name, value in labels.items()}
    assert named["title"] == "audioctl"
    assert named["version"] == version("audioctl")
    assert named["licenses"] == "MIT"
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", named["revision"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", named["created"])


# --- building it ----------------------------------------------------------------------------------


def test_an_image_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    image = tmp_path / "audioctl.sif"
    image.write_text("precious")
    result = run([str(CONTAINERS / "build.sh"), str(image)])
    assert (result.returncode, image.read_text()) == (1, "precious")
    assert f"{image} exists already" in result.stderr


def test_a_machine_without_an_engine_is_told_so(tmp_path: Path) -> None:
    for name in ("bash", "dirname", "realpath", "head"):
        (tmp_path / name).symlink_to(shutil.which(name) or name)
    result = run([str(tmp_path / "bash"), str(CONTAINERS / "build.sh"), str(tmp_path / "new.sif")], PATH=str(tmp_path))
    assert result.returncode == 1
    assert "neither apptainer nor singularity" in result.stderr


# --- running in it --------------------------------------------------------------------------------


def test_it_passes_its_own_tests_as_a_user_would_run_them(apptainer: Engine) -> None:
    result = run([str(apptainer.program), "test", "--nv", str(apptainer.image)])
    assert result.returncode == 0, result.stderr
    assert "0 heard wrong" in result.stdout


def test_an_archive_is_processed_in_it(engine: Engine, workspace: Workspace) -> None:
    workspace.write_clips(10)
    result = engine.run(*process_tar(workspace), binds=(str(workspace.folder),))
    assert result.returncode == ExitCode.DONE, result.stderr
    workspace.assert_all_was_heard()


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_to_the_engine_drains_the_job(number: signal.Signals, apptainer: Engine, busy: Workspace) -> None:
    with started(apptainer, busy) as process:
        wait_until(lambda: busy.event_names().count("batch_transcribed") >= 2, "two batches to be transcribed")
        process.send_signal(number)
        _, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == ExitCode.DRAINED, stderr
    assert not busy.progress.is_complete
    busy.process()
    busy.assert_all_was_heard()


def process_tar(workspace: Workspace) -> list[str]:
    config = str(workspace.write_configuration())
    archive = str(workspace.archive)
    return ["python3", "-P", "-m", "audioctl", "--config", config, "process-tar", DAY, archive, SLOT]


@contextlib.contextmanager
def started(engine: Engine, workspace: Workspace) -> Iterator[subprocess.Popen[str]]:
    command = engine.command(*process_tar(workspace), binds=(str(workspace.folder),))
    process = workspace.start_program(command)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_packages_outside_are_not_seen_even_with_the_whole_environment(apptainer: Engine, tmp_path: Path) -> None:
    """As in ``apptainer exec audioctl.sif audioctl doctor``, typed where modules of other software are loaded."""
    (tmp_path / "audioctl.py").write_text("raise SystemExit('the wrong audioctl')")
    command = [str(apptainer.program), "exec", "--bind", str(tmp_path), str(apptainer.image)]
    result = run([*command, "python3", "-c", "import audioctl"], PYTHONPATH=str(tmp_path), PYTHONHOME=str(tmp_path))
    assert result.returncode == 0, result.stderr


# --- the stand-in ---------------------------------------------------------------------------------


def test_a_command_gets_what_the_prefix_names_and_nothing_else(apptainer: Engine) -> None:
    result = apptainer.run(
        "env",
        DB_CREDS="not passed on",
        APPTAINERENV_PGHOST="db",
        SINGULARITYENV_PGHOST="the other name is older",
        SINGULARITYENV_PGUSER="me",
        APPTAINERENV_PGPASSWORD="'; exit $HOME `id`",
        APPTAINERENV_LC_ALL="de_DE",
        TERM="vt100",
    )
    environment = dict(line.split("=", 1) for line in result.stdout.splitlines())
    assert environment.pop("PATH").startswith("/opt/audioctl/bin:")
    assert environment == {
        "APPTAINER_CONTAINER": str(apptainer.image),
        "HOME": str(Path.home()),
        "LANG": "C",
        "LC_ALL": "de_DE",
        "LD_LIBRARY_PATH": "/.singularity.d/libs",
        "PGHOST": "db",
        "PGPASSWORD": "'; exit $HOME `id`",
        "PGUSER": "me",
        "PWD": environment["PWD"],
        "PYTHONHOME": "",
        "PYTHONNOUSERSITE": "1",
        "PYTHONPATH": "",
        "TERM": "vt100",
    }


def test_a_command_sees_of_the_host_what_is_bound(apptainer: Engine, tmp_path: Path) -> None:
    for name in ("shown", "renamed", "protected", "hidden"):
        (tmp_path / name).mkdir()
    binds = (f"{tmp_path}/shown", f"{tmp_path}/renamed:/data", f"{tmp_path}/protected:{tmp_path}/protected:ro")
    script = 'ls "$1"; touch "$1/shown/a" /data/b; touch "$1/protected/c" /etc/d; echo "$?"'
    result = apptainer.run("sh", "-c", script, "sh", str(tmp_path), binds=binds)
    assert result.stdout.split() == ["protected", "shown", "1"]
    assert result.stderr.count("Read-only file system") == 2
    assert (tmp_path / "shown/a").exists()
    assert (tmp_path / "renamed/b").exists()
    assert not (apptainer.image / "data").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["exec", "--containall", "IMAGE", "true"],
        ["exec", "--clean", "IMAGE", "true"],
        ["exec", "--bind", "/not/there", "IMAGE", "true"],
        ["exec", "--bind", "/etc,/usr", "IMAGE", "true"],
        ["exec", "--bind", "/etc:conf", "IMAGE", "true"],
        ["exec", "--bind", "/etc:/conf:rx", "IMAGE", "true"],
        ["exec", "IMAGE"],
        ["exec", "/not/there.sif", "true"],
        ["run", "IMAGE"],
    ],
)
def test_what_the_stand_in_does_not_know_is_an_error(arguments: list[str], apptainer: Engine) -> None:
    named = [str(apptainer.image) if argument == "IMAGE" else argument for argument in arguments]
    result = run([str(apptainer.program), *named])
    assert result.returncode == 255
    assert result.stderr.startswith("FATAL: ")


@pytest.mark.parametrize("code", [0, 3, 75])
def test_the_exit_code_is_that_of_the_command(code: int, apptainer: Engine) -> None:
    assert apptainer.run("sh", "-c", f"exit {code}").returncode == code
