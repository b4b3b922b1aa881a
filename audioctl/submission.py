"""Deciding which archives a run is made of, and making it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from audioctl import __version__
from audioctl.archives import Archive, ArchiveIdentity, archive_identity
from audioctl.clock import utc_now
from audioctl.configuration import dump_toml
from audioctl.errors import (
    AlreadySubmittedError,
    ArchiveBusyError,
    ArchiveUnreadableError,
    SchedulerError,
    SchedulerSilentError,
)
from audioctl.executors.base import Executor, Submitted
from audioctl.failpoints import failpoint
from audioctl.ledger.events import ArchiveFile
from audioctl.ledger.lease import Lease
from audioctl.ledger.queries import ArchiveStatus
from audioctl.processes import user_name
from audioctl.runs import CONFIG_FILE, Run, RunArchive, new_run_id, remove_run, run_folder, write_run
from audioctl.settings import Settings
from audioctl.states import ArchiveState
from audioctl.templates import ScriptRequest

_PATIENCE_SECONDS = 240.0
"""Longer than sbatch tries where the cluster has as many jobs as it takes."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether an archive is submitted, and why, in words."""

    archive: Archive
    submit: bool
    why: str
    attempts: int = 0
    """That the archive has seen so far."""
    live_job_id: str | None = None
    """The job that is to work on it, or does, where that is why it is not submitted."""


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
        return _under_way(archive, status)
    if status.state is ArchiveState.CANCELLED:
        return Decision(archive, True, "was cancelled", status.attempt)
    return decide_resumption(archive, status, read_file)


def decide_resumption(archive: Archive, status: ArchiveStatus, read_file: ArchiveFile | None) -> Decision:
    """``resume`` takes up what failed, was lost or drained, or is owed; a damaged archive only if it was replaced."""

    def submit(why: str) -> Decision:
        return Decision(archive, True, why, status.attempt)

    match status.state:
        case ArchiveState.FAILED:
            return submit(_why_failed(status))
        case ArchiveState.DAMAGED if not _is_same(archive, read_file):
            return submit("was damaged and has been replaced")
        case ArchiveState.DAMAGED:
            return Decision(archive, False, f"damaged ({status.reason}); a whole copy is needed first")
        case ArchiveState.DONE if not _is_same(archive, read_file):
            return submit("is done, but the archive has changed since")
        case ArchiveState.CANCELLED:
            return Decision(archive, False, "cancelled; submit it again with submit-tar or submit-day")
        case ArchiveState.SUBMITTED | ArchiveState.RUNNING:
            return _under_way(archive, status)
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
    day: str,
    archives: Sequence[Archive],
    settings: Settings,
    executor: Executor,
    max_concurrent: int,
    *,
    attempts_before: Mapping[str, int] = MappingProxyType({}),
    submission: int = 1,
) -> PreparedRun:
    """Everything a run consists of; nothing is written.

    ``settings`` are frozen ones, ``attempts_before`` is by slot.
    """
    run_id = new_run_id()
    jobs = executor.plan(len(archives), settings)
    run = Run(
        run_id=run_id,
        day=day,
        created_at=utc_now(),
        version=__version__,
        executor=executor.name,
        max_concurrent=max_concurrent,
        archives=[
            RunArchive(archive.slot, str(archive.path), job, attempts_before.get(archive.slot, 0))
            for archive, job in zip(archives, jobs, strict=True)
        ],
        user=user_name(),
        submission=submission,
    )
    folder = run_folder(Path(settings.paths.state_dir), run)
    request = ScriptRequest(
        folder=folder,
        run_id=run_id,
        day=day,
        archives=[(archive.slot, archive.path, job) for archive, job in zip(archives, jobs, strict=True)],
        settings=settings,
        max_concurrent=max_concurrent,
        submission=submission,
    )
    return PreparedRun(run, folder, {CONFIG_FILE: dump_toml(settings, frozen=True), **executor.scripts(request)})


def submit_run(prepared: PreparedRun, executor: Executor, after: Sequence[str] = ()) -> Submitted:
    """Write the run and start its jobs, once the jobs ``after`` have ended.

    The run is there before its jobs are asked for: what dies in between leaves a run whose jobs can be looked for. One
    that was refused leaves nothing.
    """
    write_run(prepared.folder, prepared.run, prepared.files)
    failpoint("run.written")
    try:
        return executor.submit(prepared.folder, prepared.run, after)
    except SchedulerSilentError:
        raise
    except SchedulerError:
        remove_run(prepared.folder)
        raise


@contextmanager
def one_at_a_time(
    state_dir: Path, *, patience_seconds: float = _PATIENCE_SECONDS, look_seconds: float = 0.2
) -> Iterator[None]:
    """Whoever decides what to submit, and submits it, does so alone: two at once would submit everything twice.

    Raises AlreadySubmittedError when somebody else takes longer than ``patience_seconds``.
    """
    give_up_at = time.monotonic() + patience_seconds
    while True:
        try:
            lease = Lease.acquire(state_dir / "submission.lease", run_id=None, job_id=None)
        except ArchiveBusyError as busy:
            if time.monotonic() >= give_up_at:
                raise AlreadySubmittedError(
                    "Another audioctl is submitting jobs, and takes its time.",
                    hint=f"Try again in a few minutes. ({busy.message})",
                ) from busy
            time.sleep(look_seconds)
        else:
            with lease:
                yield
            return


def choose_slots(archives: Iterable[Archive], slots: Sequence[str]) -> list[Archive]:
    """Those of the named slots, or all when none is named."""
    return [archive for archive in archives if not slots or archive.slot in slots]


def _under_way(archive: Archive, status: ArchiveStatus) -> Decision:
    job = f" as job {status.job_id}" if status.job_id else ""
    return Decision(archive, False, f"{status.state}{job}", status.attempt, status.job_id or "unknown")


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
        case str(word) if word.isupper():
            return f"{word} after {status.batches.done} batches"
        case _:
            return "failed: " + (status.error or "for an unknown reason").splitlines()[0]
