"""Transcripts of a day in the formats that people and programs read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import msgspec

from audioctl.clips import ClipRecord, Segment
from audioctl.errors import JournalError
from audioctl.ledger.journal import journal_path
from audioctl.ledger.transcripts import read_transcripts
from audioctl.names import day_folder, storage_path
from audioctl.states import ClipState
from audioctl.storage.destination import parse_destination
from audioctl.whole_files import written_whole


class Format(StrEnum):
    JSONL = "jsonl"
    JSON = "json"
    TXT = "txt"
    TSV = "tsv"
    SRT = "srt"
    VTT = "vtt"
    PARQUET = "parquet"


SUBTITLES = (Format.SRT, Format.VTT)


@dataclass(frozen=True, slots=True)
class ExportedClip:
    """A clip with where it is from; ``file_path`` is set once its Opus copy has arrived there."""

    day: str
    slot: str
    clip: ClipRecord
    file_path: str | None


def exported_clips(state_dir: Path, day: str, slots: Iterable[str]) -> Iterator[ExportedClip]:
    """Every member of these slots whose batch is transcribed, in order; one archive in memory at a time."""
    for slot in slots:
        for batch in read_transcripts(journal_path(state_dir, day, slot)).values():
            destination = parse_destination(batch.destination) if batch.destination else None
            arrived = {file.ordinal: file.path for file in batch.files}
            for clip in batch.clips:
                path = arrived.get(clip.ordinal)
                yield ExportedClip(day, slot, clip, destination.file_path(path) if destination and path else None)


def render(clips: Iterable[ExportedClip], wanted: Format) -> Iterator[str]:
    """The document in pieces, for every format that is text."""
    return _RENDERERS[wanted](clips)


def write_subtitle_files(clips: Iterable[ExportedClip], wanted: Format, folders: Mapping[str, Path]) -> int:
    """A file a stored clip: ``<slot>/<member>.srt`` in the folder of its day; returns how many. Raises OSError."""
    count = 0
    for exported in clips:
        if exported.clip.state is ClipState.STORED:
            path = folders[exported.day] / _subtitle_name(exported, wanted)
            path.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(path) as unfinished:
                unfinished.write_text("".join(_subtitles(exported.clip.segments, wanted)), encoding="utf-8")
            count += 1
    return count


def as_object(exported: ExportedClip) -> dict[str, object]:
    """The clip record that ``--format jsonl`` promises."""
    fields = msgspec.to_builtins(exported.clip)
    fields.pop("storage_path")
    return {"day": exported.day, "slot": exported.slot, **fields, "file_path": exported.file_path}


def _subtitle_name(exported: ExportedClip, wanted: Format) -> str:
    """Below the folder of its day, unlike that of any other clip. Raises JournalError for one that would lead out."""
    member, ending = exported.clip.member, f".{wanted.value}"
    # The storage path is made to be safe and unique; only its ending is different here.
    stored = storage_path(exported.day, exported.slot, member).removeprefix(day_folder(exported.day))
    *folders, file = stored.removesuffix(".opus").split("/")
    if ".." in folders or "\0" in stored:
        raise JournalError(
            f"The journal of {exported.day} {exported.slot} names a stored clip {member!r}, which audioctl never does.",
            hint=f"`audioctl verify {exported.day}` tells what else is wrong with it.",
        )
    # Every file ends so and no folder does, or a.mp3 and a.vtt/b.mp3 would want the same name.
    folders = [f"{part}~" if part.rstrip("~").endswith(ending) else part for part in folders]
    return "/".join([*folders, f"{file}{ending}"])


def _jsonl(clips: Iterable[ExportedClip]) -> Iterator[str]:
    return (json.dumps(as_object(exported), ensure_ascii=False) + "\n" for exported in clips)


def _json(clips: Iterable[ExportedClip]) -> Iterator[str]:
    yield "["
    separator = "\n"
    for exported in clips:
        yield separator + json.dumps(as_object(exported), ensure_ascii=False)
        separator = ",\n"
    yield "\n]\n"


def _txt(clips: Iterable[ExportedClip]) -> Iterator[str]:
    return (f"{_title(exported)} {_flat(exported.clip.text)}\n" for exported in clips if exported.clip.text)


def _tsv(clips: Iterable[ExportedClip]) -> Iterator[str]:
    """A line a segment, times in milliseconds as Whisper's own tsv has them."""
    yield "day\tslot\tmember\tstart\tend\ttext\n"
    for exported in clips:
        for segment in exported.clip.segments:
            times = f"{segment.start * 1000:.0f}\t{segment.end * 1000:.0f}"
            member = _flat(exported.clip.member)
            yield f"{exported.day}\t{exported.slot}\t{member}\t{times}\t{_flat(segment.text)}\n"


def _srt(clips: Iterable[ExportedClip]) -> Iterator[str]:
    """All clips in one stream, each cue led by its clip: SubRip has no comments."""
    number = 0
    for exported in clips:
        for segment in exported.clip.segments:
            number += 1
            yield _srt_cue(number, segment, f"{_title(exported)}\n{_flat(segment.text)}")


def _vtt(clips: Iterable[ExportedClip]) -> Iterator[str]:
    yield "WEBVTT\n\n"
    for exported in clips:
        if exported.clip.segments:
            yield f"NOTE {_title(exported).replace('-->', '->')}\n\n"
            yield from (_vtt_cue(segment) for segment in exported.clip.segments)


def _subtitles(segments: Iterable[Segment], wanted: Format) -> Iterator[str]:
    if wanted is Format.VTT:
        yield "WEBVTT\n\n"
        yield from (_vtt_cue(segment) for segment in segments)
    else:
        yield from (_srt_cue(number, segment, _flat(segment.text)) for number, segment in enumerate(segments, 1))


def _srt_cue(number: int, segment: Segment, text: str) -> str:
    return f"{number}\n{_clock(segment.start, ',')} --> {_clock(segment.end, ',')}\n{text}\n\n"


def _vtt_cue(segment: Segment) -> str:
    text = _flat(segment.text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"{_clock(segment.start, '.')} --> {_clock(segment.end, '.')}\n{text}\n\n"


def _clock(seconds: float, point: str) -> str:
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{point}{milliseconds:03}"


def _title(exported: ExportedClip) -> str:
    return f"[{exported.slot} {_flat(exported.clip.member)}]"


def _flat(text: str | None) -> str:
    """In one line and one column: names may hold newlines and tabs."""
    return " ".join((text or "").split())


_RENDERERS: dict[Format, Callable[[Iterable[ExportedClip]], Iterator[str]]] = {
    Format.JSONL: _jsonl,
    Format.JSON: _json,
    Format.TXT: _txt,
    Format.TSV: _tsv,
    Format.SRT: _srt,
    Format.VTT: _vtt,
}
