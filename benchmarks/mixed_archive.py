"""An archive as they come: most clips are good, some share a name with one in another folder, some are no sound."""

from __future__ import annotations

import io
import random
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from audioctl.demo import demo_clips
from benchmarks.synthetic_day import SyntheticClip, make_clips

SAME_NAME_EVERY = 40
UNREADABLE_EVERY = 60
LENGTHS_SECONDS = (5, 10, 15, 20, 25, 31)


@dataclass(frozen=True, slots=True)
class MixedArchive:
    """``said`` is what each clip that can be decoded says, by its name in the archive."""

    path: Path
    said: dict[str, str]
    unreadable: int
    same_name: int
    audio_seconds: float
    lengths: Counter[int]
    """How many clips are at most so many seconds long, and longer than the next shorter length."""

    def __str__(self) -> str:
        lengths = ", ".join(f"{self.lengths[most]} to {most} s" for most in LENGTHS_SECONDS if self.lengths[most])
        return (
            f"{len(self.said) + self.unreadable} clips ({lengths}), {self.audio_seconds:.0f} s of sound, "
            f"{self.path.stat().st_size / 1e6:.0f} MB of {''.join(self.path.suffixes)[-7:].lstrip('.')}; "
            f"{self.same_name} have the name of one in another folder, {self.unreadable} cannot be decoded"
        )


def make_mixed_archive(path: Path, clips: int, seed: int, *, distinct_clips: int, short: bool = False) -> MixedArchive:
    """A tar.xz. ``short`` takes the demo clips of 1-5 s as they are, instead of clips of 2-30 s."""
    pool = [SyntheticClip(one.text, one.duration_seconds, one.read()) for one in demo_clips()] if short else []
    pool = pool or make_clips(seed, min(clips, distinct_clips))
    said: dict[str, str] = {}
    lengths: Counter[int] = Counter()
    unreadable = audio_seconds = 0.0
    with tarfile.open(path, "w:xz", preset=0) as archive:
        for name, clip in _entries(pool, clips):
            content = random.Random(name).randbytes(50_000) if clip is None else clip.content
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
            if clip is None:
                unreadable += 1
                continue
            said[name] = clip.text
            audio_seconds += clip.duration_seconds
            lengths[next(most for most in LENGTHS_SECONDS if clip.duration_seconds <= most)] += 1
    names = Counter(Path(name).name for name in said)
    return MixedArchive(path, said, int(unreadable), len(said) - len(names), audio_seconds, lengths)


def _entries(pool: list[SyntheticClip], clips: int) -> Iterator[tuple[str, SyntheticClip | None]]:
    for number in range(clips):
        clip = pool[number % len(pool)]
        if number % UNREADABLE_EVERY == UNREADABLE_EVERY // 2:
            yield f"radio/{number:06d}.mp3", None
        elif number % SAME_NAME_EVERY == SAME_NAME_EVERY - 1:
            yield f"night/{number - 1:06d}.mp3", clip
        else:
            yield f"radio/{number:06d}.mp3", clip
