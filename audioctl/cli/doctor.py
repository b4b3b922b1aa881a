"""``audioctl doctor``: is everything there that a job needs?"""

from __future__ import annotations

import typer

from audioctl.cli.arguments import JsonOption
from audioctl.cli.flags import settings_flags
from audioctl.cli.output import note, one_line, print_json, print_line
from audioctl.doctor import examine
from audioctl.findings import Verdict
from audioctl.settings import Settings
from audioctl.states import ExitCode

JSON_SCHEMA = 1

_STYLES = {Verdict.GOOD: "green", Verdict.LOOK: "yellow", Verdict.BAD: "bold red"}


def register(app: typer.Typer) -> None:
    app.command("doctor")(doctor)


@settings_flags(
    "submit.executor",
    "transcribe.model",
    "transcribe.device",
    "upload.destination",
    "upload.ssh_key",
    "database.enabled",
)
def doctor(
    context: typer.Context,  # noqa: ARG001 - the flags are read from it
    settings: Settings,
    as_json: JsonOption = False,
) -> None:
    """Check what a job needs, before a job needs it.

    Writes a small test file to the destination, and loads the model to let it hear a sentence. Where jobs are submitted
    to Slurm, asks Slurm instead what it would say to those of a day; nothing is submitted.
    """
    from rich.console import Console
    from rich.text import Text

    findings = []
    console = Console(highlight=False, soft_wrap=True)
    for finding in examine(settings):
        findings.append(finding)
        if not as_json:
            console.print(Text(f"{finding.verdict:<5}", _STYLES[finding.verdict]), f"{finding.check:<12}", end="")
            print_line(one_line(finding.message))
            if finding.hint:
                print_line(f"{'':<19}{one_line(finding.hint)}")
    if as_json:
        print_json({"schema": JSON_SCHEMA, "findings": findings})
    if any(finding.verdict is Verdict.BAD for finding in findings):
        note("A job would fail here.")
        raise typer.Exit(ExitCode.CONFIGURATION)
