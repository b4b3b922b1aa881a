"""Between the state rules (``ArchiveProgress``) and the columns of the ledger."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from audioctl.clips import ClipRecord
from audioctl.ledger.events import ArchiveRead, AttemptEnded, AttemptStarted
from audioctl.ledger.models import ArchiveRow, BatchRow
from audioctl.ledger.progress import ArchiveProgress, BatchProgress
from audioctl.states import Reason, Stage, StageState

Kind = TypeVar("Kind", bound=msgspec.Struct)

_KNOWN_BEFORE_DECODING = {Reason.EMPTY, Reason.TOO_LARGE, Reason.UNSAFE_NAME}


def archive_values(progress: ArchiveProgress, *, lease_is_held: bool) -> dict[str, Any]:
    """Every column of ``archives`` that the journal of an archive decides; none while nobody has begun on it."""
    if progress.attempt is None:
        return {}
    return journal_values(progress) | verdict_values(progress, _batch_error(progress), lease_is_held=lease_is_held)


def journal_values(progress: ArchiveProgress) -> dict[str, Any]:
    """The columns that only new lines in the journal change."""
    batches = list(progress.batches.values())
    return {
        "attempt": progress.attempt.attempt if progress.attempt else 0,
        "batches_seen": len(batches),
        "batches_done": sum(batch.is_done(progress.stages) for batch in batches),
        "batches_failed": sum(batch.has_failed(progress.stages) for batch in batches),
        "clips": sum(batch.stored + batch.rejected for batch in batches),
        "stored": sum(batch.stored for batch in batches),
        "rejected": sum(batch.rejected for batch in batches),
        "skipped": sum(batch.skipped for batch in batches),
        "audio_seconds": round(sum(batch.audio_seconds for batch in batches), 3),
        "owed_record": progress.owed(Stage.RECORD, Stage.CONFIRM),
        "owed_upload": progress.owed(Stage.UPLOAD),
        "started_at": progress.started_at,
        "batch_error": _batch_error(progress),
        "attempt_started": _json(progress.attempt),
        # How its time was spent would be a third of the row, and is at the end of the journal.
        "attempt_ended": _json(progress.ended and msgspec.structs.replace(progress.ended, timing=None)),
        "archive_read": _json(progress.read),
    }


def verdict_values(progress: ArchiveProgress, batch_error: str | None, *, lease_is_held: bool) -> dict[str, Any]:
    """The columns that tell how the newest attempt goes or ended; ``progress`` needs no batches for it."""
    attempt, ended, read = progress.attempt, progress.ended, progress.read
    assert attempt is not None
    state, reason = progress.state(lease_is_held=lease_is_held)
    return {
        "path": attempt.archive.path,
        "run_id": attempt.run_id,
        "job_id": attempt.job_id,
        "node": attempt.node,
        "state": state,
        "reason": reason,
        "error": (ended and ended.error) or (read and read.detail) or batch_error,
        "finished_at": ended.at if ended else None,
    }


def batch_values(day: str, slot: str, batch: BatchProgress) -> dict[str, Any]:
    return {
        "day": day,
        "slot": slot,
        "batch": batch.index,
        "first_ordinal": batch.first_ordinal,
        "members": batch.members,
        "digest": batch.digest,
        "stored": batch.stored,
        "rejected": batch.rejected,
        "skipped": batch.skipped,
        "audio_seconds": batch.audio_seconds,
        "updated_at": batch.updated_at,
        "error": batch.error,
        **{stage.value: batch.state(stage) for stage in Stage},
    }


def rejection_values(day: str, slot: str, batch: int, clip: ClipRecord) -> dict[str, Any]:
    return {
        "day": day,
        "slot": slot,
        "ordinal": clip.ordinal,
        "batch": batch,
        "member": clip.member,
        "stage": Stage.EXTRACT if clip.reason in _KNOWN_BEFORE_DECODING else Stage.TRANSCRIBE,
        "reason": clip.reason,
        "detail": clip.detail,
    }


def restore_attempt(row: ArchiveRow) -> ArchiveProgress:
    """What the journal said up to ``row.journal_offset``, without the batches."""
    return ArchiveProgress(
        attempt=_decode(row.attempt_started, AttemptStarted),
        started_at=row.started_at,
        ended=_decode(row.attempt_ended, AttemptEnded),
        read=_decode(row.archive_read, ArchiveRead),
    )


def restore_progress(row: ArchiveRow) -> ArchiveProgress:
    """What the journal said up to ``row.journal_offset``."""
    progress = restore_attempt(row)
    rows = BatchRow.select().where((BatchRow.day == row.day) & (BatchRow.slot == row.slot))
    progress.batches = {batch.batch: _batch(batch) for batch in rows}
    return progress


def _batch(row: BatchRow) -> BatchProgress:
    return BatchProgress(
        index=row.batch,
        first_ordinal=row.first_ordinal,
        members=row.members,
        digest=row.digest,
        stages={stage: StageState(getattr(row, stage.value)) for stage in Stage},
        stored=row.stored,
        rejected=row.rejected,
        skipped=row.skipped,
        audio_seconds=row.audio_seconds,
        updated_at=row.updated_at,
        error=row.error,
    )


def _batch_error(progress: ArchiveProgress) -> str | None:
    return next((batch.error for batch in progress.batches.values() if batch.has_failed(progress.stages)), None)


def _json(value: msgspec.Struct | None) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


def _decode(text: str | None, kind: type[Kind]) -> Kind | None:
    return None if text is None else msgspec.json.decode(text, type=kind)
