"""From the tokens a Whisper model generates to segments, and whether to believe them.

Thresholds and temperatures are Whisper's own (Radford et al. 2022, section 4.5), as faster-whisper has them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
BEST_OF = 5
"""Samples drawn at a temperature above 0, of which the likeliest is kept; faster-whisper's default."""

COMPRESSION_RATIO_THRESHOLD = 2.4
LOG_PROBABILITY_THRESHOLD = -1.0
NO_SPEECH_THRESHOLD = 0.6
SECONDS_PER_TIMESTAMP = 0.02

MAX_TOKENS = 224
"""What a Whisper model writes at most for one window: half of its context of 448."""

# Scripts that take three tokens a letter (Georgian, Amharic) come to 30 a second; English is below 10.
_TOKENS_PER_SECOND = 30
_TOKENS_TO_SPARE = 32

_SHORTEST_REST_SECONDS = 0.5
"""Less is no window of its own: the model has left off because nothing came any more."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """One window as it was decoded at one temperature."""

    tokens: Sequence[int]
    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float
    temperature: float

    @property
    def is_silence(self) -> bool:
        """The model doubts that anybody speaks, and what it wrote."""
        return self.no_speech_prob > NO_SPEECH_THRESHOLD and self.avg_logprob < LOG_PROBABILITY_THRESHOLD

    @property
    def is_repetitive(self) -> bool:
        return self.compression_ratio > COMPRESSION_RATIO_THRESHOLD

    @property
    def is_doubtful(self) -> bool:
        """To be decoded again at a higher temperature."""
        return not self.is_silence and (self.is_repetitive or self.avg_logprob < LOG_PROBABILITY_THRESHOLD)


class TimedTokens(NamedTuple):
    """The text tokens of a segment; ``start`` and ``end`` in seconds within the window."""

    start: float
    end: float
    tokens: list[int]


class Split(NamedTuple):
    """A window's segments. ``left_off`` is the second from which on the window has to be decoded once more."""

    segments: list[TimedTokens]
    left_off: float | None


def best_of(attempts: Sequence[Decoded]) -> Decoded:
    """The attempt to keep: the last one if it passed, else the likeliest, if possible of those that do not repeat."""
    if not attempts[-1].is_doubtful:
        return attempts[-1]
    candidates = [attempt for attempt in attempts if not attempt.is_repetitive] or attempts
    return max(candidates, key=lambda attempt: attempt.avg_logprob)


def token_limit(duration_seconds: float) -> int:
    """More tokens than anybody speaks in this time.

    What goes on beyond is a loop, and the whole batch would wait for it.
    """
    return min(MAX_TOKENS, _TOKENS_TO_SPARE + math.ceil(duration_seconds * _TOKENS_PER_SECOND))


def split_at_timestamps(tokens: Sequence[int], timestamp_begin: int, duration_seconds: float) -> Split:
    """Cut what a model wrote about a window of ``duration_seconds`` into segments.

    Whisper writes ``<start> words <end>`` for each segment. Where the window ends amid a sentence, or the tokens run
    out, it leaves the last segment open: what follows the last closed one is then left for another decoding. A model
    that was unsure may have written no times at all: then the segment is the whole window.
    """
    segments: list[TimedTokens] = []
    start, text = 0.0, list[int]()
    is_open = False
    for token in tokens:
        if token < timestamp_begin:
            text.append(token)
            is_open = True
            continue
        time = min((token - timestamp_begin) * SECONDS_PER_TIMESTAMP, duration_seconds)
        is_open = not text
        if text:
            segments.append(TimedTokens(start, max(start, time), text))
            text = []
        start = time
    if is_open and segments:
        left_off = segments[-1].end
        if min(left_off, duration_seconds - left_off) >= _SHORTEST_REST_SECONDS:
            return Split(segments, left_off)
    if text:
        segments.append(TimedTokens(start, duration_seconds, text))
    return Split(segments, None)
