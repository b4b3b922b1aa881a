"""What the stages hand to each other, and the clip record that is the product."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec

from audioctl.states import ClipState, Flag, Reason

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SAMPLE_RATE = 16_000
"""Hz, mono: what the recogniser and the Opus encoder are fed."""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
"""What is read back from a journal and counts something: a number that any database has room for."""


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of an archive.

    ``name`` is the key of the clip: unique within its archive, always valid Unicode (see ``audioctl.names``).
    ``content`` is the bytes, or the scratch file that a large member was spooled to; ``None`` when ``reason`` is
    already known from the header, and once the bytes are no longer needed. ``sha256`` is that of the content.
    """

    ordinal: int
    name: str
    storage_path: str
    size_bytes: int
    sha256: str
    content: bytes | Path | None
    reason: Reason | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class MemberBatch:
    """Consecutive members of an archive; ``digest`` tells whether another reading gave the same members."""

    index: int
    members: list[Member]
    digest: str

    @property
    def first_ordinal(self) -> int:
        return self.members[0].ordinal


@dataclass(frozen=True, slots=True)
class Window:
    """At most 30 s of one clip that hold speech: what a recogniser sees.

    ``clip`` is the ordinal of the clip; ``samples`` are int16, mono, 16 kHz; ``start_seconds`` is where the
    window begins in its clip.
    """

    clip: int
    start_seconds: float
    samples: npt.NDArray[np.int16]

    @property
    def duration_seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class OpusFile:
    """An Opus copy on scratch that waits for its upload."""

    ordinal: int
    local_path: Path
    storage_path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ConvertedClip:
    """A clip that was decoded: its speech, and its Opus copy. ``windows`` is empty for silence."""

    member: Member
    duration_seconds: float
    windows: list[Window]
    opus: OpusFile
    truncated: bool


@dataclass(frozen=True, slots=True)
class SetAside:
    """A member that is not transcribed: a rejected clip, or something that is no clip."""

    member: Member
    state: ClipState
    reason: Reason
    detail: str | None


@dataclass(frozen=True, slots=True)
class ConvertedBatch:
    index: int
    clips: list[ConvertedClip] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)


class Segment(msgspec.Struct, frozen=True):
    """A stretch of a transcript; times in seconds from the beginning of the clip."""

    start: float
    end: float
    text: str
    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float
    temperature: float = 0.0


class WindowTranscript(msgspec.Struct, frozen=True):
    """What an engine heard in one window; segment times are relative to the window."""

    segments: list[Segment]
    language: str | None
    language_probability: float | None


class ClipRecord(msgspec.Struct, frozen=True, omit_defaults=False):
    """One member and what became of it; ``export --format jsonl`` prints it with day, slot and file_path."""

    ordinal: Count
    member: str
    state: ClipState
    reason: Reason | None = None
    detail: str | None = None
    storage_path: str | None = None
    size_bytes: int = 0
    sha256: str | None = None
    duration_seconds: float | None = None
    language: str | None = None
    language_probability: float | None = None
    text: str | None = None
    segments: list[Segment] = []
    flags: list[Flag] = []
    model: str | None = None


class StoredFile(msgspec.Struct, frozen=True):
    """An Opus copy that rsync said has arrived."""

    ordinal: int
    path: str
    size_bytes: int
    sha256: str
