"""The scripts of jobs: what is rendered, and what bash then does with it."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from audioctl.errors import ConfigurationError
from audioctl.settings import Container, Paths, Settings, Slurm, Transcribe, Upload
from audioctl.templates import ScriptRequest, array_size, render_array, render_job, templates_path

ENV = shutil.which("env") or "env"
GOLDEN = Path(__file__).parent / "golden"

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
def request_of_three() -> ScriptRequest:
    """Three archives with fixed paths, for looking at the text."""
    archives = [(slot, Path(f"/staging/2025-01-25/0_2025-01-25_{slot}.tar.xz")) for slot in ("12_30", "12_40", "12_50")]
    settings = Settings(
        paths=Paths(state_dir="/project/state"),
        upload=Upload(destination="user@storage:/audio"),
        slurm=Slurm(partition="gpu", gpus="1"),
    )
    return ScriptRequest(
        folder=Path("/project/state/runs/2025-01-25/20250126T080000Z-ab12"),
        run_id="20250126T080000Z-ab12",
        day="2025-01-25",
        archives=archives,
        settings=settings,
        python="/opt/audioctl/bin/python",
    )


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


# --- the text -------------------------------------------------------------------------------------


def assert_golden(name: str, script: str, tmp_path: Path) -> None:
    rendered = tmp_path / name
    rendered.write_text(script)
    assert script == (GOLDEN / name).read_text(), f"If the change is meant: cp {rendered} {GOLDEN / name}"


def test_job_script(request_of_three: ScriptRequest, tmp_path: Path) -> None:
    assert_golden("job.sh", render_job(request_of_three), tmp_path)


def test_array_script(request_of_three: ScriptRequest, tmp_path: Path) -> None:
    assert_golden("array.sbatch", render_array(request_of_three), tmp_path)


def test_array_script_with_everything(request_of_three: ScriptRequest, tmp_path: Path) -> None:
    settings = Settings(
        paths=Paths(state_dir="/project/state", scratch="/local"),
        slurm=Slurm(
            partition="gpu",
            account="birds and bees",
            qos="long",
            gres="gpu:h100:1",
            archives_per_job=2,
            modules=("cuda/12.4", "odd name"),
            mail_user="lab@example.org",
            extra=("--constraint=h100",),
        ),
        container=Container(image="/images/audioctl.sif", binds=("/data:/input:ro",)),
        transcribe=Transcribe(model="/models/large-v3-turbo"),
        upload=Upload(destination="/archive", ssh_key="/home/lab/.ssh/id"),
    )

    assert_golden("container.sbatch", render_array(replace(request_of_three, settings=settings)), tmp_path)


@pytest.mark.parametrize("name", ["job.sh", "array.sbatch", "container.sbatch"])
def test_bash_can_read_it(name: str) -> None:
    checked = subprocess.run(["bash", "-n", GOLDEN / name], capture_output=True, text=True)

    assert (checked.returncode, checked.stderr) == (0, "")


def test_every_sbatch_line_stands_before_the_first_command(request_of_three: ScriptRequest) -> None:
    lines = render_array(request_of_three).splitlines()

    first_command = next(index for index, line in enumerate(lines) if line and not line.startswith("#"))
    assert [line for line in lines[first_command:] if line.startswith("#SBATCH")] == []


def test_the_last_task_of_an_array_may_have_less_to_do(request_of_three: ScriptRequest) -> None:
    for archives_per_job, size in [(1, 3), (2, 2), (3, 1), (5, 1)]:
        settings = Settings(slurm=Slurm(archives_per_job=archives_per_job))
        assert array_size(replace(request_of_three, settings=settings)) == size


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("h100", "--partition=h100"),
        ("a b", '--partition="a b"'),
        ('a"b', '--partition="a\\"b"'),
        ("a\\b", '--partition="a\\\\b"'),
        ("a#b", '--partition="a#b"'),
    ],
)
def test_a_value_is_quoted_as_sbatch_reads_it(value: str, line: str, request_of_three: ScriptRequest) -> None:
    script = render_array(replace(request_of_three, settings=Settings(slurm=Slurm(partition=value))))

    assert f"#SBATCH {line}\n" in script


def test_a_percent_sign_in_the_folder_is_no_pattern_of_slurm(request_of_three: ScriptRequest) -> None:
    script = render_array(replace(request_of_three, folder=Path("/100%d")))

    assert "--output=/100%%d/logs/slurm-%A_%a.log\n" in script


@pytest.mark.parametrize("slurm", [Slurm(partition="gpu\ntouch x"), Slurm(extra=("--hold\nrm x",))])
def test_a_setting_cannot_smuggle_a_line_into_the_script(slurm: Slurm, request_of_three: ScriptRequest) -> None:
    with pytest.raises(ConfigurationError, match="more than one line"):
        render_array(replace(request_of_three, settings=Settings(slurm=slurm)))


def test_a_folder_that_no_bind_can_name_is_an_error(request_of_three: ScriptRequest) -> None:
    settings = Settings(paths=Paths(state_dir="/a:b"), container=Container(image="/i.sif"))

    with pytest.raises(ConfigurationError, match="/a:b cannot be shown inside a container"):
        render_job(replace(request_of_three, settings=settings))


# --- what it does ---------------------------------------------------------------------------------


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


# --- the user's own templates ---------------------------------------------------------------------


def with_templates(request: ScriptRequest, folder: Path) -> ScriptRequest:
    return replace(request, settings=Settings(paths=Paths(templates=str(folder))))


def test_the_templates_are_found() -> None:
    assert sorted(path.name for path in templates_path().iterdir()) == ["array.sbatch.j2", "job.sh.j2"]


def test_a_user_can_replace_a_part_of_a_template(request_of_three: ScriptRequest, tmp_path: Path) -> None:
    (tmp_path / "job.sh.j2").write_text(
        '{% extends "shipped/job.sh.j2" %}{% block modules %}export HELLO={{ run_id | shquote }}\n{% endblock %}'
    )

    script = render_job(with_templates(request_of_three, tmp_path))

    assert f"export HELLO={request_of_three.run_id}\n" in script
    assert "process-tar" in script


@pytest.mark.parametrize(
    ("template", "message"),
    [("#!/bin/bash\n{{ nothing }}\n", "'nothing' is undefined"), ("a\n{% if %}\n", "line 2: Expected an expression")],
)
def test_a_fault_in_a_users_template_is_named(
    template: str, message: str, request_of_three: ScriptRequest, tmp_path: Path
) -> None:
    (tmp_path / "job.sh.j2").write_text(template)

    with pytest.raises(ConfigurationError, match=rf"job\.sh\.j2 in {tmp_path} cannot be rendered: {message}"):
        render_job(with_templates(request_of_three, tmp_path))


def test_a_template_folder_that_does_not_exist_is_an_error(request_of_three: ScriptRequest, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        render_job(with_templates(request_of_three, tmp_path / "none"))
