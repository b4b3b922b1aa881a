"""What a person or a script sees: results on standard output, messages on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from audioctl.joblog import Level, LogStream
from audioctl.words import audio_hours as audio_hours
from audioctl.words import counted as counted
from audioctl.words import duration as duration
from audioctl.words import size as size

STATE_STYLES = {
    "done": "green",
    "running": "cyan",
    "submitted": "blue",
    "pending": "dim",
    "cancelled": "dim",
    "damaged": "yellow",
    "failed": "bold red",
}

_LEVELS = {"yellow": Level.WARNING, "bold red": Level.ERROR}
"""What the styles of messages mean in a log."""

GAP = 2
"""Spaces between the columns of a table."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. Where the terminal is narrow, those that may ``fold`` give way first."""

    title: str
    align: Literal["left", "right"] = "left"
    fold: bool = False


def note(message: str, *, style: str = "") -> None:
    """A message for a person. When nobody reads them any more (`2>&1 | head`), the work goes on all the same."""
    with suppress(OSError):
        sys.stdout.flush()  # or, in `2>&1 | less`, results would come behind what is said of them
    with suppress(OSError, SystemExit):  # rich exits where a pipe is closed
        if isinstance(sys.stderr, LogStream):
            sys.stderr.say(_LEVELS.get(style, Level.INFO), printable(message))
        else:
            Console(stderr=True, highlight=False, soft_wrap=True).print(Text(printable(message), style))


def print_json(value: object) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
    sys.stdout.buffer.flush()


def print_json_line(value: object) -> None:
    """One line, and at once: whoever reads it wants to know now."""
    sys.stdout.flush()
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.buffer.flush()


def print_line(text: str = "") -> None:
    sys.stdout.write(text + "\n")


def make_table(columns: Sequence[Column], rows: Iterable[Sequence[str | Text]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
    for column in columns:
        table.add_column(
            column.title, justify=column.align, no_wrap=not column.fold, overflow="fold" if column.fold else "ellipsis"
        )
    for row in rows:
        table.add_row(*map(_as_text, row))
    return table


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[str | Text]]) -> None:
    """As wide as the terminal; as wide as it needs where there is none, because files and pipes have no edge."""
    console = Console(highlight=False)
    cells = [[_as_text(cell) for cell in row] for row in rows]
    lines = table_lines(columns, cells)
    fits = not console.is_terminal or max(line.cell_len for line in lines) <= console.width
    if fits and not any("\n" in cell.plain for row in cells for cell in row):
        # What Rich's own tables do besides takes most of the time of a command with hundreds of rows.
        console.print(Text("\n").join(lines), soft_wrap=True)
    else:
        table = make_table(columns, cells)
        if not console.is_terminal:
            console = Console(highlight=False, width=max(console.measure(table).maximum, 1))
        console.print(table)


def table_lines(columns: Sequence[Column], rows: Iterable[Sequence[str | Text]]) -> list[Text]:
    """The titles, then each row, as wide as they need."""
    cells = [[Text(column.title, "bold") for column in columns], *([_as_text(cell) for cell in row] for row in rows)]
    widths = [max(cell.cell_len for cell in column) for column in zip(*cells, strict=True)]
    return [_aligned(row, columns, widths) for row in cells]


def _aligned(row: Sequence[Text], columns: Sequence[Column], widths: Sequence[int]) -> Text:
    line = Text()
    for cell, column, width in zip(row, columns, widths, strict=True):
        missing = " " * (width - cell.cell_len)
        line.append_text(Text(missing) + cell if column.align == "right" else cell + Text(missing))
        line.append(" " * GAP)
    line.rstrip()
    return line


def _as_text(cell: str | Text) -> Text:
    return cell if isinstance(cell, Text) else Text(printable(cell))


def state_text(state: str) -> Text:
    return Text(state, STATE_STYLES.get(state, ""))


def printable(text: str) -> str:
    """Names come from archives: control characters, which could drive a terminal, are shown as escapes."""
    return "".join(
        character if character.isprintable() or character == "\n" else character.encode("unicode_escape").decode()
        for character in text
    )


def one_line(text: str) -> str:
    return printable(text).replace("\n", "\\n")
