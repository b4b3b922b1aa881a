"""Deleting the archives of which everything has been proved: nothing else can be deleted, and none twice.

A proof (``audioctl.proof``) is of the moment. So the archive's lease is held while it is deleted, and its journal and
its file are looked at once more.

Which file it is, the state folder says, and its group may be able to write there. So the name has to be that of an
archive of the day and slot, by ``paths.pattern``, and the file has to be this user's own.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from audioctl.archives import ArchiveIdentity, archive_folder, is_archive_name
from audioctl.errors import ArchiveBusyError
from audioctl.ledger.journal import journal_path
from audioctl.ledger.lease import Lease, lease_path
from audioctl.ledger.progress import ArchiveProgress, read_progress
from audioctl.ledger.queries import ArchiveStatus
from audioctl.proof import Proof
from audioctl.runs import runs_of_day
from audioctl.settings import Settings
from audioctl.states import ArchiveState, Stage

GONE = "is gone already"


@dataclass(frozen=True, slots=True)
class Input:
    """An archive, and why it has to be kept; ``None`` where it may be deleted."""

    day: str
    slot: str
    path: Path
    size_bytes: int
    rejected: int
    """Clips that were not stored: they go with the archive."""
    kept: str | None


def decide(archives: Iterable[ArchiveStatus], proof: Proof, settings: Settings) -> list[Input]:
    """Which of a day's archives may be deleted: all is proved, and the file is the one that was read."""
    listed = list(archives)
    uses = Counter(archive.path for archive in listed)
    runs = runs_of_day(Path(settings.paths.state_dir), proof.day)
    submitted = {(run.run_id, archive.slot): Path(archive.path) for run in runs for archive in run.archives}
    inputs = []
    for archive in listed:
        progress = proof.journals.get(archive.slot)
        kept = _not_proved(archive, progress, proof, rows_were_compared=settings.database.enabled)
        if kept is None and uses[archive.path] > 1:
            kept = "is the archive of another slot, too"
        path, size_bytes = Path(archive.path), 0
        if kept is None and progress is not None and progress.attempt is not None:
            path = Path(progress.attempt.archive.path)
            named_by_run = submitted.get((progress.attempt.run_id or "", archive.slot))
            kept, size_bytes = _as_it_was_read(path, progress)
            kept = kept or _out_of_place(path, proof.day, archive.slot, named_by_run, settings)
        inputs.append(Input(proof.day, archive.slot, path, size_bytes, archive.rejected, kept))
    return inputs


def delete(found: Input, proof: Proof, state_dir: Path) -> str | None:
    """Delete the archive; otherwise why it was kept. Raises JournalError where its lease cannot be taken."""
    journal = journal_path(state_dir, found.day, found.slot)
    try:
        with Lease.acquire(lease_path(journal), run_id=None, job_id=None):
            progress = proof.journals[found.slot]
            if read_progress(journal) != progress:
                return "a job has worked on it meanwhile"
            kept, _ = _as_it_was_read(found.path, progress)
            if kept is None:
                found.path.unlink()
            return kept
    except ArchiveBusyError:
        return "is being worked on"
    except OSError as error:
        return f"cannot be deleted: {error.strerror}"


def to_delete(inputs: Sequence[Input]) -> list[Input]:
    return [found for found in inputs if found.kept is None]


def _not_proved(
    archive: ArchiveStatus, progress: ArchiveProgress | None, proof: Proof, *, rows_were_compared: bool
) -> str | None:
    if archive.state is not ArchiveState.DONE:
        return f"{archive.state}: {archive.reason}" if archive.reason else f"{archive.state}"
    if differences := len(proof.differences_of(archive.slot)):
        return f"{differences} {'difference' if differences == 1 else 'differences'} found"
    if progress is None or not progress.is_complete:
        return "was not looked at"
    if Stage.RECORD in progress.stages and not rows_were_compared:
        return "its rows were not looked at, because database.enabled is not set"
    return None


def _out_of_place(path: Path, day: str, slot: str, named_by_run: Path | None, settings: Settings) -> str | None:
    """Why the file is none that this program may delete, whatever a journal says, if so."""
    if not is_archive_name(path.name, day, slot, settings.paths.pattern):
        return "is not named as paths.pattern has it"
    folder = archive_folder(settings.paths.archives, day)
    if path != named_by_run and path.parent.resolve() != folder.resolve():
        return f"is neither in {folder} (paths.archives) nor named by the run that read it"
    return None


def _as_it_was_read(path: Path, progress: ArchiveProgress) -> tuple[str | None, int]:
    """Why the file is not the one that was read, if so; and its size in bytes."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return GONE, 0
    except OSError as error:
        return f"cannot be looked at: {error.strerror}", 0
    if not stat.S_ISREG(status.st_mode):
        return "is a link, or no file", 0
    if status.st_uid != os.geteuid():
        return "belongs to another user", status.st_size
    assert progress.attempt is not None
    read = progress.attempt.archive
    if ArchiveIdentity(status.st_size, status.st_mtime_ns) != (read.size_bytes, read.mtime_ns):
        return "has changed since it was read", status.st_size
    return None, status.st_size
