"""``audioctl doctor``: is everything there that a job needs?"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from audioctl.cli.arguments import JsonOption
from audioctl.cli.context import CliContext
from audioctl.cli.flags import settings_flags
from audioctl.cli.output import note, one_line, print_json, print_line
from audioctl.configuration import freeze, settings_files
from audioctl.doctor.findings import Finding, Report, Verdict
from audioctl.settings import Settings
from audioctl.states import ExitCode

_STYLES = {Verdict.GOOD: "green", Verdict.LOOK: "yellow", Verdict.BAD: "bold red"}
_VERDICT_WIDTH, _CHECK_WIDTH = 6, 13


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
    context: typer.Context,
    settings: Settings,
    on_node: Annotated[
        bool, typer.Option("--on-node", help="Check where jobs run, in a job of Slurm's with their resources.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check what a job needs, before a job needs it.

    Writes a small test file to the destination, and loads the model to let it hear a sentence. Where jobs are submitted
    to Slurm, asks Slurm instead what it would say to those of a day; nothing is submitted without --on-node.
    """
    from audioctl.doctor.examination import submits_jobs

    through_slurm = on_node and submits_jobs(settings)
    if on_node and not through_slurm:
        note("Jobs run on this machine: it is the node.")
    if through_slurm:
        from audioctl.doctor.node import examine_node

        report = examine_node(settings, note)
        if not as_json:
            for finding in report.findings:
                _print(finding)
    else:
        given = context.find_object(CliContext) or CliContext()
        files = settings_files(config_file=given.config_file, environ=os.environ, cwd=Path.cwd())
        report = _examine_here(freeze(settings, Path.cwd()), files, as_json=as_json)
    if as_json:
        print_json(report)
    elif submits_jobs(settings) and not through_slurm:
        note("What only a node has (GPU, scratch, the recogniser at work), `audioctl doctor --on-node` checks.")
    if any(finding.verdict is Verdict.BAD for finding in report.findings):
        note(f"A job would fail {f'on {report.machine}' if through_slurm else 'here'}.")
        raise typer.Exit(ExitCode.CONFIGURATION)


def _examine_here(settings: Settings, files: Sequence[Path], *, as_json: bool) -> Report:
    """Each finding is printed as soon as it is there: some take a while."""
    from audioctl.doctor.examination import examine
    from audioctl.doctor.folders import clock_ahead_seconds
    from audioctl.node import node_name

    findings = []
    for finding in examine(settings, files):
        findings.append(finding)
        if not as_json:
            _print(finding)
    return Report(
        machine=node_name(),
        findings=findings,
        clock_ahead_seconds=clock_ahead_seconds(Path(settings.paths.state_dir)),
    )


def _print(finding: Finding) -> None:
    """On a terminal the words keep to their column; elsewhere what was found, and what to type, are a line each."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    margin = _VERDICT_WIDTH + _CHECK_WIDTH
    width = max(console.width - margin, 20) if console.is_terminal else None
    verdict, check = f"{finding.verdict:<{_VERDICT_WIDTH}}", f"{finding.check:<{_CHECK_WIDTH}}"
    first, *more = [*_lines(finding.message, width), *_lines(finding.hint or "", width)]
    console.print(Text(verdict, _STYLES[finding.verdict]), check, sep="", end="")
    print_line(first)
    for line in more:
        print_line(" " * margin + line)


def _lines(text: str, width: int | None) -> list[str]:
    if width is None:
        return [one_line(text)] if text else []
    return textwrap.wrap(one_line(text), width, break_long_words=False, break_on_hyphens=False)
