"""``process-tar`` as a job of a run: run again and again, on any node, with one log of all that it did."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from journals import holder_process, write_holder
from workspace import DAY, PATIENCE_SECONDS, SLOT, Result, Workspace, bundled_engine, wait_until

from audioctl.errors import ArchiveStillBusyError, Drained
from audioctl.ledger.lease import STALE_AFTER_SECONDS, lease_path, live_holder
from audioctl.node import node_name
from audioctl.pipeline.counters import Counters
from audioctl.pipeline.drain import DrainRequest
from audioctl.pipeline.job import ArchiveJob, Surroundings
from audioctl.pipeline.waiting import acquire_patiently
from audioctl.states import ExitCode

RUN, OTHER_RUN = "20250125T123000Z-0001", "20250126T123000Z-0002"
BEGINNING = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \[attempt (\d+|\?)\] (?!\d{4}-)")


@pytest.fixture
def clips(workspace: Workspace) -> Workspace:
    workspace.write_clips(4)
    return workspace


def arguments(workspace: Workspace, run: str = RUN) -> list[str]:
    return ["process-tar", DAY, str(workspace.archive), SLOT, "--run-id", run, "--job-id", "77_0"]


def run_job(workspace: Workspace, run: str = RUN) -> Result:
    return workspace.audioctl(*arguments(workspace, run))


def start_job(workspace: Workspace, **environment: str) -> subprocess.Popen[str]:
    return workspace.start(*arguments(workspace), environment=environment)


def finish(process: subprocess.Popen[str]) -> Result:
    stdout, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def lines(result: Result) -> list[str]:
    return (result.stderr + result.stdout).splitlines()


def attempts(result: Result) -> set[str]:
    """Of the lines printed, each of which has to say it."""
    found = [BEGINNING.match(line) for line in lines(result)]
    assert None not in found, lines(result)
    return {match[1] for match in found if match}


def hears(process: subprocess.Popen[str], number: signal.Signals) -> bool:
    """Whether the process has a handler of its own: proc(5), status, SigCgt."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt")).split()[1]
    return bool(int(caught, 16) >> (number - 1) & 1)


# What it prints


def test_every_line_has_its_time_and_attempt(clips: Workspace) -> None:
    first, second = run_job(clips), run_job(clips, OTHER_RUN)
    assert attempts(first) == {"1"}
    assert "4 clips transcribed" in first.stdout
    assert attempts(second) == {"2"}


def test_with_the_setting_the_log_of_a_job_is_json(clips: Workspace) -> None:
    clips.configure("logging", format="json")
    clips.storage.write_text("no folder")
    result = run_job(clips)
    assert result.returncode == ExitCode.LOOK
    told = [json.loads(line) for line in lines(result)]
    of_job = {"day": DAY, "slot": SLOT, "run_id": RUN, "job_id": "77_0", "attempt": 1, "node": node_name()}
    assert all(line.items() >= of_job.items() for line in told)
    levels = {line["message"].partition(":")[0]: line["level"] for line in told}
    assert (levels[clips.archive.name], levels["Batch 0"]) == ("info", "warning")


def test_so_has_what_an_attempt_says_that_ends_early(workspace: Workspace) -> None:
    workspace.write_clips(60)
    process = start_job(workspace)
    wait_until(lambda: "batch_transcribed" in workspace.event_names(), "a batch to be transcribed")
    process.terminate()
    drained = finish(process)
    assert drained.returncode == ExitCode.DRAINED
    assert attempts(drained) == {"1"}
    assert any("Finishing what is in flight" in line for line in lines(drained))
    assert any("Ended early by a signal" in line for line in lines(drained))
    rest = run_job(workspace)
    assert rest.returncode == ExitCode.DONE
    assert attempts(rest) == {"2"}
    workspace.assert_all_was_heard()


def test_so_have_errors_and_their_hints(clips: Workspace) -> None:
    clips.configure("transcribe", model="/no/such/model")
    failed = run_job(clips)
    assert failed.returncode == ExitCode.CONFIGURATION
    assert attempts(failed) == {"1"}
    assert any("There is no folder /no/such/model" in line for line in lines(failed))


