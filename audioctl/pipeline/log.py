"""A journal that is being written, and what it adds up to so far."""

from __future__ import annotations

import threading

import msgspec

from audioctl.clips import ClipRecord
from audioctl.clock import utc_now
from audioctl.ledger.events import BatchTranscribed, ClipTranscribed, Event, Step
from audioctl.ledger.journal import JournalWriter
from audioctl.ledger.progress import ArchiveProgress
from audioctl.states import ClipState
from audioctl.timing import Timing


class ProgressLog:
    """Appends events and applies the same rules to them that any later reader of the journal will."""

    def __init__(self, journal: JournalWriter, progress: ArchiveProgress) -> None:
        self.progress = progress
        self._journal = journal
        self._lock = threading.Lock()

    def append(self, *events: Event) -> None:
        """Returns when the events are on disk."""
        with self._lock:
            ours = [self._of_this_attempt(event) for event in events]
            self._journal.append(*ours)
            for event in ours:
                self.progress.apply(event)

    def _of_this_attempt(self, event: Event) -> Event:
        if self.progress.attempt is None or not isinstance(event, Step):
            return event
        return msgspec.structs.replace(event, attempt=self.progress.attempt.attempt)


def transcription_events(batch: int, records: list[ClipRecord], timing: Timing) -> list[Event]:
    """The lines of a transcribed batch; the last one makes the others count."""
    now = utc_now()
    states = [record.state for record in records]
    return [
        *(ClipTranscribed(at=now, batch=batch, clip=record) for record in records),
        BatchTranscribed(
            at=now,
            batch=batch,
            stored=states.count(ClipState.STORED),
            rejected=states.count(ClipState.REJECTED),
            skipped=states.count(ClipState.SKIPPED),
            audio_seconds=round(sum(record.duration_seconds or 0.0 for record in records), 3),
            timing=timing,
        ),
    ]
