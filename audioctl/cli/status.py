"""``audioctl status``: where everything stands."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from audioctl.cli.arguments import JsonOption, OptionalDayArgument
from audioctl.cli.flags import settings_flags
from audioctl.cli.ledger import fresh_ledger
from audioctl.cli.output import (
    Column,
    audio_hours,
    duration,
    make_table,
    note,
    print_json,
    print_line,
    print_table,
    state_text,
)
from audioctl.clock import seconds_between, utc_now
from audioctl.days import parse_days
from audioctl.settings import Settings
from audioctl.states import ArchiveState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType
    from rich.text import Text

    from audioctl.ledger.queries import ArchiveStatus, DayStatus, Totals

JSON_SCHEMA = 1
WATCH_SECONDS = 2.0

_LIVE = (ArchiveState.RUNNING, ArchiveState.SUBMITTED)
_WANTS_A_LOOK = (ArchiveState.FAILED, ArchiveState.DAMAGED)
_WIDE_COLUMNS = 130


def register(app: typer.Typer) -> None:
    app.command("status")(status)


@settings_flags("paths.state_dir")
def status(
    context: typer.Context,  # noqa: ARG001 - the flags are read from it
    settings: Settings,
    day: OptionalDayArgument = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only archives that failed or are damaged, and why.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every two seconds; Ctrl-C ends it.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show each archive of a day, or, without DAY, each day."""
    wanted = parse_days(day) if day else None
    if watch and not as_json:
        _watch(settings, wanted, failed)
        return
    if as_json:
        print_json({"schema": JSON_SCHEMA, "generated_at": utc_now(), "days": _look_closely(settings, wanted, failed)})
        return
    days = _look(settings, wanted, failed)
    if not days:
        note(_nothing_known(wanted, failed))
    _print(days, one_day=wanted is not None or failed)


def _look(settings: Settings, wanted: Sequence[str] | None, failed: bool) -> list[DayStatus]:
    """What the table shows: without ``wanted`` one row a day, or the archives of the days that have failed ones."""
    from audioctl.ledger.queries import all_days

    if wanted is None and not failed:
        with fresh_ledger(settings):
            return all_days()
    return _look_closely(settings, wanted, failed)


def _look_closely(settings: Settings, wanted: Sequence[str] | None, failed: bool) -> list[DayStatus]:
    """Days with their archives."""
    from audioctl.ledger.queries import days_with, one_day

    with fresh_ledger(settings, wanted):
        if wanted is None:
            wanted = days_with(_WANTS_A_LOOK if failed else ArchiveState)
        days = [status for day in wanted if (status := one_day(day)) is not None]
    if failed:
        for status in days:
            status.archives = [archive for archive in status.archives or [] if archive.state in _WANTS_A_LOOK]
        days = [status for status in days if status.archives]
    return days


def _watch(settings: Settings, wanted: Sequence[str] | None, failed: bool) -> None:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        while True:
            _print(_look(settings, wanted, failed), one_day=wanted is not None or failed)
            print_line()
            time.sleep(WATCH_SECONDS)
    try:
        with Live(console=console, auto_refresh=False, screen=True) as live:
            while True:
                days = _look(settings, wanted, failed)
                one_day = wanted is not None or failed
                parts = [part for status in _shown(days, one_day) for part in _as_renderables(status, console.width)]
                footer = Text(f"{utc_now()}   Ctrl-C ends the watch, not the jobs", "dim")
                live.update(Group(*(parts or [Text(_nothing_known(wanted, failed))]), footer), refresh=True)
                time.sleep(WATCH_SECONDS)
    except KeyboardInterrupt:
        return


def _print(days: Sequence[DayStatus], *, one_day: bool) -> None:
    from rich.console import Console

    for shown in _shown(days, one_day):
        if isinstance(shown, list):
            print_table(*_days_table(shown))
        else:
            columns, rows = _archives_table(shown, Console().width)
            print_table(columns, rows)
            print_line(totals_line(shown))


def _shown(days: Sequence[DayStatus], one_day: bool) -> list[DayStatus | list[DayStatus]]:
    if one_day:
        return list(days)
    return [list(days)] if days else []


