"""Archives of any size, full of clips that really speak, for benchmarks.

    python -m benchmarks.synthetic_day /tmp/day --archives 2 --clips 3000 --compression zst

A clip is several of the shipped demo clips, one after the other, with random pauses and at random volumes, 2 to
30 s long. Encoding is slow, so a few dozen of them are made and repeated; an ID3 tag makes each one's bytes unique, as
programs that recognise a repeated file by its checksum would otherwise be too quick.
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import io
import lzma
import random
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt
import soundfile
import zstandard

from audioctl.demo import DemoClip, demo_clips
from tools.mp3 import encode_mp3

COMPRESSIONS = ("tar", "gz", "bz2", "xz", "zst")
DISTINCT_CLIPS = 60
SHORTEST_SECONDS, LONGEST_SECONDS = 2.0, 30.0
BITS_PER_SECOND = 64_000
_SAMPLE_RATE = 22_050
"""Of the demo clips, in Hz."""
_NOISE_FLOOR = np.float32(1e-3)
"""-60 dB of full scale. Without it the encoder fills pauses with zeros, and archives compress as no real ones do."""
_RECORDED_AT = 1_737_800_000
"""Some time in January 2025, in seconds since 1970: of every member, so that the same seed gives the same bytes."""

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SyntheticClip:
    text: str
    duration_seconds: float
    content: bytes


def make_clips(seed: int, count: int = DISTINCT_CLIPS) -> list[SyntheticClip]:
    """``count`` clips of one language each, of all lengths between the shortest and the longest alike."""
    source = random.Random(seed)
    by_language: dict[str, list[DemoClip]] = {}
    for clip in demo_clips():
        by_language.setdefault(clip.language, []).append(clip)
    # As many of each language as there are demo clips in it.
    languages = [language for language, clips in by_language.items() for _ in clips]
    recordings = _decode(demo_clips())
    return [_make_clip(source, by_language[source.choice(languages)], recordings) for _ in range(count)]


def make_synthetic_archive(path: Path, clips: int, seed: int, *, distinct_clips: int = DISTINCT_CLIPS) -> list[str]:
    """Writes ``clips`` clips to ``path``, whose ending (one of COMPRESSIONS) says how it is compressed.

    Returns what each of them says, in the order of the archive.
    """
    return write_archive(path, make_clips(seed, min(clips, distinct_clips)), clips)


def write_archive(path: Path, pool: list[SyntheticClip], clips: int) -> list[str]:
    """The clips of ``pool`` in turn, ``clips`` in all, under names as they are common; returns what they say."""
    texts = []
    with (
        _open_for_writing(path) as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        for number in range(clips):
            clip = pool[number % len(pool)]
            content = _id3_title(f"{path.name} {number}") + clip.content
            header = tarfile.TarInfo(f"radio/{number:06d}.mp3")
            header.size = len(content)
            header.mtime = _RECORDED_AT
            archive.addfile(header, io.BytesIO(content))
            texts.append(clip.text)
    return texts


def make_synthetic_day(
    folder: Path, day: str, archives: int, clips: int, seed: int, compression: str = "xz"
) -> dict[Path, list[str]]:
    """``archives`` archives of ``clips`` clips each, for the first slots of ``day``; by path, what their clips say."""
    folder.mkdir(parents=True, exist_ok=True)
    pool = make_clips(seed)
    ending = "tar" if compression == "tar" else f"tar.{compression}"
    said = {}
    for number in range(archives):
        hour, ten_minutes = divmod(number, 6)
        path = folder / f"0_{day}_{hour:02d}_{ten_minutes}0.{ending}"
        said[path] = write_archive(path, pool, clips)
    return said


def _make_clip(source: random.Random, candidates: list[DemoClip], recordings: dict[str, Samples]) -> SyntheticClip:
    wanted_seconds = source.uniform(SHORTEST_SECONDS, LONGEST_SECONDS)
    parts: list[Samples] = []
    texts: list[str] = []
    samples = 0
    while True:
        clip = source.choice(candidates)
        recording = recordings[clip.file]
        pause = np.zeros(int(source.uniform(0.2, 1.5) * _SAMPLE_RATE), np.float32)
        if texts and samples + len(recording) + len(pause) > wanted_seconds * _SAMPLE_RATE:
            break
        parts += [recording * np.float32(source.uniform(0.3, 1.0)), pause]
        texts.append(clip.text)
        samples += len(recording) + len(pause)
    sound = np.concatenate(parts)
    noise = np.random.default_rng(source.getrandbits(64)).standard_normal(len(sound), np.float32)
    content = encode_mp3(sound + noise * _NOISE_FLOOR, _SAMPLE_RATE, BITS_PER_SECOND)
    return SyntheticClip(" ".join(texts), samples / _SAMPLE_RATE, content)


def _decode(clips: list[DemoClip]) -> dict[str, Samples]:
    recordings: dict[str, Samples] = {}
    for clip in clips:
        recordings[clip.file], sample_rate = soundfile.read(io.BytesIO(clip.read()), dtype="float32")
        assert sample_rate == _SAMPLE_RATE, f"{clip.file} has {sample_rate} Hz"
    return recordings


def _id3_title(title: str) -> bytes:
    """An ID3v2.3 tag with ``title`` (ASCII, shorter than 100 characters, so that every length fits seven bits)."""
    text = b"\0" + title.encode("ascii")
    frame = b"TIT2" + len(text).to_bytes(4, "big") + b"\0\0" + text
    assert len(frame) < 128, f"title too long: {title}"
    return b"ID3\x03\0\0" + len(frame).to_bytes(4, "big") + frame


def _open_for_writing(path: Path) -> BinaryIO:
    match path.suffix.removeprefix("."):
        case "tar":
            return path.open("wb")
        case "gz":
            return cast(BinaryIO, gzip.GzipFile(path, "wb", mtime=_RECORDED_AT))
        case "bz2":
            return cast(BinaryIO, bz2.open(path, "wb"))
        case "xz":
            # MP3 hardly compresses, and a reader works as hard on the quickest preset as on any other.
            return cast(BinaryIO, lzma.open(path, "wb", preset=0))
        case "zst":
            return cast(BinaryIO, zstandard.open(path, "wb"))
        case _:
            raise ValueError(f"{path} does not end in one of {', '.join(COMPRESSIONS)}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a day of archives full of clips that really speak.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--day", default="2025-01-25")
    parser.add_argument("--archives", type=int, default=1, help="at most 144, one for each slot (default: 1)")
    parser.add_argument("--clips", type=int, default=1000, help="in each archive (default: 1000)")
    parser.add_argument("--compression", choices=COMPRESSIONS, default="xz")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    said = make_synthetic_day(
        arguments.folder,
        arguments.day,
        arguments.archives,
        arguments.clips,
        arguments.seed,
        arguments.compression,
    )
    for path, texts in said.items():
        print(f"{path}: {len(texts)} clips, {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
