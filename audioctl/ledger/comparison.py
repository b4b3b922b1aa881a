"""Whether the ledger still says what the journals say: its rows beside those of one that is made anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from audioctl.jobs import JobKey, JobStatus
from audioctl.ledger.absorb import refresh
from audioctl.ledger.models import ArchiveRow, BatchRow, RejectionRow, open_private_ledger
from audioctl.runs import Run

_COUNTED = (
    *("attempt", "batches_seen", "batches_done", "batches_failed", "clips", "stored", "rejected", "skipped"),
    *("audio_seconds", "owed_record", "owed_upload", "started_at"),
)
_JUDGED = (*_COUNTED, "path", "state", "reason", "error", "run_id", "job_id", "node", "finished_at")
"""Where the journal decides alone, which is where no job was asked about."""

DayContent = dict[str, dict[str, Any]]
"""What a ledger says of a day: by slot, values by name."""


def day_content(day: str) -> DayContent:
    """Of the ledger that is open."""
    content: DayContent = {}
    for archive in _rows(ArchiveRow, day):
        names = _COUNTED if archive["question"] else _JUDGED
        content[archive["slot"]] = {name: archive[name] for name in names}
    for batch in _rows(BatchRow, day):
        content.setdefault(batch["slot"], {})[f"batch {batch['batch']}"] = batch
    for rejection in _rows(RejectionRow, day):
        content.setdefault(rejection["slot"], {})[f"rejection {rejection['ordinal']}"] = rejection
    return content


def _rows(model: type[ArchiveRow] | type[BatchRow] | type[RejectionRow], day: str) -> Iterable[dict[str, Any]]:
    return cast(Iterable[dict[str, Any]], model.select().where(model.day == day).dicts())


def content_of_journals(state_dir: Path, day: str) -> DayContent:
    """Of a ledger that is made anew from the journals, without a question about any job."""
    with open_private_ledger() as database:
        refresh(database, state_dir, _ask_nobody, [day])
        return day_content(day)


def _ask_nobody(runs: Sequence[Run]) -> Mapping[JobKey, JobStatus]:  # noqa: ARG001
    return {}


def ledger_differences(known: DayContent, anew: DayContent) -> Iterator[tuple[str, str]]:
    """Slot and, in words, what the ledger has wrong of it."""
    for slot in sorted(known.keys() | anew.keys()):
        has, should = known.get(slot, {}), anew.get(slot, {})
        wrong = [_in_words(name, has, should) for name in sorted(should) if has.get(name) != should[name]]
        wrong += [f"{name} is unknown to the journal" for name in sorted(has.keys() - should.keys())]
        if wrong:
            more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
            yield slot, ", ".join(wrong[:3]) + more


def _in_words(name: str, has: dict[str, Any], should: dict[str, Any]) -> str:
    if name not in has:
        return f"{name} is missing"
    if isinstance(should[name], dict):
        columns = [column for column, value in should[name].items() if has[name][column] != value]
        return f"{name} has another {' and '.join(columns)}"
    return f"{name} is {has[name]}, not {should[name]}"
