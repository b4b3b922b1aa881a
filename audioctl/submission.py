"""Deciding which archives a run is made of, and making it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from audioctl import __version__
from audioctl.archives import Archive, ArchiveIdentity, archive_identity
from audioctl.clock import utc_now
from audioctl.configuration import dump_toml
from audioctl.errors import ArchiveUnreadableError
from audioctl.executors.base import Executor
from audioctl.ledger.events import ArchiveFile
from audioctl.ledger.queries import ArchiveStatus
from audioctl.runs import CONFIG_FILE, Run, RunArchive, new_run_id, run_folder, write_run
from audioctl.settings import Settings
from audioctl.states import ArchiveState
from audioctl.templates import ScriptRequest


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether an archive is submitted, and why, in words."""

    archive: Archive
    submit: bool
    why: str


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """A run before it is submitted: what ``--dry-run`` prints."""

    run: Run
    folder: Path
    files: Mapping[str, str]


def decide_submission(archive: Archive, status: ArchiveStatus | None, read_file: ArchiveFile | None) -> Decision:
    """``submit-day`` wants the archive done: what is done or under way is left alone."""
    if status is None or status.state is ArchiveState.PENDING:
        return Decision(archive, True, "new")
    if status.state in (ArchiveState.SUBMITTED, ArchiveState.RUNNING):
        return Decision(archive, False, f"{status.state} as job {status.job_id}")
    if status.state is ArchiveState.CANCELLED:
        return Decision(archive, True, "was cancelled")
    return decide_resumption(archive, status, read_file)


def decide_resumption(archive: Archive, status: ArchiveStatus, read_file: ArchiveFile | None) -> Decision:
    """``resume`` takes up what failed, was lost or drained, or is owed; a damaged archive only if it was replaced."""
    match status.state:
        case ArchiveState.FAILED:
            return Decision(archive, True, _why_failed(status))
        case ArchiveState.DAMAGED if not _is_same(archive, read_file):
            return Decision(archive, True, "was damaged and has been replaced")
        case ArchiveState.DAMAGED:
            return Decision(archive, False, f"damaged ({status.reason}); a whole copy is needed first")
        case ArchiveState.DONE if not _is_same(archive, read_file):
            return Decision(archive, True, "is done, but the archive has changed since")
        case ArchiveState.CANCELLED:
            return Decision(archive, False, "cancelled; submit it again with submit-tar or submit-day")
        case _:
            return Decision(archive, False, f"{status.state}")


def known_archive(day: str, status: ArchiveStatus, read_file: ArchiveFile | None) -> Archive:
    """The archive of a status as its file is now.

    Where there is no file any more, as it was read: what is owed to the database does not need it, and nothing has
    taken its place. The job says so if something does need it.
    """
    path = Path(status.path)
    try:
        identity = archive_identity(path)
    except ArchiveUnreadableError:
        read = (read_file.size_bytes, read_file.mtime_ns) if read_file else (0, 0)
        identity = ArchiveIdentity(*read)
    return Archive(day, status.slot, path, identity.size_bytes, identity.mtime_ns)


def prepare_run(
    day: str, archives: Sequence[Archive], settings: Settings, executor: Executor, max_concurrent: int
) -> PreparedRun:
    """Everything a run consists of; nothing is written. ``settings`` are frozen ones."""
    run_id = new_run_id()
    job_ids = executor.job_ids(run_id, len(archives))
    run = Run(
        run_id=run_id,
        day=day,
        created_at=utc_now(),
        version=__version__,
        executor=executor.name,
        max_concurrent=max_concurrent,
        archives=[
            RunArchive(archive.slot, str(archive.path), job_id)
            for archive, job_id in zip(archives, job_ids, strict=True)
        ],
    )
    folder = run_folder(Path(settings.paths.state_dir), run)
    request = ScriptRequest(
        folder=folder,
        run_id=run_id,
        day=day,
        archives=[(archive.slot, archive.path) for archive in archives],
        settings=settings,
    )
    return PreparedRun(run, folder, {CONFIG_FILE: dump_toml(settings, frozen=True), **executor.scripts(request)})


def submit_run(prepared: PreparedRun, executor: Executor) -> None:
    """Write the run and start its jobs."""
    write_run(prepared.folder, prepared.run, prepared.files)
    executor.submit(prepared.folder, prepared.run)


def choose_slots(archives: Iterable[Archive], slots: Sequence[str]) -> list[Archive]:
    """Those of the named slots, or all when none is named."""
    return [archive for archive in archives if not slots or archive.slot in slots]


def _is_same(archive: Archive, read_file: ArchiveFile | None) -> bool:
    return read_file is not None and (read_file.size_bytes, read_file.mtime_ns) == (
        archive.size_bytes,
        archive.mtime_ns,
    )


def _why_failed(status: ArchiveStatus) -> str:
    owed = ", ".join(
        words
        for count, words in (
            (status.owed_upload, f"{status.owed_upload} files to upload"),
            (status.owed_record, f"{status.owed_record} rows to record"),
        )
        if count
    )
    match status.reason:
        case "owed":
            return f"owes {owed}" if owed else "not finished"
        case "drained":
            return f"was ended early by a signal after {status.batches.done} batches"
        case "lost":
            return f"its job went away after {status.batches.done} batches"
        case _:
            return "failed: " + (status.error or "for an unknown reason").splitlines()[0]
