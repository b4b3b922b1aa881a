"""Runs: one submission each, on disk under ``<state_dir>/runs/<day>/<run-id>/`` and never changed afterwards."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from audioctl.errors import LedgerError

RUN_FILE = "run.json"
CONFIG_FILE = "config.toml"
JOB_SCRIPT = "job.sh"


class RunArchive(msgspec.Struct, frozen=True):
    """One archive of a run and the job that works on it."""

    slot: str
    path: str
    job_id: str


class Run(msgspec.Struct, frozen=True):
    """What was submitted. The jobs are in the order of the archives."""

    run_id: str
    day: str
    created_at: str
    version: str
    executor: str
    max_concurrent: int
    archives: list[RunArchive]


def new_run_id() -> str:
    """Sorts by time; unique without anybody to ask."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def runs_folder(state_dir: Path, day: str) -> Path:
    return state_dir / "runs" / day


def run_folder(state_dir: Path, run: Run) -> Path:
    return runs_folder(state_dir, run.day) / run.run_id


def log_path(folder: Path, slot: str) -> Path:
    """Where the job of a slot writes what it prints."""
    return folder / "logs" / f"{slot}.log"


def write_run(folder: Path, run: Run, files: Mapping[str, str]) -> None:
    """Write the files (scripts, frozen settings), then run.json; a folder without run.json is no run."""
    try:
        (folder / "logs").mkdir(parents=True)
        for name, content in files.items():
            (folder / name).write_text(content, encoding="utf-8", errors="surrogateescape")
        unfinished = folder / f".{RUN_FILE}"
        with unfinished.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(run)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(folder / RUN_FILE)
    except OSError as error:
        raise LedgerError(
            f"The run cannot be written to {folder}: {error.strerror}.", hint="Check paths.state_dir."
        ) from error


def read_run(folder: Path) -> Run:
    """Raises LedgerError when the folder holds no run that this version understands."""
    try:
        return msgspec.json.decode((folder / RUN_FILE).read_bytes(), type=Run)
    except (OSError, msgspec.DecodeError) as error:
        raise LedgerError(f"{folder / RUN_FILE} cannot be read: {error}") from error


def runs_of_day(state_dir: Path, day: str) -> list[Run]:
    """Oldest first."""
    folder = runs_folder(state_dir, day)
    if not folder.is_dir():
        return []
    return [read_run(entry) for entry in sorted(folder.iterdir()) if (entry / RUN_FILE).is_file()]