def _as_renderables(shown: DayStatus | list[DayStatus], width: int) -> list[RenderableType]:
    if isinstance(shown, list):
        return [make_table(*_days_table(shown))]
    return [make_table(*_archives_table(shown, width)), totals_line(shown)]


def _days_table(days: Sequence[DayStatus]) -> tuple[list[Column], list[list[str | Text]]]:
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
            _speed(day),
            _to_see_to(day.totals),
        ]
        for day in days
    ]
    return columns, rows


def _archives_table(day: DayStatus, width: int) -> tuple[list[Column], list[list[str | Text]]]:
    wide = width >= _WIDE_COLUMNS
    columns = [
        Column("slot"),
        Column("state"),
        Column("batches", "right"),
        Column("clips", "right"),
        Column("rejected", "right"),
        Column("audio", "right"),
        *([Column("attempt", "right"), Column("job"), Column("node"), Column("finished")] if wide else []),
        Column("to see to", fold=True),
    ]
    rows: list[list[str | Text]] = [
        [
            archive.slot,
            state_text(archive.state),
            f"{archive.batches.done}/{archive.batches.seen}",
            f"{archive.clips:,}",
            f"{archive.rejected:,}",
            audio_hours(archive.audio_seconds),
            *(
                [str(archive.attempt), archive.job_id or "-", archive.node or "-", archive.finished_at or "-"]
                if wide
                else []
            ),
            _why(archive),
        ]
        for archive in day.archives or []
    ]
    return columns, rows


def totals_line(day: DayStatus) -> str:
    """The day in one sentence: states, clips, audio, speed, what is owed, time left."""
    totals = day.totals
    states = [f"{count} {state.value}" for state in ArchiveState if (count := getattr(totals, state.value))]
    parts = [
        f"{day.day}: {totals.archives} archives ({', '.join(states)})",
        f"{totals.clips:,} clips, {audio_hours(totals.audio_seconds)} of audio",
        f"{_speed(day)}",
    ]
    if owed := _owed(totals.owed_upload, totals.owed_record):
        parts.append(owed)
    if (left := _remaining_seconds(day)) is not None:
        parts.append(f"{duration(left)} left")
    return "; ".join(part for part in parts if part != "-")


def _why(archive: ArchiveStatus) -> str:
    owed = _owed(archive.owed_upload, archive.owed_record)
    if archive.state in _WANTS_A_LOOK:
        return ": ".join(filter(None, (archive.reason, archive.error or owed)))
    return owed


def _to_see_to(totals: Totals) -> str:
    counts = [f"{count} {state.value}" for state in _WANTS_A_LOOK if (count := getattr(totals, state.value))]
    if owed := _owed(totals.owed_upload, totals.owed_record):
        counts.append(owed)
    return ", ".join(counts)


def _owed(uploads: int, rows: int) -> str:
    return ", ".join(
        text for count, text in ((uploads, f"{uploads:,} to upload"), (rows, f"{rows:,} to record")) if count
    )


def _elapsed_seconds(day: DayStatus) -> float | None:
    if day.started_at is None:
        return None
    end = utc_now() if day.state in _LIVE or day.finished_at is None else day.finished_at
    return max(1.0, seconds_between(day.started_at, end))


def _speed(day: DayStatus) -> str:
    elapsed = _elapsed_seconds(day)
    return f"{day.totals.audio_seconds / elapsed:,.0f} × real time" if elapsed and day.totals.audio_seconds else "-"


def _remaining_seconds(day: DayStatus) -> float | None:
    """If the archives that are left take as long as those that have ended."""
    elapsed = _elapsed_seconds(day)
    waiting = day.totals.running + day.totals.submitted
    ended = day.totals.archives - waiting - day.totals.pending
    return elapsed * waiting / ended if elapsed and waiting and ended else None


def _nothing_known(wanted: Sequence[str] | None, failed: bool) -> str:
    if failed:
        return "Nothing has failed."
    if wanted is None:
        return "Nothing has been submitted yet. Begin with `audioctl submit-day DAY`, or `audioctl demo`."
    return f"Nothing is known of {wanted[0] if len(wanted) == 1 else 'these days'}: it was not submitted."
