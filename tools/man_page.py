"""Prints the man page, made from the commands themselves.

python -m tools.man_page > man/audioctl.1
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import typer

from audioctl import __version__
from audioctl.cli import build_app
from audioctl.states import ExitCode

_LINE_WIDTH = 70
"""Some characters take several in roff; mandoc likes lines of 80."""

_TYPE = re.compile(r" <[^>]*>$")
"""What Typer says of an argument's type: DAY <str>."""

EXIT_CODES = {
    ExitCode.DONE: "Done.",
    ExitCode.FAILED: "Failed.",
    ExitCode.USAGE: "Wrong usage: nothing was done.",
    ExitCode.LOOK: "Finished, but something needs a look: a damaged archive, a difference found, something still owed.",
    ExitCode.CONFIGURATION: "A setting is wrong or missing, or a job would fail here.",
    ExitCode.DRAINED: "Ended early by a signal; run it again.",
}

ENVIRONMENT = {
    "AUDIOCTL_CONFIG": "A file of settings to read, and no other, as with --config.",
    "AUDIOCTL_<SECTION>__<KEY>": "A setting, for example AUDIOCTL_UPLOAD__DESTINATION; it wins over files.",
    "DB_CREDS, PGHOST, PGUSER, PGPASSFILE, ...": "How PostgreSQL is reached: a libpq connection string, or what libpq "
    "reads by itself. Passwords stand nowhere else.",
    "NO_COLOR": "Print no colours.",
}

FILES = {
    "./audioctl.toml": "Settings of the current folder; `audioctl init` writes it.",
    "~/.config/audioctl/config.toml": "The user's settings.",
    "/etc/xdg/audioctl/config.toml": "The site's.",
    "./audioctl-state": "Runs, journals, logs and the ledger, where paths.state_dir says nothing else.",
}


def man_page() -> str:
    """In the macros of man(7)."""
    app: Any = typer.main.get_command(build_app())
    context = typer.Context(app, info_name="audioctl")
    lines = [
        f'.TH AUDIOCTL 1 "" "audioctl {__version__}" "User Commands"',
        ".SH NAME",
        "audioctl \\-",
        *_wrapped(_first_lower(app.help.rstrip("."))),
        ".SH SYNOPSIS",
        ".B audioctl",
        "[\\fIOPTIONS\\fR] \\fICOMMAND\\fR [\\fIARGS\\fR]...",
        ".SH DESCRIPTION",
        *_paragraphs(
            "audioctl takes daily archives of short recordings, transcribes each clip, stores an Opus copy of it, and "
            "records both in PostgreSQL, in jobs of a Slurm cluster or on this machine. Nothing needs to be set: "
            "`audioctl demo` processes a sample day."
        ),
        ".SH OPTIONS",
        *_options(app, context),
        ".SH COMMANDS",
        *_commands(app, context),
        ".SH EXIT STATUS",
        *_list((f"{code:d}", words) for code, words in EXIT_CODES.items()),
        ".SH ENVIRONMENT",
        *_list(ENVIRONMENT.items()),
        ".SH FILES",
        *_list(FILES.items()),
        ".SH SEE ALSO",
        ".BR sbatch (1),",
        ".BR squeue (1),",
        ".BR rsync (1),",
        ".BR psql (1)",
    ]
    return "\n".join(lines) + "\n"


def _commands(group: Any, context: typer.Context) -> Iterator[str]:
    """Of a group those below it, each with the group's name before its own."""
    for name, command in group.commands.items():
        below = typer.Context(command, info_name=name, parent=context)
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from _commands(command, below)
            continue
        path = below.command_path.partition(" ")[2]
        usage = " ".join(command.collect_usage_pieces(below)).replace("{", "").replace("}", "")
        yield from (f'.SS "{_text(path)} {_text(usage)}"', *_paragraphs(command.help), *_options(command, below))


def _options(command: Any, context: typer.Context) -> Iterator[str]:
    """Without --help, which each command has."""
    records = (parameter.get_help_record(context) for parameter in command.get_params(context))
    told = (record for record in records if record and "--help" not in record[0])
    yield from _list((_TYPE.sub("", term), words.removesuffix("[required]")) for term, words in told)


def _list(items: Any) -> Iterator[str]:
    for term, words in items:
        yield from (".TP", f".B {_text(term)}", *_wrapped(words))


def _paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(text.strip().split("\n\n")):
        yield from ([".PP"] if number else [])
        yield from _wrapped(paragraph)


def _wrapped(text: str) -> list[str]:
    lines = textwrap.wrap(" ".join(text.split()), _LINE_WIDTH, break_long_words=False, break_on_hyphens=False)
    return list(map(_text, lines))


def _first_lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _text(text: str) -> str:
    """As roff reads it: a hyphen would become a dash, a leading point or quote a command."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq").replace("'", "\\(aq")
    escaped = escaped.replace("`", "\\(ga").replace("^", "\\(ha").replace("~", "\\(ti")
    return re.sub(r"^\.", r"\\&.", "".join(_character(character) for character in escaped))


def _character(character: str) -> str:
    return character if character.isascii() else f"\\[u{ord(character):04X}]"


def main() -> None:
    sys.stdout.write(man_page())


if __name__ == "__main__":
    main()
