"""Bringing the ledger up to date with the runs and the journals.

A look costs what is new: journals are read on from the byte where the last look stopped, and a day whose folders
have not changed and in which nothing may still happen is not looked at. (A job makes and removes its lease in the
journals' folder, and a run comes into being in the runs' folder; either changes the folder's modification time.)
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from peewee import SqliteDatabase

from audioctl.clips import ClipRecord
from audioctl.errors import JournalError
from audioctl.ledger.events import AttemptStarted, BatchExtracted, BatchTranscribed
from audioctl.ledger.journal import journal_path, read_entries
from audioctl.ledger.lease import lease_path, live_holder
from audioctl.ledger.models import ArchiveRow, BatchRow, DayRow, RejectionRow
from audioctl.ledger.progress import DAMAGED_JOURNAL, LOST, ArchiveProgress
from audioctl.ledger.rows import (
    batch_values,
    journal_values,
    rejection_values,
    restore_attempt,
    restore_progress,
    verdict_values,
)
from audioctl.runs import Run, RunArchive, log_path, runs_of_day
from audioctl.states import ArchiveState, ClipState

_SETTLED_SECONDS = 10.0
"""A folder that changed this lately may change again within the same tick of its clock; it is looked at again."""

_NO_FOLDERS = (0, 0)
_NOT_SETTLED = (-1, -1)
"""Times that no folder has, not even one that is gone."""

_DAY = re.compile(r"\d{4}-\d\d-\d\d")

LivingJobs = Callable[[Run], Collection[str]]
"""Asked for the jobs (by id) of a run that may still begin or go on; see ``audioctl.executors``."""


class _Submission(NamedTuple):
    run: Run
    archive: RunArchive

    def is_begun(self, attempt: AttemptStarted | None) -> bool:
        """Whether ``attempt``, the newest, belongs to this submission or is by hand (of no run) and later."""
        if attempt is None:
            return False
        return attempt.run_id == self.run.run_id or (attempt.run_id is None and attempt.at >= self.run.created_at)


def refresh(
    database: SqliteDatabase, state_dir: Path, living_jobs: LivingJobs, days: Collection[str] | None = None
) -> None:
    """Absorb what is new of these days, or of every day."""
    seen = {row.day: (row.journals_mtime_ns, row.runs_mtime_ns) for row in DayRow.select()}
    restless = _restless_days()
    for day in sorted(_days(state_dir) | seen.keys() if days is None else days):
        folders = _mtime_ns(state_dir / "journals" / day), _mtime_ns(state_dir / "runs" / day)
        if day not in restless and seen.get(day, _NO_FOLDERS) == folders:
            continue
        is_settled = time.time() - max(folders) / 1e9 > _SETTLED_SECONDS
        journals, runs = folders if is_settled else _NOT_SETTLED
        with database.atomic("IMMEDIATE"):
            refresh_day(state_dir, day, living_jobs)
            if seen.get(day) != (journals, runs):
                DayRow.replace(day=day, journals_mtime_ns=journals, runs_mtime_ns=runs).execute()


def refresh_day(state_dir: Path, day: str, living_jobs: LivingJobs) -> None:
    """Absorb the runs and journals of one day; inside a transaction of the caller's."""
    rows = {row.slot: row for row in ArchiveRow.select().where(ArchiveRow.day == day)}
    runs = runs_of_day(state_dir, day)
    submissions = {archive.slot: _Submission(run, archive) for run in runs for archive in run.archives}
    living = cache(lambda run_id: living_jobs(next(run for run in runs if run.run_id == run_id)))
    on_disk = submissions.keys() | _journal_slots(state_dir, day)
    for slot in rows.keys() - on_disk:
        _forget(day, slot)
    for slot in sorted(on_disk):
        before = rows.get(slot)
        row = _refresh_archive(
            before or ArchiveRow(day=day, slot=slot), journal_path(state_dir, day, slot), submissions.get(slot), living
        )
        if row is None:
            _forget(day, slot)
        elif before is None or row.__data__ != before.__data__:
            ArchiveRow.replace(**row.__data__).execute()


def _refresh_archive(
    known: ArchiveRow, journal: Path, submission: _Submission | None, living: Callable[[str], Collection[str]]
) -> ArchiveRow | None:
    """The row as it is now; ``None`` while nobody has submitted the archive or begun on it."""
    row = ArchiveRow(**known.__data__)
    try:
        absorb_journal(row, journal)
        verdict = _verdict(row, journal, submission, living)
        # A job writes its last line before it goes. So what looks lost is looked at again before it is told.
        while verdict.get("reason") == LOST and absorb_journal(row, journal):
            verdict = _verdict(row, journal, submission, living)
    except JournalError as error:
        # One archive's trouble, which must not hide all the others.
        verdict = {"state": ArchiveState.FAILED, "reason": DAMAGED_JOURNAL, "error": error.message}
        if error.hint:
            verdict["error"] += f" {error.hint}"
    for name, value in verdict.items():
        setattr(row, name, value)
    return row if verdict else None


