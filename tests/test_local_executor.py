"""Jobs on this machine, with a script of bash in the place of the real job."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil
import pytest
from journals import AT, DAY, whole_archive, write_holder, write_journal
from ledgers import archives
from workspace import wait_until

from audioctl.errors import AudioctlError, LedgerError
from audioctl.executors.local import JOBS_FILE, SUPERVISOR_LEASE, SUPERVISOR_LOG, LocalExecutor, read_ended
from audioctl.jobs import JobPhase
from audioctl.ledger.lease import live_holder
from audioctl.runs import (
    JOB_SCRIPT,
    RUN_FILE,
    Run,
    RunArchive,
    mark_cancelled,
    read_run,
    run_folder,
    runs_of_day,
    write_run,
)
from audioctl.settings import Settings
from audioctl.states import ArchiveState

RUN_ID = "20250125T123000Z-0001"
SLOTS = ["12_00", "12_10", "12_20", "12_30", "12_40", "12_50"]

IN_PAIRS = """
echo "begin $1" >>events
until [ "$(grep -c begin events)" -ge $(($1 / 2 * 2 + 2)) ]; do sleep 0.01; done
echo "end $1" >>events
exit "$1"
"""
"""Each waits for the other of its pair: one alone would never end."""

UNTIL_TOLD = """
trap 'echo "told $1" >>events; exit 75' TERM
echo "begin $1" >>events
while :; do sleep 0.01; done
"""


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    # Whatever a test killed half.
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd().startswith(str(tmp_path)):
                process.kill()


def make_run(state: Path, script: str, slots: list[str], max_concurrent: int = 2) -> tuple[Path, Run]:
    executor = LocalExecutor()
    names = executor.plan(len(slots), Settings())
    jobs = [RunArchive(slot, f"/staging/{slot}.tar", name) for slot, name in zip(slots, names, strict=True)]
    run = Run(RUN_ID, DAY, AT, "0.1.0", executor.name, max_concurrent, jobs)
    folder = run_folder(state, run)
    write_run(folder, run, {JOB_SCRIPT: script})
    return folder, run


def supervisor(folder: Path) -> psutil.Process:
    holder = live_holder(folder / SUPERVISOR_LEASE)
    assert holder is not None
    return psutil.Process(holder.pid)


def events(folder: Path) -> list[str]:
    path = folder / "events"
    return path.read_text().splitlines() if path.exists() else []


def states(state: Path) -> dict[str, tuple[ArchiveState, str | None]]:
    return {slot: (archive.state, archive.reason) for slot, archive in archives(state, DAY).items()}


def living(state: Path, run: Run) -> set[str]:
    """Slots whose jobs may still begin or go on."""
    statuses = LocalExecutor().look(state, [run], print)
    return {slot for (_, slot), status in statuses.items() if status.phase is JobPhase.RUNNING}


def wait_for_the_end(folder: Path) -> None:
    wait_until(lambda: live_holder(folder / SUPERVISOR_LEASE) is None, "the supervisor to end")


def test_jobs_run_at_the_same_time_and_never_more_than_were_asked_for(state: Path) -> None:
    folder, run = make_run(state, IN_PAIRS, SLOTS, max_concurrent=2)
    LocalExecutor().submit(folder, run, ())
    wait_for_the_end(folder)
    running = 0
    for event in events(folder):
        running += 1 if event.startswith("begin") else -1
        assert 0 <= running <= 2
    assert len(events(folder)) == 2 * len(SLOTS)


def test_how_each_job_ended_is_written_down(state: Path) -> None:
    folder, run = make_run(state, IN_PAIRS, SLOTS)
    LocalExecutor().submit(folder, run, ())
    wait_for_the_end(folder)
    lines = [msgspec.json.decode(line) for line in (folder / JOBS_FILE).read_bytes().splitlines()]
    assert {line["job_id"]: line["exit_code"] for line in lines} == {f"{RUN_ID}_{index}": index for index in range(6)}
    assert all(line["at"].endswith("Z") for line in lines)


def test_jobs_live_from_the_moment_of_submission_until_they_have_ended(state: Path) -> None:
    script = 'if [ "$1" = 0 ]; then exit 3; fi; until [ -e go ]; do sleep 0.01; done'
    folder, run = make_run(state, script, ["12_00", "12_10", "12_20"], max_concurrent=1)
    executor = LocalExecutor()
    assert living(state, run) == set()
    executor.submit(folder, run, ())
    wait_until(lambda: read_ended(folder), "the first job to end")
    assert living(state, run) == {"12_10", "12_20"}
    assert states(state) == {
        "12_00": (ArchiveState.FAILED, "lost"),
        "12_10": (ArchiveState.SUBMITTED, None),
        "12_20": (ArchiveState.SUBMITTED, None),
    }
    (folder / "go").touch()
    wait_for_the_end(folder)
    assert living(state, run) == set()


def test_nobody_waits_for_the_jobs_and_they_have_no_terminal(state: Path) -> None:
    folder, run = make_run(state, UNTIL_TOLD, ["12_00"])
    LocalExecutor().submit(folder, run, ())
    process = supervisor(folder)
    assert process not in psutil.Process().children(recursive=True)
    assert process.terminal() is None
    process.terminate()
    wait_for_the_end(folder)


def test_a_signal_to_the_supervisor_drains(state: Path) -> None:
    folder, run = make_run(state, UNTIL_TOLD, SLOTS, max_concurrent=2)
    LocalExecutor().submit(folder, run, ())
    wait_until(lambda: len(events(folder)) == 2, "two jobs to begin")
    supervisor(folder).send_signal(signal.SIGTERM)
    wait_for_the_end(folder)
    assert sorted(events(folder)) == ["begin 0", "begin 1", "told 0", "told 1"]
    assert {(ended.job_id, ended.exit_code) for ended in read_ended(folder)} == {
        (f"{RUN_ID}_0", 75),
        (f"{RUN_ID}_1", 75),
    }
    assert states(state)["12_50"] == (ArchiveState.FAILED, "lost")


def test_when_the_supervisor_is_killed_jobs_that_have_begun_go_on_and_the_others_are_told_as_gone(state: Path) -> None:
    folder, run = make_run(state, UNTIL_TOLD, SLOTS, max_concurrent=1)
    LocalExecutor().submit(folder, run, ())
    wait_until(lambda: events(folder), "a job to begin")
    assert states(state)["12_50"] == (ArchiveState.SUBMITTED, None)
    supervisor(folder).kill()
    wait_for_the_end(folder)
    assert states(state) == dict.fromkeys(SLOTS, (ArchiveState.FAILED, "lost"))
    write_journal(state, "12_00", whole_archive(run_id=RUN_ID))
    assert states(state)["12_00"] == (ArchiveState.DONE, None)


def test_a_cancelled_run_drains_and_its_archives_stay_cancelled(state: Path) -> None:
    folder, run = make_run(state, UNTIL_TOLD, SLOTS, max_concurrent=2)
    LocalExecutor().submit(folder, run, ())
    wait_until(lambda: len(events(folder)) == 2, "two jobs to begin")
    mark_cancelled(folder)
    LocalExecutor().cancel(state, [run])
    wait_for_the_end(folder)
    assert sorted(events(folder)) == ["begin 0", "begin 1", "told 0", "told 1"]
    assert states(state) == dict.fromkeys(SLOTS, (ArchiveState.CANCELLED, None))
    LocalExecutor().cancel(state, [run])  # nothing is left to end


def test_jobs_of_another_machine_can_be_ended_only_there(state: Path) -> None:
    folder, run = make_run(state, UNTIL_TOLD, SLOTS)
    write_holder(folder / SUPERVISOR_LEASE)
    with pytest.raises(AudioctlError, match="run on gpu7, and can be ended only from there"):
        LocalExecutor().cancel(state, [run])


def test_what_jobs_print_outside_of_their_logs_goes_to_the_log_of_the_supervisor(state: Path) -> None:
    folder, run = make_run(state, "echo to stdout; echo to stderr >&2", ["12_00"])
    LocalExecutor().submit(folder, run, ())
    wait_for_the_end(folder)
    assert (folder / SUPERVISOR_LOG).read_text() == "to stdout\nto stderr\n"


def test_jobs_that_cannot_be_started_are_told_and_do_not_hold_up_the_rest(state: Path) -> None:
    folder, run = make_run(state, "exit 0", SLOTS)
    (folder / JOB_SCRIPT).unlink()
    LocalExecutor().submit(folder, run, ())
    wait_for_the_end(folder)
    assert [ended.exit_code for ended in read_ended(folder)] == [127] * 6
    assert JOB_SCRIPT in (folder / SUPERVISOR_LOG).read_text()


@pytest.mark.parametrize("python", ["/nowhere/python", "/etc/passwd"])
def test_a_python_that_cannot_be_started_is_told_with_its_name(
    state: Path, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, run = make_run(state, "", ["12_00"])
    monkeypatch.setattr(sys, "executable", python)
    with pytest.raises(AudioctlError, match=python):
        LocalExecutor().submit(folder, run, ())
    assert states(state) == {"12_00": (ArchiveState.FAILED, "lost")}


def test_a_missing_bash_is_told(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, run = make_run(state, "", ["12_00"])
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(AudioctlError, match="bash"):
        LocalExecutor().submit(folder, run, ())


def test_a_supervisor_that_does_not_start_is_told_with_the_log_that_says_why(state: Path) -> None:
    folder, run = make_run(state, "", ["12_00"])
    (folder / RUN_FILE).write_text("{}")
    with pytest.raises(AudioctlError, match="did not start") as caught:
        LocalExecutor().submit(folder, run, ())
    assert str(folder / SUPERVISOR_LOG) in str(caught.value.hint)
    assert RUN_FILE in (folder / SUPERVISOR_LOG).read_text()


def test_a_run_is_submitted_once(state: Path) -> None:
    folder, run = make_run(state, UNTIL_TOLD, ["12_00"])
    LocalExecutor().submit(folder, run, ())
    with pytest.raises(AudioctlError, match="did not start"):
        LocalExecutor().submit(folder, run, ())
    supervisor(folder).terminate()
    wait_for_the_end(folder)


def test_a_torn_line_of_the_supervisor_is_not_read_and_a_damaged_one_is_told(state: Path) -> None:
    folder, _ = make_run(state, "", ["12_00"])
    (folder / JOBS_FILE).write_text('{"job_id":"1","exit_code":0,"at":"x"}\n{"job_')
    assert [ended.job_id for ended in read_ended(folder)] == ["1"]
    (folder / JOBS_FILE).write_text("nonsense\n")
    with pytest.raises(LedgerError, match=JOBS_FILE):
        read_ended(folder)


# The run on disk


def test_a_run_is_read_as_it_was_written(state: Path) -> None:
    folder, run = make_run(state, "exit", SLOTS)
    assert read_run(folder) == run
    assert runs_of_day(state, DAY) == [run]
    assert runs_of_day(state, "2025-01-26") == []
    assert (folder / JOB_SCRIPT).read_text() == "exit"
    assert (folder / "logs").is_dir()


def test_a_run_whose_writer_died_is_no_run(state: Path) -> None:
    folder, _ = make_run(state, "", SLOTS)
    folder.rename(folder.with_name(f".{folder.name}"))
    (folder.parent / "notes.txt").touch()
    assert runs_of_day(state, DAY) == []


def test_a_run_that_is_damaged_or_cannot_be_written_is_told(state: Path) -> None:
    folder, run = make_run(state, "", SLOTS)
    with pytest.raises(LedgerError, match=RUN_ID):
        write_run(folder, run, {})
    (folder / RUN_FILE).write_text('{"run_id": 7}')
    with pytest.raises(LedgerError, match=RUN_FILE):
        runs_of_day(state, DAY)
