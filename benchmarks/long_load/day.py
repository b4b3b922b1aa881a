"""Archives of a day, from nothing to all done, with the command that a person or a cron job would type."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from audioctl.ledger.events import AttemptStarted, RecognitionBegun
from audioctl.ledger.journal import journal_path
from audioctl.ledger.progress import read_progress
from audioctl.states import ExitCode
from benchmarks.long_load.clips import CLIP_SECONDS
from benchmarks.long_load.site import Site, jobs, supervisors

_LOOK_SECONDS = 0.25
NOTHING_TO_DO = "Nothing is left to do."
_UNDER_WAY = " under way."
"""Jobs outlive a supervisor that was killed; what they do not work on is submitted meanwhile."""
_SUBMITTED = "Submitted "
_SUPERVISOR_KILLED = "The supervisor of the jobs did not start."
"""What the command says, with exit code 1, when that happens before the supervisor holds its lease."""


@dataclass(frozen=True, slots=True)
class LoadedArchive:
    """``number`` is what all of its clips say first."""

    day: str
    slot: str
    number: int
    clips: int


@dataclass(frozen=True, slots=True)
class Passage:
    """Some archives worked on to their end."""

    clips: int
    seconds: float
    commands: int
    """One ``submit-day``, and each ``resume`` that found something left when no supervisor lived."""
    processors_busy: float
    """Share of the machine's, with whatever else: near 1, it was not the recogniser that bounded."""

    @property
    def throughput(self) -> float:
        """Clips per second."""
        return self.clips / self.seconds


def slots_of_day(archives: int) -> list[str]:
    """One every ten minutes, so 144 are a whole day."""
    return [f"{minutes // 60:02}_{minutes % 60:02}" for minutes in range(0, 10 * archives, 10)]


def make_archives(site: Site, day: str, archives: int, clips: int, *, first_number: int) -> list[LoadedArchive]:
    """``clips`` in all, spread over the first slots of the day as evenly as may be."""
    made = []
    for index, slot in enumerate(slots_of_day(archives)):
        share = clips * (index + 1) // archives - clips * index // archives
        made.append(LoadedArchive(day, slot, first_number + index, share))
        site.write_archive(day, slot, first_number + index, share)
    return made


def work_through(site: Site, archives: Sequence[LoadedArchive]) -> Passage:
    """Until nothing is left to do of these archives, which are of one day."""
    day = archives[0].day
    began = time.monotonic()
    idle_before = _idle_seconds()
    commands = 0
    slots = [part for archive in archives for part in ("--slot", archive.slot)]
    command = ["submit-day", day, *slots]
    while True:
        told = site.audioctl(*command, exit_codes=(ExitCode.DONE, ExitCode.FAILED))
        if NOTHING_TO_DO in told:
            break
        assert _SUBMITTED in told or _SUPERVISOR_KILLED in told or _UNDER_WAY in told, told
        commands += _UNDER_WAY not in told
        command = ["resume", day]
        if _UNDER_WAY in told:
            wait_until_none(site, jobs)
        else:
            wait_until_none(site, supervisors)
        ended = time.monotonic()
    idle = (_idle_seconds() - idle_before) / (time.monotonic() - began)
    clips = sum(archive.clips for archive in archives)
    return Passage(clips, ended - began, commands, processors_busy=1 - idle / psutil.cpu_count())


def _idle_seconds() -> float:
    """Of all processors together, since the machine was started."""
    times = psutil.cpu_times()
    return float(times.idle + times.iowait)


def wait_until_none(site: Site, those: Callable[[Sequence[psutil.Process]], list[psutil.Process]]) -> None:
    while those(site.processes()):
        time.sleep(_LOOK_SECONDS)


@dataclass(frozen=True, slots=True)
class JournalContent:
    """Of one archive's journal. ``recognised_again`` are batches that the recogniser was given and did not finish."""

    size_bytes: int
    attempts: int
    recognised_again: int


def journal_content(site: Site, archive: LoadedArchive) -> JournalContent:
    journal = journal_path(site.state, archive.day, archive.slot)
    content = journal.read_bytes()
    attempts = content.count(_opening(AttemptStarted))
    begun = content.count(_opening(RecognitionBegun))
    return JournalContent(len(content), attempts, begun - len(read_progress(journal).batches))


def _opening(event: type) -> bytes:
    return f'{{"event":"{event.__struct_config__.tag}"'.encode()  # type: ignore[attr-defined]


def state_bytes_beside_journals(site: Site) -> int:
    """Of runs, their logs, and the ledger."""
    journals = site.state / "journals"
    return sum(_size(path) for path in site.state.rglob("*") if not path.is_relative_to(journals))


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def batch_seconds(batch_size: int, cost: float) -> float:
    """For how long a batch keeps the recogniser."""
    return batch_size * CLIP_SECONDS * cost
