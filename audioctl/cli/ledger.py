"""``audioctl ledger`` and the way in which every command opens it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import typer

from audioctl.cli.flags import settings_in_force
from audioctl.cli.output import note
from audioctl.settings import Settings


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="The ledger, a view of all runs and journals.", no_args_is_help=True)
    group.command("rebuild")(rebuild)
    app.add_typer(group, name="ledger")


def rebuild(context: typer.Context) -> None:
    """Build the ledger anew from the runs and the journals.

    These lose nothing by it.
    """
    from audioctl.ledger.models import empty_ledger, ledger_path
    from audioctl.ledger.queries import all_days

    settings = settings_in_force(context)
    state_dir = Path(settings.paths.state_dir)
    empty_ledger(state_dir)
    with fresh_ledger(settings):
        days = all_days()
        archives = sum(day.totals.archives for day in days)
    note(f"Rebuilt {ledger_path(state_dir)}: {archives:,} archives of {len(days):,} days.")


def note_trouble(message: str) -> None:
    """What nobody could find out about jobs, for a person."""
    note(message, style="yellow")


@contextmanager
def fresh_ledger(
    settings: Settings, days: Collection[str] | None = None, on_trouble: Callable[[str], None] = note_trouble
) -> Iterator[None]:
    """The ledger, brought up to date (for these days, or for all), for ``audioctl.ledger.queries``."""
    from audioctl.executors.registry import look_at_jobs
    from audioctl.ledger.absorb import refresh
    from audioctl.ledger.models import open_ledger

    state_dir = Path(settings.paths.state_dir)
    with open_ledger(state_dir) as database:
        refresh(database, state_dir, partial(look_at_jobs, state_dir, on_trouble), days)
        yield
