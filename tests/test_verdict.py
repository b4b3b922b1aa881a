"""Where an archive stands: what its journal says and what is known of its job, in every combination."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from journals import (
    AT,
    DAY,
    SLOT,
    ended,
    extracted,
    read_to_end,
    started,
    submit,
    transcribed,
    whole_archive,
    write_holder,
    write_journal,
)

from audioctl.jobs import UNKNOWN, JobKey, JobPhase, JobStatus
from audioctl.ledger.absorb import refresh
from audioctl.ledger.events import Event
from audioctl.ledger.journal import journal_path
from audioctl.ledger.lease import lease_path
from audioctl.ledger.models import empty_ledger, open_ledger
from audioctl.ledger.queries import ArchiveStatus, one_day
from audioctl.ledger.verdict import Submission
from audioctl.runs import Run, RunArchive, mark_cancelled
from audioctl.states import ArchiveState, Damage, Outcome

RUN = "20250125T123000Z-0001"
OLD = 1_600_000_000
"""A time long ago, in seconds since 1970."""

BEGUN: list[Event] = [started(run_id=RUN, job_id="12_0"), extracted(0), *transcribed(0)]
BY_HAND: list[Event] = [started(), extracted(0), *transcribed(0)]

JOURNALS: dict[str, list[Event]] = {
    "not begun": [],
    "an older run": whole_archive(run_id="20250124T123000Z-0001"),
    "by hand before": whole_archive(at="2025-01-25T12:00:00Z"),
    "broken off": BEGUN,
    "drained": [*BEGUN, ended(outcome=Outcome.DRAINED)],
    "done": whole_archive(run_id=RUN, job_id="12_0"),
    "damaged": [*BEGUN, read_to_end(1, Damage.CUT_OFF), ended()],
    "owed": [*BEGUN, read_to_end(1), ended(outcome=Outcome.OWED)],
    "failed": [*BEGUN, ended(outcome=Outcome.FAILED, error="No model.")],
    "by hand": [*BY_HAND, ended(outcome=Outcome.FAILED, error="No model.")],
    "by hand, broken off": BY_HAND,
}

JOBS = {
    "waiting": JobStatus(JobPhase.WAITING, "12_0", "PENDING", "Priority"),
    "running": JobStatus(JobPhase.RUNNING, "12_0", "RUNNING", node="node1"),
    "gone": JobStatus(JobPhase.GONE, "12_0", "TIMEOUT", "It took too long", "node1", is_final=True),
    "gone without a word": JobStatus(JobPhase.GONE, "12_0", is_final=True),
    "gone a moment ago": JobStatus(JobPhase.GONE, "12_0"),
    "cancelled": JobStatus(JobPhase.CANCELLED, "12_0", "CANCELLED by 1001", is_final=True),
    "unknown": UNKNOWN,
    "not mentioned": None,
}

SUBMITTED, RUNNING, FAILED = ArchiveState.SUBMITTED, ArchiveState.RUNNING, ArchiveState.FAILED
Verdict = tuple[ArchiveState, str | None]

BY_JOB: dict[str, dict[str, Verdict]] = {
    "not begun": {
        "waiting": (SUBMITTED, "Priority"),
        "running": (SUBMITTED, None),
        "gone": (FAILED, "TIMEOUT"),
        "gone without a word": (FAILED, "lost"),
        "gone a moment ago": (FAILED, "lost"),
        "unknown": (SUBMITTED, None),
        "not mentioned": (SUBMITTED, None),
    },
    "broken off": {
        "waiting": (SUBMITTED, "requeued: Priority"),
        "running": (RUNNING, None),
        "gone": (FAILED, "TIMEOUT"),
        "gone without a word": (FAILED, "lost"),
        "gone a moment ago": (FAILED, "lost"),
        "unknown": (RUNNING, None),
        "not mentioned": (RUNNING, None),
    },
    "drained": {
        "waiting": (SUBMITTED, "requeued: Priority"),
        "running": (SUBMITTED, "requeued"),
        "gone": (FAILED, "drained"),
        "gone without a word": (FAILED, "drained"),
        "gone a moment ago": (FAILED, "drained"),
        "unknown": (SUBMITTED, "requeued"),
        "not mentioned": (SUBMITTED, "requeued"),
    },
}
"""Where the journal leaves it open. What was cancelled is cancelled in each of these."""
BY_JOB["an older run"] = BY_JOB["by hand before"] = BY_JOB["not begun"]

BY_JOURNAL: dict[str, Verdict] = {
    "done": (ArchiveState.DONE, None),
    "damaged": (ArchiveState.DAMAGED, "cut_off"),
    "owed": (FAILED, "owed"),
    "failed": (FAILED, "failed"),
    "by hand": (FAILED, "failed"),
    "by hand, broken off": (FAILED, "lost"),
}


def expected(journal: str, job: str, *, is_cancelled: bool) -> Verdict:
    if journal in BY_JOURNAL:
        return BY_JOURNAL[journal]
    if job == "cancelled":
        return ArchiveState.CANCELLED, "CANCELLED by 1001"
    if is_cancelled and job.startswith("gone"):
        return ArchiveState.CANCELLED, None
    return BY_JOB[journal][job]


class Asked:
    """Whoever runs the jobs: gives a prepared answer, and keeps what it was asked."""

    def __init__(self, answer: JobStatus | None = None) -> None:
        self.answer = answer
        self.runs: list[list[str]] = []

    def __call__(self, runs: Sequence[Run]) -> dict[JobKey, JobStatus]:
        self.runs.append([run.run_id for run in runs])
        if self.answer is None:
            return {}
        return {(run.run_id, archive.slot): self.answer for run in runs for archive in run.archives}


def look(state: Path, asked: Asked) -> ArchiveStatus:
    """The archive as a command sees it now."""
    with open_ledger(state) as database:
        refresh(database, state, asked)
        day = one_day(DAY)
    assert day is not None
    assert isinstance(day.archives, list)
    (archive,) = day.archives
    return archive


def verdict(state: Path, answer: JobStatus | None) -> Verdict:
    archive = look(state, Asked(answer))
    return archive.state, archive.reason


def submitted(state: Path, journal: str = "not begun") -> Path:
    """The folder of a run of an archive that has this journal."""
    folder = submit(state, [SLOT], RUN, created_at="2025-01-25T12:30:00Z")
    if JOURNALS[journal]:
        write_journal(state, SLOT, JOURNALS[journal])
    return folder


def forget_folders(state: Path) -> None:
    """No folder tells any more that it has changed lately."""
    for folder in (state / "runs" / DAY, state / "journals" / DAY):
        if folder.exists():
            os.utime(folder, (OLD, OLD))


# The whole matrix


@pytest.mark.parametrize("is_cancelled", [False, True], ids=["", "cancelled by us"])
@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("journal", JOURNALS)
def test_the_journal_decides_and_where_it_leaves_it_open_the_job_does(
    state: Path, journal: str, job: str, is_cancelled: bool
) -> None:
    folder = submitted(state, journal)
    if is_cancelled:
        mark_cancelled(folder)
    assert verdict(state, JOBS[job]) == expected(journal, job, is_cancelled=is_cancelled)


@pytest.mark.parametrize(("attempts_before", "has_begun"), [(0, True), (1, False)])
def test_of_work_by_hand_in_the_second_of_the_submission_the_number_tells_what_was_before(
    attempts_before: int, has_begun: bool
) -> None:
    archive = RunArchive(SLOT, "/staging/archive.tar", "0", attempts_before)
    run = Run("20250125T124000Z-0001", DAY, AT, "0.1.0", "local", 2, [archive])
    assert Submission(run, archive, is_cancelled=False).has_begun(started(1, run_id=None, at=AT)) is has_begun


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("journal", JOURNALS)
def test_an_answer_that_does_not_come_changes_nothing(state: Path, journal: str, job: str) -> None:
    submitted(state, journal)
    known = look(state, Asked(JOBS[job]))
    for answer in (UNKNOWN, None):
        assert look(state, Asked(answer)) == known


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("journal", JOURNALS)
def test_a_rebuilt_ledger_says_the_same_as_soon_as_there_is_an_answer(state: Path, journal: str, job: str) -> None:
    submitted(state, journal)
    known = look(state, Asked(JOBS[job]))
    empty_ledger(state)
    # Nobody is lost because nobody answers.
    assert verdict(state, UNKNOWN) == expected(journal, "unknown", is_cancelled=False)
    assert look(state, Asked(JOBS[job])) == known


@pytest.mark.parametrize("journal", BY_JOURNAL)
def test_where_the_journal_decides_nobody_is_asked(state: Path, journal: str) -> None:
    submitted(state, journal)
    asked = Asked()
    look(state, asked)
    assert asked.runs == []


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("journal", BY_JOB)
def test_one_question_is_asked_and_again_only_where_the_answer_was_not_the_last_word(
    state: Path, journal: str, job: str
) -> None:
    submitted(state, journal)
    look(state, Asked(JOBS[job]))
    forget_folders(state)
    asked = Asked(JOBS[job])
    look(state, asked)
    status = JOBS[job]
    assert asked.runs == ([] if status is not None and status.is_final else [[RUN]])


def test_a_living_job_is_not_asked_about(state: Path) -> None:
    submitted(state, "broken off")
    write_holder(lease_path(journal_path(state, DAY, SLOT)))
    asked = Asked(JOBS["gone"])
    assert look(state, asked).state is RUNNING
    assert asked.runs == []


# What the columns say


def test_a_job_that_has_not_begun_is_told_with_its_id_and_its_node(state: Path) -> None:
    submitted(state)
    archive = look(state, Asked(JOBS["running"]))
    assert (archive.path, archive.run_id, archive.job_id, archive.node) == (
        f"/staging/{SLOT}.tar", RUN, "12_0", "node1",
    )  # fmt: skip
    assert (archive.attempt, archive.error, archive.finished_at) == (0, None, None)


@pytest.mark.parametrize("journal", ["not begun", "broken off"])
def test_a_job_that_has_gone_is_told_with_what_its_end_means_and_how_to_see_its_log(state: Path, journal: str) -> None:
    submitted(state, journal)
    error = str(look(state, Asked(JOBS["gone"])).error)
    assert error.startswith("It took too long")
    assert ("before it began" in error) == (journal == "not begun")
    assert f"audioctl logs {DAY} {SLOT}" in error


@pytest.mark.parametrize("job", ["waiting", "running", "unknown"])
def test_an_archive_that_is_to_go_on_has_no_end_and_no_error(state: Path, job: str) -> None:
    submitted(state, "drained")
    archive = look(state, Asked(JOBS[job]))
    assert (archive.error, archive.finished_at, archive.batches.seen) == (None, None, 1)


def test_a_drained_archive_whose_job_has_gone_tells_when_it_ended(state: Path) -> None:
    submitted(state, "drained")
    assert look(state, Asked(JOBS["gone without a word"])).finished_at == AT


def test_what_an_older_run_left_is_not_told_of_the_new_one(state: Path) -> None:
    write_journal(state, SLOT, [started(run_id="20250124T123000Z-0001"), ended(outcome=Outcome.FAILED, error="Old.")])
    submitted(state)
    archive = look(state, Asked(JOBS["waiting"]))
    assert (archive.run_id, archive.job_id, archive.error, archive.finished_at) == (RUN, "12_0", None, None)


@pytest.mark.parametrize("answer", [UNKNOWN, JobStatus(JobPhase.GONE)])
def test_the_id_of_a_job_is_kept_when_nobody_tells_it_any_more(state: Path, answer: JobStatus) -> None:
    submitted(state)
    look(state, Asked(JOBS["waiting"]))
    assert look(state, Asked(answer)).job_id == "12_0"


# Later truth replaces earlier guesses


def test_a_word_that_comes_late_replaces_the_missing_one(state: Path) -> None:
    submitted(state, "broken off")
    assert verdict(state, JOBS["gone a moment ago"]) == (FAILED, "lost")
    forget_folders(state)
    assert verdict(state, JOBS["gone"]) == (FAILED, "TIMEOUT")


def test_a_job_that_was_taken_for_gone_and_lives_is_told_as_living(state: Path) -> None:
    submitted(state)
    assert verdict(state, JOBS["gone a moment ago"]) == (FAILED, "lost")
    forget_folders(state)
    archive = look(state, Asked(JOBS["waiting"]))
    assert (archive.state, archive.reason, archive.error) == (SUBMITTED, "Priority", None)


def test_a_job_that_had_gone_for_good_and_begins_all_the_same_is_running(state: Path) -> None:
    submitted(state)
    assert verdict(state, JOBS["gone without a word"]) == (FAILED, "lost")
    forget_folders(state)
    write_journal(state, SLOT, BEGUN)
    write_holder(lease_path(journal_path(state, DAY, SLOT)))
    asked = Asked()
    archive = look(state, asked)
    assert (archive.state, archive.error, archive.finished_at) == (RUNNING, None, None)
    assert asked.runs == []


def test_a_frozen_node_that_comes_back_goes_on_and_finishes(state: Path) -> None:
    submitted(state, "broken off")
    lease = lease_path(journal_path(state, DAY, SLOT))
    write_holder(lease)
    os.utime(lease, (OLD, OLD))
    forget_folders(state)
    node_failed = JobStatus(JobPhase.GONE, "12_0", "NODE_FAIL", "The node failed", "node1", is_final=True)
    assert verdict(state, node_failed) == (FAILED, "NODE_FAIL")
    os.utime(lease)  # its heartbeat, of which no folder tells
    forget_folders(state)
    assert verdict(state, node_failed) == (RUNNING, None)
    os.utime(lease, (OLD, OLD))
    forget_folders(state)
    assert verdict(state, node_failed) == (FAILED, "NODE_FAIL"), "it is frozen again"
    write_journal(state, SLOT, [read_to_end(1), ended()])
    assert verdict(state, node_failed) == (ArchiveState.DONE, None)


def test_a_requeued_task_is_submitted_then_running_then_judged_anew(state: Path) -> None:
    submitted(state, "broken off")
    waits = JobStatus(JobPhase.WAITING, "12_0", "PENDING", "BeginTime")
    assert verdict(state, waits) == (SUBMITTED, "requeued: BeginTime")
    write_journal(state, SLOT, [started(2, run_id=RUN, job_id="12_0")])
    assert verdict(state, JOBS["running"]) == (RUNNING, None)
    assert verdict(state, JOBS["gone"]) == (FAILED, "TIMEOUT")
    write_journal(state, SLOT, [started(3, run_id=RUN, job_id="12_0")])
    asked = Asked(waits)
    assert look(state, asked).reason == "requeued: BeginTime"
    assert asked.runs == [[RUN]], "the last answer was about another attempt"


def test_an_archive_that_was_cancelled_and_is_submitted_again_waits_again(state: Path) -> None:
    submitted(state, "drained")
    assert verdict(state, JOBS["cancelled"])[0] is ArchiveState.CANCELLED
    again = "20250125T140000Z-0002"
    submit(state, [SLOT], again, created_at="2025-01-25T14:00:00Z")
    asked = Asked(JobStatus(JobPhase.WAITING, "15_0", "PENDING"))
    archive = look(state, asked)
    assert (archive.state, archive.run_id, archive.job_id) == (SUBMITTED, again, "15_0")
    assert asked.runs == [[again]]


def test_a_job_that_writes_its_last_line_before_it_goes_is_not_told_as_gone(state: Path) -> None:
    submitted(state, "broken off")

    def writes_and_goes(runs: Sequence[Run]) -> dict[JobKey, JobStatus]:
        write_journal(state, SLOT, [read_to_end(1), ended()])
        return {(runs[0].run_id, SLOT): JobStatus(JobPhase.GONE, is_final=True)}

    with open_ledger(state) as database:
        refresh(database, state, writes_and_goes)
    assert look(state, Asked()).state is ArchiveState.DONE


def test_only_runs_with_something_open_are_asked_about(state: Path) -> None:
    older = "20250125T100000Z-0000"
    submit(state, ["10_00"], older)
    write_journal(state, "10_00", whole_archive(run_id=older))
    submit(state, [SLOT], RUN)
    asked = Asked(JOBS["waiting"])
    with open_ledger(state) as database:
        refresh(database, state, asked)
    assert asked.runs == [[RUN]]
