"""Bringing the ledger up to date with the runs and the journals.

A look costs what is new: journals are read on from the byte where the last look stopped, and a day whose folders
have not changed and in which nothing is going on is not looked at. (A job makes and removes its lease in the
journal's folder, which changes the folder's modification time.)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from peewee import SqliteDatabase

from audioctl.clips import ClipRecord
from audioctl.ledger.events import BatchExtracted, BatchTranscribed, ClipTranscribed
from audioctl.ledger.journal import journal_path, read_events
from audioctl.ledger.lease import lease_path, live_holder
from audioctl.ledger.models import ArchiveRow, BatchRow, DayRow, RejectionRow
from audioctl.ledger.progress import LOST, ArchiveProgress
from audioctl.ledger.rows import archive_values, batch_values, rejection_values, restore_progress
from audioctl.runs import Run, runs_of_day
from audioctl.states import ArchiveState, ClipState

LIVE_STATES = (ArchiveState.SUBMITTED, ArchiveState.RUNNING)

_SETTLED_SECONDS = 10.0
"""A folder that changed this lately may change again within the same tick of its clock; it is looked at again."""


MayStillRun = Callable[[Run, str], bool]
"""Asked whether a job (by id) of a run may still begin or go on; see ``audioctl.executors``."""


def refresh(database: SqliteDatabase, state_dir: Path, may_still_run: MayStillRun) -> None:
    """Absorb what is new of every day."""
    seen = {row.day: row for row in DayRow.select()}
    live = {row.day for row in ArchiveRow.select(ArchiveRow.day).where(ArchiveRow.state.in_(LIVE_STATES)).distinct()}
    for day in _days(state_dir):
        journals, runs = _mtime_ns(state_dir / "journals" / day), _mtime_ns(state_dir / "runs" / day)
        row = seen.get(day)
        if row is not None and day not in live and (row.journals_mtime_ns, row.runs_mtime_ns) == (journals, runs):
            continue
        with database.atomic("IMMEDIATE"):
            refresh_day(state_dir, day, may_still_run)
            if time.time() - max(journals, runs) / 1e9 > _SETTLED_SECONDS:
                DayRow.replace(day=day, journals_mtime_ns=journals, runs_mtime_ns=runs).execute()


def refresh_day(state_dir: Path, day: str, may_still_run: MayStillRun) -> None:
    """Absorb the runs and journals of one day; inside a transaction of the caller's."""
    rows = {row.slot: row for row in ArchiveRow.select().where(ArchiveRow.day == day)}
    submitted = _newest_submissions(runs_of_day(state_dir, day))
    slots = rows.keys() | submitted.keys() | set(_journal_slots(state_dir, day))
    for slot in sorted(slots):
        row = rows.get(slot) or ArchiveRow(day=day, slot=slot, path="", state=ArchiveState.PENDING)
        before = dict(row.__data__)
        progress = _absorb_journal(row, journal_path(state_dir, day, slot))
        _apply_submission(row, progress, submitted.get(slot), may_still_run)
        if row.__data__ != before:
            ArchiveRow.replace(**row.__data__).execute()


def _absorb_journal(row: ArchiveRow, journal: Path) -> ArchiveProgress:
    """Read on in the journal, write the rows of batches and rejections, update ``row``; what is known now."""
    progress = restore_progress(row)
    touched: set[int] = set()
    waiting: dict[int, dict[int, ClipRecord]] = {}
    offset = row.journal_offset
    for event, end in read_events(journal, offset):
        match event:
            case ClipTranscribed():
                # Not absorbed until its batch is: the next look begins before it again.
                waiting.setdefault(event.batch, {})[event.clip.ordinal] = event.clip
                continue
            case BatchExtracted():
                waiting.pop(event.batch, None)
            case BatchTranscribed():
                _replace_rejections(row, event.batch, waiting.pop(event.batch, {}).values())
            case _:
                pass
        progress.apply(event)
        if (batch := getattr(event, "batch", None)) is not None:
            touched.add(batch)
        offset = end
    if offset != row.journal_offset:
        _replace_batches(row, progress, touched)
    lease_is_held = (
        progress.attempt is not None and progress.ended is None and live_holder(lease_path(journal)) is not None
    )
    for name, value in archive_values(progress, lease_is_held=lease_is_held).items():
        setattr(row, name, value)
    row.journal_offset = offset
    return progress


def _replace_batches(row: ArchiveRow, progress: ArchiveProgress, touched: Iterable[int]) -> None:
    BatchRow.delete().where(
        (BatchRow.day == row.day) & (BatchRow.slot == row.slot) & (BatchRow.batch >= len(progress.batches))
    ).execute()
    values = [
        batch_values(row.day, row.slot, progress.batches[index]) for index in touched if index in progress.batches
    ]
    if values:
        BatchRow.replace_many(values).execute()


def _replace_rejections(row: ArchiveRow, batch: int, clips: Iterable[ClipRecord]) -> None:
    RejectionRow.delete().where(
        (RejectionRow.day == row.day) & (RejectionRow.slot == row.slot) & (RejectionRow.batch == batch)
    ).execute()
    values = [rejection_values(row.day, row.slot, batch, clip) for clip in clips if clip.state is ClipState.REJECTED]
    if values:
        RejectionRow.replace_many(values).execute()


def _apply_submission(
    row: ArchiveRow, progress: ArchiveProgress, newest: tuple[Run, str, str] | None, may_still_run: MayStillRun
) -> None:
    """An archive submitted anew is ``submitted`` until its job begins; or lost, when that job can come no more."""
    if newest is None:
        return
    run, path, job_id = newest
    row.submitted_run, row.submitted_job, row.submitted_at = run.run_id, job_id, run.created_at
    begun = progress.attempt is not None and (
        progress.attempt.run_id == run.run_id or progress.attempt.at > run.created_at
    )
    if begun:
        return
    row.path, row.run_id, row.job_id, row.finished_at = path, run.run_id, job_id, None
    if may_still_run(run, job_id):
        row.state, row.reason, row.error = ArchiveState.SUBMITTED, None, None
    else:
        row.state, row.reason = ArchiveState.FAILED, LOST
        row.error = "The job ended before it began to work on the archive; its log tells why."


def _newest_submissions(runs: Iterable[Run]) -> dict[str, tuple[Run, str, str]]:
    return {archive.slot: (run, archive.path, archive.job_id) for run in runs for archive in run.archives}


def _days(state_dir: Path) -> list[str]:
    return sorted({name for kind in ("journals", "runs") for name in _names(state_dir / kind)})


def _journal_slots(state_dir: Path, day: str) -> list[str]:
    return [name.removesuffix(".jsonl") for name in _names(state_dir / "journals" / day) if name.endswith(".jsonl")]


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except FileNotFoundError:
        return []


def _mtime_ns(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
