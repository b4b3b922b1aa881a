"""The small model and the spoken clips as the recogniser takes them, for tests of what is heard."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from faster_whisper import WhisperModel
from sounds import Samples
from speech import SpokenClip, small_model_path

from audioctl.audio.decode import ClipDecoder
from audioctl.clips import Window, WindowTranscript


@cache
def whisper() -> WhisperModel:
    """The small model as faster-whisper loads it."""
    return WhisperModel(str(small_model_path()), device="cpu", compute_type="int8", cpu_threads=2)


@cache
def samples_of(clip: SpokenClip) -> Samples:
    return np.concatenate(list(ClipDecoder(clip.content, clip.name).blocks()))


def windows_of(clips: Sequence[SpokenClip]) -> list[Window]:
    """Each clip as one window, numbered in their order."""
    return [Window(number, 0.0, samples_of(clip)) for number, clip in enumerate(clips)]


def text(transcript: WindowTranscript) -> str:
    return " ".join(segment.text for segment in transcript.segments)
