"""What the commands ask of the ledger, in the shape that ``status --json`` promises."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast

import msgspec
from peewee import fn

from audioctl.ledger.events import ArchiveFile, AttemptEnded, AttemptStarted
from audioctl.ledger.models import ArchiveRow, BatchRow
from audioctl.ledger.progress import NEEDS_A_PERSON
from audioctl.states import WANTS_A_LOOK, ArchiveState, ExitCode, Stage

_DAY_STATES_BY_WEIGHT = (
    ArchiveState.RUNNING,
    ArchiveState.SUBMITTED,
    ArchiveState.FAILED,
    ArchiveState.DAMAGED,
    ArchiveState.PENDING,
    ArchiveState.CANCELLED,
    ArchiveState.DONE,
)
"""A day is in the first of these states that any of its archives is in."""

_SUMMED = ("clips", "stored", "rejected", "skipped", "audio_seconds", "owed_record", "owed_upload")


class Totals(msgspec.Struct):
    """Sums over archives; ``archives`` counts them, the states' names count those in that state."""

    archives: int = 0
    done: int = 0
    damaged: int = 0
    failed: int = 0
    running: int = 0
    submitted: int = 0
    pending: int = 0
    cancelled: int = 0
    clips: int = 0
    stored: int = 0
    rejected: int = 0
    skipped: int = 0
    audio_seconds: float = 0.0
    owed_record: int = 0
    owed_upload: int = 0


class BatchCounts(msgspec.Struct):
    seen: int
    done: int
    failed: int


class ArchiveStatus(msgspec.Struct):
    slot: str
    path: str
    state: ArchiveState
    attempt: int
    run_id: str | None
    job_id: str | None
    node: str | None
    batches: BatchCounts
    clips: int
    stored: int
    rejected: int
    skipped: int
    audio_seconds: float
    owed_record: int
    owed_upload: int
    started_at: str | None
    finished_at: str | None
    reason: str | None
    error: str | None


class DayStatus(msgspec.Struct, omit_defaults=True):
    """``archives`` is left out where whole days were asked for."""

    day: str
    state: ArchiveState
    totals: Totals
    started_at: str | None
    finished_at: str | None
    archives: list[ArchiveStatus] | msgspec.UnsetType = msgspec.UNSET


class SlotState(NamedTuple):
    """As much of an archive as a picture of many days needs."""

    day: str
    slot: str
    state: ArchiveState
    reason: str | None


def all_days() -> list[DayStatus]:
    """One row a day, oldest first, from one pass over the archives."""
    sums = [fn.SUM(getattr(ArchiveRow, name)) for name in _SUMMED]
    groups = cast(
        Iterable[tuple[Any, ...]],
        ArchiveRow.select(
            ArchiveRow.day,
            ArchiveRow.state,
            fn.COUNT(ArchiveRow.slot),
            fn.MIN(ArchiveRow.started_at),
            fn.MAX(ArchiveRow.finished_at),
            *sums,
        )
        .group_by(ArchiveRow.day, ArchiveRow.state)
        .order_by(ArchiveRow.day)
        .tuples(),
    )
    days: dict[str, DayStatus] = {}
    for day, state, count, started_at, finished_at, *values in groups:
        status = days.setdefault(day, DayStatus(day, ArchiveState.DONE, Totals(), None, None))
        _add(status, ArchiveState(state), count, dict(zip(_SUMMED, values, strict=True)))
        status.started_at = min(filter(None, (status.started_at, started_at)), default=None)
        status.finished_at = max(filter(None, (status.finished_at, finished_at)), default=None)
    for status in days.values():
        _decide_state(status)
    return list(days.values())


def one_day(day: str) -> DayStatus | None:
    """A day with its archives by slot; ``None`` when nothing is known of it."""
    rows = list(ArchiveRow.select().where(ArchiveRow.day == day).order_by(ArchiveRow.slot))
    if not rows:
        return None
    status = DayStatus(day, ArchiveState.DONE, Totals(), None, None, [_archive_status(row) for row in rows])
    for row in rows:
        _add(status, ArchiveState(row.state), 1, {name: getattr(row, name) for name in _SUMMED})
    status.started_at = min((row.started_at for row in rows if row.started_at), default=None)
    status.finished_at = max((row.finished_at for row in rows if row.finished_at), default=None)
    _decide_state(status)
    return status


