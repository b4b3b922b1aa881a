"""Where an archive stands: what its journal says, and, where that leaves it open, what is known of its job.

Journals come first. Of a job only one thing is asked: whether it may still begin or go on, and if not, what word its
scheduler has for its end. An answer that does not come changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from audioctl.jobs import JobPhase, JobStatus
from audioctl.ledger.events import AttemptStarted
from audioctl.ledger.lease import lease_path, live_holder
from audioctl.ledger.models import ArchiveRow
from audioctl.ledger.progress import LOST, NEEDS_A_PERSON, ArchiveProgress
from audioctl.ledger.rows import restore_attempt, verdict_values
from audioctl.runs import Run, RunArchive
from audioctl.states import ArchiveState, Outcome

Values = dict[str, Any]
"""Columns of ``archives``."""

REQUEUED = "requeued"
"""Reason of a submitted archive whose job has worked on it before and waits to go on."""


class Submission(NamedTuple):
    """The newest submission of an archive."""

    run: Run
    archive: RunArchive
    is_cancelled: bool

    def has_begun(self, attempt: AttemptStarted | None) -> bool:
        """Whether ``attempt``, the newest, belongs to this submission or is by hand (of no run) and later.

        Times have whole seconds: of the same second only the number tells what was there before.
        """
        if attempt is None:
            return False
        is_later = attempt.at >= self.run.created_at and attempt.attempt > self.archive.attempts_before
        return attempt.run_id == self.run.run_id or (attempt.run_id is None and is_later)


class Doubt(StrEnum):
    """What a journal leaves open: its last word is not the last word on the archive if the job lives."""

    NOT_BEGUN = "not_begun"
    BROKEN_OFF = "broken_off"
    DRAINED = "drained"


@dataclass(frozen=True, slots=True)
class Standing:
    """What the journal and its lease say of an archive."""

    known: ArchiveProgress
    submission: Submission | None
    lease_is_held: bool
    batch_error: str | None
    doubt: Doubt | None
    """``None`` where nothing that could be said of a job would matter."""

    @property
    def question(self) -> str | None:
        """Tells this doubt from any other about the same archive."""
        if self.doubt is None or self.submission is None:
            return None
        attempt = self.known.attempt.attempt if self.known.attempt else 0
        return f"{self.submission.run.run_id} {self.doubt} {attempt}"

    @property
    def is_broken_off(self) -> bool:
        """Begun, neither ended nor alive."""
        return self.known.attempt is not None and self.known.ended is None and not self.lease_is_held


def standing(row: ArchiveRow, journal: Path, submission: Submission | None) -> Standing | None:
    """``None`` while nobody has submitted the archive or begun on it. Raises JournalError for a lease."""
    known = restore_attempt(row)
    if submission is not None and not submission.has_begun(known.attempt):
        return Standing(known, submission, False, row.batch_error, Doubt.NOT_BEGUN)
    if known.attempt is None:
        return None
    lease_is_held = known.ended is None and live_holder(lease_path(journal)) is not None
    doubt = None
    if submission is not None and known.attempt.run_id == submission.run.run_id:
        if known.ended is None and not lease_is_held:
            doubt = Doubt.BROKEN_OFF
        elif known.ended is not None and known.ended.outcome is Outcome.DRAINED:
            doubt = Doubt.DRAINED
    return Standing(known, submission, lease_is_held, row.batch_error, doubt)


def by_journal(found: Standing) -> Values:
    """The verdict where there is no doubt."""
    return verdict_values(found.known, found.batch_error, lease_is_held=found.lease_is_held)


def by_job(found: Standing, status: JobStatus) -> Values:
    """The verdict where there is one."""
    assert found.submission is not None
    run, archive, is_cancelled = found.submission
    if found.doubt is Doubt.NOT_BEGUN:
        values = {"path": archive.path, "run_id": run.run_id, "job_id": status.job_id, "node": status.node}
        values |= {"finished_at": None}
    else:
        values = by_journal(found)
    alive: Values = {"error": None, "finished_at": None}
    match status.phase:
        case JobPhase.CANCELLED:
            return values | {"state": ArchiveState.CANCELLED, "reason": status.word, "error": None}
        case JobPhase.GONE if is_cancelled:
            return values | {"state": ArchiveState.CANCELLED, "reason": None, "error": None}
        case JobPhase.GONE if found.doubt is Doubt.DRAINED:
            return values
        case JobPhase.GONE:
            reason = NEEDS_A_PERSON if status.needs_a_person else status.word or LOST
            values |= {"state": ArchiveState.FAILED, "reason": reason}
            return values | {"error": _how_it_ended(found, status)}
        case JobPhase.UNKNOWN | JobPhase.RUNNING if found.doubt is Doubt.BROKEN_OFF:
            return values | alive | {"state": ArchiveState.RUNNING, "reason": None}
        case _:
            before = [REQUEUED] if found.doubt is not Doubt.NOT_BEGUN else []
            why = [status.detail] if status.phase is JobPhase.WAITING and status.detail else []
            return values | alive | {"state": ArchiveState.SUBMITTED, "reason": ": ".join(before + why) or None}


def _how_it_ended(found: Standing, status: JobStatus) -> str:
    assert found.submission is not None
    run, archive, _ = found.submission
    began = " before it began to work on the archive" if found.doubt is Doubt.NOT_BEGUN else ""
    return f"{status.detail or 'Its job ended'}{began}; `audioctl logs {run.day} {archive.slot}` tells more."
