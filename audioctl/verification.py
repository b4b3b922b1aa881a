"""Comparing what the journals say of a day with what is at the destination and in the database."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import msgspec

from audioctl.clips import ClipRecord, StoredFile
from audioctl.database.rows import DayRow, member_key
from audioctl.ledger.journal import journal_path
from audioctl.ledger.transcripts import read_transcripts
from audioctl.states import ClipState
from audioctl.storage.destination import Destination, parse_destination

FETCHED_AT_ONCE = 500
"""Files that a check of contents has on scratch at the same time."""


class Problem(StrEnum):
    """What can differ. The journal is the truth; everything else is compared with it."""

    NOT_UPLOADED = "not uploaded"
    FILE_MISSING = "file missing"
    FILE_SIZE = "file has another size"
    FILE_CONTENT = "file has other contents"
    FILE_UNKNOWN = "file that no journal names"
    ROW_MISSING = "row missing"
    ROW_TEXT = "row has another text"
    ROW_PATH = "row has another file_path"
    ROW_UNKNOWN = "row that no journal names"


class Difference(msgspec.Struct, frozen=True):
    slot: str
    member: str
    problem: Problem
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ExpectedClip:
    """A stored clip as the journal has it; ``file`` once rsync said that it arrived at ``destination``."""

    slot: str
    clip: ClipRecord
    file: StoredFile | None
    destination: Destination | None


Lister = Callable[[Destination, str], Mapping[str, int]]
Fetcher = Callable[[Destination, Sequence[str], Path], None]


def expected_clips(state_dir: Path, day: str, slots: Iterable[str]) -> list[ExpectedClip]:
    """Every stored clip of the day."""
    expected = []
    for slot in slots:
        for batch in read_transcripts(journal_path(state_dir, day, slot)).values():
            destination = parse_destination(batch.destination) if batch.destination else None
            files = {file.ordinal: file for file in batch.files}
            expected += [
                ExpectedClip(slot, clip, files.get(clip.ordinal), destination)
                for clip in batch.clips
                if clip.state is ClipState.STORED
            ]
    return expected


def compare_files(expected: Sequence[ExpectedClip], folders: Sequence[str], list_files: Lister) -> Iterator[Difference]:
    """Missing, cut and unknown files. ``folders`` are the storage folders of the slots that were looked at."""
    yield from (Difference(clip.slot, clip.clip.member, Problem.NOT_UPLOADED) for clip in expected if clip.file is None)
    for destination, clips in _by_destination(expected).items():
        found: dict[str, int] = {}
        for folder in folders:
            found |= list_files(destination, folder)
        for clip, file in clips:
            size = found.pop(file.path, None)
            if size is None:
                yield Difference(clip.slot, clip.clip.member, Problem.FILE_MISSING, destination.file_path(file.path))
            elif size != file.size_bytes:
                detail = f"{size:,} bytes, not {file.size_bytes:,}"
                yield Difference(clip.slot, clip.clip.member, Problem.FILE_SIZE, detail)
        for path in found:
            yield Difference(path.split("/")[4], "", Problem.FILE_UNKNOWN, destination.file_path(path))


def compare_contents(expected: Sequence[ExpectedClip], fetch_files: Fetcher) -> Iterator[Difference]:
    """Files whose SHA-256 differs from the one they were sent with; missing ones are ``compare_files``'s to tell."""
    for destination, clips in _by_destination(expected).items():
        for start in range(0, len(clips), FETCHED_AT_ONCE):
            some = clips[start : start + FETCHED_AT_ONCE]
            with tempfile.TemporaryDirectory(prefix="audioctl-verify-") as folder:
                fetch_files(destination, [file.path for _, file in some], Path(folder))
                for clip, file in some:
                    fetched = Path(folder, file.path)
                    if fetched.is_file() and hashlib.sha256(fetched.read_bytes()).hexdigest() != file.sha256:
                        yield Difference(clip.slot, clip.clip.member, Problem.FILE_CONTENT)


def compare_rows(
    expected: Sequence[ExpectedClip], rows: Iterable[DayRow], slots: Sequence[str]
) -> Iterator[Difference]:
    """Missing, differing and unknown rows of these slots."""
    wanted = {(clip.slot, member_key(clip.clip.member)): clip for clip in expected}
    for row in rows:
        if row.slot not in slots:
            continue
        clip = wanted.pop((row.slot, row.member), None)
        if clip is None:
            yield Difference(row.slot, row.member, Problem.ROW_UNKNOWN)
            continue
        if row.transcript_text != (clip.clip.text or "").replace("\0", ""):
            yield Difference(row.slot, row.member, Problem.ROW_TEXT)
        path = clip.destination.file_path(clip.file.path) if clip.destination and clip.file else None
        if path is not None and row.file_path != path:
            yield Difference(row.slot, row.member, Problem.ROW_PATH, row.file_path or "none")
    for clip in wanted.values():
        yield Difference(clip.slot, clip.clip.member, Problem.ROW_MISSING)


def _by_destination(expected: Iterable[ExpectedClip]) -> dict[Destination, list[tuple[ExpectedClip, StoredFile]]]:
    groups: dict[Destination, list[tuple[ExpectedClip, StoredFile]]] = {}
    for clip in expected:
        if clip.destination is not None and clip.file is not None:
            groups.setdefault(clip.destination, []).append((clip, clip.file))
    return groups
