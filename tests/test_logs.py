"""``audioctl logs`` as a person runs it: which log it finds, what it says beside it, and when following ends."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cluster_day import ClusterDay
from fake_slurm import NO_ACCOUNTING, FakeSlurm, install, squeue_row
from journals import DAY, SLOT, ended, holder_process, started, submit, whole_archive, write_journal
from slurm import Cluster
from waiting import wait_until

from audioctl.executors.local import SUPERVISOR_LEASE
from audioctl.executors.slurm import job_name
from audioctl.joblog import JobContext, Level, json_line, log_line
from audioctl.ledger.journal import journal_path
from audioctl.ledger.lease import lease_path
from audioctl.logs import GrowingFile, attempt_offset, read_attempt
from audioctl.processes import user_name
from audioctl.runs import RunArchive, log_path
from audioctl.states import Outcome

FIRST, SECOND = "20250125T123000Z-0001", "20250126T070000Z-0002"
LIMIT = "slurmstepd-gpu1: error: *** JOB 12 ON gpu1 CANCELLED AT 2025-01-25T12:40:00 DUE TO TIME LIMIT ***\n"

Result = subprocess.CompletedProcess[str]


def begin(state: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUDIOCTL_")}
    command = [sys.executable, "-m", "audioctl", "logs", *arguments, "--state-dir", f"{state}"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def logs(state: Path, *arguments: str) -> Result:
    with begin(state, *arguments) as process:
        output, errors = process.communicate(timeout=60)
    return subprocess.CompletedProcess(arguments, process.returncode, output, errors)


def run_of(state: Path, slots: list[str], run_id: str, executor: str = "slurm") -> Path:
    """A run as one executor plans it; its folder."""
    job = {"slurm": "0_{}", "local": "{}"}[executor]
    archives = [RunArchive(slot, f"/staging/{slot}.tar", job.format(index)) for index, slot in enumerate(slots)]
    folder = submit(state, slots, run_id, executor=executor, archives=archives, user=user_name())
    if executor == "slurm":
        (folder / "array-0.job").write_text("12\n")
    return folder


def write_log(folder: Path, *lines: str, slot: str = SLOT) -> None:
    with log_path(folder, slot).open("a", encoding="utf-8") as log:
        log.writelines(lines)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """Keeps no accounts."""
    fake = install(tmp_path, monkeypatch)
    fake.fail("sacct", NO_ACCOUNTING)
    return fake


@pytest.fixture
def requeued(state: Path) -> Path:
    """An archive that two attempts of one job have worked on; the folder of the run."""
    folder = run_of(state, [SLOT], FIRST)
    job = {"run_id": FIRST, "job_id": "12_0"}
    write_journal(state, SLOT, [started(1, **job), ended(1, Outcome.DRAINED)])
    write_journal(state, SLOT, whole_archive(2, attempt=2, **job, node="gpu2"))
    write_log(folder, log_line(None, "begins"), log_line(1, "first"), "of a library\n", log_line(1, "drained"))
    write_log(folder, log_line(None, "begins again"), log_line(2, "second"))
    (folder / "logs" / "slurm-12_0.log").write_text(LIMIT)
    return folder


def test_the_newest_attempt_is_shown_and_then_what_slurm_said(state: Path, requeued: Path) -> None:
    result = logs(state, DAY, SLOT)
    lines = result.stdout.splitlines()
    assert [line.partition("] ")[2] for line in lines[:-1]] == ["begins again", "second"]
    assert lines[-1] == LIMIT.rstrip("\n")
    heading, of_slurm, standing = result.stderr.splitlines()
    assert heading == f"Attempt 2, job 12_0 on gpu2: {log_path(requeued, SLOT)}"
    assert "slurm-12_0.log" in of_slurm
    assert standing == f"{SLOT} is done"


def test_logs_of_json_are_shown_as_those_of_text_are(state: Path) -> None:
    folder = run_of(state, [SLOT], FIRST)
    job = {"run_id": FIRST, "job_id": "12_0"}
    write_journal(state, SLOT, [started(1, **job), ended(1, Outcome.DRAINED)])
    write_journal(state, SLOT, whole_archive(2, attempt=2, **job))
    context = JobContext(DAY, SLOT, FIRST, "12_0", "gpu1")
    write_log(folder, log_line(None, "begins"), json_line(context, 1, Level.INFO, "first"), "of a library\n")
    write_log(folder, json_line(context, None, Level.INFO, "begins again"))
    write_log(folder, json_line(context, 2, Level.WARNING, "second, hört"))
    shown = [line.partition(" ")[2] for line in logs(state, DAY, SLOT).stdout.splitlines()]
    assert shown == ["[attempt ?] begins again", "[attempt 2] second, hört"]
    before = logs(state, DAY, SLOT, "--attempt", "1").stdout.splitlines()
    assert [line.partition("] ")[2] or line for line in before] == ["begins", "first", "of a library"]


@pytest.mark.usefixtures("requeued")
def test_an_earlier_attempt_can_be_asked_for(state: Path) -> None:
    result = logs(state, DAY, SLOT, "--attempt", "1")
    lines = result.stdout.splitlines()
    assert [line.partition("] ")[2] or line for line in lines[:-1]] == ["begins", "first", "of a library", "drained"]
    assert lines[-1] == LIMIT.rstrip("\n")
    assert result.stderr.startswith("Attempt 1, job 12_0 on gpu1:")


def test_what_a_job_printed_that_died_before_its_attempt_began_is_shown_too(state: Path, requeued: Path) -> None:
    write_log(requeued, log_line(None, "No model."))
    assert "No model." in logs(state, DAY, SLOT).stdout


@pytest.mark.usefixtures("requeued")
def test_an_attempt_by_hand_has_no_log_of_its_own(state: Path) -> None:
    write_journal(state, SLOT, whole_archive(2, attempt=3))
    result = logs(state, DAY, SLOT)
    assert (result.returncode, result.stdout) == (0, "")
    assert "by hand" in result.stderr


def test_a_waiting_job_has_printed_nothing_and_the_reason_says_what_it_waits_for(state: Path, slurm: FakeSlurm) -> None:
    run_of(state, [SLOT], FIRST)
    slurm.prepare_squeue(squeue_row(0, "PENDING", name=job_name(FIRST, "0"), reason="JobArrayTaskLimit"))
    result = logs(state, DAY, SLOT)
    assert (result.returncode, result.stdout) == (0, "")
    assert "Not begun by job 12_0" in result.stderr
    assert "printed nothing" in result.stderr
    assert result.stderr.endswith(f"{SLOT} is submitted (JobArrayTaskLimit)\n")


def test_of_a_job_that_died_before_it_began_slurms_words_are_shown(state: Path, slurm: FakeSlurm) -> None:
    folder = run_of(state, [SLOT], FIRST)
    (folder / "logs" / "slurm-12_0.log").write_text("module: command not found\n")
    slurm.prepare_squeue(squeue_row(0, "FAILED", name=job_name(FIRST, "0"), node="gpu1"))
    result = logs(state, DAY, SLOT)
    assert (result.returncode, result.stdout) == (0, "module: command not found\n")
    assert f"{SLOT} is failed (FAILED)" in result.stderr


@pytest.mark.usefixtures("requeued")
def test_a_newer_run_that_waits_tells_where_the_last_attempt_is(state: Path, slurm: FakeSlurm) -> None:
    run_of(state, [SLOT], SECOND)
    slurm.prepare_squeue(squeue_row(0, "PENDING", name=job_name(SECOND, "0"), reason="Resources"))
    result = logs(state, DAY, SLOT)
    assert result.stdout == ""
    assert "--attempt 2 shows the one before" in result.stderr
    assert logs(state, DAY, SLOT, "--attempt", "2").stdout.count("second") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["2025-01-26", SLOT], "it was not submitted"),
        ([DAY, "12_50"], "The nearest is 12_30"),
        ([DAY, "12:30"], "HH_MM"),
        ([DAY, SLOT, "--attempt", "3"], "attempts 1 to 2"),
        ([DAY, "00_00", "--attempt", "1"], "none so far"),
        ([DAY, SLOT, "--attempt", "1", "--follow"], "newest attempt"),
    ],
)
@pytest.mark.usefixtures("requeued")
def test_a_mistake_is_told_with_what_there_is(state: Path, arguments: list[str], words: str) -> None:
    submit(state, ["00_00"], SECOND)
    result = logs(state, *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert words in result.stderr


@pytest.mark.usefixtures("requeued")
def test_a_damaged_journal_hides_no_log(state: Path) -> None:
    with journal_path(state, DAY, SLOT).open("a") as journal:
        journal.write("no event\n")
    result = logs(state, DAY, SLOT)
    assert "second" in result.stdout
    assert "damaged_journal" in result.stderr


def test_a_terminal_gets_no_control_characters_and_a_file_gets_every_byte(state: Path, requeued: Path) -> None:
    hostile = "\x1b]0;owned\x07 \x9b31m \udcff é\tend\n"
    with log_path(requeued, SLOT).open("ab") as log:
        log.write(hostile.encode("utf-8", "surrogateescape"))
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "audioctl", "logs", DAY, SLOT, "--state-dir", f"{state}"]
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL):
        os.close(theirs)
        screen = b"".join(iter(lambda: _read(ours), b"")).decode()
    os.close(ours)
    assert "\\x1b]0;owned\\x07 \\x9b31m \\xff é" in screen
    assert "\x1b" not in screen
    piped = subprocess.run(command, capture_output=True, check=True).stdout
    assert hostile.encode("utf-8", "surrogateescape") in piped


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # Linux's way to say that the other end is closed
        return b""


@contextmanager
def following(state: Path) -> Iterator[subprocess.Popen[str]]:
    with begin(state, DAY, SLOT, "--follow") as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().partition("] ")[2].rstrip("\n")


def test_following_prints_what_comes_through_a_newer_run_until_the_archive_is_settled(state: Path) -> None:
    first = run_of(state, [SLOT], FIRST, "local")
    write_journal(state, SLOT, [started(1, run_id=FIRST, job_id="a")])
    write_log(first, log_line(1, "first"))
    journal = journal_path(state, DAY, SLOT)
    with holder_process(lease_path(journal)), following(state) as process:
        assert line_of(process) == "first"
        write_log(first, log_line(1, "more"))
        assert line_of(process) == "more"
        aside = run_of(state.parent / "aside", [SLOT], SECOND, "local")
        with holder_process(aside / SUPERVISOR_LEASE):
            # Its supervisor lives from the moment at which anybody can see the run.
            second = aside.rename(first.with_name(SECOND))
            write_log(second, log_line(None, "of the newer run"))
            assert line_of(process) == "of the newer run"
            write_log(first, log_line(1, "an old copy, of which nobody wants to know any more"))
        write_log(second, log_line(2, "last words"))
        assert line_of(process) == "last words"
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (0, "")
    assert errors.splitlines()[-1].startswith(f"{SLOT} is failed (lost)")


def test_ctrl_c_ends_following_quietly_with_130(state: Path) -> None:
    folder = run_of(state, [SLOT], FIRST, "local")
    write_log(folder, log_line(None, "begins"))
    with holder_process(folder / SUPERVISOR_LEASE), following(state) as process:
        assert line_of(process) == "begins"
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, "")
    assert "Aborted" not in errors
    assert "Traceback" not in errors


def test_following_goes_on_through_a_requeue_on_a_real_cluster(idle_cluster: Cluster, tmp_path: Path) -> None:
    day = ClusterDay(idle_cluster, tmp_path, [SLOT], clips=12)
    day.take(1.0)
    day.run("submit-day", DAY)
    day.wait_for_journal(SLOT, "batch_transcribed")
    with day.begin("logs", DAY, SLOT, "--follow") as process:
        idle_cluster.run("scancel", "--signal=USR1", "--batch", f"{day.number()}_0")
        wait_until(lambda: len(day.attempts(SLOT)) == 2, "the second attempt")
        day.take(0)
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "[attempt 1]" in output
    assert "[attempt 2]" in output
    assert "asks to be requeued" in output.partition("[attempt 2]")[2]
    assert errors.splitlines()[-1] == f"{SLOT} is done"


def test_memory_stays_flat_however_large_a_log_is(tmp_path: Path) -> None:
    log = tmp_path / "12_30.log"
    with log.open("w") as file:
        file.write(log_line(1, "first"))
        file.write("a progress bar \r" * 1_000_000 + "\n")
        file.writelines(log_line(1, "line of a long night") for _ in range(100_000))
        file.write(log_line(2, "second"))
    tracemalloc.start()
    try:
        assert sum(map(len, read_attempt(log, 1))) == attempt_offset(log, 2)
        assert sum(map(len, GrowingFile(log).read())) == log.stat().st_size > 20_000_000
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_line_of_json_that_is_half_there_is_shown_when_it_is_whole(tmp_path: Path) -> None:
    log = tmp_path / "12_30.log"
    line = json_line(JobContext(DAY, SLOT, FIRST, "12_0", "gpu1"), 1, Level.INFO, "first").encode()
    growing = GrowingFile(log)
    for written, shown in (
        (b"text\n" + line[:5], [b"text\n"]),
        (line[5:40], []),
        (line[40:] + b"half", [line + b"half"]),
    ):
        with log.open("ab") as file:
            file.write(written)
        assert list(growing.read()) == shown


def test_an_attempt_that_has_printed_nothing_begins_at_the_end_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "12_30.log"
    assert attempt_offset(log, 1) == 0
    log.write_text(log_line(1, "first"))
    assert attempt_offset(log, 2) == log.stat().st_size
    growing = GrowingFile(log, attempt_offset(log, 2))
    assert list(growing.read()) == []
    with log.open("a") as file:
        file.write("second\n")
    assert list(growing.read()) == [b"second\n"]
