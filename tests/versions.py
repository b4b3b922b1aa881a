"""What earlier versions wrote (``python -m tools.version_fixtures`` makes it), brought back to life."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import psycopg

from audioctl.ledger.models import ledger_path

VERSIONS = Path(__file__).with_name("versions")
STATE = VERSIONS / "state"
DATABASE = VERSIONS / "database"

DAY = "2025-01-25"
UNFINISHED_SLOTS = ("12_00", "12_10", "12_20")
"""Of the unfinished day: done, broken off, not begun."""

PLACEHOLDER = "@FOLDER@"
"""Stands for the folder in which the unfinished day lay."""


def states() -> list[str]:
    """By the newest migration of the ledger that the version had, oldest first."""
    return sorted(path.name for path in STATE.iterdir())


def databases() -> list[str]:
    return sorted(path.stem for path in DATABASE.iterdir())


def bring_back_eventful(version: str, state: Path) -> None:
    """Journals, runs and ledger, all with the times that the ledger remembers."""
    source = STATE / version / "eventful"
    shutil.copytree(source / "state", state)
    with closing(sqlite3.connect(ledger_path(state))) as connection:
        connection.executescript((source / "ledger.sql").read_text())
        for day, *times in connection.execute("SELECT day, journals_mtime_ns, runs_mtime_ns FROM days").fetchall():
            for kind, time in zip(("journals", "runs"), times, strict=True):
                os.utime(state / kind / day, ns=(time, time))


def bring_back_unfinished(version: str, folder: Path) -> None:
    """The state of the day, below ``folder``, where its archives must lie."""
    source = STATE / version / "unfinished"
    for path in source.rglob("*"):
        if path.is_file():
            copy = folder / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            text = path.read_text().replace(f"{PLACEHOLDER}/python", sys.executable)
            copy.write_text(text.replace(PLACEHOLDER, str(folder)))


def bring_back_database(name: str, conninfo: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute((DATABASE / f"{name}.sql").read_text().encode())
