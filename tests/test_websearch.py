"""The language of a search: what matches, and that PostgreSQL says the same."""

from __future__ import annotations

import pytest
from databases import clip
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import Connection

from audioctl.database.rows import store_batch
from audioctl.database.search import search
from audioctl.websearch import Query, fold, parse_query, words_of

DAY, SLOT = "2025-01-25", "12_30"


def matches(query: str, text: str) -> bool:
    return parse_query(query).hits(words_of(text)) is not None


@pytest.mark.parametrize(
    ("query", "matching", "other"),
    [
        ("rain", "Rain, again", "training"),
        ("heavy rain", "rain was heavy", "rain"),
        ('"heavy rain"', "a heavy -- RAIN", "heavy and rain"),
        ("rain -snow", "rain", "rain and snow"),
        ('rain -"heavy snow"', "rain, snow, heavy", "rain and heavy snow"),
        ("rain or snow fog", "fog, then snow", "fog"),
        ("rain OR snow", "snow", "or"),
        ("rain or", "rain or shine", "rain"),
        ("or rain", "rain or shine", "rain"),
        ("--rain", "rain", "snow"),
        ("don't", "I don’t", "t don"),
        ("well-known", "a well-known man", "known well"),
        ("... rain", "rain", "snow"),
        ('"heavy rain', "heavy rain", "rain"),
        ("Straße", "die STRAßE", "die Strasse"),
        ("café", "CAFÉ", "cafe"),
        ("İstanbul", "istanbul", "stanbul"),
        ("ПРИВЕТ", "привет", "приветы"),
        ("हिन्दी", "हिन्दी भाषा", "हिन"),
        ("e\u0301te\u0301", "E\u0301TE\u0301!", "ete"),
    ],
)
def test_a_query_matches_what_it_says_and_nothing_else(query: str, matching: str, other: str) -> None:
    assert (matches(query, matching), matches(query, other)) == (True, False)


@pytest.mark.parametrize("text", ["", "...", "-", '""', '-"', "!|&", "\0"])
def test_a_query_without_a_word_has_nothing_to_match(text: str) -> None:
    assert parse_query(text) == Query(())


def test_hits_are_the_words_of_what_matched() -> None:
    words = words_of("heavy rain, then heavy fog and rain")
    assert parse_query('"heavy rain"').hits(words) == {0, 1}
    assert parse_query("fog or snow -heavy").hits(words) == {4}
    assert parse_query("-snow").hits(words) == set()


def test_words_keep_their_place_in_the_text() -> None:
    text = "Ça_va? e\u0301t\u0301x 3.14"
    assert [text[word.start : word.end] for word in words_of(text)] == ["Ça", "va", "e\u0301t\u0301x", "3", "14"]


def test_only_two_characters_beyond_ascii_are_folded_into_ascii() -> None:
    """The prefilter of the journals (audioctl.searching) depends on it."""
    beyond = map(chr, range(128, 0x110000))
    into_ascii = [character for character in beyond if any(folded.isascii() for folded in fold(character))]
    assert into_ascii == ["İ", "\N{KELVIN SIGN}"]


TEXTS = [
    "rain",
    "Rain and snow",
    "heavy rain",
    "rain, heavy",
    "snow or rain",
    "don't rain",
    "ÉTÉ à Zürich",
    "well-known snow and heavy fog",
    "heavy heavy rain or fog",
    "İZMİR ПРИВЕТ 日本語 rain",
    "",
]
PARTS = [
    "rain",
    "SNOW",
    "heavy",
    "fog",
    "or",
    "OR",
    "-",
    "--",
    '"',
    '" ',
    "don't",
    "été",
    "izmir",
    "привет",
    "日本語",
    "...",
]


@pytest.fixture
def stored(upgraded: Connection) -> Connection:
    store_batch(upgraded, DAY, SLOT, [clip(number, f"{number}.mp3", text) for number, text in enumerate(TEXTS)])
    return upgraded


def test_postgresql_finds_the_same(stored: Connection) -> None:
    @settings(max_examples=400)
    @given(st.lists(st.sampled_from(PARTS), min_size=1, max_size=7), st.sampled_from([" ", "  "]))
    def finds_the_same(parts: list[str], space: str) -> None:
        query = space.join(parts)
        theirs = {hit.member for hit in search(stored, query)}
        assert {f"{number}.mp3" for number, text in enumerate(TEXTS) if matches(query, text)} == theirs

    finds_the_same()
