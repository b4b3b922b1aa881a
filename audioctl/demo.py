"""A sample day, made of the spoken clips that come with the package, so that a first run needs nothing else.

Besides clips that are heard word for word, the last archive holds one of each thing that goes wrong in practice:
a silent clip, a clip that was cut off, text that claims to be an MP3 file, and a file that is no clip at all.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path

import msgspec

from audioctl.data import demo_clips_path

SILENT_CLIP = "silent.mp3"
_SHARE_LEFT_OF_CUT_OFF_CLIP = 0.6
_NOT_MUSIC = b"<html><body>503 Service Unavailable</body></html>\n"
_README = b"Recorded by espeak-ng for the demo of audioctl.\n"


class DemoClip(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the manifest: a file beside it, and what it says."""

    file: str
    text: str
    language: str
    voice: str
    duration_seconds: float

    def read(self) -> bytes:
        return (demo_clips_path() / self.file).read_bytes()


@dataclass(frozen=True, slots=True)
class Said:
    """What is really said in a member. Of a ``cut_off`` clip only the first words of ``text`` can be heard."""

    text: str
    language: str | None
    cut_off: bool = False


@dataclass(frozen=True, slots=True)
class _DemoMember:
    name: str
    content: bytes
    said: Said | None


def demo_clips() -> list[DemoClip]:
    """The spoken clips that come with the package."""
    return msgspec.json.decode((demo_clips_path() / "manifest.json").read_bytes(), type=list[DemoClip])


def make_demo_day(folder: Path, day: str, slots: Sequence[str], clips_per_archive: int) -> dict[tuple[str, str], Said]:
    """Writes ``0_<day>_<slot>.tar.xz`` for each slot into ``folder``, always with the same bytes.

    The clips repeat once every one of them was used. Returns what is said, by slot and member name, for every member
    that is audio: the silent one says an empty text.
    """
    folder.mkdir(parents=True, exist_ok=True)
    supply = cycle(demo_clips())
    said: dict[tuple[str, str], Said] = {}
    for slot in slots:
        members = [
            _DemoMember(_member_name(number, clip.voice), clip.read(), Said(clip.text, clip.language))
            for number, clip in enumerate(islice(supply, clips_per_archive), 1)
        ]
        if slot == slots[-1]:
            members += _mishaps(next(supply), first_number=clips_per_archive + 1)
        _write_archive(folder / f"0_{day}_{slot}.tar.xz", members, recorded_at=_moment(day, slot))
        said |= {(slot, member.name): member.said for member in members if member.said is not None}
    return said


def word_errors(said: str, heard: str) -> int:
    """Words to change, add or drop to make ``heard`` of ``said`` (the edit distance of word error rates)."""
    said_words, heard_words = said.split(), heard.split()
    distances = list(range(len(heard_words) + 1))
    for row, said_word in enumerate(said_words, 1):
        diagonal, distances[0] = distances[0], row
        for column, heard_word in enumerate(heard_words, 1):
            unchanged = diagonal + (said_word != heard_word)
            diagonal = distances[column]
            distances[column] = min(unchanged, diagonal + 1, distances[column - 1] + 1)
    return distances[-1]


def _mishaps(clip: DemoClip, first_number: int) -> list[_DemoMember]:
    content = clip.read()
    head = content[: int(len(content) * _SHARE_LEFT_OF_CUT_OFF_CLIP)]
    silence = (demo_clips_path() / SILENT_CLIP).read_bytes()
    return [
        _DemoMember(_member_name(first_number, "silent"), silence, Said("", None)),
        _DemoMember(_member_name(first_number + 1, "cut_off"), head, Said(clip.text, clip.language, cut_off=True)),
        _DemoMember(_member_name(first_number + 2, "not_music"), _NOT_MUSIC, None),
        _DemoMember("README.txt", _README, None),
    ]


def _member_name(number: int, what: str) -> str:
    return f"radio/{number:04d}_{what}.mp3"


def _moment(day: str, slot: str) -> int:
    return int(datetime.strptime(f"{day} {slot}", "%Y-%m-%d %H_%M").replace(tzinfo=UTC).timestamp())


def _write_archive(path: Path, members: list[_DemoMember], recorded_at: int) -> None:
    """``recorded_at`` (seconds since 1970) rather than the time of writing, so that the bytes are always the same."""
    with tarfile.open(path, "w:xz", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            header = tarfile.TarInfo(member.name)
            header.size = len(member.content)
            header.mtime = recorded_at
            archive.addfile(header, io.BytesIO(member.content))
