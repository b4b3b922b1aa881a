"""The command line. This module makes the app and is the one place that turns errors into words and an exit code."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Annotated

import typer

from audioctl import __version__
from audioctl.cli import (
    cancel,
    clean,
    config,
    database,
    demo,
    doctor,
    export,
    finish,
    init,
    ledger,
    logs,
    metrics,
    model,
    process,
    report,
    search,
    status,
    submit,
    tune,
    verify,
)
from audioctl.cli.context import CliContext
from audioctl.cli.output import note
from audioctl.errors import AudioctlError
from audioctl.states import ExitCode

_EPILOG = (
    "Exit codes: 0 done; 1 failed; 2 wrong usage; 3 finished, but something needs a look; 4 configuration; "
    "75 ended early by a signal, run it again."
)


_GROUPS = (
    *(submit, process, status, cancel, logs, export, search, report, verify, clean, doctor, init, model, config),
    *(database, ledger, metrics, tune, demo, finish),
)
"""In the order of the help."""


def build_app() -> typer.Typer:
    app = typer.Typer(
        name="audioctl",
        help="Turn daily archives of short recordings into searchable transcripts, on the cluster you already have.",
        epilog=_EPILOG,
        no_args_is_help=True,
        # Plain help reads better on 80 columns, and is there sooner, than boxes do.
        rich_markup_mode=None,
        # main() tells what went wrong; a traceback might show a secret among its locals.
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_global_options)
    for group in _GROUPS:
        group.register(app)
    return app


def main() -> None:
    try:
        build_app()(prog_name="audioctl")
    except AudioctlError as error:
        note(error.message, style="bold red")
        if error.hint:
            note(error.hint)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:  # while the app is made; Typer ends a command that runs in the same way
        from audioctl.cli.foreground import INTERRUPTED

        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has seen enough (`audioctl status | head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.DONE)
    except Exception:
        if not sys.stderr.isatty():
            traceback.print_exc()  # a file in the temporary folder of a compute node would be out of reach
        note(
            f"audioctl failed in a way that it should not. Please report it with {_save_traceback()}", style="bold red"
        )
        sys.exit(ExitCode.FAILED)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"audioctl {__version__}")
        raise typer.Exit


def _global_options(
    context: typer.Context,
    config_file: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Read this file of settings, and no other.", show_default=False),
    ] = None,
    version: Annotated[  # noqa: ARG001 - its callback does it all
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    context.obj = CliContext(config_file)


def _save_traceback() -> str:
    with tempfile.NamedTemporaryFile("w", prefix="audioctl-traceback-", suffix=".txt", delete=False) as file:
        file.write(f"audioctl {__version__}, Python {sys.version}\n{' '.join(sys.argv)}\n\n{traceback.format_exc()}")
    return file.name