def days_with(states: Iterable[ArchiveState]) -> list[str]:
    """Days that have an archive in one of these states."""
    rows = ArchiveRow.select(ArchiveRow.day).where(ArchiveRow.state.in_(list(states))).distinct()
    return [row.day for row in rows.order_by(ArchiveRow.day)]


def failed_days(days: Sequence[str] | None) -> list[DayStatus]:
    """Of ``days``, or of all, those with archives that failed or are damaged, and only these archives."""
    found = [status for day in days or days_with(WANTS_A_LOOK) if (status := one_day(day)) is not None]
    for status in found:
        status.archives = [archive for archive in status.archives or [] if archive.state in WANTS_A_LOOK]
    return [status for status in found if status.archives]


def slot_states(days: Iterable[str]) -> list[SlotState]:
    """Every archive of these days."""
    rows = ArchiveRow.select(ArchiveRow.day, ArchiveRow.slot, ArchiveRow.state, ArchiveRow.reason)
    found = cast(Iterable[tuple[Any, ...]], rows.where(ArchiveRow.day.in_(list(days))).tuples())
    return [SlotState(day, slot, ArchiveState(state), reason) for day, slot, state, reason in found]


def stages_of(day: str) -> list[Stage]:
    """Those that the attempt which began last has its batches go through; none while none has begun."""
    begun = ArchiveRow.select(ArchiveRow.attempt_started).where(
        (ArchiveRow.day == day) & ArchiveRow.attempt_started.is_null(False)
    )
    attempts = (msgspec.json.decode(str(row.attempt_started), type=AttemptStarted) for row in begun)
    newest = max(attempts, key=lambda attempt: attempt.at, default=None)
    return newest.stages if newest else []


def stored_by_batch(day: str, slots: Iterable[str]) -> dict[tuple[str, int], int]:
    """How many clips of each batch are stored, by slot and batch."""
    rows = BatchRow.select(BatchRow.slot, BatchRow.batch, BatchRow.stored)
    return {(row.slot, row.batch): row.stored for row in rows.where((BatchRow.day == day) & BatchRow.slot.in_(slots))}


def _archive_status(row: ArchiveRow) -> ArchiveStatus:
    return ArchiveStatus(
        slot=row.slot,
        path=row.path,
        state=ArchiveState(row.state),
        attempt=row.attempt,
        run_id=row.run_id,
        job_id=row.job_id,
        node=row.node,
        batches=BatchCounts(row.batches_seen, row.batches_done, row.batches_failed),
        clips=row.clips,
        stored=row.stored,
        rejected=row.rejected,
        skipped=row.skipped,
        audio_seconds=row.audio_seconds,
        owed_record=row.owed_record,
        owed_upload=row.owed_upload,
        started_at=row.started_at,
        finished_at=row.finished_at,
        reason=row.reason,
        error=row.error,
    )


def _add(status: DayStatus, state: ArchiveState, count: int, sums: dict[str, float]) -> None:
    totals = status.totals
    totals.archives += count
    setattr(totals, state.value, getattr(totals, state.value) + count)
    for name, value in sums.items():
        setattr(totals, name, getattr(totals, name) + value)


def _decide_state(status: DayStatus) -> None:
    status.totals.audio_seconds = round(status.totals.audio_seconds, 3)
    status.state = next(
        (state for state in _DAY_STATES_BY_WEIGHT if getattr(status.totals, state.value)), ArchiveState.PENDING
    )


def files_read(day: str) -> dict[str, ArchiveFile]:
    """The file that the newest attempt at each slot read."""
    rows = ArchiveRow.select(ArchiveRow.slot, ArchiveRow.attempt_started).where(
        (ArchiveRow.day == day) & ArchiveRow.attempt_started.is_null(False)
    )
    return {row.slot: msgspec.json.decode(str(row.attempt_started), type=AttemptStarted).archive for row in rows}


def slots_that_need_a_person(day: str) -> set[str]:
    """Slots whose newest attempt ended with a mistake in the configuration, which another attempt would meet again."""
    rows = ArchiveRow.select(ArchiveRow.slot, ArchiveRow.reason, ArchiveRow.attempt_ended).where(ArchiveRow.day == day)
    return {row.slot for row in rows if row.reason == NEEDS_A_PERSON or _ended_with_a_mistake(row.attempt_ended)}


def _ended_with_a_mistake(attempt_ended: str | None) -> bool:
    if attempt_ended is None:
        return False
    return msgspec.json.decode(attempt_ended, type=AttemptEnded).exit_code == ExitCode.CONFIGURATION
