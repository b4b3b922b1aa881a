"""Comparing what the journals say of a day with themselves, the destination and the database.

``audioctl.proof`` asks all of it of a day.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from audioctl.clips import ClipRecord, Segment, StoredFile
from audioctl.database.keys import member_key
from audioctl.database.rows import ClipRow, DayRow, clip_row
from audioctl.ledger.progress import ArchiveProgress
from audioctl.ledger.transcripts import BatchTranscripts
from audioctl.names import readable, slot_of
from audioctl.states import ClipState
from audioctl.storage.destination import Destination, Kind, parse_destination

_HUNDREDTH_SECONDS = 0.01

FETCHED_AT_ONCE = 500
"""Files that a check of contents has on scratch at the same time."""


class Problem(StrEnum):
    """What can differ. The journal is the truth; everything else is compared with it."""

    NOT_FINISHED = "archive not finished"
    JOURNAL_DAMAGED = "journal damaged"
    JOURNAL_INCOMPLETE = "journal incomplete"
    CLIP_DOUBLED = "clip twice in the journal"
    LEDGER = "ledger says something else"
    NOT_UPLOADED = "not uploaded"
    FILE_MISSING = "file missing"
    FILE_SIZE = "file has another size"
    FILE_CONTENT = "file has other contents"
    FILE_UNKNOWN = "file that no journal names"
    FILE_CUT_OFF = "beginning of a file, left by a cut upload"
    ROW_MISSING = "row missing"
    ROW_DOUBLED = "clip has two rows"
    ROW_TEXT = "row has another text"
    ROW_PATH = "row has another file_path"
    ROW_SIZE = "row has another file_size_bytes"
    ROW_ORDINAL = "row has another ordinal"
    ROW_SHA256 = "row has another sha256"
    ROW_WORD_COUNT = "row has another word_count"
    ROW_DURATION = "row has another duration_seconds"
    ROW_LANGUAGE = "row has another language"
    ROW_SEGMENTS = "row has other segments"
    ROW_FLAGS = "row has other flags"
    ROW_MODEL = "row has another model"
    ROW_UNKNOWN = "row that no journal names"


class Difference(msgspec.Struct, frozen=True):
    slot: str
    member: str
    problem: Problem
    detail: str = ""
    hint: str = ""
    """What a person can type about it, where only a person can do anything."""


@dataclass(frozen=True, slots=True)
class ExpectedClip:
    """A stored clip as the journal has it; ``file`` once rsync said that it arrived at ``destination``."""

    slot: str
    clip: ClipRecord
    file: StoredFile | None
    destination: Destination | None


_TEMPORARY_NAME = re.compile(r"\.(.+)\.[A-Za-z0-9]{6}")

Lister = Callable[[Destination, str], Mapping[str, int]]
Fetcher = Callable[[Destination, Sequence[str], Path], None]


def expected_clips(slot: str, batches: Iterable[BatchTranscripts]) -> list[ExpectedClip]:
    """Every stored clip of an archive."""
    expected = []
    for batch in batches:
        destination = parse_destination(batch.destination) if batch.destination else None
        files = {file.ordinal: file for file in batch.files}
        expected += [
            ExpectedClip(slot, clip, files.get(clip.ordinal), destination)
            for clip in batch.clips
            if clip.state is ClipState.STORED
        ]
    return expected


def examine_journal(
    slot: str, progress: ArchiveProgress, batches: Mapping[int, BatchTranscripts]
) -> Iterator[Difference]:
    """Whether a journal that can be read says all that it must, and nothing twice."""
    for index, batch in batches.items():
        counts = Counter(clip.state for clip in batch.clips)
        told = progress.batches[index]
        expected = {"stored": told.stored, "rejected": told.rejected, "skipped": told.skipped}
        missing = [
            f"{count} {state} but {counts[ClipState(state)]} told"
            for state, count in expected.items()
            if count != counts[ClipState(state)]
        ]
        if missing:
            yield Difference(slot, "", Problem.JOURNAL_INCOMPLETE, f"batch {index}: {', '.join(missing)}")
    if progress.read is not None:
        lost = sorted(set(range(progress.read.batches)) - batches.keys())
        if lost:
            detail = f"{len(lost)} of {progress.read.batches} batches have no transcripts, the first is {lost[0]}"
            yield Difference(slot, "", Problem.JOURNAL_INCOMPLETE, detail)
    clips = [clip for batch in batches.values() for clip in batch.clips]
    for clip, count in Counter(clip.member for clip in clips).items():
        if count > 1:
            yield Difference(slot, clip, Problem.CLIP_DOUBLED, f"{count} times")
    for path, count in Counter(clip.storage_path for clip in clips if clip.storage_path is not None).items():
        if count > 1:
            yield Difference(slot, "", Problem.CLIP_DOUBLED, f"{count} clips have the file {path}")


def compare_files(
    expected: Sequence[ExpectedClip],
    folders: Sequence[str],
    list_files: Lister,
    left_out: Collection[str] = (),
) -> Iterator[Difference]:
    """Missing, cut and unknown files below ``folders``, where all files of ``expected`` lie.

    What is unknown is not told of the slots that were ``left_out``. The file of a clip that owes its upload is not
    unknown: an upload that did not come to its end, or one that has been revoked, leaves such files. One that died on
    the server leaves rsync's temporary file as well.
    """
    owed = {clip.clip.storage_path for clip in expected if clip.file is None}
    known = {clip.clip.storage_path for clip in expected}
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
            slot = slot_of(path)
            if slot not in left_out and path not in owed:
                where = readable(destination.file_path(path))
                problem = Problem.FILE_CUT_OFF if _is_temporary(path, known) else Problem.FILE_UNKNOWN
                yield Difference(slot, "", problem, where, _how_to_delete(destination, path))


def _is_temporary(path: str, known: Collection[str | None]) -> bool:
    """Whether rsync writes one of the ``known`` files under this name first: `.<name>.<six letters or digits>`."""
    folder, _, name = path.rpartition("/")
    match = _TEMPORARY_NAME.fullmatch(name)
    return match is not None and f"{folder}/{match[1]}" in known


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


def compare_rows(day: str, expected: Sequence[ExpectedClip], rows: Iterable[DayRow]) -> Iterator[Difference]:
    """Missing, differing, doubled and unknown ones among ``rows``, which are those of the slots of ``expected``."""
    wanted = {(clip.slot, member_key(clip.clip.member)): clip for clip in expected}
    seen: set[tuple[str, str]] = set()
    for row in rows:
        key = row.slot, row.member
        clip = wanted.get(key)
        if clip is None:
            hint = f"if nobody needs it, in psql: delete from audio_files where id = '{row.id}';"
            yield Difference(row.slot, row.member, Problem.ROW_UNKNOWN, hint=hint)
        elif key in seen:
            yield Difference(row.slot, row.member, Problem.ROW_DOUBLED)
        else:
            yield from _compare_row(clip, clip_row(day, clip.slot, clip.clip), row)
        seen.add(key)
    for key, clip in wanted.items():
        if key not in seen:
            yield Difference(clip.slot, clip.clip.member, Problem.ROW_MISSING)


def _compare_row(clip: ExpectedClip, should: ClipRow, row: DayRow) -> Iterator[Difference]:
    def differs(problem: Problem, has: object, wanted: object) -> Iterator[Difference]:
        if has != wanted:
            yield Difference(row.slot, row.member, problem, f"{has}, not {wanted}")

    yield from differs(Problem.ROW_ORDINAL, row.ordinal, should.ordinal)
    yield from differs(Problem.ROW_SHA256, row.sha256, should.sha256)
    if row.transcript_text is None:
        yield Difference(row.slot, row.member, Problem.ROW_TEXT, "no row in transcripts")
    else:
        # No difference quotes what was said, because logs keep them.
        if row.transcript_text != should.transcript_text:
            yield Difference(row.slot, row.member, Problem.ROW_TEXT)
        if not _are_segments(row.segments, should.segments):
            yield Difference(row.slot, row.member, Problem.ROW_SEGMENTS)
        if not _is_duration(row.duration_seconds, should.duration_seconds):
            detail = f"{row.duration_seconds}, not {should.duration_seconds}"
            yield Difference(row.slot, row.member, Problem.ROW_DURATION, detail)
        yield from differs(Problem.ROW_WORD_COUNT, row.word_count, should.word_count)
        heard, wanted = (_language(of) for of in (row, should))
        yield from differs(Problem.ROW_LANGUAGE, heard, wanted)
        yield from differs(Problem.ROW_FLAGS, ", ".join(row.flags or []) or "none", ", ".join(should.flags) or "none")
        yield from differs(Problem.ROW_MODEL, row.model, should.model)
    if clip.destination is None or clip.file is None:
        return
    if row.file_path != clip.destination.file_path(clip.file.path):
        yield Difference(row.slot, row.member, Problem.ROW_PATH, row.file_path or "none")
    elif row.file_size_bytes != clip.file.size_bytes:
        yield Difference(row.slot, row.member, Problem.ROW_SIZE, f"{row.file_size_bytes}, not {clip.file.size_bytes}")


def _are_segments(has: Any, should: Sequence[Segment]) -> bool:
    """Fields that came later are missing in rows of an earlier version, which says the same as their defaults."""
    try:
        return msgspec.convert(has, list[Segment]) == should
    except msgspec.ValidationError:
        return False


def _is_duration(has: Decimal | None, should: float | None) -> bool:
    """The column has two decimals."""
    if has is None or should is None:
        return has is None and should is None
    return abs(float(has) - should) < _HUNDREDTH_SECONDS


def _language(row: DayRow | ClipRow) -> str:
    return f"{row.language} ({row.language_probability})"


def _how_to_delete(destination: Destination, path: str) -> str:
    """What a person can type, where a name can be typed."""
    if not path.isprintable():
        return "if nobody needs it, delete it by hand"
    remove = shlex.join(["rm", "--", destination.file_path(path)])
    match destination.kind:
        case Kind.LOCAL:
            return f"if nobody needs it: {remove}"
        case Kind.SSH:
            return f"if nobody needs it: {shlex.join(['ssh', destination.ssh_host, remove])}"
        case Kind.DAEMON:
            return "if nobody needs it, delete it on the server"


def _by_destination(expected: Iterable[ExpectedClip]) -> dict[Destination, list[tuple[ExpectedClip, StoredFile]]]:
    groups: dict[Destination, list[tuple[ExpectedClip, StoredFile]]] = {}
    for clip in expected:
        if clip.destination is not None and clip.file is not None:
            groups.setdefault(clip.destination, []).append((clip, clip.file))
    return groups
