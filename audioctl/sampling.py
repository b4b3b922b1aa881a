"""A sample of the clips of an archive, converted as a job would convert them."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from audioctl.clips import ConvertedBatch, ConvertedClip, Member, MemberBatch
from audioctl.errors import ArchiveDamagedError, ArchiveError
from audioctl.names import ClipNames
from audioctl.pipeline.convert import Converter
from audioctl.pipeline.decompress import DecompressedFile, DecompressionLimits
from audioctl.pipeline.extract import read_archive
from audioctl.settings import Settings

MEMBERS_PER_CLIP = 4
"""So many times the members that are asked for are read, and the sample is drawn from them: a few minutes of one
station are no sample, and to read on to the end of a large archive would take longer than to measure."""

_SEED = 1
_ANY_DAY, _ANY_SLOT = "2000-01-01", "00_00"
"""For the names of copies that go nowhere."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Clips by ordinal, drawn by chance, but always the same ones, from the first ``members_read`` of an archive.

    ``damage`` tells what was found wrong with the archive on the way.
    """

    clips: list[ConvertedClip] = field(repr=False)
    members_read: int
    damage: str | None = None

    def parts(self, clips: int) -> Iterator[ConvertedBatch]:
        """Of so many clips each, as a job gives them to the recogniser."""
        for start in range(0, len(self.clips), clips):
            yield ConvertedBatch(0, self.clips[start : start + clips])

    @property
    def audio_seconds(self) -> float:
        return sum(clip.duration_seconds for clip in self.clips)

    @property
    def speech_seconds(self) -> float:
        return sum(window.duration_seconds for clip in self.clips for window in clip.windows)

    @property
    def windows(self) -> int:
        return sum(len(clip.windows) for clip in self.clips)


def draw_sample(archive: Path, settings: Settings, clips: int, scratch: Path) -> Sample:
    """Of ``clips`` clips, or as many as there are. What was written to ``scratch`` stays there.

    Raises ArchiveError where there are none to be heard, ArchiveUnreadableError, and ScratchError.
    """
    members, damage = _head(archive, settings, MEMBERS_PER_CLIP * clips, scratch)
    usable = [member for member in members if member.reason is None]
    random.Random(_SEED).shuffle(usable)
    drawn = _converted(usable, settings, clips, scratch)
    if not any(clip.windows for clip in drawn):
        what = "no clip that can be used" if not drawn else "no clip in which anybody speaks"
        raise ArchiveError(
            f"There is {what} among the first {len(members)} members of {archive}."
            + (f" {damage}" if damage is not None else ""),
            hint="Give another archive, or a larger --clips.",
        )
    return Sample(sorted(drawn, key=lambda clip: clip.member.ordinal), len(members), damage)


def _head(archive: Path, settings: Settings, members: int, spool_dir: Path) -> tuple[list[Member], str | None]:
    """The first members in one batch, whose memory is limited; the archive is read no further."""
    extract = settings.extract
    limits = DecompressionLimits(extract.max_archive_size, extract.max_compression_ratio)
    head: list[Member] = []
    with DecompressedFile(archive, limits) as stream:
        batches = read_archive(
            stream,
            names=ClipNames(_ANY_DAY, _ANY_SLOT),
            batch_size=members,
            max_member_size_bytes=extract.max_member_size,
            spool_above_bytes=extract.spool_above,
            spool_dir=spool_dir,
            max_members=extract.max_members,
        )
        try:
            for batch in batches:
                head = batch.members
                if len(head) == members:
                    break
        except ArchiveDamagedError as error:
            if not head:
                raise
            return head, error.message
        finally:
            batches.close()  # type: ignore[attr-defined]  # it is a generator
    return head, None


def _converted(members: list[Member], settings: Settings, clips: int, scratch: Path) -> list[ConvertedClip]:
    """Of the first ``clips`` members that are clips; others take the place of those that are none."""
    convert = settings.convert
    converted: list[ConvertedClip] = []
    with Converter(
        min(convert.num_workers, len(os.sched_getaffinity(0))),
        scratch,
        convert.bitrate,
        settings.transcribe.vad,
        convert.clip_timeout,
        max_clip_duration_seconds=convert.max_clip_duration,
    ) as converter:
        while members and len(converted) < clips:
            missing = clips - len(converted)
            chosen, members = members[:missing], members[missing:]
            converted += converter.convert(MemberBatch(0, chosen, "")).clips
    return converted
