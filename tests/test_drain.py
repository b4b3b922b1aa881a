"""A job that is asked to end early finishes what it has, says so, and leaves the rest to the next job."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from sshd import RsyncDaemon
from workspace import DAY, PATIENCE_SECONDS, SLOT, CountingEngine, Workspace, wait_until

from audioctl.archives import Archive, archive_identity
from audioctl.configuration import freeze
from audioctl.executors.local import LocalExecutor
from audioctl.runs import JOB_SCRIPT, write_run
from audioctl.states import ExitCode, Stage
from audioctl.submission import prepare_run

CLIPS = 80
"""In 16 batches: enough to be in the middle of."""

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1]


@pytest.fixture
def busy(workspace: Workspace) -> Workspace:
    workspace.write_clips(CLIPS)
    return workspace


@pytest.fixture
def hanging(busy: Workspace) -> Iterator[Workspace]:
    """Its uploads begin, and never end."""
    with RsyncDaemon(busy.folder / "daemon") as daemon:
        daemon.freeze()
        busy.configure("upload", destination=daemon.url)
        yield busy
    busy.configure("upload", destination=str(busy.storage))


def start_job(workspace: Workspace) -> subprocess.Popen[str]:
    return workspace.start("process-tar", DAY, str(workspace.archive), SLOT)


def start_script(workspace: Workspace) -> subprocess.Popen[str]:
    """As the local executor and Slurm do it: job.sh, rendered for a run of one archive."""
    identity = archive_identity(workspace.archive)
    archive = Archive(DAY, SLOT, workspace.archive, identity.size_bytes, identity.mtime_ns)
    prepared = prepare_run(DAY, [archive], freeze(workspace.settings, workspace.folder), LocalExecutor(), 1)
    write_run(prepared.folder, prepared.run, prepared.files)
    return workspace.start_program(["bash", str(prepared.folder / JOB_SCRIPT), "0"])


def wait_until_midway(workspace: Workspace) -> None:
    wait_until(lambda: workspace.event_names().count("batch_transcribed") >= 2, "two batches to be transcribed")


def assert_the_next_job_finishes(workspace: Workspace) -> None:
    transcribed = {clip.ordinal for clip in workspace.records().values()}
    assert 0 < len(transcribed) < CLIPS
    engine = CountingEngine()
    workspace.process(engine=engine)
    assert sorted(engine.heard) == sorted(set(range(CLIPS)) - transcribed)
    workspace.assert_all_was_heard()


def assert_drained(workspace: Workspace, process: subprocess.Popen[str]) -> None:
    stdout, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == ExitCode.DRAINED, stderr
    assert "Traceback" not in stderr + stdout
    assert workspace.events()[-1]["outcome"] == "drained"
    assert workspace.scratch_content() == []
    workspace.wait_until_no_process_is_left()


def assert_nothing_is_owed(workspace: Workspace) -> None:
    """What was transcribed has reached the destination."""
    assert workspace.progress.owed(Stage.UPLOAD) == 0
    assert len(workspace.files()) == len(workspace.records())


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_a_job_early_and_well(number: signal.Signals, busy: Workspace) -> None:
    process = start_job(busy)
    wait_until_midway(busy)
    process.send_signal(number)
    assert_drained(busy, process)
    assert_nothing_is_owed(busy)
    assert_the_next_job_finishes(busy)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_to_the_job_script_does_too(number: signal.Signals, busy: Workspace) -> None:
    process = start_script(busy)
    wait_until_midway(busy)
    process.send_signal(number)
    assert_drained(busy, process)
    assert_nothing_is_owed(busy)
    assert_the_next_job_finishes(busy)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_to_every_process_of_the_job_does_too(number: signal.Signals, busy: Workspace) -> None:
    """As from a terminal's Ctrl-C, or from scancel. An rsync that had just begun may end by it: its files are owed."""
    process = start_job(busy)
    wait_until_midway(busy)
    os.killpg(process.pid, number)
    assert_drained(busy, process)
    assert_the_next_job_finishes(busy)


def test_a_signal_before_the_first_batch_is_heard_too(busy: Workspace) -> None:
    process = start_job(busy)
    wait_until(lambda: busy.event_names(), "the journal's first line")
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == ExitCode.DRAINED, stdout + stderr
    busy.process()
    busy.assert_all_was_heard()


def test_a_second_interrupt_ends_everything_at_once_and_loses_nothing(hanging: Workspace) -> None:
    process = start_job(hanging)
    wait_until_midway(hanging)
    process.send_signal(signal.SIGINT)
    messages = process.stderr
    assert messages is not None
    wait_until(lambda: "Ctrl-C ends it at once" in messages.readline(), "the answer to the first interrupt")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 128 + signal.SIGINT
    assert "attempt_ended" not in hanging.event_names()
    hanging.wait_until_no_process_is_left()
    hanging.configure("upload", destination=str(hanging.storage))
    assert_the_next_job_finishes(hanging)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_other_signals_may_come_more_than_once(number: signal.Signals, busy: Workspace) -> None:
    process = start_job(busy)
    wait_until_midway(busy)
    process.send_signal(number)
    process.send_signal(number)
    assert_drained(busy, process)


def test_uploads_that_hang_are_given_up_when_the_time_to_drain_is_over(hanging: Workspace) -> None:
    hanging.configure("slurm", drain_seconds=1)
    process = start_job(hanging)
    wait_until_midway(hanging)
    process.send_signal(signal.SIGUSR1)
    assert_drained(hanging, process)
    assert hanging.progress.owed(Stage.UPLOAD) == len(hanging.records())
    hanging.configure("upload", destination=str(hanging.storage))
    assert_the_next_job_finishes(hanging)


def test_work_that_does_not_end_in_time_is_ended(tmp_path: Path) -> None:
    """With as little patience after the deadline as a test can wait for."""
    program = textwrap.dedent("""
        import threading
        from audioctl.cli import foreground
        from audioctl.cli.progress import LineDisplay
        from audioctl.pipeline.counters import Counters
        from audioctl.pipeline.drain import DrainRequest

        foreground._SECONDS_AFTER_THE_DEADLINE = 0.1
        print("ready", flush=True)
        display = LineDisplay("archive", Counters())
        foreground.run_in_foreground(threading.Event().wait, DrainRequest(0.1), display, 0.01)
    """)
    process = Workspace(tmp_path).start_program([sys.executable, "-c", program])
    assert process.stdout is not None
    process.stdout.readline()
    wait_until(lambda: _hears(process.pid, signal.SIGTERM), "the handler")
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == ExitCode.DRAINED
    assert "The time to drain is over" in stderr


def _hears(pid: int, number: signal.Signals) -> bool:
    """Whether the process has a handler of its own: proc(5), status, SigCgt."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt")).split()[1]
    return bool(int(caught, 16) >> (number - 1) & 1)
