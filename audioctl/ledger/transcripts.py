"""Reading transcripts back from a journal: for export, for verify, and for what a resumed job still owes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from audioctl.clips import ClipRecord, StoredFile
from audioctl.ledger.events import BatchTranscribed, BatchUploaded
from audioctl.ledger.journal import read_entries
from audioctl.ledger.progress import ArchiveProgress
from audioctl.states import Stage, StageState


@dataclass(slots=True)
class BatchTranscripts:
    """The members of one transcribed batch by ordinal, and the files of it that have arrived, and where."""

    index: int
    clips: list[ClipRecord]
    destination: str | None = None
    files: list[StoredFile] = field(default_factory=list)


def read_transcripts(journal: Path) -> dict[int, BatchTranscripts]:
    """Every transcribed batch of an archive by index; a batch that was done again counts as it was done last."""
    return read_archive(journal)[1]


def read_archive(journal: Path) -> tuple[ArchiveProgress, dict[int, BatchTranscripts]]:
    """What the whole journal adds up to, and every transcribed batch, as ``read_transcripts`` gives them."""
    progress = ArchiveProgress()
    clips: dict[int, dict[int, ClipRecord]] = {}
    uploads: dict[int, BatchUploaded] = {}
    for entry in read_entries(journal):
        if not progress.apply(entry.event):
            continue
        match entry.event:
            case BatchTranscribed(batch=index):
                clips[index] = {clip.ordinal: clip for clip in entry.clips}
            case BatchUploaded(batch=index):
                uploads[index] = entry.event
            case _:
                pass
    batches: dict[int, BatchTranscripts] = {}
    for index, batch in sorted(progress.batches.items()):
        if batch.is_transcribed:
            batches[index] = BatchTranscripts(index, [clip for _, clip in sorted(clips[index].items())])
            if batch.state(Stage.UPLOAD) is StageState.DONE:
                batches[index].destination, batches[index].files = uploads[index].destination, uploads[index].files
    return progress, batches