def test_what_comes_before_the_attempt_is_known_says_so(clips: Workspace) -> None:
    clips.folder.joinpath("broken.toml").write_text("[paths")
    result = clips.audioctl("--config", "broken.toml", *arguments(clips))
    assert result.returncode == ExitCode.CONFIGURATION
    assert attempts(result) == {"?"}


def test_for_a_person_nothing_is_put_before_the_lines(clips: Workspace) -> None:
    result = clips.process_tar()
    assert result.stdout.startswith(clips.archive.name)
    assert "[attempt" not in result.stderr


def test_the_log_says_once_how_the_recogniser_listens(clips: Workspace) -> None:
    told = [line for line in lines(run_job(clips)) if "The recogniser bundled" in line]
    assert len(told) == 1
    assert "hears up to 8 windows at once, of 2 to 30 s, and follows 5 beams." in told[0]


def test_no_process_of_a_job_has_threads_that_spin_for_linear_algebra(workspace: Workspace) -> None:
    """OpenBLAS starts them when numpy is imported; their number is in the environment that all of them inherit."""
    workspace.write_clips(60)
    process = start_job(workspace)
    wait_until(lambda: "batch_transcribed" in workspace.event_names(), "a batch to be transcribed")
    limits = set()
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            limits.add(child.environ().get("OPENBLAS_NUM_THREADS"))
    process.terminate()
    finish(process)
    assert limits == {"1"}


def test_numpy_heeds_that_limit_because_no_command_has_imported_it_before() -> None:
    script = """
        import os, sys
        import audioctl.cli.process, audioctl.environment
        assert "numpy" not in sys.modules
        audioctl.environment.limit_linear_algebra(os.environ)
        import numpy
        numpy.ones((400, 400)) @ numpy.ones((400, 400))
        print(len(os.listdir("/proc/self/task")))
    """
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    arguments = [sys.executable, "-c", textwrap.dedent(script)]
    result = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
    assert result.stdout == "1\n", result.stderr


def test_the_journal_names_the_node_as_slurm_does(clips: Workspace) -> None:
    finish(start_job(clips, SLURMD_NODENAME="gpu07"))
    assert clips.events()[0]["node"] == "gpu07"


# What was done before


def test_an_archive_that_was_done_in_this_run_is_left_alone(clips: Workspace) -> None:
    run_job(clips)
    journal = clips.journal.read_bytes()
    again = run_job(clips)
    assert again.returncode == ExitCode.DONE
    assert [line.partition("] ")[2] for line in lines(again)] == [f"{clips.archive.name}: already done in this run."]
    assert clips.journal.read_bytes() == journal
    clips.archive.unlink()
    assert run_job(clips).returncode == ExitCode.DONE


