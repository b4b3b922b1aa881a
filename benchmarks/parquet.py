"""``audioctl export --format parquet`` of days of two sizes: its pace, and that memory does not grow with the day.

    python -m benchmarks.parquet [--archives 40 144]

Each is a whole process; archives have 2,800 clips, as real ones.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.bounds import Bound, tell
from benchmarks.search import archives, write_journal
from benchmarks.status import day_number

CLIPS = 2_800


class Figures(NamedTuple):
    clips: int
    seconds: float
    memory_megabytes: float
    file_megabytes: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archives", type=int, nargs=2, default=(40, 144), help="of a day; at most 144")
    options = parser.parse_args()
    small, large = (measure(count) for count in options.archives)
    print(f"{'clips':>8}{'seconds':>9}{'clips/s':>9}{'memory':>9}{'file':>9}")
    for of_day in (small, large):
        pace = of_day.clips / of_day.seconds
        print(f"{of_day.clips:>8,}{of_day.seconds:>9.1f}{pace:>9,.0f}", end="")
        print(f"{of_day.memory_megabytes:>6.0f} MB{of_day.file_megabytes:>6.0f} MB")
    tell(
        [
            Bound("clips/s", large.clips / large.seconds, at_least=5_000),
            Bound(
                "memory of the larger day to the smaller", large.memory_megabytes / small.memory_megabytes, at_most=1.2
            ),
        ]
    )


def measure(archives_of_day: int) -> Figures:
    day = day_number(0)
    with tempfile.TemporaryDirectory(prefix="audioctl-benchmark-") as folder:
        state_dir, out = Path(folder, "state"), Path(folder, "out")
        for archive in archives([day], archives_of_day, CLIPS):
            write_journal(state_dir, *archive)
        command = [
            "-m",
            "audioctl",
            "export",
            day,
            "--format",
            "parquet",
            "--out",
            str(out),
            "--state-dir",
            str(state_dir),
        ]
        began = time.perf_counter()
        process = subprocess.Popen([sys.executable, *command], stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        [file] = out.rglob("*.parquet")
        return Figures(archives_of_day * CLIPS, seconds, usage.ru_maxrss / 1e3, file.stat().st_size / 1e6)


if __name__ == "__main__":
    main()
