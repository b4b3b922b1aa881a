"""How long ``audioctl status`` takes on the ledger of a year: ``python -m benchmarks.status [--repeats 7]``.

Every figure is a whole process, from the shell's point of view, the median of the repeats. The steps before it tell
what bounds it: the interpreter alone, the command line (``--help``), a ledger with nothing in it. The year is one of
settled days, as all but the last one are; then one more day is made in which archives run and wait.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import date, timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from peewee import Model, SqliteDatabase

from audioctl.executors.local import SUPERVISOR_LEASE
from audioctl.ledger.events import (
    ArchiveFile,
    ArchiveRead,
    AttemptEnded,
    AttemptStarted,
    BatchExtracted,
    BatchTranscribed,
    BatchUploaded,
    Event,
)
from audioctl.ledger.journal import JournalWriter, journal_path
from audioctl.ledger.lease import Lease, lease_path
from audioctl.ledger.models import ArchiveRow, BatchRow, DayRow, open_ledger
from audioctl.ledger.progress import ArchiveProgress
from audioctl.ledger.rows import archive_values, batch_values
from audioctl.runs import Run, RunArchive, run_folder, write_run
from audioctl.states import Outcome, Stage

FIRST_DAY = date(2025, 1, 1)
AT = "2025-01-01T00:00:00Z"
JOURNAL_BYTES = 4_000_000
"""Of an archive of 4,000 clips. The files are holes: nobody reads on in what has been read."""
RUNNING, WAITING = 8, 60

Result = TypeVar("Result")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--archives", type=int, default=137, help="of a day")
    parser.add_argument("--batches", type=int, default=20, help="of an archive")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="audioctl-benchmark-") as folder, ExitStack() as stack:
        empty, state_dir = Path(folder, "empty"), Path(folder, "state")
        empty.mkdir()
        days = [day_number(number) for number in range(options.days)]
        slots = slots_of_day(options.archives)
        make_year(state_dir, days, slots, options.batches)
        archives = len(days) * len(slots)
        print(f"{len(days)} days, {archives:,} archives, {archives * options.batches:,} batches, ", end="")
        print(f"a ledger of {(state_dir / 'ledger.db').stat().st_size / 1e6:.0f} MB; medians of {options.repeats}\n")
        middle = days[len(days) // 2]
        commands = {
            "python -c pass": ["-c", "pass"],
            "audioctl --help": ["-m", "audioctl", "--help"],
            "status, nothing known": audioctl(empty, "status"),
            "status": audioctl(state_dir, "status"),
            f"status {middle}": audioctl(state_dir, "status", middle),
            "status --json": audioctl(state_dir, "status", "--json"),
        }
        seconds = measure(commands, options.repeats)
        share = seconds["status, nothing known"] / seconds["status"]
        print(
            f"\nWhat bounds it: starting the command is {share:.0%} of `status`, most of it Python importing libraries;"
        )
        print("the rest is one pass over an index of the archives and the table of days.")
        live = day_number(options.days)
        make_live_day(stack, state_dir, live, slots)
        print(f"\nand while {RUNNING} archives run and {WAITING} wait:")
        measure(
            {
                "audioctl --help": commands["audioctl --help"],
                "status": commands["status"],
                f"status {live}": audioctl(state_dir, "status", live),
            },
            options.repeats,
        )


def day_number(number: int) -> str:
    return (FIRST_DAY + timedelta(days=number)).isoformat()


def slots_of_day(archives: int) -> list[str]:
    """One every ten minutes, so 144 are a whole day."""
    return [f"{minutes // 60:02}_{minutes % 60:02}" for minutes in range(0, 10 * archives, 10)]


def audioctl(state_dir: Path, *arguments: str) -> list[str]:
    return ["-m", "audioctl", *arguments, "--state-dir", str(state_dir)]


def measure(commands: dict[str, list[str]], repeats: int) -> dict[str, float]:
    """Prints the seconds and returns the best."""
    seconds = take_turns({name: partial(seconds_of, arguments) for name, arguments in commands.items()}, repeats)
    bare = seconds["audioctl --help"]
    print(f"{'command':<24}{'seconds':>9}{'best':>9}{'of --help':>11}")
    for name, taken in seconds.items():
        ratio = statistics.median(own / other for own, other in zip(taken, bare, strict=True))
        print(f"{name:<24}{statistics.median(taken):>9.3f}{min(taken):>9.3f}{ratio:>10.2f}x")
    return {name: min(taken) for name, taken in seconds.items()}


def seconds_of(arguments: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
    return time.perf_counter() - began


def take_turns(ways: Mapping[str, Callable[[], Result]], repeats: int) -> dict[str, list[Result]]:
    """Each way as often as ``repeats`` says, one after the other, so that a slow moment hits all of them."""
    results: dict[str, list[Result]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            results[name].append(way())
    return results


def make_year(
    state_dir: Path,
    days: Sequence[str],
    slots: Sequence[str],
    batches: int,
    *,
    executor: str = "local",
    not_begun: Sequence[str] = (),
) -> None:
    """Days that are over, as a refresh leaves them: rows, folders with journals and runs, and what was seen of them.

    Of the slots ``not_begun`` there is only what their submission has left.
    """
    an_hour_ago = time.time() - 3600
    for day in days:
        folder = state_dir / "journals" / day
        folder.mkdir(parents=True)
        for slot in slots:
            with (folder / f"{slot}.jsonl").open("wb") as journal:
                journal.truncate(JOURNAL_BYTES)
        run = write_day_run(state_dir, day, [*slots, *not_begun], executor)
        for touched in (folder, run.parent):
            os.utime(touched, (an_hour_ago, an_hour_ago))
    progress = finished_archive(batches)
    with open_ledger(state_dir) as database, database.atomic():
        insert(database, ArchiveRow, archive_rows(progress, days, slots))
        insert(
            database,
            BatchRow,
            (batch_values(day, slot, batch) for day in days for slot in slots for batch in progress.batches.values()),
        )
        mtimes = [(state_dir / kind / days[0]).stat().st_mtime_ns for kind in ("journals", "runs")]
        insert(
            database,
            DayRow,
            ({"day": day, "journals_mtime_ns": mtimes[0], "runs_mtime_ns": mtimes[1]} for day in days),
        )


def make_live_day(stack: ExitStack, state_dir: Path, day: str, slots: Sequence[str]) -> None:
    ended, running, waiting = slots[: -RUNNING - WAITING], slots[-RUNNING - WAITING : -WAITING], slots[-WAITING:]
    folder = write_day_run(state_dir, day, slots)
    stack.enter_context(Lease.acquire(folder / SUPERVISOR_LEASE, run_id=folder.name, job_id=None))
    write_journals(stack, state_dir, day, folder.name, ended=ended, running=running)
    assert waiting


def write_journals(
    stack: ExitStack, state_dir: Path, day: str, run_id: str, *, ended: Sequence[str], running: Sequence[str]
) -> None:
    """The jobs are this process, as far as anybody can tell from their leases."""
    events = list(archive_events(20, run_id))
    for slot in (*ended, *running):
        journal = journal_path(state_dir, day, slot)
        lease = Lease.acquire(lease_path(journal), run_id=run_id, job_id=slot)
        with JournalWriter(journal, lease) as writer:
            writer.append(*(events if slot in ended else events[:-2]))
        if slot in running:
            stack.callback(lease.release)
        else:
            lease.release()


def write_day_run(state_dir: Path, day: str, slots: Sequence[str], executor: str = "local") -> Path:
    part = "0_" if executor == "slurm" else ""
    archives = [
        RunArchive(slot, f"/staging/{day}/0_{day}_{slot}.tar.xz", f"{part}{index}") for index, slot in enumerate(slots)
    ]
    run = Run(f"{day.replace('-', '')}T000000Z-0000", day, AT, "0.1.0", executor, RUNNING, archives)
    write_run(run_folder(state_dir, run), run, {})
    return run_folder(state_dir, run)


def archive_events(batches: int, run_id: str) -> Iterator[Event]:
    stages = [Stage.EXTRACT, Stage.TRANSCRIBE, Stage.UPLOAD]
    file = ArchiveFile("/staging/archive.tar.xz", 720_000_000, 0)
    yield AttemptStarted(
        at=AT, attempt=1, run_id=run_id, job_id="1", node="gpu1", version="0.1.0", archive=file, batch_size=200,
        model="large-v3", stages=stages,
    )  # fmt: skip
    for batch in range(batches):
        yield BatchExtracted(at=AT, batch=batch, first_ordinal=200 * batch, members=200, digest="0" * 64)
        yield BatchTranscribed(at=AT, batch=batch, stored=199, rejected=1, skipped=0, audio_seconds=3000.0)
        yield BatchUploaded(at=AT, batch=batch, destination="archive@storage:/radio", files=[])
    yield ArchiveRead(at=AT, batches=batches, members=200 * batches)
    yield AttemptEnded(at=AT, attempt=1, outcome=Outcome.DONE)


def finished_archive(batches: int) -> ArchiveProgress:
    progress = ArchiveProgress()
    for event in archive_events(batches, "20250101T000000Z-0000"):
        progress.apply(event)
    return progress


def archive_rows(progress: ArchiveProgress, days: Sequence[str], slots: Sequence[str]) -> Iterator[dict[str, Any]]:
    values = archive_values(progress, lease_is_held=False) | {"journal_offset": JOURNAL_BYTES}
    for day in days:
        for slot in slots:
            yield values | {"day": day, "slot": slot, "path": f"/staging/{day}/0_{day}_{slot}.tar.xz"}


def insert(database: SqliteDatabase, model: type[Model], rows: Iterable[dict[str, Any]]) -> None:
    """A million rows take peewee's own insert_many minutes. All have the same columns; others get their defaults."""
    remaining = iter(rows)
    first = next(remaining)
    values = ", ".join(f":{column}" for column in first)
    statement = f"INSERT INTO {model._meta.table_name} ({', '.join(first)}) VALUES ({values})"
    database.connection().executemany(statement, chain([first], remaining))


if __name__ == "__main__":
    main()
