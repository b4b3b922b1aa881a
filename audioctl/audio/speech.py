"""From the samples of a clip to the windows that a recogniser sees.

The samples come block by block and are let go as soon as they are looked at, so that a clip of hours costs no more
memory than one of minutes, plus its speech.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from faster_whisper.vad import VadOptions, get_speech_timestamps

from audioctl.clips import SAMPLE_RATE, Window

Samples = npt.NDArray[np.int16]

WINDOW_SECONDS = 30
"""What Whisper's encoder takes at once."""

_WINDOW = WINDOW_SECONDS * SAMPLE_RATE

_LONGEST_PAUSE = 3 * SAMPLE_RATE
"""A longer silence in a long clip ends a window: Whisper invents words in silence, and it is computed for nothing."""

_LOOK = 120 * SAMPLE_RATE
"""Samples looked at together: the detector needs some 0.4 MB for each second."""

_TAIL = SAMPLE_RATE // 2
"""Kept of a silence at the end of a look, so that a word that begins there keeps its first sound."""

_SILENT_PEAK = 8
"""Of 32768, -72 dBFS: what is never louder is no speech, and not worth the detector's time."""

_QUIET_SEARCH = 5 * SAMPLE_RATE
_QUIET_FRAME = SAMPLE_RATE // 50

_VAD_OPTIONS = VadOptions(
    max_speech_duration_s=WINDOW_SECONDS,
    # Shorter than faster-whisper's 2000: long clips are to be cut at breaths, and pauses are packed again below.
    min_silence_duration_ms=500,
    speech_pad_ms=400,
)


class Stretch(NamedTuple):
    """Samples ``start`` to ``end``, without the last one."""

    start: int
    end: int


class WindowFinder(Protocol):
    """Is given a clip's samples in order, and says at the end which windows to transcribe."""

    def push(self, samples: Samples) -> None: ...

    def finish(self) -> list[Window]: ...


class SpeechFinder:
    """The windows of a clip that hold speech, found with Silero's voice activity detector.

    Stretches of speech share a window as long as it is no longer than 30 s and no pause in it is longer than 3 s. A
    stretch of more than 30 s is cut at a short silence. A clip of up to 30 s is one window, whatever its pauses:
    from its first speech to its last.
    """

    def __init__(self, clip: int) -> None:
        self._clip = clip
        self._buffer = _Buffer()
        self._windows: list[Window] = []

    def push(self, samples: Samples) -> None:
        self._buffer.append(samples)
        if len(self._buffer) >= _LOOK:
            self._look()

    def finish(self) -> list[Window]:
        samples = self._buffer.samples()
        speech = _find_speech(samples)
        if speech and self._buffer.start == 0 and len(samples) <= _WINDOW:
            self._add(samples, [Stretch(speech[0].start, speech[-1].end)])
        else:
            self._add(samples, pack(speech))
        return self._windows

    def _look(self) -> None:
        samples = self._buffer.samples()
        windows = list(pack(_find_speech(samples)))
        keep_from = len(samples) - _TAIL
        if windows and len(samples) - windows[-1].end <= _LONGEST_PAUSE:
            # It may go on: it is looked at again together with what follows.
            keep_from = min(keep_from, windows.pop().start)
        self._add(samples, windows)
        self._buffer.drop(keep_from)

    def _add(self, samples: Samples, stretches: Iterable[Stretch]) -> None:
        for start, end in stretches:
            self._windows.append(self._buffer.window(self._clip, samples[start:end], start))


class WindowCutter:
    """The whole clip in windows of at most 30 s, each cut at the quietest point of its last 5 s."""

    def __init__(self, clip: int) -> None:
        self._clip = clip
        self._buffer = _Buffer()
        self._windows: list[Window] = []

    def push(self, samples: Samples) -> None:
        self._buffer.append(samples)
        while len(self._buffer) > _WINDOW:
            self._cut()

    def finish(self) -> list[Window]:
        rest = self._buffer.samples()
        if len(rest):
            self._windows.append(self._buffer.window(self._clip, rest, 0))
        return self._windows

    def _cut(self) -> None:
        samples = self._buffer.samples()
        first = _WINDOW - _QUIET_SEARCH
        frames = samples[first:_WINDOW].astype(np.int32).reshape(-1, _QUIET_FRAME)
        quietest = int(np.abs(frames).sum(axis=1).argmin())
        end = first + quietest * _QUIET_FRAME + _QUIET_FRAME // 2
        self._windows.append(self._buffer.window(self._clip, samples[:end], 0))
        self._buffer.drop(end)


def pack(stretches: Iterable[Stretch]) -> Iterator[Stretch]:
    """Joins neighbours as long as the whole is at most 30 s long and no pause in it longer than 3 s."""
    current: Stretch | None = None
    for stretch in stretches:
        if current is None:
            current = stretch
        elif stretch.end - current.start <= _WINDOW and stretch.start - current.end <= _LONGEST_PAUSE:
            current = Stretch(current.start, stretch.end)
        else:
            yield current
            current = stretch
    if current is not None:
        yield current


class _Buffer:
    """The samples of a clip that are still needed; ``start`` is the place of the first one in the clip."""

    def __init__(self) -> None:
        self.start = 0
        self._blocks: list[Samples] = []
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, samples: Samples) -> None:
        self._blocks.append(samples)
        self._length += len(samples)

    def samples(self) -> Samples:
        self._blocks = [np.concatenate(self._blocks)] if self._blocks else [np.zeros(0, np.int16)]
        return self._blocks[0]

    def drop(self, count: int) -> None:
        # A copy, because a view would keep all samples alive.
        self._blocks = [self.samples()[count:].copy()]
        self._length -= count
        self.start += count

    def window(self, clip: int, samples: Samples, offset: int) -> Window:
        return Window(clip, (self.start + offset) / SAMPLE_RATE, samples.copy())


def _find_speech(samples: Samples) -> list[Stretch]:
    if len(samples) == 0 or max(int(samples.max()), -int(samples.min())) <= _SILENT_PEAK:
        return []
    found = get_speech_timestamps(samples.astype(np.float32) / 32768, _VAD_OPTIONS)
    return [Stretch(int(one["start"]), min(int(one["end"]), len(samples))) for one in found]
