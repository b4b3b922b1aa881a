"""Records what pages of docs/ show: ``python -m tools.record_operations [PAGE ...]``, as root, as the tests.

PAGE is ``operations`` or ``tutorial``; both if none is given. A real Slurm cluster on this machine works on days of the
demo's clips, made slow enough to be looked at and interfered with. Each block of a page that stands behind
``<!-- recorded: NAME -->`` is replaced by what the commands of that name print now.
"""

from __future__ import annotations

import os
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
from audioctl.states import ExitCode  # noqa: E402

DOCS = ROOT / "docs"
PROJECT, STAGING, INSTALLED = "/project/radio", "/staging", "/project/radio/venv"
"""What the folder of a walk, ``staging`` in it, and this virtual environment are called on the pages."""

LONGEST_BLOCK = 24
"""Lines of one command's output that are shown."""

PATIENCE_SECONDS = 1200.0
"""For a month on a machine that has other work, too."""

SETTINGS = """
[paths]
archives = "/staging/{day}"
state_dir = "/project/radio/state"
scratch = "/project/radio/scratch"
[submit]
executor = "slurm"
[slurm]
partition = "gpu"
gpus = "1"
cpus_per_task = 2
mem = "500M"
time = "02:00:00"
max_concurrent = 4
max_attempts = MAX_ATTEMPTS
finish_mem = "200M"
[extract]
stream_batch_size = 3
[convert]
num_workers = 1
[transcribe]
model = "bundled"
device = "cpu"
[upload]
destination = "/project/radio/storage"
"""


