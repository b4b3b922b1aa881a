"""One attempt at an archive, as its journal tells it: how it begins, and how it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from audioctl import __version__
from audioctl.archives import archive_identity
from audioctl.clock import utc_now
from audioctl.errors import ArchiveUnreadableError, AudioctlError, Drained, LeaseLostError
from audioctl.ledger.events import ArchiveFile, AttemptEnded, AttemptStarted
from audioctl.ledger.progress import ArchiveProgress
from audioctl.node import node_name
from audioctl.pipeline.job import ArchiveJob
from audioctl.pipeline.log import ProgressLog
from audioctl.pipeline.plan import needs_reading
from audioctl.pipeline.stopwatches import AttemptTimes
from audioctl.settings import Settings
from audioctl.states import Outcome, Stage


def is_done_in_run(job: ArchiveJob, progress: ArchiveProgress) -> bool:
    """Whether an earlier job of the same run has finished the archive, damaged or not, and it has not changed since.

    Nobody of that run works on it then, so its lease need not be held to tell.
    """
    return (
        job.run_id is not None
        and progress.attempt is not None
        and progress.attempt.run_id == job.run_id
        and progress.ended is not None
        and progress.ended.outcome is Outcome.DONE
        and _archive_file(job, progress) == progress.attempt.archive
    )


@contextmanager
def attempt(
    log: ProgressLog, job: ArchiveJob, settings: Settings, after_crash: bool, times: AttemptTimes
) -> Iterator[AttemptStarted]:
    """Journals the beginning, and the end of the ``with`` block, whichever way that is.

    Raises ArchiveUnreadableError, with nothing journalled, when the archive is needed and cannot be looked at.
    """
    started = _started(job, settings, log.progress, after_crash)
    log.append(started)

    def end(outcome: Outcome, error: str | None = None, exit_code: int | None = None) -> None:
        log.append(
            AttemptEnded(
                at=utc_now(),
                attempt=started.attempt,
                outcome=outcome,
                damage=log.progress.read.damage if log.progress.read else None,
                error=error,
                exit_code=exit_code,
                timing=times.look(),
            )
        )

    try:
        yield started
    except LeaseLostError:
        raise  # the journal is another job's now
    except Drained:
        end(Outcome.DRAINED)
        raise
    except AudioctlError as error:
        end(Outcome.FAILED, error.message, error.exit_code)
        raise
    except Exception as error:
        end(Outcome.FAILED, f"{type(error).__name__}: {error}")
        raise
    end(Outcome.DONE if log.progress.is_complete else Outcome.OWED)


def _started(job: ArchiveJob, settings: Settings, progress: ArchiveProgress, after_crash: bool) -> AttemptStarted:
    before = progress.attempt
    database_stages = (Stage.RECORD, Stage.CONFIRM) if settings.database.enabled else ()
    return AttemptStarted(
        at=utc_now(),
        attempt=before.attempt + 1 if before else 1,
        run_id=job.run_id,
        job_id=job.job_id,
        node=node_name(),
        version=__version__,
        archive=_archive_file(job, progress),
        # Batches keep their bounds, or what was done could not be told from what was not.
        batch_size=before.batch_size if before and progress.batches else settings.extract.stream_batch_size,
        model=settings.transcribe.model,
        stages=[stage for stage in Stage if stage in (Stage.EXTRACT, Stage.TRANSCRIBE, Stage.UPLOAD, *database_stages)],
        after_crash=after_crash,
    )


def _archive_file(job: ArchiveJob, progress: ArchiveProgress) -> ArchiveFile:
    try:
        identity = archive_identity(job.path)
    except ArchiveUnreadableError:
        # Somebody may have cleaned it up; what is owed to the database does not need it.
        if progress.attempt is None or needs_reading(progress):
            raise
        return progress.attempt.archive
    return ArchiveFile(str(job.path), identity.size_bytes, identity.mtime_ns)
