"""From the tokens a Whisper model generates to segments, and whether to believe them.

Thresholds and temperatures are Whisper's own (Radford et al. 2022, section 4.5), as faster-whisper has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
COMPRESSION_RATIO_THRESHOLD = 2.4
LOG_PROBABILITY_THRESHOLD = -1.0
NO_SPEECH_THRESHOLD = 0.6
SECONDS_PER_TIMESTAMP = 0.02


@dataclass(frozen=True, slots=True)
class Decoded:
    """One window as it was decoded at one temperature."""

    tokens: Sequence[int]
    text: str
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


def best_of(attempts: Sequence[Decoded]) -> Decoded:
    """The attempt to keep when none passed: the likeliest that does not repeat itself, or just the likeliest."""
    candidates = [attempt for attempt in attempts if not attempt.is_repetitive] or attempts
    return max(candidates, key=lambda attempt: attempt.avg_logprob)


def split_at_timestamps(
    tokens: Sequence[int], timestamp_begin: int, duration_seconds: float
) -> list[tuple[float, float, list[int]]]:
    """Segments as (start, end, text tokens) in seconds within the window.

    Whisper writes ``<start> words <end>`` for each segment; the last one may lack its end, and a model that was
    unsure may have written no times at all: then the segment reaches to the end of the window.
    """
    segments: list[tuple[float, float, list[int]]] = []
    start, text = 0.0, list[int]()
    for token in tokens:
        if token < timestamp_begin:
            text.append(token)
            continue
        time = min((token - timestamp_begin) * SECONDS_PER_TIMESTAMP, duration_seconds)
        if text:
            segments.append((start, max(start, time), text))
            text = []
        start = time
    if text:
        segments.append((start, duration_seconds, text))
    return segments