def test_a_damaged_one_needs_a_look_again(clips: Workspace) -> None:
    content = clips.archive.read_bytes()
    clips.archive.write_bytes(content[: len(content) // 2])
    assert run_job(clips).returncode == ExitCode.LOOK
    journal = clips.journal.read_bytes()
    again = run_job(clips)
    assert again.returncode == ExitCode.LOOK
    assert "already done in this run" in again.stdout
    assert clips.journal.read_bytes() == journal


def test_an_archive_that_was_replaced_since_is_worked_on(clips: Workspace) -> None:
    run_job(clips)
    clips.write_clips(5)
    again = run_job(clips)
    assert again.returncode == ExitCode.DONE
    clips.assert_all_was_heard()


def test_what_is_still_owed_is_sent(clips: Workspace) -> None:
    clips.storage.write_text("in the way")
    assert run_job(clips).returncode == ExitCode.LOOK
    clips.storage.unlink()
    assert run_job(clips).returncode == ExitCode.DONE
    clips.assert_all_was_heard()


# Waiting for its predecessor


@pytest.fixture
def lease(clips: Workspace) -> Path:
    return lease_path(clips.journal)


def hold_elsewhere(lease: Path) -> None:
    """By a job on another machine, whose heart has just beaten."""
    write_holder(lease, job_id="77_0", node="gpu7")


def start_waiting(workspace: Workspace) -> tuple[subprocess.Popen[str], str]:
    """A job that waits, and what it says of it."""
    process = start_job(workspace)
    assert process.stderr is not None
    return process, process.stderr.readline()


def test_a_job_waits_until_its_predecessor_on_a_lost_node_is_known_to_be_dead(clips: Workspace, lease: Path) -> None:
    hold_elsewhere(lease)
    process, told = start_waiting(clips)
    assert "is being worked on by job 77_0 on gpu7" in told
    assert "Waiting for it to end" in told
    os.utime(lease, (time.time() - STALE_AFTER_SECONDS - 5,) * 2)
    result = finish(process)
    assert result.returncode == ExitCode.DONE, result.stderr
    clips.assert_all_was_heard()
    assert attempts(result) == {"1"}
    assert "gpu7" not in result.stderr  # it was told once


def test_a_job_whose_predecessor_was_killed_on_the_same_machine_goes_on_at_once(clips: Workspace, lease: Path) -> None:
    with holder_process(lease) as killed:
        killed.kill()
    result = run_job(clips)
    assert result.returncode == ExitCode.DONE
    assert "Waiting" not in result.stderr


def test_a_signal_ends_the_waiting(clips: Workspace, lease: Path) -> None:
    hold_elsewhere(lease)
    process, _ = start_waiting(clips)
    process.send_signal(signal.SIGUSR1)
    ended = finish(process)
    assert ended.returncode == ExitCode.DRAINED
    assert not clips.journal.exists()
    assert live_holder(lease) is not None


def test_a_predecessor_that_lives_on_is_left_alone_and_the_job_asks_for_another_go(
    workspace: Workspace, tmp_path: Path
) -> None:
    path = tmp_path / "12_30.lease"
    hold_elsewhere(path)
    around = Surroundings(bundled_engine, Counters(), DrainRequest(1), workspace.messages.append)
    job = ArchiveJob(DAY, SLOT, workspace.archive, RUN, "77_0")
    with pytest.raises(ArchiveStillBusyError, match="job 77_0 on gpu7") as raised:
        acquire_patiently(path, job, around, patience_seconds=0.1, look_seconds=0.01)
    assert raised.value.exit_code == ExitCode.DRAINED
    assert len(workspace.messages) == 1
    around.drain.request()
    with pytest.raises(Drained):
        acquire_patiently(path, job, around)


def test_a_person_is_told_at_once(clips: Workspace, lease: Path) -> None:
    hold_elsewhere(lease)
    result = clips.process_tar()
    assert result.returncode == ExitCode.FAILED
    assert "is being worked on by job 77_0 on gpu7" in result.stderr


# Signals before it has begun


@pytest.fixture
def never_imported(clips: Workspace) -> Iterator[str]:
    """A folder for PYTHONPATH that keeps a job busy with its imports for ever."""
    folder = clips.folder / "slow"
    folder.mkdir()
    (folder / "typer.py").write_text("import time\ntime.sleep(3600)\n")
    yield str(folder)
    assert not clips.journal.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_during_the_imports_asks_for_another_go(
    number: signal.Signals, clips: Workspace, never_imported: str
) -> None:
    process = start_job(clips, PYTHONPATH=never_imported)
    wait_until(lambda: hears(process, signal.SIGUSR1), "the handlers")
    process.send_signal(number)
    ended = finish(process)
    assert ended.returncode == ExitCode.DRAINED
    assert attempts(ended) == {"?"}
    assert number.name in ended.stderr


@pytest.mark.parametrize("seed", range(8))
def test_a_signal_at_any_moment_ends_a_job_with_a_code_that_is_true(seed: int, clips: Workspace) -> None:
    process = start_job(clips)
    wait_until(lambda: hears(process, signal.SIGUSR1), "the handlers")
    time.sleep(random.Random(seed).uniform(0, 2))
    process.terminate()
    ended = finish(process)
    assert ended.returncode in (ExitCode.DRAINED, ExitCode.DONE), ended.stderr
    if ended.returncode == ExitCode.DONE:
        clips.assert_all_was_heard()


def test_a_signal_while_the_interpreter_ends_changes_nothing(clips: Workspace) -> None:
    program = """
        import atexit, os, signal
        from audioctl.early_signals import end_on_signals
        class Late:
            def __del__(self, kill=os.kill, pid=os.getpid(), number=signal.SIGTERM):
                kill(pid, number)
        late = Late()
        late.itself = late
        end_on_signals()
        raise SystemExit(3)
    """
    assert finish(clips.start_program([sys.executable, "-c", textwrap.dedent(program)])).returncode == 3
