"""What a search asks for besides its words, and what it finds: the same from PostgreSQL and from journals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

HIT_START, HIT_END = "\x02", "\x03"
"""Around each hit in ``Hit.snippet``: control characters, which no transcript holds."""


class Hit(NamedTuple):
    """``slot`` and ``member`` are ``None`` for a row of PostgreSQL that is older than this program."""

    day: str
    slot: str | None
    member: str | None
    filename: str
    snippet: str


@dataclass(frozen=True, slots=True)
class Where:
    """The days from ``first_day`` to ``last_day``; of them these slots, and clips in this language."""

    first_day: str = "0001-01-01"
    last_day: str = "9999-12-31"
    slots: Sequence[str] = ()
    """Empty for all."""
    language: str | None = None
    """As the recogniser names it: a code of two or three letters. ``None`` for all."""


EVERYWHERE = Where()