def absorb_journal(row: ArchiveRow, journal: Path) -> bool:
    """Read on in the journal and write the rows of batches and rejections; whether there was anything new.

    Sets the columns of ``row`` that the journal decides, but for the verdict. Raises JournalError, with all that stands
    before the damage absorbed.
    """
    size = _size(journal)
    if size < row.journal_offset:
        _start_over(row)
    if size == row.journal_offset:
        return False
    progress = restore_progress(row)
    offset = row.journal_offset
    touched: set[int] = set()
    rejected: dict[int, list[ClipRecord]] = {}
    try:
        for event, clips, end in read_entries(journal, offset):
            progress.apply(event)
            offset = end
            match event:
                case BatchTranscribed(batch=index) if index in progress.batches:
                    rejected[index] = [clip for clip in clips if clip.state is ClipState.REJECTED]
                case BatchExtracted(batch=index) if not progress.batches[index].is_transcribed:
                    rejected[index] = []
                case _:
                    pass
            if (batch := getattr(event, "batch", None)) is not None:
                touched.add(batch)
    finally:
        grown = offset > row.journal_offset
        if grown:
            _write(row, progress, touched, rejected)
            row.journal_offset = offset
    return grown


def _write(
    row: ArchiveRow, progress: ArchiveProgress, touched: Iterable[int], rejected: dict[int, list[ClipRecord]]
) -> None:
    for model in (BatchRow, RejectionRow):
        _delete(model, row, model.batch.not_in(list(progress.batches)))
    batches = [batch_values(row.day, row.slot, progress.batches[batch]) for batch in touched & progress.batches.keys()]
    if batches:
        BatchRow.replace_many(batches).execute()
    _delete(RejectionRow, row, RejectionRow.batch.in_(list(rejected)))
    rejections = [
        rejection_values(row.day, row.slot, batch, clip)
        for batch, clips in rejected.items()
        if batch in progress.batches
        for clip in clips
    ]
    if rejections:
        RejectionRow.replace_many(rejections).execute()
    for name, value in journal_values(progress).items():
        setattr(row, name, value)


def _verdict(
    row: ArchiveRow, journal: Path, submission: _Submission | None, living: Callable[[str], Collection[str]]
) -> dict[str, Any]:
    """State, reason, error and whose work it is: of the newest attempt, or of a submission that has not begun."""
    known = restore_attempt(row)
    if submission is not None and not submission.is_begun(known.attempt):
        run, archive = submission
        verdict = {"path": archive.path, "run_id": run.run_id, "job_id": archive.job_id, "node": None}
        if archive.job_id in living(run.run_id):
            return verdict | {"state": ArchiveState.SUBMITTED, "reason": None, "error": None, "finished_at": None}
        log = log_path(Path("runs", run.day, run.run_id), row.slot)
        error = f"The job ended before it began to work on the archive; in paths.state_dir, {log} tells why."
        return verdict | {"state": ArchiveState.FAILED, "reason": LOST, "error": error, "finished_at": None}
    if known.attempt is None:
        return {}
    lease_is_held = known.ended is None and live_holder(lease_path(journal)) is not None
    return verdict_values(known, row.batch_error, lease_is_held=lease_is_held)


def _restless_days() -> set[str]:
    """Days with an archive that may change without a change in the day's folders.

    Besides what is under way, that is what was given up for lost and may come back (a frozen node), and a journal that
    somebody mends.
    """
    is_live = ArchiveRow.state.in_([ArchiveState.SUBMITTED, ArchiveState.RUNNING])
    may_recover = (ArchiveRow.state == ArchiveState.FAILED) & ArchiveRow.reason.in_([LOST, DAMAGED_JOURNAL])
    return {row.day for row in ArchiveRow.select(ArchiveRow.day).where(is_live | may_recover).distinct()}


def _start_over(row: ArchiveRow) -> None:
    """Somebody has cut the journal, or put another in its place."""
    _forget(row.day, row.slot)
    row.__data__ = ArchiveRow(day=row.day, slot=row.slot).__data__


def _forget(day: str, slot: str) -> None:
    for model in (ArchiveRow, BatchRow, RejectionRow):
        model.delete().where((model.day == day) & (model.slot == slot)).execute()


def _delete(model: type[BatchRow] | type[RejectionRow], row: ArchiveRow, which: Any) -> None:
    model.delete().where((model.day == row.day) & (model.slot == row.slot) & which).execute()


def _days(state_dir: Path) -> set[str]:
    return {name for kind in ("journals", "runs") for name in _names(state_dir / kind) if _DAY.fullmatch(name)}


def _journal_slots(state_dir: Path, day: str) -> set[str]:
    return {name.removesuffix(".jsonl") for name in _names(state_dir / "journals" / day) if name.endswith(".jsonl")}


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


def _size(journal: Path) -> int:
    try:
        return journal.stat().st_size
    except FileNotFoundError:
        return 0
