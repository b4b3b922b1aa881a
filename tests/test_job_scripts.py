"""The scripts of jobs: what bash does with them."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from audioctl.settings import Container, Paths, Settings, Slurm, Upload
from audioctl.templates import ScriptRequest, render_array, render_job

ENV = shutil.which("env") or "env"

# Stands in for audioctl. Records its arguments, then ends as $ENDINGS says for its slot, or waits for a signal.
RECORDER = """
import json, os, pathlib, signal, sys, time

records = pathlib.Path(os.environ["RECORDS"])
slot = sys.argv[6]
(records / slot).write_text(json.dumps(sys.argv[1:]))
print("output of", slot)
ending = json.loads(os.environ.get("ENDINGS", "{}")).get(slot, 0)
if isinstance(ending, int):
    sys.exit(ending)


def drain(number, frame):
    (records / "signal").write_text(signal.Signals(number).name)
    time.sleep(0.2)
    sys.exit(ending["when_signalled"])


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    sys.exit("started deaf to SIGINT")
for name in ("SIGTERM", "SIGINT", "SIGUSR1"):
    signal.signal(getattr(signal, name), drain)
(records / "ready").touch()
time.sleep(60)
sys.exit("no signal came")
"""


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "a run"
    (folder / "logs").mkdir(parents=True)
    (folder / "records").mkdir()
    stub = tmp_path / "stub" / "audioctl"
    stub.mkdir(parents=True)
    (stub / "__init__.py").touch()
    (stub / "__main__.py").write_text(RECORDER)
    return folder


def request_in(folder: Path, *paths: str, **sections: object) -> ScriptRequest:
    archives = [(f"12_{index}0", Path(path)) for index, path in enumerate(paths)]
    settings = Settings(**sections)  # type: ignore[arg-type]
    return ScriptRequest(folder, "run-1", "2025-01-25", archives, settings)


@contextlib.contextmanager
def started(folder: Path, script: str, *arguments: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    path = folder / "script"
    path.write_bytes(os.fsencode(script))
    stub = folder.parent / "stub"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    process = subprocess.Popen(
        # Whoever runs the tests in the background may have made them deaf to INT.
        [ENV, "--default-signal=INT", "bash", path, *arguments],
        env={**clean, "PYTHONPATH": str(stub), "RECORDS": str(folder / "records"), **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def run(folder: Path, script: str, *arguments: str, **environ: str) -> int:
    with started(folder, script, *arguments, **environ) as process:
        return process.wait()


def recorded(folder: Path) -> dict[str, list[str]]:
    return {path.name: json.loads(path.read_text()) for path in sorted((folder / "records").glob("??_??"))}


def wait_until_ready(folder: Path, process: subprocess.Popen[str]) -> None:
    while not (folder / "records" / "ready").exists():
        assert process.poll() is None, "the script ended too early"
        time.sleep(0.01)


def test_a_job_runs_the_archive_of_its_index(run_folder: Path) -> None:
    script = render_job(request_in(run_folder, "/staging/a.tar", "/staging/b.tar"))

    assert run(run_folder, script, "1", "job-7") == 0

    assert recorded(run_folder) == {
        "12_10": [
            "--config",
            str(run_folder / "config.toml"),
            "process-tar",
            "2025-01-25",
            "/staging/b.tar",
            "12_10",
            "--run-id",
            "run-1",
            "--job-id",
            "job-7",
        ]
    }


def test_a_local_job_is_known_by_its_process(run_folder: Path) -> None:
    script = render_job(request_in(run_folder, "/staging/a.tar"))

    with started(run_folder, script, "0") as process:
        process.wait()

    assert recorded(run_folder)["12_00"][-1] == str(process.pid)


@pytest.mark.parametrize(
    "name",
    [
        "a 0",
        "a'; echo foo",
        "two\nlines",
        '"$(touch stolen)`touch stolen`',
        "*",
        "back\\slash",
        "caf\udce9",
        "{{ day }}",
        "#",
        "!x",
    ],
)
def test_a_hostile_path_arrives_as_it_is(name: str, run_folder: Path) -> None:
    script = render_job(request_in(run_folder, f"/staging/{name}"))

    assert run(run_folder, script, "0") == 0

    assert recorded(run_folder)["12_00"][3:5] == ["2025-01-25", f"/staging/{name}"]
    assert not (run_folder / "stolen").exists()


def test_what_is_printed_is_appended_to_the_log_of_the_slot(run_folder: Path) -> None:
    log = run_folder / "logs" / "12_00.log"
    log.write_text("an earlier attempt\n")

    run(run_folder, render_job(request_in(run_folder, "/staging/a.tar")), "0")

    assert log.read_text() == "an earlier attempt\noutput of 12_00\n"


def test_a_file_in_the_current_folder_does_not_stand_in_for_a_module(run_folder: Path) -> None:
    (run_folder / "json.py").write_text("raise SystemExit('the wrong json')")

    assert run(run_folder, render_job(request_in(run_folder, "/staging/a.tar")), "0") == 0


@pytest.mark.parametrize("code", [1, 3, 75])
def test_the_exit_code_is_that_of_audioctl(code: int, run_folder: Path) -> None:
    script = render_job(request_in(run_folder, "/staging/a.tar"))

    assert run(run_folder, script, "0", ENDINGS=json.dumps({"12_00": code})) == code


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1"])
def test_a_signal_to_the_script_reaches_audioctl_and_its_exit_code_comes_back(name: str, run_folder: Path) -> None:
    script = render_job(request_in(run_folder, "/staging/a.tar"))

    with started(run_folder, script, "0", ENDINGS=json.dumps({"12_00": {"when_signalled": 75}})) as process:
        wait_until_ready(run_folder, process)
        process.send_signal(signal.Signals[name])
        assert process.wait() == 75

    assert (run_folder / "records" / "signal").read_text() == name


def array_task(task: int) -> dict[str, str]:
    return {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_JOB_ID": "123", "SLURM_JOB_ID": "124"}


def test_an_array_task_runs_its_archives_one_after_the_other(run_folder: Path) -> None:
    request = request_in(run_folder, "/a.tar", "/b.tar", "/c.tar", "/d.tar", "/e.tar", slurm=Slurm(archives_per_job=2))
    script = render_array(request)

    for task, slots in [(0, ["12_00", "12_10"]), (1, ["12_20", "12_30"]), (2, ["12_40"])]:
        assert run(run_folder, script, **array_task(task)) == 0
        records = recorded(run_folder)
        assert list(records)[-len(slots) :] == slots
        assert {records[slot][-1] for slot in slots} == {f"123_{task}"}


def test_a_failed_archive_does_not_keep_the_next_from_running(run_folder: Path) -> None:
    script = render_array(request_in(run_folder, "/a.tar", "/b.tar", slurm=Slurm(archives_per_job=2)))

    assert run(run_folder, script, ENDINGS=json.dumps({"12_00": 1}), **array_task(0)) == 1
    assert list(recorded(run_folder)) == ["12_00", "12_10"]


def test_after_a_signal_no_further_archive_is_begun(run_folder: Path) -> None:
    script = render_array(request_in(run_folder, "/a.tar", "/b.tar", slurm=Slurm(archives_per_job=2)))
    endings = json.dumps({"12_00": {"when_signalled": 0}})

    with started(run_folder, script, ENDINGS=endings, **array_task(0)) as process:
        wait_until_ready(run_folder, process)
        process.send_signal(signal.SIGUSR1)
        assert process.wait() == 75

    assert list(recorded(run_folder)) == ["12_00"]


def test_modules_are_loaded_before_the_work(run_folder: Path) -> None:
    script = render_array(request_in(run_folder, "/a.tar", slurm=Slurm(modules=("cuda/12.4", "a b"))))
    module = 'module() { printf "%s\\n" "$@" > loaded; }\n'

    assert run(run_folder, module + script, **array_task(0)) == 0
    assert (run_folder / "loaded").read_text() == "load\ncuda/12.4\na b\n"


def test_a_job_whose_module_is_missing_does_not_begin(run_folder: Path) -> None:
    script = render_array(request_in(run_folder, "/a.tar", slurm=Slurm(modules=("cuda",))))

    assert run(run_folder, "module() { return 5; }\n" + script, **array_task(0)) == 5
    assert recorded(run_folder) == {}


# --- containers -----------------------------------------------------------------------------------


def test_in_a_container_the_folders_that_exist_are_shown(run_folder: Path, tmp_path: Path) -> None:
    """A stand-in for apptainer records how it is called and runs the command outside any image."""
    programs = tmp_path / "programs"
    programs.mkdir()
    runtime = programs / "singularity"
    runtime.write_text(
        f'#!/bin/bash\nprintf "%s\\n" "$@" > called\nwhile [ "$1" != python3 ]; do shift; done\nshift\n'
        f'exec "{sys.executable}" "$@"\n'
    )
    runtime.chmod(0o755)
    staging = tmp_path / "sta ging"
    staging.mkdir()
    request = request_in(
        run_folder,
        f"{staging}/a.tar",
        paths=Paths(state_dir=str(run_folder), scratch=str(tmp_path / "not here")),
        upload=Upload(destination="user@host:/x"),
        container=Container(image="/i.sif", runtime="singularity", binds=("/etc:/conf:ro",)),
    )

    code = run(
        run_folder, render_job(request), "0", PATH=f"{programs}:{os.environ['PATH']}", TMPDIR="", LOCAL_SCRATCH="/tmp"
    )

    assert code == 0
    called = (run_folder / "called").read_text().splitlines()
    assert called[: called.index("python3")] == [
        "exec",
        "--nv",
        *("--bind", "/etc:/conf:ro"),
        *("--bind", "/tmp"),
        *("--bind", str(run_folder)),
        *("--bind", str(staging)),
        "/i.sif",
    ]
    assert recorded(run_folder)["12_00"][4] == f"{staging}/a.tar"


def test_a_node_without_a_container_runtime_says_so(run_folder: Path, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("bash", "head"):
        (programs / name).symlink_to(shutil.which(name) or name)
    script = render_job(request_in(run_folder, "/a.tar", container=Container(image="/i.sif")))

    with started(run_folder, script, "0", PATH=str(programs)) as process:
        _, message = process.communicate()

    assert process.returncode == 127
    assert message == "audioctl: this node has no apptainer or singularity; add its module to slurm.modules.\n"
