"""The tables of ``audioctl status``, and the day in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from audioctl.cli.output import GAP, Column, audio_hours, duration, state_text
from audioctl.clock import seconds_between, utc_now
from audioctl.states import WANTS_A_LOOK, ArchiveState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.text import Text

    from audioctl.ledger.queries import ArchiveStatus, DayStatus, Totals

_LIVE = (ArchiveState.RUNNING, ArchiveState.SUBMITTED)

_GIVE_WAY = ("finished", "rejected", "attempt", "audio", "batches", "clips", "node", "job")
"""Columns that a narrow terminal goes without, in this order, until what is said of an archive has room."""


def days_table(days: Sequence[DayStatus]) -> tuple[list[Column], list[list[str | Text]]]:
    columns = [
        Column("day"),
        Column("state"),
        Column("done", "right"),
        Column("clips", "right"),
        Column("rejected", "right"),
        Column("audio", "right"),
        Column("speed", "right"),
        Column("to see to", fold=True),
    ]
    rows: list[list[str | Text]] = [
        [
            day.day,
            state_text(day.state),
            f"{day.totals.done}/{day.totals.archives}",
            f"{day.totals.clips:,}",
            f"{day.totals.rejected:,}",
            audio_hours(day.totals.audio_seconds),
            speed(day),
            to_see_to(day.totals),
        ]
        for day in days
    ]
    return columns, rows


def archives_table(day: DayStatus, width: int) -> tuple[list[Column], list[list[str | Text]]]:
    """Columns and rows, of those that tell something what ``width`` characters have room for."""
    archives = day.archives or []
    cells: dict[Column, list[str | Text]] = {
        Column("slot"): [archive.slot for archive in archives],
        Column("state"): [state_text(archive.state) for archive in archives],
    }
    if any(archive.attempt > 1 for archive in archives):
        cells[Column("attempt", "right")] = [str(archive.attempt or "-") for archive in archives]
    jobs = [scheduler_job(archive) for archive in archives]
    if any(jobs):
        cells[Column("job")] = [job or "-" for job in jobs]
    if any(archive.node for archive in archives):
        cells[Column("node")] = [archive.node or "-" for archive in archives]
    cells[Column("batches", "right")] = [f"{archive.batches.done}/{archive.batches.seen}" for archive in archives]
    cells[Column("clips", "right")] = [f"{archive.clips:,}" for archive in archives]
    if any(archive.rejected for archive in archives):
        cells[Column("rejected", "right")] = [f"{archive.rejected:,}" for archive in archives]
    cells[Column("audio", "right")] = [audio_hours(archive.audio_seconds) for archive in archives]
    if any(archive.finished_at for archive in archives):
        cells[Column("finished")] = [archive.finished_at or "-" for archive in archives]
    reasons = [why(archive) for archive in archives]
    if any(reasons):
        cells[Column("why", fold=True)] = list(reasons)
    is_about_reasons = all(archive.state in WANTS_A_LOOK for archive in archives)
    columns = that_fit(cells, width, _GIVE_WAY, folded=width // 2 if is_about_reasons else width // 4)
    return columns, [list(row) for row in zip(*(cells[column] for column in columns), strict=True)]


def that_fit(
    cells: Mapping[Column, Sequence[str | Text]], width: int, give_way: Sequence[str], *, folded: int
) -> list[Column]:
    """The columns that are left when those of the titles in ``give_way`` have gone, in turn, until there is room.

    The column that folds gets ``folded`` characters, if it needs that many.
    """

    def needed(column: Column) -> int:
        widest = max((len(column.title), *map(len, cells[column])))
        return min(widest, folded) if column.fold else widest

    columns = list(cells)
    for title in give_way:
        if sum(map(needed, columns)) + GAP * (len(columns) - 1) <= width:
            break
        columns = [column for column in columns if column.title != title]
    return columns


def totals_line(day: DayStatus) -> str:
    """The day in one sentence: states, clips, audio, speed, what is owed, time left."""
    totals = day.totals
    states = [f"{count} {state.value}" for state in ArchiveState if (count := getattr(totals, state.value))]
    parts = [
        f"{day.day}: {totals.archives} archives ({', '.join(states)})",
        f"{totals.clips:,} clips, {audio_hours(totals.audio_seconds)} of audio",
        f"{speed(day)}",
    ]
    if owed := what_is_owed(totals.owed_upload, totals.owed_record):
        parts.append(owed)
    if (left := remaining_seconds(day)) is not None:
        parts.append(f"{duration(left)} left")
    return "; ".join(part for part in parts if part != "-")


def scheduler_job(archive: ArchiveStatus) -> str | None:
    """Only what one could ask a scheduler about: ids of local jobs are made from their run's."""
    if archive.job_id is None or archive.job_id.startswith(f"{archive.run_id}_"):
        return None
    return archive.job_id


def why(archive: ArchiveStatus) -> str:
    """The archive's file without its folder: there is no room for what stands in every line."""
    owed = what_is_owed(archive.owed_upload, archive.owed_record)
    if archive.state in WANTS_A_LOOK:
        error = archive.error or ""
        if archive.path:
            error = error.replace(archive.path, Path(archive.path).name)
        return ": ".join(filter(None, (archive.reason, error or owed)))
    reason = archive.reason if archive.reason != archive.state.value.upper() else None  # Slurm's word for the same
    return ", ".join(filter(None, (reason, owed)))


def to_see_to(totals: Totals) -> str:
    counts = [f"{count} {state.value}" for state in WANTS_A_LOOK if (count := getattr(totals, state.value))]
    if owed := what_is_owed(totals.owed_upload, totals.owed_record):
        counts.append(owed)
    return ", ".join(counts)


def what_is_owed(uploads: int, rows: int) -> str:
    return ", ".join(
        text for count, text in ((uploads, f"{uploads:,} to upload"), (rows, f"{rows:,} to record")) if count
    )


def elapsed_seconds(day: DayStatus) -> float | None:
    """Since the first archive was begun, until now or until the last one had ended; ``None`` where none has begun."""
    end = utc_now() if day.state in _LIVE else day.finished_at
    if day.started_at is None or end is None:
        return None
    return max(1.0, seconds_between(day.started_at, end))


def speed(day: DayStatus) -> str:
    elapsed = elapsed_seconds(day)
    return f"{day.totals.audio_seconds / elapsed:,.0f} × real time" if elapsed and day.totals.audio_seconds else "-"


def remaining_seconds(day: DayStatus) -> float | None:
    """If archives take as long as those that are done took, and as many are worked on at a time as now.

    What archives of the day have waited for in between, a queue or a person, does not count.
    """
    took = sorted(
        seconds_between(archive.started_at, archive.finished_at)
        for archive in day.archives or []
        if archive.state is ArchiveState.DONE and archive.started_at and archive.finished_at
    )
    running = day.totals.running
    if not took or not running:
        return None
    left = day.totals.submitted + running / 2  # those that run are halfway through, taken together
    return took[len(took) // 2] * left / running


def nothing_known(days: Sequence[str] | None, *, failed: bool) -> str:
    """Where there is no day to show."""
    if failed:
        return "Nothing has failed."
    if days is None:
        return "Nothing has been submitted yet. Begin with `audioctl submit-day DAY`, or `audioctl demo`."
    return f"Nothing is known of {days[0] if len(days) == 1 else 'these days'}: it was not submitted."
