"""What jobs have done in the last minutes: how fast each stage is now, told by the ends of their journals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from audioctl.errors import JournalError
from audioctl.ledger.events import BatchExtracted, BatchRecorded, BatchTranscribed, BatchUploaded, Event
from audioctl.ledger.journal import newest_events
from audioctl.states import Stage

RECENT_SECONDS = 180
"""Long enough for several batches of slow jobs, short enough to show that uploads have stopped."""

RATED_STAGES = (Stage.EXTRACT, Stage.TRANSCRIBE, Stage.RECORD, Stage.UPLOAD)


def recently(now: str) -> str:
    """The time from which on something is recent."""
    return (datetime.fromisoformat(now) - timedelta(seconds=RECENT_SECONDS)).strftime("%Y-%m-%dT%H:%M:%SZ")


class RecentEvents:
    """Reads of each journal only what has come since the look before, and no further back than is recent."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, list[Event]]] = {}
        """By slot: the byte behind what was read of its journal, and what of it is recent."""

    def look(self, journals: Mapping[str, Path], since: str) -> dict[str, list[Event]]:
        """The events of each journal from ``since`` on, by the clocks of the nodes, in any order; by slot."""
        before, self._known = self._known, {}
        for slot, journal in journals.items():
            read_to, known = before.get(slot, (0, []))
            events, end = [event for event in known if event.at >= since], read_to
            with suppress(JournalError):  # the ledger says so of the archive
                for event, behind in newest_events(journal):
                    if behind <= read_to or event.at < since:
                        break
                    events.append(event)
                    end = max(end, behind)
            self._known[slot] = end, events
        return {slot: events for slot, (_, events) in self._known.items()}


def stage_clips(events: Mapping[str, Iterable[Event]], stored: Mapping[tuple[str, int], int]) -> dict[Stage, int]:
    """How many clips each stage has finished with. ``events`` are by slot; ``stored`` tells how many a batch has.

    What was extracted is counted by members, because nobody knows yet which of them are clips.
    """
    clips: Counter[Stage] = Counter()
    for slot, of_slot in events.items():
        for event in of_slot:
            match event:
                case BatchExtracted():
                    clips[Stage.EXTRACT] += event.members
                case BatchTranscribed():
                    clips[Stage.TRANSCRIBE] += event.stored
                case BatchRecorded():
                    clips[Stage.RECORD] += stored.get((slot, event.batch), 0)
                case BatchUploaded():
                    clips[Stage.UPLOAD] += len(event.files)
                case _:
                    pass
    return {stage: clips[stage] for stage in RATED_STAGES}
