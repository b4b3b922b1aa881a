"""``audioctl status``: where everything stands."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from audioctl.cli.arguments import JsonOption, OptionalDayArgument
from audioctl.cli.flags import settings_flags
from audioctl.cli.ledger import fresh_ledger, note_trouble
from audioctl.cli.output import (
    make_table,
    note,
    print_json,
    print_line,
    print_table,
)
from audioctl.cli.status_tables import WANTS_A_LOOK, archives_table, days_table, totals_line
from audioctl.clock import utc_now
from audioctl.days import parse_days
from audioctl.errors import UsageError
from audioctl.settings import Settings
from audioctl.states import ArchiveState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import RenderableType

    from audioctl.ledger.queries import DayStatus

JSON_SCHEMA = 1
WATCH_SECONDS = 2.0
"""How often journals are looked at; where a scheduler is to be asked each time, its executor says how often."""


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
    watch: Annotated[bool, typer.Option("--watch", help="Look again every few seconds; Ctrl-C ends it.")] = False,
    slow: Annotated[
        bool,
        typer.Option(
            "--why-slow",
            help="Where the time of the day's jobs went, what bounds them, and which settings to turn. Without DAY, of "
            "the newest one.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show how the archives of a day stand, or how days do.

    Of one DAY each archive, of several or without DAY each day.
    """
    wanted = parse_days(day) if day else None
    if slow:
        if failed or watch:
            raise UsageError(
                f"--why-slow does not go with {'--failed' if failed else '--watch'}.", hint="Leave out one of them."
            )
        _why_slow(settings, wanted, as_json)
        return
    if watch and not as_json:
        _watch(settings, wanted, failed)
        return
    if as_json:
        print_json({"schema": JSON_SCHEMA, "generated_at": utc_now(), "days": _look_closely(settings, wanted, failed)})
        return
    days = _look(settings, wanted, failed)
    if not days:
        note(_nothing_known(wanted, failed))
    _print(days, archives=_shows_archives(wanted, failed))


def _why_slow(settings: Settings, wanted: Sequence[str] | None, as_json: bool) -> None:
    from audioctl.cli import why_slow

    state_dir = Path(settings.paths.state_dir)
    if wanted is None:
        newest = why_slow.newest_day(state_dir)
        wanted = [newest] if newest else []
    if as_json:
        days = [
            msgspec.to_builtins(status) | {"why_slow": why_slow.as_json(why_slow.why_slow(state_dir, status.day))}
            for status in _look_closely(settings, wanted, failed=False)
        ]
        print_json({"schema": JSON_SCHEMA, "generated_at": utc_now(), "days": days})
        return
    why_slow.print_why_slow(state_dir, wanted)


def _shows_archives(wanted: Sequence[str] | None, failed: bool) -> bool:
    """Each archive of a day, not one row a day."""
    return failed or (wanted is not None and len(wanted) == 1)


def _look(
    settings: Settings,
    wanted: Sequence[str] | None,
    failed: bool,
    on_trouble: Callable[[str], None] = note_trouble,
) -> list[DayStatus]:
    """What the table shows: of all days only their sums, of others also their archives."""
    from audioctl.ledger.queries import all_days

    if wanted is None and not failed:
        with fresh_ledger(settings, None, on_trouble):
            return all_days()
    return _look_closely(settings, wanted, failed, on_trouble)


def _look_closely(
    settings: Settings,
    wanted: Sequence[str] | None,
    failed: bool,
    on_trouble: Callable[[str], None] = note_trouble,
) -> list[DayStatus]:
    """Days with their archives."""
    from audioctl.ledger.queries import days_with, one_day

    with fresh_ledger(settings, wanted, on_trouble):
        if wanted is None:
            wanted = days_with(WANTS_A_LOOK if failed else ArchiveState)
        days = [status for day in wanted if (status := one_day(day)) is not None]
    if failed:
        for status in days:
            status.archives = [archive for archive in status.archives or [] if archive.state in WANTS_A_LOOK]
        days = [status for status in days if status.archives]
    return days


def _watch(settings: Settings, wanted: Sequence[str] | None, failed: bool) -> None:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    from audioctl.executors.registry import executor_named

    archives = _shows_archives(wanted, failed)
    seconds = max(WATCH_SECONDS, executor_named(settings.submit.executor).poll_seconds)
    console = Console(highlight=False)
    with suppress(KeyboardInterrupt):
        while not console.is_terminal:
            _print(_look(settings, wanted, failed), archives=archives)
            print_line()
            time.sleep(seconds)
        with Live(console=console, auto_refresh=False, screen=True) as live:
            while True:
                troubles: list[str] = []
                days = _look(settings, wanted, failed, troubles.append)
                parts = [part for status in _shown(days, archives) for part in _as_renderables(status, console.width)]
                # What a low terminal has no room for is at the bottom.
                head = Text(f"{utc_now()}   Ctrl-C ends the watch, not the jobs", "dim")
                told = [Text(trouble, "yellow") for trouble in troubles]
                live.update(Group(head, *told, *(parts or [Text(_nothing_known(wanted, failed))])), refresh=True)
                time.sleep(seconds)


def _print(days: Sequence[DayStatus], *, archives: bool) -> None:
    from rich.console import Console

    for shown in _shown(days, archives):
        if isinstance(shown, list):
            print_table(*days_table(shown))
        else:
            columns, rows = archives_table(shown, Console().width)
            print_table(columns, rows)
            print_line(totals_line(shown))


def _shown(days: Sequence[DayStatus], archives: bool) -> list[DayStatus | list[DayStatus]]:
    if archives:
        return list(days)
    return [list(days)] if days else []


def _as_renderables(shown: DayStatus | list[DayStatus], width: int) -> list[RenderableType]:
    if isinstance(shown, list):
        return [make_table(*days_table(shown))]
    return [totals_line(shown), make_table(*archives_table(shown, width))]


def _nothing_known(wanted: Sequence[str] | None, failed: bool) -> str:
    if failed:
        return "Nothing has failed."
    if wanted is None:
        return "Nothing has been submitted yet. Begin with `audioctl submit-day DAY`, or `audioctl demo`."
    return f"Nothing is known of {wanted[0] if len(wanted) == 1 else 'these days'}: it was not submitted."
