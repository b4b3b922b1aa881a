"""What the recogniser waits for between two batches: ``python -m benchmarks.between_batches [--batches 8]``.

A whole job with a stand-in for the recogniser that takes a fixed time for each clip, long enough that the next batch
is always converted before. So what lies between the end of one call and the beginning of the next is the work of the
thread that has the recogniser: records, the journal and its fsync, handing over to the uploads.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from audioctl.clips import Segment, Window, WindowTranscript
from audioctl.demo import demo_clips
from audioctl.pipeline.counters import Counters
from audioctl.pipeline.drain import DrainRequest
from audioctl.pipeline.run import ArchiveJob, Surroundings, process_archive
from audioctl.settings import Extract, Paths, Settings, Transcribe, Upload
from benchmarks.synthetic_day import SyntheticClip, write_archive

DAY, SLOT = "2025-01-25", "12_30"
BATCH = 200
CALL = 100
MEAN_CLIP_SECONDS = 16.0


class StandIn:
    """Waits for each clip of a call, and remembers when the calls began and ended."""

    model = "stand-in"

    def __init__(self, seconds_per_clip: float) -> None:
        self.busy_seconds = 0.0
        self.calls: list[tuple[float, float]] = []
        self._seconds_per_clip = seconds_per_clip

    def transcribe(self, windows: Sequence[Window]) -> list[WindowTranscript]:
        began = time.perf_counter()
        time.sleep(self._seconds_per_clip * len({window.clip for window in windows}))
        words = Segment(0.0, 1.0, "alpha bravo charlie delta echo foxtrot golf hotel", -0.1, 0.0, 1.0, 0.0)
        self.calls.append((began, time.perf_counter()))
        self.busy_seconds += self.calls[-1][1] - began
        return [WindowTranscript([words] * 4, "en", 0.9) for _ in windows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=8, help=f"of {BATCH} clips")
    parser.add_argument("--seconds-per-clip", type=float, default=0.1)
    parser.add_argument("--state", type=Path, help="a folder on the file system that is to hold the journal")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="audioctl-benchmark-", dir=arguments.state) as folder:
        print(gaps(Path(folder), arguments.batches, arguments.seconds_per_clip))


def gaps(folder: Path, batches: int, seconds_per_clip: float) -> str:
    archive = folder / f"0_{DAY}_{SLOT}.tar"
    # Of 1.7 to 4 s: quickly converted, and what lies between two batches does not depend on it.
    write_archive(archive, [SyntheticClip(clip.text, 0.0, clip.read()) for clip in demo_clips()], batches * BATCH)
    settings = Settings(
        paths=Paths(state_dir=str(folder / "state"), scratch=str(folder / "scratch")),
        extract=Extract(stream_batch_size=BATCH),
        transcribe=Transcribe(process_batch_size=CALL, model="bundled"),
        upload=Upload(destination=str(folder / "storage"), max_concurrent_uploads=2),
    )
    engine = StandIn(seconds_per_clip)
    process_archive(
        ArchiveJob(DAY, SLOT, archive), settings, Surroundings(lambda: engine, Counters(), DrainRequest(1), print)
    )
    waits = [after[0] - before[1] for before, after in zip(engine.calls, engine.calls[1:], strict=False)]
    within, between = waits[::2], waits[1::2]
    whole = engine.calls[-1][1] - engine.calls[0][0]
    batch_at_200 = BATCH * MEAN_CLIP_SECONDS / 200
    gap = statistics.median(between)
    return "\n".join(
        [
            f"{batches} batches of {BATCH} clips in two calls each: the recogniser is busy "
            f"{engine.busy_seconds / whole:.2%} of the time.",
            f"Between two batches it waits {gap * 1e3:.0f} ms ({min(between) * 1e3:.0f} to {max(between) * 1e3:.0f}), "
            f"between the calls of one {statistics.median(within) * 1e3:.0f} ms.",
            f"A batch of clips of {MEAN_CLIP_SECONDS:.0f} s at 200 x real time takes {batch_at_200:.0f} s: of that it "
            f"is {gap / batch_at_200:.2%}.",
        ]
    )


if __name__ == "__main__":
    main()
