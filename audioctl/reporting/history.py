"""What the journal of one archive tells of its day: attempts, when each batch went through each stage, its clips."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from audioctl.clock import seconds_since_1970
from audioctl.errors import JournalError
from audioctl.ledger.events import (
    AttemptEnded,
    AttemptStarted,
    BatchExtracted,
    BatchRecorded,
    BatchTranscribed,
    BatchUploaded,
    Event,
    RecognitionBegun,
    UploadRevoked,
)
from audioctl.ledger.journal import newest_timing, read_entries
from audioctl.ledger.progress import ArchiveProgress
from audioctl.reporting.clips import ClipTally, tally
from audioctl.states import Outcome, Stage, StageState
from audioctl.timing import Timing


class AttemptEnd(StrEnum):
    """How an attempt looks from the day's end."""

    DONE = "done"
    DAMAGED = "damaged"
    OWED = "owed"
    DRAINED = "drained"
    FAILED = "failed"
    BROKEN_OFF = "broken off"
    """Without a word: killed, or its node was lost."""
    RUNNING = "running"


@dataclass(slots=True)
class Attempt:
    """A job's go at an archive. Times are seconds since 1970; ``until`` is that of its last word so far."""

    slot: str
    number: int
    node: str
    run_id: str | None
    job_id: str | None
    began: float
    until: float
    end: AttemptEnd = AttemptEnd.BROKEN_OFF


@dataclass(slots=True)
class BatchTimes:
    """When a batch, as it counts now, went through each stage, in seconds since 1970.

    Of a batch that was read again, or heard again, the last time before the next stage counts.
    """

    members: int
    read: float
    begun: float
    """The recogniser was given it."""
    heard: float | None = None
    recorded: float | None = None
    uploaded: float | None = None
    stored: int = 0
    audio_seconds: float = 0.0


@dataclass(slots=True)
class ArchiveHistory:
    slot: str
    attempts: list[Attempt] = field(default_factory=list)
    batches: list[BatchTimes] = field(default_factory=list)
    """Those that are transcribed, and, while a job has the archive, those that it has read."""
    stages: list[Stage] = field(default_factory=list)
    """Of the newest attempt."""
    clips: ClipTally = field(default_factory=ClipTally)
    timing: Timing | None = None
    """How the newest attempt that transcribed something has spent its time."""
    trouble: str | None = None
    """Why the journal could not be read to its end."""


def read_history(journal: Path, slot: str, *, running_at: float | None) -> ArchiveHistory:
    """``running_at`` is now, where a job has the archive, else ``None``. One batch is in memory at a time."""
    history = ArchiveHistory(slot)
    progress = ArchiveProgress()
    times: dict[int, BatchTimes] = {}
    clips: dict[int, ClipTally] = {}
    try:
        for entry in read_entries(journal):
            event = entry.event
            if not progress.apply(event):
                continue
            if isinstance(event, BatchTranscribed):
                clips[event.batch] = tally(slot, entry.clips)
            _note_batch(times, event)
            _note_attempt(history, event, progress)
        history.timing = newest_timing(journal)
    except JournalError as error:
        history.trouble = error.message
    for index in sorted(progress.batches):
        if progress.batches[index].is_transcribed and index in clips:
            history.clips.merge(clips[index])
    if history.attempts and history.attempts[-1].end is AttemptEnd.BROKEN_OFF and running_at is not None:
        history.attempts[-1].end = AttemptEnd.RUNNING
        # The clock of its node may be ahead of ours.
        history.attempts[-1].until = max(history.attempts[-1].until, running_at)
    history.batches = list(_that_count(times, progress, is_running=running_at is not None))
    history.stages = list(progress.stages)
    return history


def _note_batch(times: dict[int, BatchTimes], event: Event) -> None:
    at = seconds_since_1970(event.at)
    match event:
        case BatchExtracted(batch=batch, members=members):
            if batch not in times or times[batch].heard is None:
                times[batch] = BatchTimes(members, read=at, begun=at)
        case RecognitionBegun(batch=batch) if batch in times:
            times[batch].begun = at
        case BatchTranscribed(batch=batch) if batch in times:
            before = times[batch]
            times[batch] = BatchTimes(
                before.members, before.read, before.begun, at, stored=event.stored, audio_seconds=event.audio_seconds
            )
        case BatchRecorded(batch=batch) if batch in times:
            times[batch].recorded = at
        case BatchUploaded(batch=batch) if batch in times:
            times[batch].uploaded = at
        case _:
            pass


def _note_attempt(history: ArchiveHistory, event: Event, progress: ArchiveProgress) -> None:
    at = seconds_since_1970(event.at)
    if isinstance(event, AttemptStarted):
        history.attempts.append(
            Attempt(history.slot, event.attempt, event.node, event.run_id, event.job_id, began=at, until=at)
        )
    elif history.attempts and not isinstance(event, UploadRevoked):
        attempt = history.attempts[-1]
        attempt.until = max(attempt.until, at)
        if isinstance(event, AttemptEnded):
            is_damaged = progress.read is not None and progress.read.damage is not None
            attempt.end = AttemptEnd.DAMAGED if is_damaged and event.outcome is Outcome.DONE else _ENDS[event.outcome]


_ENDS = {
    Outcome.DONE: AttemptEnd.DONE,
    Outcome.OWED: AttemptEnd.OWED,
    Outcome.DRAINED: AttemptEnd.DRAINED,
    Outcome.FAILED: AttemptEnd.FAILED,
}


def _that_count(times: dict[int, BatchTimes], progress: ArchiveProgress, *, is_running: bool) -> Iterator[BatchTimes]:
    for index, batch in sorted(progress.batches.items()):
        known = times.get(index)
        if known is None or not (batch.is_transcribed or is_running):
            continue
        if not batch.is_transcribed:
            known.heard = None
        if batch.state(Stage.UPLOAD) is not StageState.DONE:
            known.uploaded = None
        if batch.state(Stage.RECORD) is not StageState.DONE:
            known.recorded = None
        yield known
