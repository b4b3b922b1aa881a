"""Searching the journals, for those who have no database: newest first, and no further than somebody reads on.

Most journals hold no hit, and one of a day's archives is megabytes. So a journal is first looked through as bytes, for
what a hit must hold; only one that passes is read as ``audioctl.ledger.transcripts`` reads it, which knows what counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from audioctl.days import SLOT_PATTERN
from audioctl.errors import JournalError
from audioctl.hits import HIT_END, HIT_START, Hit, Where
from audioctl.ledger.transcripts import read_transcripts
from audioctl.names import base_name
from audioctl.states import ClipState
from audioctl.websearch import Query, Term, Word, words_of

SNIPPET_WORDS = 35
"""``MaxWords`` of PostgreSQL's ts_headline."""

_WORDS_BEFORE_HIT = 10
_BLOCK_BYTES = 4 * 1024 * 1024
_CLIP = b'"event":"clip"'
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_ASCII_RUN = re.compile(r"[0-9a-z]+")

_FOLDED_TO_ASCII = ("İ".encode(), "\N{KELVIN SIGN}".encode())
"""The only characters that are not ASCII and that ``websearch.fold`` makes an ASCII letter of."""


class _Clip(msgspec.Struct):
    text: str | None = None


class _ClipLine(msgspec.Struct):
    clip: _Clip


_DECODER = msgspec.json.Decoder(_ClipLine)


def search_journals(
    state_dir: Path, query: Query, where: Where, *, unreadable: Callable[[JournalError], None]
) -> Iterator[Hit]:
    """Stored clips whose text matches: the newest day and slot first, then as they stand in their archive.

    A journal that cannot be read is told to ``unreadable``, and left out.
    """
    for day, slot, journal in journals_newest_first(state_dir, where):
        try:
            yield from _hits_in(journal, day, slot, query, where.language)
        except JournalError as error:
            unreadable(error)


def journals_newest_first(state_dir: Path, where: Where) -> Iterator[tuple[str, str, Path]]:
    """Day, slot and path of each journal."""
    for folder in reversed(_entries(state_dir / "journals")):
        if _DAY.fullmatch(folder.name) and where.first_day <= folder.name <= where.last_day:
            for journal in reversed(_entries(folder)):
                slot = journal.stem
                if journal.suffix == ".jsonl" and SLOT_PATTERN.fullmatch(slot) and slot in (where.slots or (slot,)):
                    yield folder.name, slot, journal


def snippet(text: str, words: Sequence[Word], hits: set[int]) -> str:
    """At most SNIPPET_WORDS words of the text, from shortly before the first hit, with marks around the hits."""
    first = max(0, min(min(hits, default=0) - _WORDS_BEFORE_HIT, len(words) - SNIPPET_WORDS))
    last = min(first + SNIPPET_WORDS, len(words))
    position, end = (words[first].start if first else 0), (words[last].start if last < len(words) else len(text))
    pieces: list[str] = []
    for number in sorted(hits & set(range(first, last))):
        word = words[number]
        pieces += [text[position : word.start], HIT_START, text[word.start : word.end], HIT_END]
        position = word.end
    return "".join([*pieces, text[position:end]]).strip()


def _hits_in(journal: Path, day: str, slot: str, query: Query, language: str | None) -> Iterator[Hit]:
    if not _may_hold_hit(journal, query):
        return
    for batch in read_transcripts(journal).values():
        for clip in batch.clips:
            if clip.state is ClipState.STORED and language in (None, clip.language):
                words = words_of(clip.text or "")
                if (hits := query.hits(words)) is not None:
                    yield Hit(day, slot, clip.member, base_name(clip.member), snippet(clip.text or "", words, hits))


def _may_hold_hit(journal: Path, query: Query) -> bool:
    """Whether a line of the journal is a clip that matches, whether or not it counts. Raises JournalError."""
    needles = [_needles(terms) for terms in query.alternatives]
    try:
        with journal.open("rb") as file:
            while block := file.read(_BLOCK_BYTES) + file.readline():
                if any(_may_match(line, query) for needed in needles for line in _lines_with(needed, block)):
                    return True
    except FileNotFoundError:
        return False
    except OSError as error:
        raise JournalError(f"The journal {journal} cannot be read: {error.strerror}.") from error
    return False


def _needles(terms: Sequence[Term]) -> list[bytes]:
    """What a line that matches all ``terms`` must hold, in lower case: of each word the longest run of ASCII."""
    wanted = [word for term in terms if not term.negated for word in term.words]
    runs = (max(_ASCII_RUN.findall(word), key=len, default="") for word in wanted)
    return sorted({run.encode() for run in runs if run}, key=len, reverse=True)


def _lines_with(needles: Sequence[bytes], block: bytes) -> Iterator[bytes]:
    """The lines that hold every one of ``needles``; all that are clips, where bytes do not tell."""
    folded = block.lower()
    if not needles or _may_spell_ascii_otherwise(block):
        needles = [_CLIP]
    position = folded.find(needles[0])
    while position >= 0:
        start = folded.rfind(b"\n", 0, position) + 1
        end = folded.find(b"\n", position)
        if end < 0:  # torn
            return
        if all(folded.find(needle, start, end) >= 0 for needle in needles[1:]):
            yield block[start:end]
        position = folded.find(needles[0], end)


def _may_spell_ascii_otherwise(block: bytes) -> bool:
    """Whether a letter or digit may stand there as a JSON escape, or as a character that is folded to one."""
    if b"\\" in block and b"\\u" in block:
        return True
    return not block.isascii() and any(character in block for character in _FOLDED_TO_ASCII)


def _may_match(line: bytes, query: Query) -> bool:
    try:
        text = _DECODER.decode(line).clip.text
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _CLIP in line  # damaged: reading the journal says so
    return query.hits(words_of(text or "")) is not None


def _entries(folder: Path) -> list[Path]:
    """By name; none where there is no such folder."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return sorted(folder.iterdir())
    return []
