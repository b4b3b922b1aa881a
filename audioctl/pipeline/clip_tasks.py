"""What a worker process does with one clip.

It is decoded once: the same samples feed the speech finder and the Opus encoder.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from audioctl.audio.decode import ClipDecoder, Samples, UnusableClipError
from audioctl.audio.opus import OpusWriter
from audioctl.audio.speech import SpeechFinder, WindowCutter
from audioctl.clips import ConvertedClip, Member, OpusFile
from audioctl.errors import ScratchError
from audioctl.failpoints import failpoint
from audioctl.states import Reason


@dataclass(frozen=True, slots=True)
class ClipTask:
    """What a worker has to know about one clip."""

    member: Member
    opus_path: Path
    bitrate: int
    finder: type[SpeechFinder] | type[WindowCutter]
    max_duration_seconds: float = math.inf


def convert_clip(task: ClipTask) -> ConvertedClip:
    """Decodes a clip once, finds its speech and writes its Opus copy.

    Raises UnusableClipError, and ScratchError where the copy cannot be written or a spooled member not be read.
    """
    finder = task.finder(task.member.ordinal)
    copy = _write_copy(task, finder.push)
    return ConvertedClip(
        member=replace(task.member, content=None),
        duration_seconds=copy.duration_seconds,
        windows=finder.finish(),
        opus=copy.opus,
        truncated=copy.truncated,
    )


def copy_clip(task: ClipTask) -> OpusFile:
    """Makes only the Opus copy, for a clip whose transcript is known. Raises as ``convert_clip``."""
    return _write_copy(task).opus


class _Copy(NamedTuple):
    opus: OpusFile
    duration_seconds: float
    truncated: bool


def _write_copy(task: ClipTask, *listeners: Callable[[Samples], None]) -> _Copy:
    member = task.member
    if member.content is None:
        raise ValueError(f"member {member.ordinal} has no content")
    decoder = ClipDecoder(member.content, member.name)
    try:
        failpoint("convert.clip")
        with OpusWriter(task.opus_path, task.bitrate) as writer:
            for samples in decoder.blocks():
                writer.write(samples)
                if writer.duration_seconds > task.max_duration_seconds:
                    detail = f"it lasts more than {task.max_duration_seconds:g} s, the limit of max_clip_duration"
                    raise UnusableClipError(Reason.TOO_LARGE, detail)
                for listen in listeners:
                    listen(samples)
    except OSError as error:
        raise ScratchError(
            f"The spooled member {member.content!s} could not be read: {error.strerror}.",
            hint="Look at the disk that paths.scratch is on.",
        ) from error
    opus = OpusFile(member.ordinal, task.opus_path, member.storage_path, writer.size_bytes, writer.sha256)
    return _Copy(opus, writer.duration_seconds, decoder.truncated)
