"""How long a job takes, said before it runs: ``python -m benchmarks.prediction [--clips 600]``.

Two stages hand parts of batches on: the cores (decoding, finding speech, encoding, and the job's own work), then the
recogniser. Of ``n`` parts (of ``transcribe.process_batch_size`` clips) that take the cores ``c`` seconds each and the
recogniser ``r``, the first has to be converted and the last to be heard; between them the slower stage sets the pace:

    seconds = start + c + (n - 1) * max(c, r) + r

``c`` is ``clips * a + audio_seconds * b`` of a part. ``start``, ``a`` and ``b`` are fitted to runs with a recogniser
that takes nothing. Then archives of other clips and other sizes, with recognisers that take less and more than the
cores, are predicted and run. Extraction and uploads go on beside that, and are within ``a`` and ``b``.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audioctl.settings import Transcribe
from benchmarks.bounds import Bound, tell
from benchmarks.busy import cores, run
from benchmarks.synthetic_day import SyntheticClip, make_clips

WITHIN = 0.15
RECOGNISERS = (0.3, 1.0, 2.0)
"""What the recogniser takes in all, as a share of what the cores take."""


@dataclass(frozen=True, slots=True)
class Archive:
    """So many clips, taken in turn from ``pool``."""

    name: str
    pool: Sequence[SyntheticClip]
    clips: int

    @property
    def audio_seconds(self) -> float:
        return sum(self.pool[number % len(self.pool)].duration_seconds for number in range(self.clips))


@dataclass(frozen=True, slots=True)
class Costs:
    """The model, for all cores of this machine together."""

    start_seconds: float
    seconds_a_clip: float
    seconds_an_audio_second: float

    def conversion_seconds(self, archive: Archive) -> float:
        return archive.clips * self.seconds_a_clip + archive.audio_seconds * self.seconds_an_audio_second

    def seconds(self, archive: Archive, recognition_seconds: float) -> float:
        parts = math.ceil(archive.clips / Transcribe().process_batch_size)
        c, r = self.conversion_seconds(archive) / parts, recognition_seconds / parts
        return self.start_seconds + c + (parts - 1) * max(c, r) + r

    def __str__(self) -> str:
        clip, second = 1000 * self.seconds_a_clip, 1000 * self.seconds_an_audio_second
        return (
            f"{cores()} cores take {clip:.1f} ms for a clip and {second:.2f} ms for a second of audio; "
            f"a job starts in {self.start_seconds:.1f} s"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=600, help="of the archives that are predicted, about")
    clips = parser.parse_args().clips
    made = make_clips(1, 120)
    short, long = [one for one in made if one.duration_seconds < 8], [one for one in made if one.duration_seconds > 14]
    with tempfile.TemporaryDirectory(prefix="audioctl-prediction-") as name:
        folder = Path(name)
        known = [
            Archive("long", long, clips // 4),
            Archive("long", long, clips // 2),
            Archive("short", short, clips // 2),
            Archive("short", short, 2 * clips),
        ]
        runs = [(one, measure(folder / f"known-{number}", one, 0.0)) for number, one in enumerate(known)]
        costs = fit(runs)
        print(f"{costs}.\n")
        print(
            f"{'archive':<9}{'clips':>6}{'audio':>9}{'cores':>9}{'recogniser':>12}{'predicted':>11}{'measured':>10}{'ratio':>8}"
        )
        ratios = [
            check(folder / f"{archive.name}-{recogniser}", archive, recogniser, costs)
            for archive in (
                Archive("mixed", made, clips),
                Archive("long", long, clips),
                Archive("short", short, 3 * clips),
            )
            for recogniser in RECOGNISERS
        ]
    tell(
        [Bound("the farthest of measured / predicted from 1", max(abs(ratio - 1) for ratio in ratios), at_most=WITHIN)]
    )


def fit(runs: Sequence[tuple[Archive, float]]) -> Costs:
    """By least squares; a negative cost, which noise can make, is none."""
    amounts = np.array([[1.0, archive.clips, archive.audio_seconds] for archive, _ in runs])
    start, a, b = np.linalg.lstsq(amounts, np.array([seconds for _, seconds in runs]), rcond=None)[0].clip(min=0.0)
    return Costs(float(start), float(a), float(b))


def check(folder: Path, archive: Archive, recogniser: float, costs: Costs) -> float:
    """Predict, run and print; measured / predicted."""
    conversion = costs.conversion_seconds(archive)
    predicted = costs.seconds(archive, recogniser * conversion)
    measured = measure(folder, archive, recogniser * conversion)
    ratio = measured / predicted
    print(
        f"{archive.name:<9}{archive.clips:>6}{archive.audio_seconds:>7.0f} s{conversion:>7.1f} s"
        f"{recogniser * conversion:>10.1f} s{predicted:>9.1f} s{measured:>8.1f} s{ratio:>8.2f}",
        flush=True,
    )
    return ratio


def measure(folder: Path, archive: Archive, recognition_seconds: float) -> float:
    """Seconds of a job whose recogniser takes so long for all windows; writing its archive is among them."""
    began = time.perf_counter()
    run(folder, list(archive.pool), archive.clips, recognition_seconds / archive.clips)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
