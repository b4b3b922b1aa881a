"""Ways of hearing a sample and what was measured of them, for tests of ``audioctl tune``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from audioctl.clips import SAMPLE_RATE, ConvertedClip, Member, OpusFile, Window
from audioctl.sampling import Sample
from audioctl.ways import Measured, Tuned, Way

CLIPS, CLIP_SECONDS = 20, 10.0
SAID = "one two three four five"

CONFIGURED = Way("auto", 5, 0, "default")
REFERENCE = Way("full", 5, 0, "float32")
GREEDY = replace(CONFIGURED, beam_size=1)
SHORT = replace(CONFIGURED, window="10")


def measured(way: Way, speed: float, agreement: float = 1.0, noise: float = 0.0) -> Measured:
    """Heard three times; ``noise`` is by what share the fastest is faster, and the slowest slower, than the median."""
    seconds = 1000 / speed
    times = (seconds * (1 - noise), seconds, seconds * (1 + noise))
    return Measured(way, times, speed, agreement, {} if agreement == 1 else {0: "other words"})


def tuned(configured: Measured, *others: Measured, reference: Measured | None = None) -> Tuned:
    reference = reference or measured(REFERENCE, 10)
    return Tuned(reference, configured, [reference, configured, *others], ["some words"], [], "cpu", False)


def sample() -> Sample:
    def clip(number: int) -> ConvertedClip:
        window = Window(number, 0.0, np.zeros(int(CLIP_SECONDS * SAMPLE_RATE), np.int16))
        copy = OpusFile(number, Path("none"), "none", 0, "")
        return ConvertedClip(Member(number, f"{number}.mp3", "", 1, "", None), CLIP_SECONDS, [window], copy, False)

    return Sample([clip(number) for number in range(CLIPS)], members_read=4 * CLIPS)
