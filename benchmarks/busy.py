"""Does the recogniser ever wait? ``python -m benchmarks.busy [--clips 300 3000 30000]``.

The recogniser of these runs takes the same time for every window and no processor, as one on a GPU would; the rest of
the job is the real one: a tar of MP3 clips is read, converted, journalled, and its copies are sent to a folder. What is
measured is the share of the time between the beginning of its first batch and the end of its last one in which it was
at work.

That can only be near 1 if the cores convert faster than it recognises. So first it is measured how fast they convert
these clips, and the recogniser is given ``--load`` (0.6) of that; the rest is for what else wants the cores. Near 1 for
``--load`` the cores bound the job, whatever the recogniser is; see benchmarks/convert.py.

The peak of the memory of all processes is printed as well: it must not grow with the archive. benchmarks/memory.py
measures it with a real model, as a process of its own.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import psutil

from audioctl.clips import Segment, Window, WindowTranscript
from audioctl.demo import demo_clips
from audioctl.names import ClipNames
from audioctl.pipeline.convert import Converter
from audioctl.pipeline.counters import Counters
from audioctl.pipeline.decompress import DecompressedFile
from audioctl.pipeline.drain import DrainRequest
from audioctl.pipeline.extract import read_archive
from audioctl.pipeline.run import ArchiveJob, Surroundings, process_archive
from audioctl.settings import Convert, Paths, Settings, Transcribe, Upload
from benchmarks.bounds import Bound, tell
from benchmarks.memory import tree_bytes
from benchmarks.synthetic_day import SyntheticClip, write_archive

DAY, SLOT = "2025-01-25", "12_30"
CALIBRATION_CLIPS = 600
CALIBRATION_BATCH = 200
LEAST_SHARE = 0.95
MOST_MEMORY = 1.05
SAMPLE_SECONDS = 0.2


@dataclass
class FixedCost:
    """A recogniser that takes ``seconds_a_window``, hears nothing, and remembers when it worked."""

    seconds_a_window: float
    model: str = "fixed cost"
    busy_seconds: float = 0.0
    calls: list[tuple[float, float]] = field(default_factory=list)

    def transcribe(self, windows: Sequence[Window]) -> list[WindowTranscript]:
        began = time.perf_counter()
        time.sleep(len(windows) * self.seconds_a_window)
        self.calls.append((began, time.perf_counter()))
        self.busy_seconds = sum(end - begin for begin, end in self.calls)
        return [
            WindowTranscript([Segment(0.0, one.duration_seconds, "something", -0.1, 0.0, 1.0)], "en", 1.0)
            for one in windows
        ]

    @property
    def span_seconds(self) -> float:
        return self.calls[-1][1] - self.calls[0][0]

    @property
    def longest_wait_seconds(self) -> float:
        pairs = zip(self.calls, self.calls[1:], strict=False)
        return max((begin - end for (_, end), (begin, _) in pairs), default=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[300, 3000])
    parser.add_argument("--load", type=float, default=0.6, help="recognised / converted, of the clips of a second")
    arguments = parser.parse_args()
    pool = [SyntheticClip(clip.text, clip.duration_seconds, clip.read()) for clip in demo_clips()]
    seconds = sum(clip.duration_seconds for clip in pool) / len(pool)
    with tempfile.TemporaryDirectory(prefix="audioctl-busy-") as name:
        folder = Path(name)
        converted = clips_converted_a_second(folder, pool)
        cost = 1 / (arguments.load * converted)
        print(
            f"Clips of {seconds:.1f} s. {cores()} cores convert {converted:.0f} of them a second "
            f"({converted * seconds:.0f} x real time); the recogniser takes {1 / cost:.0f}."
        )
        print("  clips    busy  longest wait  first batch after  whole job  clips/s    memory")
        bounds, peaks = [], []
        for clips in arguments.clips:
            began = time.perf_counter()
            with peak_of_memory() as peak:
                recogniser = run(folder / str(clips), pool, clips, cost)
            elapsed = time.perf_counter() - began
            share = recogniser.busy_seconds / recogniser.span_seconds
            print(
                f"{clips:>7}{share:>8.1%}{recogniser.longest_wait_seconds:>12.2f} s"
                f"{recogniser.calls[0][0] - began:>17.1f} s{elapsed:>9.0f} s{clips / elapsed:>9.1f}"
                f"{peak[0] / 1e6:>7.0f} MB",
                flush=True,
            )
            peaks.append(peak[0])
            bounds.append(Bound(f"{clips} clips, busy", share, at_least=LEAST_SHARE))
    if len(peaks) > 1:
        sizes = f"{arguments.clips[-1]} clips, memory / that of {arguments.clips[-2]}"
        bounds.append(Bound(sizes, peaks[-1] / peaks[-2], at_most=MOST_MEMORY))
    tell(bounds)


@contextmanager
def peak_of_memory() -> Iterator[list[int]]:
    """The bytes of this process and all below it, at their most while the block runs."""
    peak, ended = [0], threading.Event()

    def sample() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            peak[0] = max(peak[0], tree_bytes(psutil.Process()))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def run(work: Path, pool: list[SyntheticClip], clips: int, seconds_a_window: float) -> FixedCost:
    work.mkdir()
    archive = work / f"0_{DAY}_{SLOT}.tar"
    write_archive(archive, pool, clips)
    settings = Settings(
        paths=Paths(state_dir=str(work / "state"), scratch=str(work / "scratch")),
        convert=Convert(num_workers=cores()),
        transcribe=Transcribe(model="bundled"),  # looked for before the work begins, never loaded
        upload=Upload(destination=str(work / "storage")),
    )
    recogniser = FixedCost(seconds_a_window)
    around = Surroundings(lambda: recogniser, Counters(), DrainRequest(1), print)
    process_archive(ArchiveJob(DAY, SLOT, archive), settings, around)
    assert sum(1 for _ in (work / "storage").rglob("*.opus")) == clips
    return recogniser


def clips_converted_a_second(folder: Path, pool: list[SyntheticClip]) -> float:
    archive = folder / "calibration.tar"
    write_archive(archive, pool, CALIBRATION_CLIPS)
    with Converter(cores(), folder) as converter, DecompressedFile(archive) as file:
        batches = read_archive(
            file,
            names=ClipNames(DAY, SLOT),
            batch_size=CALIBRATION_BATCH,
            max_member_size_bytes=1 << 30,
            spool_above_bytes=1 << 24,
            spool_dir=folder,
        )
        for batch in islice(batches, 1):
            converter.convert(batch)  # the processes start once in a job
        began = time.perf_counter()
        for batch in batches:
            converter.convert(batch)
        return (CALIBRATION_CLIPS - CALIBRATION_BATCH) / (time.perf_counter() - began)


def cores() -> int:
    return len(os.sched_getaffinity(0))


if __name__ == "__main__":
    main()
