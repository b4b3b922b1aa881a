"""Does a longer archive need more memory? ``python -m benchmarks.memory [--clips 600 3000]``.

``audioctl process-tar`` works on archives of these many clips. While it does, the memory of the job and all its
workers and rsyncs is added up, and so is what lies on scratch. Printed are the peaks, and their ratio between the
longest and the shortest archive, which has to stay at 1: at most 1.05, or the exit code is 1. Resident memory counts
what workers share once for each of them; ``job alone`` is the kernel's own peak (ru_maxrss) of the main process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from audioctl.demo import demo_clips
from audioctl.names import storage_folder
from audioctl.pipeline.effects import WAITING_BATCHES
from audioctl.pipeline.run import CONVERTED_BATCHES
from benchmarks.bounds import Bound, tell
from benchmarks.synthetic_day import SyntheticClip, write_archive

DAY, SLOT = "2025-01-25", "12_30"
BATCH_SIZE = 100
LARGEST_RATIO = 1.05
SAMPLE_SECONDS = 0.05

BATCHES_ON_SCRATCH = WAITING_BATCHES + CONVERTED_BATCHES + 4
"""At most: those that wait, one on each side of either queue."""


@dataclass(slots=True)
class Peaks:
    clips: int
    tree_bytes: int = 0
    job_bytes: int = 0
    scratch_bytes: int = 0
    scratch_files: int = 0
    seconds: float = 0.0
    first_transcript_seconds: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[600, 3000])
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="audioctl-memory-") as folder:
        measured = [measure(Path(folder), clips, arguments.workers) for clips in sorted(arguments.clips)]
    print(" clips  all processes   job alone   scratch  files there  first text    time")
    for peaks in measured:
        print(
            f"{peaks.clips:>6}{megabytes(peaks.tree_bytes):>15}{megabytes(peaks.job_bytes):>12}"
            f"{megabytes(peaks.scratch_bytes):>10}{peaks.scratch_files:>13}{peaks.first_transcript_seconds:>10.1f} s"
            f"{peaks.seconds:>6.0f} s"
        )
    shortest, longest = measured[0], measured[-1]
    ratios = [longest.tree_bytes / shortest.tree_bytes, longest.job_bytes / shortest.job_bytes]
    print(
        f"{longest.clips / shortest.clips:g} times the clips: {ratios[0]:.2f} times the memory, {ratios[1]:.2f} times "
        f"that of the job alone. {BATCHES_ON_SCRATCH * BATCH_SIZE} files ({BATCHES_ON_SCRATCH} batches) may be there."
    )
    tell([Bound(f"{longest.clips} clips, memory / that of {shortest.clips}", ratios[0], at_most=LARGEST_RATIO)])
    sys.exit(max(ratios) > LARGEST_RATIO or longest.scratch_files > BATCHES_ON_SCRATCH * BATCH_SIZE)


def measure(folder: Path, clips: int, workers: int) -> Peaks:
    pool = [SyntheticClip(clip.text, clip.duration_seconds, clip.read()) for clip in demo_clips()]
    archive = folder / f"{clips}.tar"
    write_archive(archive, pool, clips)
    work = folder / str(clips)
    work.mkdir()
    scratch = work / "scratch"
    command = [sys.executable, "-m", "audioctl", "process-tar", DAY, str(archive), SLOT, "--json"]
    command += ["--model", "bundled", "--device", "cpu", "--stream-batch-size", str(BATCH_SIZE)]
    command += ["--num-workers", str(workers), "--scratch", str(scratch)]
    peaks = Peaks(clips)
    began = time.monotonic()
    with (work / "summary.json").open("wb") as summary, (work / "log").open("wb") as log:
        job = subprocess.Popen(command, cwd=work, stdout=summary, stderr=log)
        exit_code, peaks.job_bytes = watch(job, scratch, peaks)
    assert exit_code == 0, (work / "log").read_text()
    peaks.seconds = time.monotonic() - began
    answer = json.loads((work / "summary.json").read_text())
    assert answer["stored"] == clips
    assert sum(1 for path in (work / "audioctl-storage" / storage_folder(DAY, SLOT)).rglob("*.opus")) == clips
    peaks.first_transcript_seconds = answer["first_transcript_seconds"]
    archive.unlink()
    return peaks


def watch(job: subprocess.Popen[bytes], scratch: Path, peaks: Peaks) -> tuple[int, int]:
    """Until it ends: its exit code, and the kernel's peak of its memory in bytes."""
    root = psutil.Process(job.pid)
    while True:
        pid, status, usage = os.wait4(job.pid, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024
        peaks.tree_bytes = max(peaks.tree_bytes, tree_bytes(root))
        files = file_sizes(scratch)
        peaks.scratch_bytes = max(peaks.scratch_bytes, sum(files))
        peaks.scratch_files = max(peaks.scratch_files, len(files))
        time.sleep(SAMPLE_SECONDS)


def tree_bytes(root: psutil.Process) -> int:
    total = 0
    with suppress(psutil.Error):
        command = root.cmdline()
        total = root.memory_info().rss
        for process in root.children(recursive=True):
            with suppress(psutil.Error):
                # Between vfork and exec a child has its parent's memory, which was counted, and its command.
                total += process.memory_info().rss if process.cmdline() != command else 0
    return total


def file_sizes(folder: Path) -> list[int]:
    sizes = []
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            if path.is_file():
                sizes.append(path.stat().st_size)
    return sizes


def megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.0f} MB"


if __name__ == "__main__":
    main()
