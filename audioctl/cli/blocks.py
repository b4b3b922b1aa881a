"""Fitting what there is to say into the lines of a terminal, the most important first."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from rich.text import Text

_SPACED_FROM = 30
"""Lines of a terminal that has some to spare between the blocks."""


@dataclass(frozen=True, slots=True)
class Block:
    """Lines that belong together: of ``items``, as many as there is room for; head and foot stay, or all goes."""

    head: list[Text]
    items: list[list[Text]] = field(default_factory=list)
    foot: list[Text] = field(default_factory=list)
    wanted: int = 0
    """How many items it wants before another block gets more than it wants."""
    left_out: Callable[[int], Text] | None = None
    """What stands in place of so many items."""

    def lines(self, shown: int) -> list[Text]:
        missing = len(self.items) - shown
        instead = [self.left_out(missing)] if missing and self.left_out else []
        return [*self.head, *(line for item in self.items[:shown] for line in item), *instead, *self.foot]


def fitted(blocks: Sequence[Block], height: int | None) -> list[Text]:
    """The blocks in their order; where ``height`` lines have not room for all, the last ones give way first."""
    if height is None or height >= _SPACED_FROM:
        blocks = [blocks[0], *(replace(block, head=[Text(), *block.head]) for block in blocks[1:])]
    if height is None:
        return [line for block in blocks for line in block.lines(len(block.items))]
    free = height
    chosen: list[tuple[Block, int]] = []
    for block in blocks:
        counts = range(min(block.wanted, len(block.items)), -1, -1)
        if (count := next((count for count in counts if len(block.lines(count)) <= free), None)) is not None:
            chosen.append((block, count))
            free -= len(block.lines(count))
    lines: list[Text] = []
    for block, least in chosen:
        room = free + len(block.lines(least))
        counts = range(len(block.items), least - 1, -1)
        count = next(count for count in counts if count == least or len(block.lines(count)) <= room)
        free = room - len(block.lines(count))
        lines += block.lines(count)
    return lines


def wrapped(text: str, width: int, style: str = "", *, indent: str = "", most: int | None = None) -> list[Text]:
    """Whole words in lines, at ``most`` so many; all but the first begin with ``indent``."""
    lines = textwrap.wrap(
        text, width, subsequent_indent=indent, break_on_hyphens=False, max_lines=most, placeholder=" ..."
    )
    return [Text(line, style) for line in lines]
