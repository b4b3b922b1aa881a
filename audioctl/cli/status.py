"""``audioctl status``: where everything stands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from audioctl.cli.arguments import JsonOption, OptionalDayArgument
from audioctl.cli.flags import settings_flags
from audioctl.cli.ledger import fresh_ledger
from audioctl.cli.output import (
    note,
    print_json,
    print_line,
    print_table,
)
from audioctl.cli.status_tables import archives_table, days_table, nothing_known, totals_line
from audioctl.clock import utc_now
from audioctl.days import parse_days
from audioctl.errors import UsageError
from audioctl.settings import Settings
from audioctl.states import ArchiveState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from audioctl.ledger.queries import DayStatus

JSON_SCHEMA = 1


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
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="A live screen until Ctrl-C. With --json, a line whenever something has changed, of several days with "
            "their totals only.",
        ),
    ] = False,
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
    if watch:
        _watch(settings, wanted, failed, as_json)
        return
    if as_json:
        print_json({"schema": JSON_SCHEMA, "generated_at": utc_now(), "days": _look_closely(settings, wanted, failed)})
        return
    days = _look(settings, wanted, failed)
    if not days:
        _tell_nothing(settings, wanted, failed)
    _print(days, archives=_shows_archives(wanted, failed))


def _tell_nothing(settings: Settings, wanted: Sequence[str] | None, failed: bool) -> None:
    from audioctl.cli.unknown import unknown_days

    if failed or wanted is None:
        note(nothing_known(wanted, failed=failed))
        note(f"Looked in {Path(settings.paths.state_dir).absolute()} (paths.state_dir).")
        return
    unknown = unknown_days(settings, wanted)
    note(unknown.message)
    note(unknown.hint or "")


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


def _look(settings: Settings, wanted: Sequence[str] | None, failed: bool) -> list[DayStatus]:
    """What the table shows: of all days only their sums, of others also their archives."""
    from audioctl.ledger.queries import all_days

    if wanted is None and not failed:
        with fresh_ledger(settings):
            return all_days()
    return _look_closely(settings, wanted, failed)


def _look_closely(settings: Settings, wanted: Sequence[str] | None, failed: bool) -> list[DayStatus]:
    """Days with their archives."""
    from audioctl.ledger.queries import days_with, failed_days, one_day

    with fresh_ledger(settings, wanted):
        if failed:
            return failed_days(wanted)
        days = days_with(ArchiveState) if wanted is None else wanted
        return [status for day in days if (status := one_day(day)) is not None]


def _watch(settings: Settings, wanted: Sequence[str] | None, failed: bool, as_json: bool) -> None:
    from audioctl.cli.watch import watch
    from audioctl.cli.watch_views import Failures, ManyDays, OneDay, View

    state_dir = Path(settings.paths.state_dir)
    view: View
    if failed:
        view = Failures(wanted)
    elif wanted is not None and len(wanted) == 1:
        view = OneDay(state_dir, wanted[0])
    else:
        view = ManyDays(wanted)
    watch(state_dir, view, as_json=as_json)


def _print(days: Sequence[DayStatus], *, archives: bool) -> None:
    from rich.console import Console

    if not archives:
        if days:
            print_table(*days_table(days))
        return
    for day in days:
        columns, rows = archives_table(day, Console().width)
        print_table(columns, rows)
        print_line(totals_line(day))
