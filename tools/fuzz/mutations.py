"""Ways to change an input. Those that know a format come with its target."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

Mutation = Callable[[bytes, random.Random], bytes]

LARGEST_INPUT_BYTES = 256 << 10
_MOST_CHANGES = 4

NUMBERS = (
    *(0, 1, 2, 7, 8, 127, 128, 255, 256, 511, 512, 513, 4096, 65535),
    *(1 << 20, 1 << 31, 1 << 32, (1 << 33) - 1, 1 << 62, (1 << 63) - 1, 1 << 63, 1 << 64, 10**30),
    *(-1, -2, -512, -(1 << 31), -(1 << 63), -(1 << 64)),
)
"""Where numbers go wrong: the widths of fields, of machine words, the size of a block."""


def mutated(content: bytes, corpus: Sequence[bytes], special: Sequence[Mutation], choices: random.Random) -> bytes:
    """``content`` after some changes, of which about half are of the ``special`` ones."""
    for _ in range(choices.randint(1, _MOST_CHANGES)):
        if special and choices.random() < 0.6:
            content = choices.choice(special)(content, choices)
        elif choices.random() < 0.15:
            content = _spliced(content, choices.choice(corpus), choices)
        else:
            content = choices.choice(_GENERAL)(content, choices)
    return content[:LARGEST_INPUT_BYTES]


def inserting(tokens: Sequence[bytes]) -> Mutation:
    """Puts one of ``tokens`` somewhere, over what is there or between it."""

    def insert(content: bytes, choices: random.Random) -> bytes:
        token, at = choices.choice(tokens), choices.randint(0, len(content))
        return content[:at] + token + content[at + choices.choice((0, len(token))) :]

    return insert


def _flip_bit(content: bytes, choices: random.Random) -> bytes:
    return _with(content, choices, lambda byte: byte ^ 1 << choices.randrange(8))


def _set_byte(content: bytes, choices: random.Random) -> bytes:
    byte = choices.choice((0, 1, 0x0A, 0x20, 0x7F, 0x80, 0xFF)) if choices.random() < 0.3 else choices.randrange(256)
    return _with(content, choices, lambda _: byte)


def _with(content: bytes, choices: random.Random, change: Callable[[int], int]) -> bytes:
    if not content:
        return b"\0"
    changed = bytearray(content)
    at = choices.randrange(len(changed))
    changed[at] = change(changed[at])
    return bytes(changed)


def _cut(content: bytes, choices: random.Random) -> bytes:
    return content[: choices.randint(0, len(content))]


def _remove(content: bytes, choices: random.Random) -> bytes:
    start, end = _stretch(content, choices)
    return content[:start] + content[end:]


def _repeat(content: bytes, choices: random.Random) -> bytes:
    start, end = _stretch(content, choices)
    return content[:start] + content[start:end] * choices.choice((2, 3, 20)) + content[end:]


def _change_number(content: bytes, choices: random.Random) -> bytes:
    """A number in text becomes another."""
    found = list(re.finditer(rb"-?\d+", content))
    if not found:
        return content
    match = choices.choice(found)
    return content[: match.start()] + str(choices.choice(NUMBERS)).encode() + content[match.end() :]


def _spliced(content: bytes, other: bytes, choices: random.Random) -> bytes:
    start, end = _stretch(other, choices)
    at = choices.randint(0, len(content))
    return content[:at] + other[start:end] + content[at:]


def _stretch(content: bytes, choices: random.Random) -> tuple[int, int]:
    start = choices.randint(0, len(content))
    return start, min(len(content), start + choices.choice((1, 2, 8, 64, 512, 1024, 4096)))


_GENERAL: tuple[Mutation, ...] = (_flip_bit, _set_byte, _cut, _remove, _repeat, _change_number)
