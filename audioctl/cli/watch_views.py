"""What a watch looks at: one day, many days, or what failed. Each look reads the ledger, and makes a page of it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from rich.text import Text

from audioctl.bounds import find_slowness
from audioctl.cli.status_tables import nothing_known
from audioctl.cli.strip import Slot, mark_of
from audioctl.cli.watch_pages import Pace, RunningJob, day_page, days_page, failures_page, one_sentence
from audioctl.clock import seconds_between
from audioctl.errors import JournalError
from audioctl.ledger.journal import journal_path, newest_timing
from audioctl.ledger.queries import (
    ArchiveStatus,
    DayStatus,
    all_days,
    failed_days,
    one_day,
    slot_states,
    stages_of,
    stored_by_batch,
)
from audioctl.ledger.recent import RECENT_SECONDS, RecentEvents, recently, stage_clips
from audioctl.states import ArchiveState
from audioctl.timing import Timing

_NEWEST_DAYS = 60
"""Days that have a strip: more than are on a screen. Of a year all archives would be read for every look."""

Page = Callable[[str, int, int | None], list[Text]]
"""From the time to show, the width, and the height (``None`` where lines scroll) to lines."""


class View(Protocol):
    @property
    def days(self) -> Collection[str] | None:
        """Those that the ledger has to be up to date about; ``None``: all."""

    def look(self, at: str) -> tuple[list[DayStatus], Page]:
        """What the ledger, which is open and up to date, says at this time."""


class OneDay:
    def __init__(self, state_dir: Path, day: str) -> None:
        self._state_dir = state_dir
        self._day = day
        self._recent = RecentEvents()

    @property
    def days(self) -> Collection[str]:
        return [self._day]

    def look(self, at: str) -> tuple[list[DayStatus], Page]:
        status = one_day(self._day)
        if status is None:
            return [], _nothing([self._day])
        return [status], partial(day_page, status, self._pace(status, at))

    def _pace(self, status: DayStatus, at: str) -> Pace:
        since = recently(at)
        archives = status.archives or []
        running = [archive for archive in archives if archive.state is ArchiveState.RUNNING]
        active = [archive.slot for archive in archives if archive in running or (archive.finished_at or "") >= since]
        events = self._recent.look({slot: self._journal(slot) for slot in active}, since)
        clips = stage_clips(events, stored_by_batch(self._day, active))
        begun = seconds_between(status.started_at or at, at)
        jobs = [self._job(archive) for archive in running]
        timings = [job.timing for job in jobs if job.timing is not None]
        return Pace(
            seconds=min(max(1.0, begun), RECENT_SECONDS),
            clips={stage: clips[stage] for stage in stages_of(self._day) if stage in clips} if active else {},
            bound=find_slowness(timings).bound if timings else None,
            jobs=jobs,
        )

    def _job(self, archive: ArchiveStatus) -> RunningJob:
        journal = self._journal(archive.slot)
        return RunningJob(archive, _timing(journal), _silent_seconds(journal))

    def _journal(self, slot: str) -> Path:
        return journal_path(self._state_dir, self._day, slot)


class ManyDays:
    """``days`` as given, or all."""

    def __init__(self, days: Sequence[str] | None) -> None:
        self.days = days

    def look(self, at: str) -> tuple[list[DayStatus], Page]:  # noqa: ARG002 - a row tells nothing of the last minutes
        found = [status for status in all_days() if self.days is None or status.day in self.days]
        if not found:
            return [], _nothing(self.days)
        slots: dict[str, list[Slot]] = defaultdict(list)
        for day, slot, state, reason in slot_states(status.day for status in found[-_NEWEST_DAYS:]):
            slots[day].append(Slot(slot, mark_of(state, reason)))
        return found, partial(days_page, found, slots)


class Failures:
    """What failed or is damaged, of ``days`` or of all."""

    def __init__(self, days: Sequence[str] | None) -> None:
        self.days = days

    def look(self, at: str) -> tuple[list[DayStatus], Page]:  # noqa: ARG002 - as above
        found = failed_days(self.days)
        return found, partial(failures_page, found) if found else _nothing(self.days, failed=True)


def _nothing(days: Sequence[str] | None, *, failed: bool = False) -> Page:
    return partial(one_sentence, nothing_known(days, failed=failed))


def _timing(journal: Path) -> Timing | None:
    try:
        return newest_timing(journal)
    except JournalError:
        return None  # the ledger says so of the archive


def _silent_seconds(journal: Path) -> float | None:
    try:
        return max(0.0, time.time() - journal.stat().st_mtime)
    except OSError:
        return None
