"""What is left to do for an archive, told from its journal."""

from __future__ import annotations

from enum import Enum, auto

from audioctl.clips import MemberBatch
from audioctl.ledger.progress import ArchiveProgress, BatchProgress
from audioctl.states import Stage, StageState


class Action(Enum):
    """What a batch that was read still needs of the archive."""

    TRANSCRIBE = auto()
    COPY = auto()
    """Only its Opus files: the transcripts are in the journal, the files were lost with the scratch of a dead job."""
    NOTHING = auto()


def action_for(batch: MemberBatch, progress: ArchiveProgress) -> Action:
    known = progress.batches.get(batch.index)
    if known is None or known.digest != batch.digest or not _is_transcribed(known):
        return Action.TRANSCRIBE
    return Action.COPY if known.owes(Stage.UPLOAD) else Action.NOTHING


def needs_reading(progress: ArchiveProgress, *, from_batch: int = 0) -> bool:
    """Whether the archive, from this batch on, holds anything that is not transcribed and stored yet."""
    if progress.read is None:
        return True
    return any(
        (batch := progress.batches.get(index)) is None or not _is_transcribed(batch) or batch.owes(Stage.UPLOAD)
        for index in range(from_batch, progress.read.batches)
    )


def _is_transcribed(batch: BatchProgress) -> bool:
    return batch.state(Stage.TRANSCRIBE) is StageState.DONE
