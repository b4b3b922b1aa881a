"""Absorbing one journal: the rows of its batches and rejections, and the columns of its archive that it decides."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from audioctl.clips import ClipRecord
from audioctl.ledger.events import BatchExtracted, BatchTranscribed
from audioctl.ledger.journal import read_entries
from audioctl.ledger.models import ArchiveRow, BatchRow, RejectionRow
from audioctl.ledger.progress import ArchiveProgress
from audioctl.ledger.rows import batch_values, journal_values, rejection_values, restore_progress
from audioctl.states import ClipState


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
            counts = progress.apply(event)
            offset = end
            match event:
                case _ if not counts:
                    continue
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


def _start_over(row: ArchiveRow) -> None:
    """Somebody has cut the journal, or put another in its place."""
    forget(row.day, row.slot)
    row.__data__ = ArchiveRow(day=row.day, slot=row.slot).__data__


def forget(day: str, slot: str) -> None:
    for model in (ArchiveRow, BatchRow, RejectionRow):
        model.delete().where((model.day == day) & (model.slot == slot)).execute()


def _delete(model: type[BatchRow] | type[RejectionRow], row: ArchiveRow, which: Any) -> None:
    model.delete().where((model.day == row.day) & (model.slot == row.slot) & which).execute()


def _size(journal: Path) -> int:
    try:
        return journal.stat().st_size
    except FileNotFoundError:
        return 0
