"""Reading transcripts back from a journal: for export, for verify, and for what a resumed job still owes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from audioctl.clips import ClipRecord, StoredFile
from audioctl.ledger.events import ArchiveRead, BatchExtracted, BatchTranscribed, BatchUploaded, ClipTranscribed
from audioctl.ledger.journal import read_events


@dataclass(slots=True)
class BatchTranscripts:
    """The members of one transcribed batch by ordinal, and the files of it that have arrived, and where."""

    index: int
    clips: list[ClipRecord]
    destination: str | None = None
    files: list[StoredFile] = field(default_factory=list)


def read_transcripts(journal: Path) -> dict[int, BatchTranscripts]:
    """Every transcribed batch of an archive by index; a batch that was done again counts as it was done last."""
    batches: dict[int, BatchTranscripts] = {}
    digests: dict[int, str] = {}
    waiting: defaultdict[int, dict[int, ClipRecord]] = defaultdict(dict)
    for event, _ in read_events(journal):
        match event:
            case BatchExtracted():
                waiting.pop(event.batch, None)
                if digests.get(event.batch) != event.digest:
                    digests[event.batch] = event.digest
                    batches.pop(event.batch, None)
            case ClipTranscribed():
                waiting[event.batch][event.clip.ordinal] = event.clip
            case BatchTranscribed():
                clips = waiting.pop(event.batch, {})
                batches[event.batch] = BatchTranscripts(event.batch, [clips[ordinal] for ordinal in sorted(clips)])
            case BatchUploaded():
                batches[event.batch].files, batches[event.batch].destination = event.files, event.destination
            case ArchiveRead():
                batches = {index: batch for index, batch in batches.items() if index < event.batches}
            case _:
                pass
    return dict(sorted(batches.items()))
