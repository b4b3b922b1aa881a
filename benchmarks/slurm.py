"""A day on a real Slurm, with a year in the ledger: ``python -m benchmarks.slurm [--days 365] [--repeats 5]``.

Needs what the tests need: Slurm's daemons and MariaDB, which run on loopback in a temporary folder. Every figure is a
whole process. The commands of Slurm that it calls are counted, and timed, by scripts that stand before them in PATH.
The day's jobs only sleep: what is measured is how they are submitted and watched.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from audioctl.configuration import dump_toml
from audioctl.jobs import JobKey, JobPhase, JobStatus
from audioctl.ledger.absorb import refresh
from audioctl.ledger.models import DayRow, open_ledger
from audioctl.runs import Run, run_folder, runs_of_day
from audioctl.settings import Paths, Settings, Slurm, Submit, Transcribe, Upload
from benchmarks.status import RUNNING, day_number, make_year, slots_of_day, take_turns, write_journals

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from slurm import Cluster
from waiting import wait_until

ARCHIVES = 144
FAILED = 4
"""Of the archives of each day of the year."""
BATCHES = 20
RUNNING_DAYS = (0, 1, 3)
JOBS_BETWEEN_SLEEPS, SLEEP_SECONDS = 8, 45
"""Of the scripts that audioctl replaces: one sbatch an archive, and a sleep after every eighth."""

_COMMANDS = ("sbatch", "squeue", "sacct", "scontrol", "scancel", "sinfo")
_WRAPPER = """#!/bin/bash
began=$EPOCHREALTIME
{program} "$@"
code=$?
echo "{name} $began $EPOCHREALTIME" >>{log}
exit $code
"""
_WORK = {"sleeps": "exec sleep 86400", "fails": "exit 1"}
"""What the tasks of an array do, by the name of the folder of templates."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One process, and the commands of Slurm that it called."""

    seconds: float
    processor_seconds: float
    slurm_seconds: float
    calls: Counter[str]