class Walk:
    """A folder on the cluster in which commands are typed, and what they printed by the name of their block."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder
        self.blocks: dict[str, str] = {}
        self._slow = folder / ".slow"
        self.slow_down(0)

    def configure(self, settings: str) -> None:
        """Settings as a page has them."""
        for shown, real in ((STAGING, self.folder / "staging"), (PROJECT, self.folder)):
            settings = settings.replace(f'"{shown}/', f'"{real}/')
        (self.folder / "audioctl.toml").write_text(settings)

    def slow_down(self, seconds_per_batch: float) -> None:
        """From now on, also of jobs that run."""
        self._slow.write_text(str(seconds_per_batch))

    def make_day(self, day: str, slots: Sequence[str], clips: int = 12) -> None:
        make_demo_day(self.folder / "staging" / day, day, slots, clips)

    def type(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", f"{{ {command}; }} 2>&1"],
            cwd=self.folder,
            env={
                **self.cluster.environment,
                "PATH": f"{Path(sys.executable).parent}:{self.cluster.environment['PATH']}",
                "HOME": str(self.folder),
                "COLUMNS": "110",
                "PYTHONUNBUFFERED": "1",  # or results and messages would come in another order than on a terminal
                "PYTHONPATH": os.pathsep.join([str(AT_START), str(ROOT)]),
                "SLOW_JOB": f"{self._slow}",
            },
            capture_output=True,
            text=True,
        )
        if done.returncode == ExitCode.USAGE:
            sys.exit(f"{command}: {done.stdout}")
        return self._as_on_the_page(done.stdout)

    def _as_on_the_page(self, printed: str) -> str:
        for real, shown in (
            (self.folder / "staging", STAGING),
            (self.folder, PROJECT),
            (ROOT / "audioctl", f"{INSTALLED}/lib/python3.11/site-packages/audioctl"),
            (sys.prefix, INSTALLED),
        ):
            printed = printed.replace(str(real), shown)
        return printed

    def record(self, name: str, *commands: str) -> None:
        shown = []
        for command in commands:
            lines = self.type(command).rstrip("\n").splitlines()
            if len(lines) > LONGEST_BLOCK:
                half = LONGEST_BLOCK // 2
                lines = [*lines[:half], "...", *lines[-half:]]
            shown.append("\n".join([f"$ {command}", *(line.rstrip() for line in lines)]))
        self.blocks[name] = "\n".join(shown)

    def wait_for(self, day: str, is_so: Callable[[str], bool], what: str) -> None:
        wait_until(lambda: is_so(self.type(f"audioctl status {day}")), what, PATIENCE_SECONDS)

    def wait_for_the_end(self) -> None:
        wait_until(lambda: not self.cluster.unfinished_jobs(), "all jobs to end", PATIENCE_SECONDS)

    def kill(self, slot: str) -> None:
        """The work on an archive, as the kernel does when memory runs out."""
        subprocess.run(
            ["pkill", "-KILL", "-f", f"python.* process-tar .*{self.folder}.*_{slot}.tar.xz {slot}"], check=False
        )


def record_operations(walk: Walk) -> None:
    record_a_day(walk)
    record_a_day_that_fails(walk)
    record_a_month(walk)


def set_up(walk: Walk, *, max_attempts: int, seconds_per_batch: float) -> None:
    walk.configure(SETTINGS.replace("MAX_ATTEMPTS", str(max_attempts)))
    walk.slow_down(seconds_per_batch)


def record_a_day(walk: Walk) -> None:
    set_up(walk, max_attempts=3, seconds_per_batch=0.4)
    walk.make_day("2025-01-25", [f"{hour:02}_{minute}0" for hour in range(2) for minute in range(6)])
    walk.record("day-submit", "audioctl submit-day 2025-01-25")
    walk.wait_for("2025-01-25", lambda shown: shown.count(" done ") >= 4, "some archives to be done")
    walk.record("day-status", "audioctl status 2025-01-25")
    walk.wait_for_the_end()
    walk.record("day-done", "audioctl status", "cat state/runs/2025-01-25/*/logs/finish-*.log")


def record_a_day_that_fails(walk: Walk) -> None:
    day, slots = "2025-01-24", [f"00_{minute}0" for minute in range(6)]
    set_up(walk, max_attempts=2, seconds_per_batch=1.0)
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
    set_up(walk, max_attempts=2, seconds_per_batch=0)
    walk.record("failed-resume", "audioctl resume", f"audioctl submit-day {day} --slot 00_30")
    walk.wait_for_the_end()
    walk.record("failed-done", "audioctl status", f"audioctl verify {day}")


def record_a_month(walk: Walk) -> None:
    for number in range(1, 32):
        walk.make_day(f"2025-03-{number:02}", ["00_00", "00_10"], clips=3)
    set_up(walk, max_attempts=3, seconds_per_batch=0.2)
    walk.record("month-submit", "audioctl submit-day 2025-03-01..2025-03-31")
    walk.wait_for("2025-03-02", lambda shown: "done" in shown, "the second day to be done")
    walk.record(
        "month-cancel",
        "audioctl cancel 2025-03-20..2025-03-31",
        "squeue --format='%.12i %.34j %.10T %.22r %.28E' | head -n 6",
        'audioctl status 2025-03-01..2025-03-31 --json | grep -c \'"state": "cancelled"\'',
    )
    walk.wait_for_the_end()
    walk.record("month-done", "audioctl status | tail -n 16")


def record_tutorial(walk: Walk) -> None:
    """With the settings that the page shows, and the archives of the demo."""
    walk.record("version", "audioctl --version")
    walk.record("demo", "audioctl demo")
    walk.type("cp -r audioctl-demo/archives .")
    walk.record("init", "audioctl init", "sinfo -s")
    walk.configure(_settings_shown(page_of("tutorial")))
    walk.record("doctor", "audioctl doctor")
    walk.record("doctor-node", "audioctl doctor --on-node")
    day, next_day = "2025-01-25", "2025-01-26"
    first = f"audioctl process-tar {day} archives/{day}/0_{day}_12_00.tar.xz 12_00"
    walk.record("first", f"srun --partition=gpu --gpus=1 {first}")
    walk.record("first-words", f"audioctl export {day} --format txt | head -n 4")
    walk.slow_down(8)
    walk.record("submit", f"audioctl submit-day {day}", "squeue --me")
    walk.wait_for(day, lambda shown: shown.count(" running ") >= 2, "jobs to run")
    walk.record("status", f"audioctl status {day}")
    walk.slow_down(0)
    walk.wait_for_the_end()
    walk.record("done", f"audioctl status {day}")
    cut = f"archives/{next_day}/0_{next_day}_12_10.tar.xz"
    walk.record(
        "cut",
        f"mkdir archives/{next_day}",
        f"cp archives/{day}/0_{day}_12_00.tar.xz archives/{next_day}/0_{next_day}_12_00.tar.xz",
        f"head -c 200000 archives/{day}/0_{day}_12_10.tar.xz > {cut}",
        f"audioctl submit-day {next_day}",
    )
    walk.wait_for_the_end()
    walk.record("failed", "audioctl status --failed", f"audioctl logs {next_day} 12_10")
    walk.record("resume", f"cp archives/{day}/0_{day}_12_10.tar.xz {cut}", "audioctl resume")
    walk.wait_for_the_end()
    walk.record("resumed", "audioctl status")
    walk.record(
        "export", f"audioctl export {day} --format vtt --out subtitles", "cat subtitles/12_00/radio/0001_en-us.vtt"
    )
    walk.record("search", "audioctl search foxtrot --limit 3")
    walk.record("report", f"audioctl report {day}")
    walk.record("verify", f"audioctl verify {day} --checksum")


PAGES: dict[str, Callable[[Walk], None]] = {"operations": record_operations, "tutorial": record_tutorial}


def page_of(name: str) -> Path:
    return DOCS / f"{name}.md"


def _settings_shown(page: Path) -> str:
    found = re.search(r"^```toml\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"{page} shows no settings"
    return found[1]


def _fill(page: Path, blocks: dict[str, str]) -> None:
    text = page.read_text()
    if (places := re.findall(r"<!-- recorded: (.*) -->\n```console\n", text)) != list(blocks):
        sys.exit(f"{page} has places for {', '.join(places)}; recorded were {', '.join(blocks)}.")
    for name, block in blocks.items():
        # A function, because in a text re.sub would read the backslashes of the block.
        pattern = re.compile(rf"(<!-- recorded: {name} -->\n)```console\n.*?```\n", re.DOTALL)
        text = pattern.sub(partial(_filled, block), text)
    page.write_text(text)


def _filled(block: str, place: re.Match[str]) -> str:
    return f"{place[1]}```console\n{block}\n```\n"


def main(names: Sequence[str]) -> None:
    for name in names or PAGES:
        with (
            cluster_folder() as place,
            tempfile.TemporaryDirectory(prefix="audioctl-walk-") as folder,
            Cluster(place, gpus_per_node=2, partitions=["gpu Nodes=ALL"]) as cluster,
        ):
            walk = Walk(cluster, Path(folder))
            PAGES[name](walk)
        _fill(page_of(name), walk.blocks)


if __name__ == "__main__":
    main(sys.argv[1:])
