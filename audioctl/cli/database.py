"""``audioctl db``: the PostgreSQL schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from audioctl.cli.arguments import DryRunOption, JsonOption
from audioctl.cli.flags import settings_in_force
from audioctl.cli.output import counted, note, print_json, print_line
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
    with _connect(context) as connection:
        exit_code = _tell_of_upgrade(connection) if dry_run else _upgrade(connection)
    raise typer.Exit(exit_code)


def _tell_of_upgrade(connection: psycopg.Connection) -> ExitCode:
    from audioctl.database import schema
    from audioctl.database.comparison import compare

    steps = schema.pending(connection)
    differences = [] if steps else compare(connection)
    for line in (*steps, *differences):
        print_line(line)
    if steps:
        note(f"{counted(len(steps), 'step')} to apply.")
    elif differences:
        note(f"{counted(len(differences), 'difference')} from what is needed; an upgrade would try to mend it.")
    else:
        note("The schema is up to date.")
    return ExitCode.LOOK if differences else ExitCode.DONE


def _upgrade(connection: psycopg.Connection) -> ExitCode:
    from audioctl.database import schema
    from audioctl.database.comparison import compare

    steps, mended, left = schema.upgrade(connection), schema.mend(connection), compare(connection)
    for line in (*steps, *(f"Mended: {difference}" for difference in mended), *left):
        print_line(line)
    if steps:
        note(f"{counted(len(steps), 'step')} applied.")
    elif not mended and not left:
        note("The schema is up to date.")
    if left:
        note(f"{counted(len(left), 'difference')} from what is needed; an upgrade cannot mend it.")
    return ExitCode.LOOK if left else ExitCode.DONE


def check(context: typer.Context, as_json: JsonOption = False) -> None:
    """Compare the tables with what is needed."""
    from audioctl.database.comparison import compare

    with _connect(context) as connection:
        differences = compare(connection)
    if as_json:
        print_json({"schema": JSON_SCHEMA, "differences": differences})
    else:
        for difference in differences:
            print_line(difference)
        found = f"{counted(len(differences), 'difference')}; `audioctl db upgrade` mends what is missing."
        note(found if differences else "All is as needed.")
    if differences:
        raise typer.Exit(ExitCode.LOOK)


def _connect(context: typer.Context) -> psycopg.Connection:
    from audioctl.database.connection import connect

    return connect(service=settings_in_force(context).database.service, application_name="audioctl/db")
