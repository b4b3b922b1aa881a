"""Runs: one submission each, on disk under ``<state_dir>/runs/<day>/<run-id>/`` and never changed afterwards."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from audioctl import __version__
from audioctl.errors import LedgerError
from audioctl.failpoints import failpoint
from audioctl.permissions import make_folder, open_private
from audioctl.whole_files import written_whole

RUN_FILE = "run.json"
CONFIG_FILE = "config.toml"
JOB_SCRIPT = "job.sh"
CANCELLED_FILE = "cancelled"
"""Stands in the folder of a run that somebody has cancelled."""


class RunArchive(msgspec.Struct, frozen=True):
    """One archive of a run and the job that works on it."""

    slot: str
    path: str
    job: str
    """Names a job within its run, as the executor planned it; the id of the job may come later."""
    attempts_before: int = 0
    """Attempts that the archive had seen when a person last submitted it."""


class Run(msgspec.Struct, frozen=True):
    """What was submitted."""

    run_id: str
    day: str
    created_at: str
    version: str
    executor: str
    max_concurrent: int
    archives: list[RunArchive]
    user: str = ""
    submission: int = 1
    """1 for what a person submitted; what a finishing job submits again counts on from there."""


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
    """Write a run with its files (scripts, frozen settings). The folder is there when all of it is."""
    unfinished = folder.with_name(f".{folder.name}")
    try:
        make_folder(unfinished / "logs")
        for archive in run.archives:
            # The shell that redirects to it would make it readable for others.
            with open(log_path(unfinished, archive.slot), "xb", opener=open_private):
                pass
        for name, content in files.items():
            with open(unfinished / name, "w", encoding="utf-8", errors="surrogateescape", opener=open_private) as text:
                text.write(content)
        with open(unfinished / RUN_FILE, "wb", opener=open_private) as file:
            file.write(msgspec.json.format(msgspec.json.encode(run)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        failpoint("run.rename")
        unfinished.rename(folder)
    except OSError as error:
        raise LedgerError(
            f"The run cannot be written to {folder}: {error.strerror}.",
            hint="Look at the permissions and the free space of paths.state_dir.",
        ) from error


def write_whole_file(path: Path, content: bytes) -> None:
    """A file of a run's folder, there as a whole or not at all. Raises LedgerError."""
    try:
        with written_whole(path) as unfinished, open(unfinished, "wb", opener=open_private) as file:
            file.write(content)
    except OSError as error:
        raise LedgerError(
            f"{path} cannot be written: {error.strerror}.",
            hint="Look at the permissions and the free space of paths.state_dir.",
        ) from error


def remove_run(folder: Path) -> None:
    """Of a run that was written and then not submitted. Raises LedgerError."""
    unfinished = folder.with_name(f".{folder.name}")
    try:
        folder.rename(unfinished)
        shutil.rmtree(unfinished)
    except OSError as error:
        raise LedgerError(
            f"The run in {folder}, which was not submitted, cannot be removed: {error.strerror}.",
            hint="Remove the folder by hand.",
        ) from error


def is_cancelled(folder: Path) -> bool:
    """Whether somebody has cancelled the run."""
    return (folder / CANCELLED_FILE).exists()


def mark_cancelled(folder: Path) -> None:
    """Raises LedgerError."""
    try:
        with open(folder / CANCELLED_FILE, "ab", opener=open_private):
            pass
    except OSError as error:
        raise LedgerError(
            f"{folder / CANCELLED_FILE} cannot be written: {error.strerror}.",
            hint="Only the one who submitted the run can cancel it; else look at the free space of paths.state_dir.",
        ) from error


def unmark_cancelled(folder: Path) -> None:
    (folder / CANCELLED_FILE).unlink(missing_ok=True)


def read_run(folder: Path) -> Run:
    """Raises LedgerError when the folder holds no run that this version understands."""
    path = folder / RUN_FILE
    try:
        content = path.read_bytes()
        return _decode(content)
    except OSError as error:
        raise LedgerError(
            f"{path} cannot be read: {error.strerror}.",
            hint="It belongs to whoever submitted the run: ask them, or for the right to read their paths.state_dir.",
        ) from error
    except msgspec.DecodeError as error:
        raise LedgerError(
            f"{path} cannot be understood{_by_another_version(content)}: {error}",
            hint="If a newer audioctl wrote it, upgrade; if it is damaged, move its folder away.",
        ) from error


def runs_of_day(state_dir: Path, day: str) -> list[Run]:
    """Oldest first."""
    folder = runs_folder(state_dir, day)
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except FileNotFoundError:
        return []
    # A hidden one is being written, or its writer died.
    return [read_run(folder / name) for name in names if name[0] != "." and (folder / name / RUN_FILE).is_file()]


class _ArchiveWithJobId(msgspec.Struct, frozen=True):
    slot: str
    path: str
    job_id: str


class _RunWithJobIds(msgspec.Struct, frozen=True):
    """As the first version wrote it, which knew local jobs only: their ids are the run's and the archive's number."""

    run_id: str
    day: str
    created_at: str
    version: str
    executor: str
    max_concurrent: int
    archives: list[_ArchiveWithJobId]


def _decode(content: bytes) -> Run:
    try:
        return msgspec.json.decode(content, type=Run)
    except msgspec.ValidationError as error:
        try:
            return _with_named_jobs(msgspec.json.decode(content, type=_RunWithJobIds))
        except msgspec.ValidationError:
            raise error from None


def _with_named_jobs(run: _RunWithJobIds) -> Run:
    archives = [
        RunArchive(archive.slot, archive.path, archive.job_id.removeprefix(f"{run.run_id}_"))
        for archive in run.archives
    ]
    return Run(run.run_id, run.day, run.created_at, run.version, run.executor, run.max_concurrent, archives)


class _Version(msgspec.Struct, frozen=True):
    version: str


def _by_another_version(content: bytes) -> str:
    try:
        version = msgspec.json.decode(content, type=_Version).version
    except msgspec.DecodeError:
        return ""
    return f" by audioctl {__version__}; audioctl {version} wrote it" if version != __version__ else ""
