"""Everything that the report of a day tells, in numbers: what the page shows and ``report --json`` prints."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from audioctl.bounds import Slowness, find_slowness
from audioctl.clock import seconds_since_1970
from audioctl.ledger.journal import journal_path
from audioctl.ledger.queries import ArchiveStatus, DayStatus
from audioctl.reporting.clips import ClipTally
from audioctl.reporting.costs import Costs, day_costs, reserved_by_runs
from audioctl.reporting.history import Attempt, BatchTimes, read_history
from audioctl.reporting.series import DaySeries, day_series
from audioctl.reporting.troubles import Trouble, troubles
from audioctl.reporting.worktime import Stretch, WorkTime
from audioctl.runs import runs_of_day
from audioctl.states import ArchiveState, Stage
from audioctl.timing import Timing

_LIVE = (ArchiveState.RUNNING, ArchiveState.SUBMITTED)


@dataclass(frozen=True, slots=True)
class DayFigures:
    """``generated_at`` is when the ledger and the journals were read."""

    generated_at: str
    status: DayStatus
    is_interim: bool
    """Jobs are still to come, or at work."""
    attempts: list[Attempt]
    work: WorkTime | None
    """When jobs were at work; ``None`` where nobody has begun."""
    series: DaySeries | None
    """``None`` where no batch is transcribed."""
    clips: ClipTally
    slowness: Slowness | None
    """What bounded the day; ``None`` until a job has transcribed its first batch."""
    costs: Costs
    troubles: list[Trouble]
    unreadable: list[str]
    """What is wrong with journals that could not be read to their ends; they count as far as that."""

    @property
    def archives(self) -> list[ArchiveStatus]:
        return self.status.archives or []


def gather(state_dir: Path, status: DayStatus, needs_a_person: set[str], now: str) -> DayFigures:
    """``status`` is of the ledger, with its archives, as is ``needs_a_person``, the slots with a mistake in their
    settings. One batch of clips is in memory at a time, and of the others what they add up to."""
    clips = ClipTally()
    attempts: list[Attempt] = []
    batches: list[BatchTimes] = []
    stages: set[Stage] = set()
    unreadable: list[str] = []
    timings: list[Timing] = []
    for archive in status.archives or []:
        journal = journal_path(state_dir, status.day, archive.slot)
        running_at = seconds_since_1970(now) if archive.state is ArchiveState.RUNNING else None
        history = read_history(journal, archive.slot, running_at=running_at)
        clips.merge(history.clips)
        attempts += history.attempts
        batches += history.batches
        stages.update(history.stages)
        if history.trouble is not None:
            unreadable.append(history.trouble)
        if history.timing is not None:
            timings.append(history.timing)
    work = WorkTime(Stretch(attempt.began, attempt.until) for attempt in attempts) if attempts else None
    return DayFigures(
        generated_at=now,
        status=status,
        is_interim=status.state in _LIVE,
        attempts=attempts,
        work=work,
        series=_series(work, batches, stages),
        clips=clips,
        slowness=find_slowness(timings) if timings else None,
        costs=day_costs(attempts, reserved_by_runs(state_dir, runs_of_day(state_dir, status.day))),
        troubles=troubles(status.day, status.archives or [], needs_a_person=needs_a_person),
        unreadable=unreadable,
    )


def _series(work: WorkTime | None, batches: Sequence[BatchTimes], stages: Collection[Stage]) -> DaySeries | None:
    if work is None or all(batch.heard is None for batch in batches):
        return None
    return day_series(batches, work.stretches(), records=Stage.RECORD in stages, uploads=Stage.UPLOAD in stages)
