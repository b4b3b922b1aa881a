"""Which days and slots a state folder knows of, by the names in it alone: quick, and nothing is opened for writing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from audioctl.days import SLOT_PATTERN, is_day
from audioctl.errors import LedgerError
from audioctl.runs import runs_folder, runs_of_day


def days_in(state_dir: Path) -> list[str]:
    """Days that were submitted or worked on, in order; none where there is no such folder."""
    names = {path.name for part in ("runs", "journals") for path in _entries(state_dir / part)}
    return sorted(filter(is_day, names))


def slots_in(state_dir: Path, day: str) -> list[str]:
    """The slots of a day that were submitted or worked on, in order, as far as they can be read."""
    slots = {path.stem for path in _entries(state_dir / "journals" / day) if path.suffix == ".jsonl"}
    if runs_folder(state_dir, day).is_dir():
        with suppress(LedgerError):
            slots |= {archive.slot for run in runs_of_day(state_dir, day) for archive in run.archives}
    return sorted(filter(SLOT_PATTERN.fullmatch, slots))


def _entries(folder: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from folder.iterdir()
