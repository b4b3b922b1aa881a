"""Records what docs/operations.md shows: ``python -m tools.record_operations``, as root, with what the tests need.

A real Slurm cluster on this machine works on days of the demo's clips, made slow enough to interfere with. Each block
of the page that stands behind ``<!-- recorded: NAME -->`` is replaced by what the commands of that name print now.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from cluster_day import AT_START  # noqa: E402
from clusters import cluster_folder  # noqa: E402
from slurm import Cluster  # noqa: E402
from waiting import wait_until  # noqa: E402

from audioctl.demo import make_demo_day  # noqa: E402

PAGE = ROOT / "docs" / "operations.md"
LONGEST_BLOCK = 24
"""Lines of one command's output that are shown."""

SETTINGS = """
[paths]
archives = "{folder}/staging/{{day}}"
state_dir = "{folder}/state"
scratch = "{folder}/scratch"
[submit]
executor = "slurm"
[slurm]
partition = "gpu"
gpus = "1"
cpus_per_task = 2
mem = "500M"
time = "02:00:00"
max_concurrent = 4
max_attempts = {max_attempts}
finish_mem = "200M"
[extract]
stream_batch_size = 3
[convert]
num_workers = 1
[transcribe]
model = "bundled"
device = "cpu"
[upload]
destination = "{folder}/storage"
"""


class Walk:
    """A folder on the cluster in which commands are typed, and what they printed by the name of their block."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder
        self.blocks: dict[str, str] = {}
        self._slow = folder / "slow"
        self.set_up(max_attempts=3, seconds_per_batch=0.4)

    def set_up(self, *, max_attempts: int, seconds_per_batch: float) -> None:
        (self.folder / "audioctl.toml").write_text(SETTINGS.format(folder=self.folder, max_attempts=max_attempts))
        self._slow.write_text(str(seconds_per_batch))

    def make_day(self, day: str, slots: Sequence[str], clips: int = 12) -> None:
        make_demo_day(self.folder / "staging" / day, day, slots, clips)

    def type(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", f"{command} 2>&1"],
            cwd=self.folder,
            env={
                **self.cluster.environment,
                "PATH": f"{Path(sys.executable).parent}:{self.cluster.environment['PATH']}",
                "HOME": str(self.folder),
                "COLUMNS": "110",
                "PYTHONPATH": f"{AT_START}",
                "SLOW_JOB": f"{self._slow}",
            },
            capture_output=True,
            text=True,
        )
        return done.stdout.replace(str(self.folder / "staging"), "/staging").replace(str(self.folder), "/project/radio")

    def record(self, name: str, *commands: str) -> None:
        shown = []
        for command in commands:
            lines = self.type(command).rstrip("\n").splitlines()
            if len(lines) > LONGEST_BLOCK:
                half = LONGEST_BLOCK // 2
                lines = [*lines[:half], "...", *lines[-half:]]
            shown.append("\n".join([f"$ {command}", *lines]))
        self.blocks[name] = "\n".join(shown)

    def wait_for(self, day: str, is_so: Callable[[str], bool], what: str) -> None:
        wait_until(lambda: is_so(self.type(f"audioctl status {day}")), what)

    def kill(self, slot: str) -> None:
        """The work on an archive, as the kernel does when memory runs out."""
        subprocess.run(["pkill", "-KILL", "-f", f"python.* process-tar .*_{slot}.tar.xz {slot}"], check=False)


def record_a_day(walk: Walk) -> None:
    walk.make_day("2025-01-25", [f"{hour:02}_{minute}0" for hour in range(2) for minute in range(6)])
    walk.record("day-submit", "audioctl submit-day 2025-01-25")
    walk.wait_for("2025-01-25", lambda shown: shown.count(" done ") >= 4, "some archives to be done")
    walk.record("day-status", "audioctl status 2025-01-25")
    wait_until(lambda: not walk.cluster.unfinished_jobs(), "the day to end")
    walk.record("day-done", "audioctl status", "cat state/runs/2025-01-25/*/logs/finish-*.log")


def record_a_day_that_fails(walk: Walk) -> None:
    day, slots = "2025-01-24", [f"00_{minute}0" for minute in range(6)]
    walk.set_up(max_attempts=2, seconds_per_batch=1.0)
    walk.make_day(day, slots)
    cut = walk.folder / "staging" / day / f"0_{day}_00_40.tar.xz"
    whole = cut.read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    walk.type(f"audioctl submit-day {day}")
    array = walk.type(f"cat state/runs/{day}/*/array-0.job").strip()
    walk.wait_for(day, lambda shown: shown.count(" running ") >= 4, "jobs to run")
    walk.cluster.run("scancel", f"{array}_3")
    while walk.cluster.unfinished_jobs():
        walk.kill("00_10")
        time.sleep(0.3)
    walk.record("failed-status", f"audioctl status {day}", "audioctl status --failed")
    walk.record("failed-logs", f"audioctl logs {day} 00_30")
    walk.record("failed-finish", f"cat $(ls -t state/runs/{day}/*/logs/finish-*.log | head -n 1)")
    cut.write_bytes(whole)
    walk.set_up(max_attempts=2, seconds_per_batch=0)
    walk.record("failed-resume", "audioctl resume", f"audioctl submit-day {day} --slot 00_30")
    wait_until(lambda: not walk.cluster.unfinished_jobs(), "the day to end")
    walk.record("failed-done", "audioctl status", f"audioctl verify {day}")


def record_a_month(walk: Walk) -> None:
    for number in range(1, 32):
        walk.make_day(f"2025-03-{number:02}", ["00_00", "00_10"], clips=3)
    walk.set_up(max_attempts=3, seconds_per_batch=0.2)
    walk.record("month-submit", "audioctl submit-day 2025-03-01..2025-03-31")
    walk.wait_for("2025-03-02", lambda shown: "done" in shown, "the second day to be done")
    walk.record(
        "month-cancel",
        "audioctl cancel 2025-03-20..2025-03-31",
        "squeue --format='%.12i %.34j %.10T %.22r %.28E' | head -n 6",
        'audioctl status 2025-03-01..2025-03-31 --json | grep -c \'"state": "cancelled"\'',
    )
    wait_until(lambda: not walk.cluster.unfinished_jobs(), "the month to end")
    walk.record("month-done", "audioctl status | tail -n 16")


def _filled(block: str, place: re.Match[str]) -> str:
    return f"{place[1]}```console\n{block}\n```\n"


def main() -> None:
    partitions = ["gpu Nodes=ALL"]
    with (
        cluster_folder() as place,
        tempfile.TemporaryDirectory(prefix="audioctl-walk-") as folder,
        Cluster(place, gpus_per_node=2, partitions=partitions) as cluster,
    ):
        walk = Walk(cluster, Path(folder))
        record_a_day(walk)
        record_a_day_that_fails(walk)
        record_a_month(walk)
    page = PAGE.read_text()
    for name, block in walk.blocks.items():
        pattern = re.compile(rf"(<!-- recorded: {name} -->\n)```console\n.*?```\n", re.DOTALL)
        # A function, because in a text re.sub would read the backslashes of the block.
        page, count = pattern.subn(partial(_filled, block), page)
        if count != 1:
            sys.exit(f"{PAGE} has no place for {name!r}.")
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
