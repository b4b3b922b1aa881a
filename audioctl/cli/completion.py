"""What a shell offers when somebody presses Tab behind a day, a slot, or a flag with a few values.

Whatever goes wrong, nothing is offered and nothing is said, because the words would land in the middle of a command
that is being typed. Only names of files are read: no database, no scheduler, and nothing is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import typer

from audioctl.archives import archive_folder, days_with_archives, find_archives
from audioctl.configuration import load_settings
from audioctl.days import parse_days
from audioctl.settings import Paths
from audioctl.state_listing import days_in, slots_in

Completer = Callable[[typer.Context, str], Sequence[str]]


def _completer(offers: Callable[[typer.Context], Iterable[str]], *, ranges: bool = False) -> Completer:
    """With ``ranges``, the last day of a range ``A..B`` is completed, too."""

    def complete(context: typer.Context, incomplete: str) -> list[str]:
        before, dots, begun = incomplete.rpartition("..") if ranges else ("", "", incomplete)
        try:
            found = [offer for offer in offers(context) if offer >= before and offer.startswith(begun)]
        except Exception:
            return []
        return [f"{before}{dots}{offer}" for offer in found]

    return complete


def values(choices: Sequence[str]) -> Completer:
    """One of a few words."""
    return _completer(lambda _: choices)


def _known_days(context: typer.Context) -> list[str]:
    return days_in(Path(_paths(context).state_dir))


def _days_to_submit(context: typer.Context) -> list[str]:
    paths = _paths(context)
    return days_with_archives(paths.archives, paths.pattern)


def _slots(context: typer.Context) -> list[str]:
    """Of the days that stand before: those that are known, and, where archives are chosen, those that there are."""
    paths = _paths(context)
    found: set[str] = set()
    # What stands before an option whose value is being typed is not parsed.
    typed = context.params.get("days") or context.params.get("day") or context.args[0]
    for day in parse_days(typed):
        found.update(slots_in(Path(paths.state_dir), day))
        if "paths_archives" in context.params and (folder := archive_folder(paths.archives, day)).is_dir():
            found.update(archive.slot for archive in find_archives(folder, day, paths.pattern))
    return sorted(found)


def _paths(context: typer.Context) -> Paths:
    """As the command will have them, with those of its flags that are typed already."""
    typed = {f"paths.{name}": context.params.get(f"paths_{name}") for name in ("archives", "state_dir")}
    config_file = context.find_root().params.get("config_file")
    return load_settings(typed, config_file=config_file, environ=os.environ, cwd=Path.cwd()).settings.paths


known_day = _completer(_known_days)
known_days = _completer(_known_days, ranges=True)
days_to_submit = _completer(_days_to_submit, ranges=True)
slots = _completer(_slots)
