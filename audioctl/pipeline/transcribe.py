"""The transcribe stage: from converted clips to clip records, all clips of a call in one call of the engine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from audioctl.clips import ClipRecord, ConvertedBatch, ConvertedClip, Segment, SetAside, Window, WindowTranscript
from audioctl.engines.base import Engine
from audioctl.engines.decoding import COMPRESSION_RATIO_THRESHOLD, LOG_PROBABILITY_THRESHOLD
from audioctl.states import ClipState, Flag, Reason

CRASHES_OF_A_CLIP = 2
"""Alone with the recogniser, after the first one in its batch. Memory that fails may crash a process once, and even
then with the same clip twice hardly ever."""


def transcribe(batch: ConvertedBatch, engine: Engine) -> list[ClipRecord]:
    """The record of every member of the batch, by ordinal. The engine hears its clips together."""
    records = [_set_aside_record(member) for member in batch.set_aside]
    records.extend(_transcribe_clips(batch.clips, engine))
    return sorted(records, key=lambda record: record.ordinal)


def transcribe_one_by_one(
    batch: ConvertedBatch, engine: Engine, crashes: Mapping[int, int], begin: Callable[[int], None]
) -> list[ClipRecord]:
    """The same for a batch with which the process has crashed: each clip alone, so that the one to blame is known.

    ``begin`` is told the ordinal of each clip before the engine hears it. A clip that is alone with the process when it
    crashes ``CRASHES_OF_A_CLIP`` times (``crashes`` counts them by ordinal) is rejected and not heard again.
    """
    records = [_set_aside_record(member) for member in batch.set_aside]
    for clip in batch.clips:
        crashed = crashes.get(clip.member.ordinal, 0)
        if crashed >= CRASHES_OF_A_CLIP:
            detail = f"The process crashed {crashed + 1} times with it, {crashed} times while it was heard alone."
            poison = SetAside(clip.member, ClipState.REJECTED, Reason.CRASHED_RECOGNISER, detail)
            records.append(_set_aside_record(poison))
            continue
        begin(clip.member.ordinal)
        records.extend(_transcribe_clips([clip], engine))
    return sorted(records, key=lambda record: record.ordinal)


def _transcribe_clips(clips: Sequence[ConvertedClip], engine: Engine) -> Iterator[ClipRecord]:
    windows = [window for clip in clips for window in clip.windows]
    heard: defaultdict[int, list[tuple[Window, WindowTranscript]]] = defaultdict(list)
    for window, transcript in zip(windows, engine.transcribe(windows), strict=True):
        heard[window.clip].append((window, transcript))
    for clip in clips:
        yield _stored_record(clip, heard[clip.member.ordinal], engine.model)


def _stored_record(clip: ConvertedClip, heard: Sequence[tuple[Window, WindowTranscript]], model: str) -> ClipRecord:
    segments = [
        _shifted(segment, window.start_seconds) for window, transcript in heard for segment in transcript.segments
    ]
    # Without a word there is no language to speak of, whatever the detector guessed from noise.
    spoken_in = heard[0][1] if segments else None
    return ClipRecord(
        ordinal=clip.member.ordinal,
        member=clip.member.name,
        state=ClipState.STORED,
        reason=None if segments else Reason.NO_SPEECH,
        storage_path=clip.opus.storage_path,
        size_bytes=clip.member.size_bytes,
        sha256=clip.member.sha256,
        duration_seconds=round(clip.duration_seconds, 3),
        language=spoken_in.language if spoken_in else None,
        language_probability=_rounded(spoken_in.language_probability if spoken_in else None),
        text=" ".join(segment.text for segment in segments),
        segments=segments,
        flags=_flags(segments, clip.truncated),
        model=model,
    )


def _set_aside_record(set_aside: SetAside) -> ClipRecord:
    member = set_aside.member
    return ClipRecord(
        ordinal=member.ordinal,
        member=member.name,
        state=set_aside.state,
        reason=set_aside.reason,
        detail=set_aside.detail,
        size_bytes=member.size_bytes,
        sha256=member.sha256 or None,
    )


def _flags(segments: Sequence[Segment], truncated: bool) -> list[Flag]:
    flags = []
    if not segments:
        flags.append(Flag.NO_SPEECH)
    if any(segment.compression_ratio > COMPRESSION_RATIO_THRESHOLD for segment in segments):
        flags.append(Flag.REPETITIVE)
    if any(segment.avg_logprob < LOG_PROBABILITY_THRESHOLD for segment in segments):
        flags.append(Flag.LOW_CONFIDENCE)
    if truncated:
        flags.append(Flag.TRUNCATED)
    return flags


def _shifted(segment: Segment, offset_seconds: float) -> Segment:
    return msgspec.structs.replace(
        segment,
        start=round(segment.start + offset_seconds, 2),
        end=round(segment.end + offset_seconds, 2),
        avg_logprob=round(segment.avg_logprob, 4),
        no_speech_prob=round(segment.no_speech_prob, 4),
        compression_ratio=round(segment.compression_ratio, 3),
    )


def _rounded(probability: float | None) -> float | None:
    return None if probability is None else round(probability, 4)
