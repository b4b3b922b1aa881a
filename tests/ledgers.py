"""Looking into the ledger as a whole."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from audioctl.executors.registry import look_at_jobs
from audioctl.ledger.absorb import refresh
from audioctl.ledger.models import ledger_path, open_ledger
from audioctl.ledger.queries import ArchiveStatus, one_day

Tables = dict[str, list[tuple[Any, ...]]]


def look(state_dir: Path) -> Tables:
    """All rows of the ledger as a command sees them now."""
    bring_up_to_date(state_dir)
    return tables(state_dir)


def bring_up_to_date(state_dir: Path) -> None:
    with open_ledger(state_dir) as database:
        refresh(database, state_dir, partial(look_at_jobs, state_dir, print))


def tables(state_dir: Path) -> Tables:
    """What archives, batches and rejections hold."""
    with closing(sqlite3.connect(ledger_path(state_dir))) as connection:
        return {
            name: connection.execute(f"SELECT * FROM {name} ORDER BY day, slot, 3").fetchall()
            for name in ("archives", "batches", "rejections")
        }


def archives(state_dir: Path, day: str) -> dict[str, ArchiveStatus]:
    """The archives of a day by slot, as a command sees them now."""
    bring_up_to_date(state_dir)
    with open_ledger(state_dir):
        status = one_day(day)
    return {archive.slot: archive for archive in (status.archives or [])} if status else {}
