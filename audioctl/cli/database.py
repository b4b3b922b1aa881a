"""``audioctl db``: the PostgreSQL schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from audioctl.cli.arguments import DryRunOption, JsonOption
from audioctl.cli.flags import settings_in_force
from audioctl.cli.output import note, print_json, print_line
from audioctl.states import ExitCode

if TYPE_CHECKING:
    import psycopg

JSON_SCHEMA = 1


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="The PostgreSQL tables.", no_args_is_help=True)
    group.command("upgrade")(upgrade)
    group.command("check")(check)
    app.add_typer(group, name="db")


def upgrade(context: typer.Context, dry_run: DryRunOption = False) -> None:
    """Make the tables, or add to the group's own what is needed. Old rows stay; it can be run again."""
    from audioctl.database import schema

    with _connect(context) as connection:
        steps = schema.pending(connection) if dry_run else schema.upgrade(connection)
    for step in steps:
        print_line(step)
    word = "to apply" if dry_run else "applied"
    note(f"{len(steps)} steps {word}." if steps else "The schema is up to date.")


def check(context: typer.Context, as_json: JsonOption = False) -> None:
    """Compare the tables with what is needed."""
    from audioctl.database import schema

    with _connect(context) as connection:
        differences = schema.check(connection)
    if as_json:
        print_json({"schema": JSON_SCHEMA, "differences": differences})
    else:
        for difference in differences:
            print_line(difference)
        note(
            f"{len(differences)} differences; `audioctl db upgrade` mends them." if differences else "All is as needed."
        )
    if differences:
        raise typer.Exit(ExitCode.LOOK)


def _connect(context: typer.Context) -> psycopg.Connection:
    from audioctl.database.connection import connect

    return connect(service=settings_in_force(context).database.service, application_name="audioctl/db")