class Site:
    """A cluster, archives of any day, and folders of state side by side, each with settings for every kind of work."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        self.cluster = cluster
        self.folder = folder
        self._log = folder / "calls"
        programs = folder / "bin"
        programs.mkdir()
        for name in _COMMANDS:
            program = shutil.which(name, path=cluster.environment["PATH"])
            assert program is not None, name
            wrapper = programs / name
            wrapper.write_text(_WRAPPER.format(name=name, program=program, log=shlex.quote(str(self._log))))
            wrapper.chmod(0o755)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "AUDIOCTL_"))}
        path = f"{programs}{os.pathsep}{cluster.environment['PATH']}"
        self._environment = inherited | cluster.environment | {"PATH": path, "LC_ALL": "C.UTF-8"}
        for name, work in _WORK.items():
            (folder / name).mkdir()
            for script, line in (("array", work), ("finish", "exit")):
                template = f'{{% extends "shipped/{script}.sbatch.j2" %}}{{% block main %}}\n{line}\n{{% endblock %}}\n'
                (folder / name / f"{script}.sbatch.j2").write_text(template)

    def time(self, *command: str) -> Taken:
        self._log.write_text("")
        began, before = time.perf_counter(), os.times()
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True)
        seconds, after = time.perf_counter() - began, os.times()
        assert done.returncode == 0, f"{shlex.join(command)}: {done.stderr}"
        calls = [line.split() for line in self._log.read_text().splitlines()]
        slurm_seconds = sum(float(ended) - float(began) for _, began, ended in calls)
        processor_seconds = sum(after[2:4]) - sum(before[2:4])
        return Taken(seconds, processor_seconds, slurm_seconds, Counter(name for name, *_ in calls))

    def audioctl(self, state_dir: Path, *arguments: str, work: str = "", extra: Sequence[str] = ()) -> Taken:
        """``work`` is that of the tasks that are submitted; by default they run audioctl."""
        settings = Settings(
            paths=Paths(
                archives=f"{self.folder}/archives/{{day}}",
                state_dir=str(state_dir),
                templates=str(self.folder / work) if work else "",
            ),
            submit=Submit(executor="slurm"),
            slurm=Slurm(
                cpus_per_task=1, mem="100M", finish_cpus_per_task=1, finish_mem="100M", time="1-0",
                max_concurrent=RUNNING if work != "fails" else ARCHIVES, extra=tuple(extra),
            ),
            transcribe=Transcribe(model="bundled"),
            upload=Upload(destination=str(self.folder / "storage")),
        )  # fmt: skip
        config = self.folder / "audioctl.toml"
        config.write_text(dump_toml(settings, frozen=False))
        return self.time(sys.executable, "-m", "audioctl", "--config", str(config), *arguments)

    def make_archives(self, day: str) -> None:
        """Nobody reads them."""
        folder = self.folder / "archives" / day
        folder.mkdir(parents=True, exist_ok=True)
        for slot in slots_of_day(ARCHIVES):
            (folder / f"0_{day}_{slot}.tar").touch()

    def count_tasks(self, number: str, state: str) -> int:
        return sum(job.startswith(f"{number}_") and word == state for job, word in self.cluster.jobs().items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="audioctl-benchmark-")))
        new, year = folder / "new", folder / "year"
        new.mkdir()
        make_year_of_slurm(year, options.days)
        print(f"{options.days} days of {ARCHIVES} archives, of which {FAILED} a day failed in Slurm; ", end="")
        print(f"a ledger of {(year / 'ledger.db').stat().st_size / 1e6:.0f} MB; medians of {options.repeats}")
        # Accounting that looks at every job each second, as that of the tests does, takes a core of a small machine.
        unwatched = {"JobAcctGatherFrequency": "task=0"}
        cluster = Cluster(folder / "slurm", cpus_per_node=32, memory_mb=32000, settings=unwatched)
        site = Site(folder, stack.enter_context(cluster))
        days = iter(map(day_number, range(options.days, 10_000)))
        measure_submission(site, new, year, days, options.repeats)
        running: list[str] = []
        processor_seconds: dict[int, float] = {}
        for count in RUNNING_DAYS:
            while len(running) < count:
                running.append(next(days))
                for state_dir in (new, year):
                    begin_day(stack, site, state_dir, running[-1])
            processor_seconds[count] = measure_status(site, new, year, running, options.repeats)
        first, *_, last = RUNNING_DAYS
        each = (processor_seconds[last] - processor_seconds[first]) / (last - first) / ARCHIVES
        print(f"An archive that runs or waits costs a status {1000 * each:.2f} ms of processor.")
        measure_failures(site, year, [next(days) for _ in range(options.repeats)])


def make_year_of_slurm(state_dir: Path, days: int) -> None:
    """The scheduler has been asked how the failed jobs ended, as the first look at them does, and has told it."""
    names, slots = [day_number(number) for number in range(days)], slots_of_day(ARCHIVES)
    make_year(state_dir, names, slots[:-FAILED], BATCHES, executor="slurm", not_begun=slots[-FAILED:])

    def look(runs: Sequence[Run]) -> Mapping[JobKey, JobStatus]:
        failed = JobStatus(JobPhase.GONE, word="NODE_FAIL", is_final=True)
        return {(run.run_id, archive.slot): failed for run in runs for archive in run.archives}

    with open_ledger(state_dir) as database:
        DayRow.delete().execute()
        refresh(database, state_dir, look)


def measure_submission(site: Site, new: Path, year: Path, days: Iterator[str], repeats: int) -> None:
    """Everything is submitted on hold, so that nothing runs meanwhile, and cancelled before the next."""

    def submit_day(state_dir: Path) -> Taken:
        day = next(days)
        site.make_archives(day)
        taken = site.audioctl(state_dir, "submit-day", day, extra=["--hold"])
        site.audioctl(state_dir, "cancel", day)
        site.audioctl(state_dir, "status", day)
        return taken

    def submit_one_by_one() -> Taken:
        day = next(days)
        site.make_archives(day)
        script = site.folder / "one.sbatch"
        script.write_text("#!/bin/bash\n#SBATCH --hold --mem=100M --time=1-0 --job-name=one\nsleep 86400\n")
        archives = shlex.quote(str(site.folder / "archives" / day))
        taken = site.time("bash", "-c", f'for archive in {archives}/*; do sbatch {script} "$archive" || exit; done')
        site.cluster.run("scancel", "--name=one")
        return taken

    ways: dict[str, Callable[[], Taken]] = {
        "audioctl --help": partial(site.time, sys.executable, "-m", "audioctl", "--help"),
        "submit-day, nothing known": partial(submit_day, new),
        "submit-day, a year known": partial(submit_day, year),
        "an sbatch an archive": submit_one_by_one,
    }
    taken = take_turns(ways, repeats)
    print_table(f"Submitting a day of {ARCHIVES}:", taken)
    sleeps = ARCHIVES // JOBS_BETWEEN_SLEEPS * SLEEP_SECONDS
    new_day, year_day = taken["submit-day, nothing known"], taken["submit-day, a year known"]
    ours, theirs = median(year_day), median(taken["an sbatch an archive"])
    start, without_year, with_year = map(processor_median, (taken["audioctl --help"], new_day, year_day))
    print(
        f"The old way also slept {SLEEP_SECONDS} s after every {JOBS_BETWEEN_SLEEPS}, which is {sleeps} s (computed)."
    )
    print(f"It takes {theirs / ours:.1f} times as long as ours without them, {(theirs + sleeps) / ours:.0f} with them.")
    print(f"Of the processor time of ours, starting the command is {start / with_year:.0%}; ", end="")
    print(f"the year makes it {with_year / without_year:.2f} times as long.")


def begin_day(stack: ExitStack, site: Site, state_dir: Path, day: str) -> None:
    """As many tasks as may run do, and their journals say so."""
    site.make_archives(day)
    site.audioctl(state_dir, "submit-day", day, work="sleeps")
    (run,) = runs_of_day(state_dir, day)
    number = number_of(state_dir, run)
    wait_until(lambda: site.count_tasks(number, "RUNNING") == RUNNING, "the tasks to run")
    write_journals(stack, state_dir, day, run.run_id, ended=[], running=slots_of_day(RUNNING))


def measure_status(site: Site, new: Path, year: Path, running: Sequence[str], repeats: int) -> float:
    """Returns the processor time of a status of everything, in seconds."""
    ways: dict[str, Callable[[], Taken]] = {
        "audioctl --help": partial(site.time, sys.executable, "-m", "audioctl", "--help"),
        "status, nothing else known": partial(site.audioctl, new, "status"),
        "status, a year known": partial(site.audioctl, year, "status"),
    }
    if running:
        ways |= {
            "status DAY, nothing else": partial(site.audioctl, new, "status", running[0]),
            "status DAY, a year known": partial(site.audioctl, year, "status", running[0]),
        }
    day = "day" if len(running) == 1 else "days"
    taken = take_turns(ways, repeats)
    print_table(f"Status while {len(running)} {day} of {ARCHIVES} archives run:", taken)
    return processor_median(taken["status, a year known"])


def measure_failures(site: Site, year: Path, days: Sequence[str]) -> None:
    """Here is no turn to take: only the first look at a day is a first look."""
    taken: dict[str, list[Taken]] = {"the first status DAY": [], "the next one": []}
    for day in days:
        site.make_archives(day)
        site.audioctl(year, "submit-day", day, work="fails")
        number = number_of(year, *runs_of_day(year, day))
        wait_until(partial(has_failed, site.cluster, number), "all tasks to fail")
        for looks in taken.values():
            looks.append(site.audioctl(year, "status", day))
    print_table(f"After all {ARCHIVES} jobs of a day have failed:", taken)


def has_failed(cluster: Cluster, number: str) -> bool:
    states = [state for _, state in cluster.accounted(number)]
    return states == ["FAILED"] * ARCHIVES


def number_of(state_dir: Path, run: Run) -> str:
    return (run_folder(state_dir, run) / "array-0.job").read_text().strip()


def median(taken: Sequence[Taken]) -> float:
    return statistics.median(own.seconds for own in taken)


def processor_median(taken: Sequence[Taken]) -> float:
    """Processor time, which other work on the machine disturbs less."""
    return statistics.median(own.processor_seconds for own in taken)


def print_table(title: str, taken: Mapping[str, Sequence[Taken]]) -> None:
    print(f"\n{title}\n{'':<28}{'seconds':>9}{'best':>8}{'processor':>11}{'in Slurm':>10}  calls")
    for name, processes in taken.items():
        best, processor_seconds = min(own.seconds for own in processes), processor_median(processes)
        slurm_seconds = statistics.median(own.slurm_seconds for own in processes)
        calls = " or ".join(dict.fromkeys(words_for(own.calls) for own in processes))
        figures = f"{median(processes):>9.2f}{best:>8.2f}{processor_seconds:>11.2f}{slurm_seconds:>10.2f}"
        print(f"{name:<28}{figures}  {calls}")


def words_for(calls: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(calls.items())) or "none"


if __name__ == "__main__":
    main()
