"""The language of a search as PostgreSQL's ``websearch_to_tsquery`` reads it, for texts that are not in PostgreSQL.

Words next to each other are all wanted, ``or`` stands between two ways to match and binds less, "quoted words" follow
each other, and ``-`` before a word or quotes means that it is not there. Whatever else stands there is no mistake.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

_RUN = re.compile(r"[^\W_]+")
_OPERAND = re.compile(r'(?P<minus>-)|"(?P<phrase>[^"]*)"?|(?P<word>[^\s"!&|()]+)')
_OR = re.compile(r"or(?![\w-])(?=.\s*\S)", re.IGNORECASE | re.DOTALL)
"""Not as the last word: then it is one to search for."""


class Word(NamedTuple):
    """``text[start:end]``, and how it is compared."""

    start: int
    end: int
    folded: str


class Term(NamedTuple):
    """Words that follow each other; where it is ``negated``, they must not."""

    words: tuple[str, ...]
    negated: bool


class Query(NamedTuple):
    """A text matches when all terms of one of the ``alternatives`` hold."""

    alternatives: tuple[tuple[Term, ...], ...]

    def hits(self, words: Sequence[Word]) -> set[int] | None:
        """Which of a text's words were searched for, by their numbers; ``None`` where the text does not match."""
        folded = [word.folded for word in words]
        found = [hits for terms in self.alternatives if (hits := _hits(terms, folded)) is not None]
        return set().union(*found) if found else None


def parse_query(text: str) -> Query:
    """Without alternatives, which nothing matches, where ``text`` holds no word."""
    alternatives: list[list[Term]] = [[]]
    position, negated, is_behind_operand = 0, False, False
    while match := _OPERAND.search(text, position):
        if is_behind_operand and (disjunction := _OR.match(text, match.start())):
            alternatives.append([])
            position, is_behind_operand = disjunction.end(), False
            continue
        position, is_behind_operand = match.end(), match["minus"] is None
        if not is_behind_operand:
            negated = not negated
            continue
        if words := words_of(match["phrase"] or match["word"] or ""):
            alternatives[-1].append(Term(tuple(word.folded for word in words), negated))
        negated = False
    return Query(tuple(tuple(terms) for terms in alternatives if terms))


def words_of(text: str) -> list[Word]:
    """Letters and digits in a row, with the accents and vowel signs that belong to them."""
    words: list[Word] = []
    for match in _RUN.finditer(text):
        start, end = match.span()
        while end < len(text) and unicodedata.category(text[end]).startswith("M"):
            end += 1
        if words and words[-1].end == start:  # a mark stood between
            start = words.pop().start
        words.append(Word(start, end, fold(text[start:end])))
    return words


def fold(word: str) -> str:
    """As PostgreSQL's configuration ``simple`` does: lower case, and accents stay.

    Its C library makes an i of the Turkish İ; Python adds a dot to it.
    """
    return word.replace("İ", "i").lower()


def _hits(terms: Sequence[Term], folded: Sequence[str]) -> set[int] | None:
    hits: set[int] = set()
    for term in terms:
        starts = _occurrences(term.words, folded)
        if bool(starts) is term.negated:
            return None
        hits.update(start + offset for start in starts for offset in range(len(term.words)))
    return hits


def _occurrences(phrase: Sequence[str], folded: Sequence[str]) -> list[int]:
    length = len(phrase)
    return [
        number
        for number, word in enumerate(folded)
        if word == phrase[0] and tuple(folded[number : number + length]) == phrase
    ]
