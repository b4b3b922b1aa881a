"""Texts from archives, models and servers, for a page: whatever they hold, they show as what they are."""

from __future__ import annotations

import unicodedata

_JOINERS = "\u200c\u200d"
"""Persian, Hindi and others are spelled with these."""


def plain(text: str) -> str:
    """With control characters, marks of direction and lone surrogates as escapes; every space is a plain one."""
    return "".join(map(_shown, text))


def one_line(text: str) -> str:
    """The same of a name, in which line breaks are part of it."""
    return plain(text).replace("\n", "\\n")


def _shown(character: str) -> str:
    if character.isprintable() or character == "\n" or character in _JOINERS:
        return character
    if unicodedata.category(character) == "Zs":
        return " "
    return character.encode("unicode_escape").decode()
