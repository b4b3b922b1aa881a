"""``audioctl config``."""

import os
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from audioctl.cli.context import CliContext
from audioctl.cli.output import Column, print_json, print_line, print_table, printable
from audioctl.configuration import LoadedSettings, config_files, load_settings
from audioctl.setting_values import toml_value
from audioctl.settings import KEYS
from audioctl.settings_reference import reference_markdown

JSON_SCHEMA = 1

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Adds the ``config`` group to the root app."""
    group = typer.Typer(help="Show the settings and where they come from.", no_args_is_help=True)
    group.command("show")(show)
    group.command("path")(path)
    group.command("reference")(reference)
    app.add_typer(group, name="config")


def show(
    context: typer.Context,
    origin: Annotated[bool, typer.Option("--origin", help="Say where each value comes from.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the value of every setting.

    On a terminal as a table, elsewhere as lines of TOML.
    """
    loaded = load_settings(config_file=_given(context).config_file, environ=os.environ, cwd=Path.cwd())
    if as_json:
        settings = msgspec.to_builtins(loaded.settings)
        print_json({"schema": JSON_SCHEMA, "settings": settings, "origins": loaded.origins})
    elif sys.stdout.isatty():
        columns = [Column("setting"), Column("value", fold=True)]
        if origin:
            columns.append(Column("from", fold=True))
        print_table(columns, [row[: len(columns)] for row in _rows(loaded)])
    else:
        for dotted, value, where in _rows(loaded):
            print_line(f"{dotted} = {value}" + (f"   # {where}" if origin else ""))


def path(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the files that are looked at, first the one that wins."""
    files = config_files(config_file=_given(context).config_file, environ=os.environ, cwd=Path.cwd())
    if as_json:
        entries = [{"path": str(file), "exists": file.exists()} for file in files]
        print_json({"schema": JSON_SCHEMA, "files": entries})
    else:
        for file in files:
            print_line(f"{'found' if file.exists() else 'missing':<8} {file}")


def reference() -> None:
    """Print the description of all settings as Markdown."""
    sys.stdout.write(reference_markdown())


def _given(context: typer.Context) -> CliContext:
    given = context.find_object(CliContext)
    return given if given is not None else CliContext()


def _rows(loaded: LoadedSettings) -> list[list[str]]:
    """Name, value as TOML, and origin of every setting."""
    return [
        [dotted, toml_value(key, key.value_in(loaded.settings)), printable(loaded.origins[dotted])]
        for dotted, key in KEYS.items()
    ]
