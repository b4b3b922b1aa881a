"""Finishing a day when the jobs of a run have ended: what is left is sent, submitted again, or told."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from audioctl.clock import utc_now
from audioctl.ledger.lease import STALE_AFTER_SECONDS
from audioctl.ledger.queries import ArchiveStatus, DayStatus, Totals
from audioctl.runs import Run, write_whole_file
from audioctl.states import ArchiveState, ExitCode, Outcome
from audioctl.submission import Decision

SUMMARY_FILE = "summary.json"
SUMMARY_SCHEMA = 1

SETTLING_SECONDS = STALE_AFTER_SECONDS + 60.0
"""A job whose node died a moment ago holds its archive for as long as its lease takes to grow stale."""

_LIVE = (ArchiveState.SUBMITTED, ArchiveState.RUNNING)


class Left(msgspec.Struct, frozen=True):
    """An archive that a person has to see to."""

    slot: str
    why: str


class Summary(msgspec.Struct, frozen=True):
    """``summary.json`` in the folder of a run: what had become of the day when its jobs had ended."""

    schema: int
    day: str
    run_id: str
    submission: int
    finished_at: str
    state: ArchiveState
    totals: Totals
    submitted_again: list[str]
    """Slots."""
    next_run_id: str | None
    left: list[Left]
    archives: list[ArchiveStatus]


@dataclass(frozen=True, slots=True)
class Repairs:
    """What is to be done about the archives of a run that are not done."""

    again: list[Decision]
    left: list[Left]


def archives_of(run: Run, day: DayStatus) -> dict[str, ArchiveStatus]:
    """By slot, those archives of the run that nobody has submitted again since."""
    return {archive.slot: archive for archive in day.archives or [] if archive.run_id == run.run_id}


def wait_until_settled(
    look: Callable[[], DayStatus],
    run: Run,
    *,
    patience_seconds: float = SETTLING_SECONDS,
    look_seconds: float = 10.0,
) -> Mapping[str, ArchiveStatus]:
    """The run's archives by slot, once none of them is under way, or after ``patience_seconds`` as they are then."""
    give_up_at = time.monotonic() + patience_seconds
    while True:
        mine = archives_of(run, look())
        if not any(status.state in _LIVE for status in mine.values()) or time.monotonic() >= give_up_at:
            return mine
        time.sleep(look_seconds)


def owed(archives: Mapping[str, ArchiveStatus]) -> list[str]:
    """Slots of archives that are finished but for something that could not be sent."""
    return [
        slot
        for slot, status in sorted(archives.items())
        if status.state is ArchiveState.FAILED and status.reason == Outcome.OWED
    ]


def choose_repairs(
    run: Run,
    archives: Mapping[str, ArchiveStatus],
    decisions: Sequence[Decision],
    hopeless: set[str],
    max_attempts: int,
) -> Repairs:
    """Which of the decisions of a resume are followed without asking a person.

    Those are about archives of this run that have had fewer than ``max_attempts`` attempts since a person last
    submitted them, and whose last attempt did not end with a mistake that only a person can mend (``hopeless``).
    """
    before = {archive.slot: archive.attempts_before for archive in run.archives}
    repairs = Repairs([], [])
    for decision in decisions:
        slot = decision.archive.slot
        if slot not in archives:
            continue  # somebody has submitted it again meanwhile
        # A job that went away before it began left no attempt, but was one.
        attempts = max(archives[slot].attempt - before[slot], run.submission)
        if not decision.submit:
            if archives[slot].state is not ArchiveState.DONE:
                repairs.left.append(Left(slot, decision.why))
        elif slot in hopeless:
            repairs.left.append(Left(slot, f"{decision.why} (trying again would not help)"))
        elif attempts >= max_attempts:
            repairs.left.append(Left(slot, f"{decision.why} (attempt {attempts}; slurm.max_attempts)"))
        else:
            repairs.again.append(decision)
    return repairs


def summarize(run: Run, day: DayStatus, repairs: Repairs, next_run_id: str | None) -> Summary:
    """``next_run_id`` is of what was submitted again; without one, whatever could be repaired is left, too."""
    again = [Left(decision.archive.slot, decision.why) for decision in repairs.again]
    return Summary(
        schema=SUMMARY_SCHEMA,
        day=run.day,
        run_id=run.run_id,
        submission=run.submission,
        finished_at=utc_now(),
        state=day.state,
        totals=day.totals,
        submitted_again=[archive.slot for archive in again] if next_run_id else [],
        next_run_id=next_run_id,
        left=repairs.left if next_run_id else [*repairs.left, *again],
        archives=day.archives or [],
    )


def write_summary(folder: Path, summary: Summary) -> Path:
    """Raises LedgerError."""
    path = folder / SUMMARY_FILE
    write_whole_file(path, msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n")
    return path


def exit_code_of(summary: Summary) -> ExitCode:
    """Of the finishing job, which Slurm puts into its mail: 1 where something failed for good, 3 for a look."""
    states = {archive.slot: archive.state for archive in summary.archives}
    if any(states[left.slot] is ArchiveState.FAILED for left in summary.left):
        return ExitCode.FAILED
    return ExitCode.LOOK if summary.left else ExitCode.DONE
