"""The state rules: what the events of a journal add up to.

``ArchiveProgress.apply`` is the only place where an event changes a state. The job uses it to know what is left to
do, the ledger to fill its rows; so the two cannot disagree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from audioctl.ledger.events import (
    ArchiveRead,
    AttemptEnded,
    AttemptStarted,
    BatchConfirmed,
    BatchExtracted,
    BatchRecorded,
    BatchTranscribed,
    BatchUploaded,
    ClipTranscribed,
    Event,
    RecognitionBegun,
    StageFailed,
    Step,
    UploadRevoked,
)
from audioctl.ledger.journal import read_entries
from audioctl.states import ArchiveState, Outcome, Stage, StageState

LOST = "lost"
"""Reason of a failed archive whose job went away without a word."""

NEEDS_A_PERSON = "configuration"
"""Reason of a failed archive whose job ended with a mistake in the configuration before it could write so."""

DAMAGED_JOURNAL = "damaged_journal"
"""Reason of a failed archive whose journal cannot be read on."""

NEWER_JOURNAL = "newer_version"
"""Reason of a failed archive whose journal a newer audioctl wrote."""


@dataclass(slots=True)
class BatchProgress:
    """Where one batch stands. Counts are of members once they have been transcribed."""

    index: int
    first_ordinal: int
    members: int
    digest: str
    stages: dict[Stage, StageState] = field(default_factory=lambda: {Stage.EXTRACT: StageState.DONE})
    stored: int = 0
    rejected: int = 0
    skipped: int = 0
    audio_seconds: float = 0.0
    updated_at: str | None = None
    error: str | None = None

    def state(self, stage: Stage) -> StageState:
        return self.stages.get(stage, StageState.PENDING)

    def is_done(self, stages: Iterable[Stage]) -> bool:
        return all(self.state(stage) is StageState.DONE for stage in stages)

    def has_failed(self, stages: Iterable[Stage]) -> bool:
        return any(self.state(stage) is StageState.FAILED for stage in stages)

    @property
    def is_transcribed(self) -> bool:
        return self.state(Stage.TRANSCRIBE) is StageState.DONE

    def owes(self, stage: Stage) -> bool:
        """Transcribed, but this effect of it is still to come."""
        return self.is_transcribed and self.state(stage) is not StageState.DONE

    def transcribed(self, event: BatchTranscribed) -> None:
        self.stored, self.rejected, self.skipped = event.stored, event.rejected, event.skipped
        self.audio_seconds = event.audio_seconds
        # Rows and files of an earlier transcription are not those of this one.
        self.stages = {Stage.EXTRACT: StageState.DONE, Stage.TRANSCRIBE: StageState.DONE}
        self.updated_at, self.error = event.at, None

    def affected(self, stage: Stage, at: str, *, error: str | None = None) -> None:
        """An effect has come about, or, with an ``error``, was given up. What has come about once stays so."""
        if not self.owes(stage):
            return
        self.stages[stage] = StageState.DONE if error is None else StageState.FAILED
        self.updated_at = at
        if error is not None:
            self.error = error
        elif StageState.FAILED not in self.stages.values():
            self.error = None

    def upload_revoked(self, event: UploadRevoked) -> None:
        """Where its files lie cannot have been confirmed, either."""
        if self.is_transcribed:
            self.stages |= {Stage.UPLOAD: StageState.FAILED, Stage.CONFIRM: StageState.PENDING}
            self.updated_at, self.error = event.at, event.reason


@dataclass(slots=True)
class Crashes:
    """How often the process crashed while the recogniser had a batch, or one clip of it alone."""

    with_all_clips: int = 0
    by_clip: Counter[int] = field(default_factory=Counter)
    """By ordinal."""


@dataclass(slots=True)
class ArchiveProgress:
    """What a journal says of its archive."""

    attempt: AttemptStarted | None = None
    started_at: str | None = None
    ended: AttemptEnded | None = None
    read: ArchiveRead | None = None
    batches: dict[int, BatchProgress] = field(default_factory=dict)
    crashes: dict[int, Crashes] = field(default_factory=dict)
    """By batch; only of batches that are not transcribed yet."""
    in_recogniser: RecognitionBegun | None = None

    def apply(self, event: Event) -> bool:
        """Whether the event counts: the late words of a job that another one has taken over from do not."""
        if isinstance(event, Step) and event.attempt not in (None, self.attempt and self.attempt.attempt):
            return False
        self._apply(event)
        return True

    def _apply(self, event: Event) -> None:
        match event:
            case AttemptStarted():
                self._count_crash(event)
                if self.attempt is not None and self.attempt.archive != event.archive:
                    # Another file: where it ends is unknown, and each batch is compared by its digest.
                    self.read = None
                self.attempt, self.ended = event, None
                self.started_at = self.started_at or event.at
            case RecognitionBegun():
                self.in_recogniser = event
            case AttemptEnded():
                self.in_recogniser = None  # whoever writes this line is alive
                self.ended = event
            case ArchiveRead():
                self.read = event
                self.batches = {index: batch for index, batch in self.batches.items() if index < event.batches}
            case BatchExtracted():
                known = self.batches.get(event.batch)
                if known is None or known.digest != event.digest:
                    self.crashes.pop(event.batch, None)
                    self.batches[event.batch] = BatchProgress(
                        event.batch, event.first_ordinal, event.members, event.digest, updated_at=event.at
                    )
            case UploadRevoked():
                if (batch := self.batches.get(event.batch)) is not None:
                    batch.upload_revoked(event)
                if self.ended is not None and self.ended.outcome is Outcome.DONE:
                    self.ended = msgspec.structs.replace(self.ended, outcome=Outcome.OWED)
            case ClipTranscribed():
                pass  # counts with its BatchTranscribed
            case _:
                if isinstance(event, BatchTranscribed):
                    self.in_recogniser = None
                    self.crashes.pop(event.batch, None)
                # A batch may be gone by then: its archive was replaced by a shorter one.
                if (batch := self.batches.get(event.batch)) is not None:
                    _apply_to_batch(batch, event)

    def _count_crash(self, started: AttemptStarted) -> None:
        """An attempt after a crash that finds the last one still in the recogniser: it crashed there."""
        if self.in_recogniser is not None and started.after_crash:
            crashes = self.crashes.setdefault(self.in_recogniser.batch, Crashes())
            if self.in_recogniser.clip is None:
                crashes.with_all_clips += 1
            else:
                crashes.by_clip[self.in_recogniser.clip] += 1
        self.in_recogniser = None

    @property
    def stages(self) -> list[Stage]:
        """The stages each batch has to go through, as the newest attempt was configured."""
        return self.attempt.stages if self.attempt else [Stage.EXTRACT, Stage.TRANSCRIBE, Stage.UPLOAD]

    def batch_is_done(self, index: int) -> bool:
        batch = self.batches.get(index)
        return batch is not None and batch.is_done(self.stages)

    def owed(self, *stages: Stage) -> int:
        """Stored clips of batches that are transcribed and still owe one of ``stages``, where those are asked for."""
        wanted = [stage for stage in stages if stage in self.stages]
        return sum(batch.stored for batch in self.batches.values() if any(batch.owes(stage) for stage in wanted))

    @property
    def is_complete(self) -> bool:
        """The archive was read to its end (or its damage) and every batch went through every stage."""
        return (
            self.read is not None
            and len(self.batches) == self.read.batches
            and all(batch.is_done(self.stages) for batch in self.batches.values())
        )

    def state(self, *, lease_is_held: bool) -> tuple[ArchiveState, str | None]:
        """The archive's state and its reason, as far as its journal and lease tell."""
        if self.attempt is None:
            return ArchiveState.PENDING, None
        if self.ended is None:
            return (ArchiveState.RUNNING, None) if lease_is_held else (ArchiveState.FAILED, LOST)
        if self.ended.outcome is not Outcome.DONE:
            return ArchiveState.FAILED, self.ended.outcome.value
        if self.read is not None and self.read.damage is not None:
            return ArchiveState.DAMAGED, self.read.damage.value
        return ArchiveState.DONE, None


def _apply_to_batch(
    batch: BatchProgress, event: BatchTranscribed | BatchRecorded | BatchUploaded | BatchConfirmed | StageFailed
) -> None:
    match event:
        case BatchTranscribed():
            batch.transcribed(event)
        case BatchRecorded():
            batch.affected(Stage.RECORD, event.at)
        case BatchUploaded():
            batch.affected(Stage.UPLOAD, event.at)
        case BatchConfirmed():
            batch.affected(Stage.CONFIRM, event.at)
        case StageFailed():
            batch.affected(event.stage, event.at, error=event.error)


def read_progress(journal: Path) -> ArchiveProgress:
    """What the whole journal says; an archive that nobody has worked on yet when there is none."""
    progress = ArchiveProgress()
    for entry in read_entries(journal):
        progress.apply(entry.event)
    return progress
