"""A day as a strip: one sign for each ten minutes, or for whatever stretch there is room for.

The signs can be read without colour, and are ASCII, so that any terminal and any font has them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from enum import Enum
from itertools import groupby
from typing import NamedTuple

from rich.text import Text

from audioctl.cli.output import printable
from audioctl.days import SLOT_PATTERN
from audioctl.states import ArchiveState, Outcome

SLOT_MINUTES = 10
"""How long the slots of most stations are; a strip has a cell for each of them."""

_DAY_MINUTES = 24 * 60
_CELLS_AN_HOUR = 60 // SLOT_MINUTES
_HOURS_A_ROW = (24, 12, 8, 6, 4, 3, 2, 1)


class Sign(NamedTuple):
    character: str
    style: str
    word: str


class Mark(Enum):
    """What a cell shows. Of several archives within its minutes, the one whose mark comes first."""

    FAILED = Sign("x", "bold red", "failed")
    LOOK = Sign("!", "yellow", "damaged or owed")
    RUNNING = Sign(">", "cyan", "running")
    WAITING = Sign("o", "blue", "waiting")
    CANCELLED = Sign("-", "dim", "cancelled")
    DONE = Sign("#", "green", "done")
    NOTHING = Sign(".", "dim", "none")


class Slot(NamedTuple):
    """One archive of a day, as far as a strip shows it."""

    slot: str
    mark: Mark


_LEGEND = (Mark.DONE, Mark.RUNNING, Mark.WAITING, Mark.FAILED, Mark.LOOK, Mark.CANCELLED)
_BY_WEIGHT = {mark: weight for weight, mark in enumerate(Mark)}
_MARKS = {
    ArchiveState.PENDING: Mark.WAITING,
    ArchiveState.SUBMITTED: Mark.WAITING,
    ArchiveState.RUNNING: Mark.RUNNING,
    ArchiveState.DONE: Mark.DONE,
    ArchiveState.DAMAGED: Mark.LOOK,
    ArchiveState.FAILED: Mark.FAILED,
    ArchiveState.CANCELLED: Mark.CANCELLED,
}


def mark_of(state: ArchiveState, reason: str | None) -> Mark:
    """What has been transcribed and only owes its rows or files has not failed as the others have."""
    if state is ArchiveState.FAILED and reason == Outcome.OWED:
        return Mark.LOOK
    return _MARKS[state]


def cells(slots: Iterable[Slot], cell_minutes: int = SLOT_MINUTES) -> list[Mark]:
    """The marks of a day, midnight first."""
    row = [Mark.NOTHING] * (_DAY_MINUTES // cell_minutes)
    for slot, mark in slots:
        if (minute := _minute(slot)) is None:
            continue
        cell = minute // cell_minutes
        row[cell] = min(row[cell], mark, key=lambda one: _BY_WEIGHT[one])
    return row


def strip(marks: Iterable[Mark]) -> Text:
    """One character each."""
    text = Text(no_wrap=True)
    for mark, run in groupby(marks):
        text.append(mark.value.character * len(list(run)), mark.value.style)
    return text


def day_strip(slots: Collection[Slot], width: int) -> list[Text]:
    """The day in as few rows of whole hours as ``width`` has room for, the hours above each."""
    day = cells(slots)
    hours = next((hours for hours in _HOURS_A_ROW if hours * _CELLS_AN_HOUR <= width), 1)
    lines = []
    for first in range(0, 24, hours):
        ruler = "".join(f"{hour:02}".ljust(_CELLS_AN_HOUR) for hour in range(first, first + hours))
        row = day[first * _CELLS_AN_HOUR : (first + hours) * _CELLS_AN_HOUR]
        lines += [Text(ruler.rstrip(), "dim"), strip(row)]
    return lines


def legend(slots: Iterable[Slot]) -> Text:
    """What the signs mean, and how many archives have which."""
    counts = Counter(mark for _, mark in slots)
    text = Text()
    for mark in _LEGEND:
        if counts[mark]:
            text.append(mark.value.character, mark.value.style)
            text.append(f" {counts[mark]} {mark.value.word}  ")
    text.append(Mark.NOTHING.value.character, Mark.NOTHING.value.style)
    text.append(f" {Mark.NOTHING.value.word}")
    return text


def between_cells(slots: Iterable[Slot]) -> Text | None:
    """The slots that no cell has to itself, by name, because they do not begin on ten minutes; ``None`` without any."""
    odd = [slot for slot in slots if (minute := _minute(slot.slot)) is None or minute % SLOT_MINUTES]
    if not odd:
        return None
    text = Text("not on ten minutes:")
    for slot, mark in odd:
        text.append(f"  {mark.value.character}", mark.value.style)
        text.append(f" {printable(slot)}")
    return text


def _minute(slot: str) -> int | None:
    """Of the day; ``None`` of a journal that somebody has copied under a name of his own."""
    time = SLOT_PATTERN.fullmatch(slot)
    return int(time[1]) * 60 + int(time[2]) if time else None
