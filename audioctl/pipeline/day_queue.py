"""Keeping the day's row of ``processing_queue``, which a monitoring page reads, in step with the journals.

Many jobs work on a day, and each of them tells: at its beginning that the day is being processed, at its end
what the last words of all the day's journals add up to. The row is no part of what is owed: where the database is away
at that moment, the next job of the day sets it right.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from audioctl.database.connection import connect
from audioctl.database.queue import QueueStatus, update_queue
from audioctl.errors import AudioctlError
from audioctl.ledger.events import AttemptEnded, UploadRevoked
from audioctl.ledger.journal import journal_path, last_event
from audioctl.ledger.lease import lease_path, live_holder
from audioctl.ledger.queries import DayStatus
from audioctl.pipeline.job import ArchiveJob
from audioctl.runs import runs_of_day
from audioctl.settings import Settings
from audioctl.states import ArchiveState, Outcome

_STATUS_BY_WEIGHT = (
    QueueStatus.PROCESSING,
    QueueStatus.FAILED,
    QueueStatus.COMPLETED_WITH_ERRORS,
    QueueStatus.COMPLETED,
)
"""A day has the first of these that any of its archives has."""


_OWING = QueueStatus.COMPLETED_WITH_ERRORS, "something could not be sent yet"


@contextmanager
def told_queue(
    job: ArchiveJob, settings: Settings, notify: Callable[[str], None], secrets: Mapping[str, str] = os.environ
) -> Iterator[None]:
    """Tells the queue before and after the block, where there is a database. Never fails, and delays nothing."""
    if not settings.database.enabled:
        yield
        return
    state_dir = Path(settings.paths.state_dir)

    def tell(status: QueueStatus, error: str | None = None) -> None:
        try:
            with connect(
                service=settings.database.service, application_name=f"audioctl/{job.day}", secrets=secrets
            ) as connection:
                update_queue(connection, job.day, status, slurm_job_id=_slurm_number(job.job_id), error_message=error)
        except AudioctlError as trouble:
            notify(f"processing_queue was not told that {job.day} is {status}: {trouble.message}")

    telling = threading.Thread(target=tell, args=(QueueStatus.PROCESSING,), name="queue", daemon=True)
    telling.start()
    try:
        yield
    finally:
        telling.join()
        tell(*day_status(state_dir, job.day))


def day_status(state_dir: Path, day: str) -> tuple[QueueStatus, str | None]:
    """Where the day stands, and what is wrong with the first of its archives that something is wrong with."""
    submitted = {archive.slot: run.created_at for run in runs_of_day(state_dir, day) for archive in run.archives}
    worked_on = {path.stem for path in (state_dir / "journals" / day).glob("*.jsonl")}
    found = {
        slot: _archive_status(journal_path(state_dir, day, slot), submitted.get(slot))
        for slot in sorted(submitted.keys() | worked_on)
    }
    status = min((status for status, _ in found.values()), key=_STATUS_BY_WEIGHT.index, default=QueueStatus.COMPLETED)
    errors = [f"{slot}: {error}" for slot, (_, error) in found.items() if error]
    return status, _first_of(errors)


def status_of(day: DayStatus) -> tuple[QueueStatus, str | None]:
    """The same from the ledger, which knows also of jobs that went away before they began."""
    totals = day.totals
    errors = [
        f"{archive.slot}: {archive.error or archive.reason}"
        for archive in day.archives or []
        if archive.state in (ArchiveState.FAILED, ArchiveState.DAMAGED)
    ]
    only_owed = all(
        archive.reason == Outcome.OWED for archive in day.archives or [] if archive.state is ArchiveState.FAILED
    )
    if totals.running or totals.submitted:
        status = QueueStatus.PROCESSING
    elif totals.cancelled or (totals.failed and not only_owed):
        status = QueueStatus.FAILED
    else:
        status = QueueStatus.COMPLETED_WITH_ERRORS if errors else QueueStatus.COMPLETED
    return status, _first_of(errors)


def _first_of(errors: list[str]) -> str | None:
    return "; ".join(errors[:1] + ([f"and {len(errors) - 1} more archives"] if len(errors) > 1 else [])) or None


def _archive_status(journal: Path, submitted_at: str | None) -> tuple[QueueStatus, str | None]:
    event = last_event(journal)
    if not isinstance(event, AttemptEnded | UploadRevoked):
        if event is None or live_holder(lease_path(journal)) is not None:
            return QueueStatus.PROCESSING, None
        return QueueStatus.FAILED, "its job went away"
    if submitted_at is not None and event.at < submitted_at:
        return QueueStatus.PROCESSING, None
    if isinstance(event, UploadRevoked):
        return _OWING
    match event.outcome:
        case Outcome.DONE if event.damage is None:
            return QueueStatus.COMPLETED, None
        case Outcome.DONE:
            return QueueStatus.COMPLETED_WITH_ERRORS, f"damaged ({event.damage})"
        case Outcome.OWED:
            return _OWING
        case _:
            return QueueStatus.FAILED, event.error or event.outcome.value


def _slurm_number(job_id: str | None) -> int | None:
    """The number of a Slurm job, or of the array that it is a task of."""
    match = re.fullmatch(r"(\d+)(_\d+)?", job_id or "")
    return int(match[1]) if match else None
