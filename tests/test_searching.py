"""Search in the journals: what is found, in which order, and how ``audioctl search`` says it."""

from __future__ import annotations

import json
import re
from itertools import islice
from pathlib import Path

import pytest
from databases import clip
from hypothesis import given
from hypothesis import strategies as st
from journals import (
    AT,
    BATCH_SIZE,
    clip_lines,
    ended,
    extracted,
    read_to_end,
    started,
    transcribed,
    whole_archive,
    write_journal,
)
from psycopg import Connection
from workspace import Workspace

from audioctl.clips import ClipRecord
from audioctl.database.rows import store_batch
from audioctl.errors import JournalError
from audioctl.hits import EVERYWHERE, HIT_END, HIT_START, Hit, Where
from audioctl.ledger.events import BatchTranscribed, ClipTranscribed, Event
from audioctl.searching import SNIPPET_WORDS, search_journals, snippet
from audioctl.states import ClipState, ExitCode, Outcome, Reason
from audioctl.websearch import parse_query, words_of

DAY, NEXT_DAY = "2025-01-25", "2025-01-26"
DAMAGE = b'{"event":"clip","at":"2025-01-25T12:40:00Z","clip":{"text":"one rain\n'


def write_clips(state_dir: Path, clips: list[ClipRecord], day: str = DAY, slot: str = "12_30") -> Path:
    """The journal of an archive of one batch."""
    lines: list[Event] = [ClipTranscribed(at=AT, batch=0, clip=record) for record in clips]
    done = BatchTranscribed(at=AT, batch=0, stored=len(clips), rejected=0, skipped=0, audio_seconds=2.5)
    return write_journal(state_dir, slot, [started(), extracted(0), *lines, done, read_to_end(1), ended()], day)


def write_texts(state_dir: Path, *texts: str, day: str = DAY, slot: str = "12_30") -> Path:
    return write_clips(state_dir, [clip(number, f"{number}.mp3", text) for number, text in enumerate(texts)], day, slot)


def search(state_dir: Path, words: str, where: Where = EVERYWHERE) -> list[Hit]:
    def fail(error: JournalError) -> None:
        raise error

    return list(search_journals(state_dir, parse_query(words), where, unreadable=fail))


def places(hits: list[Hit]) -> list[str]:
    return [f"{hit.day} {hit.slot} {hit.member}" for hit in hits]


def test_hits_are_newest_first_and_within_an_archive_as_they_were_spoken(state: Path) -> None:
    for day, slot in ((DAY, "12_30"), (NEXT_DAY, "00_10"), (NEXT_DAY, "00_00")):
        write_texts(state, "some rain", "none", "rain again", day=day, slot=slot)
    assert places(search(state, "rain")) == [
        "2025-01-26 00_10 0.mp3",
        "2025-01-26 00_10 2.mp3",
        "2025-01-26 00_00 0.mp3",
        "2025-01-26 00_00 2.mp3",
        "2025-01-25 12_30 0.mp3",
        "2025-01-25 12_30 2.mp3",
    ]


def test_a_search_can_be_narrowed_to_days_slots_and_a_language(state: Path) -> None:
    for day, slot, language in ((DAY, "12_30", "en"), (NEXT_DAY, "12_30", "de"), (NEXT_DAY, "12_40", "en")):
        write_clips(state, [clip(0, "a.mp3", "rain", language=language)], day, slot)
    assert places(search(state, "rain", Where(DAY, DAY))) == ["2025-01-25 12_30 a.mp3"]
    assert places(search(state, "rain", Where(slots=["12_40", "00_00"]))) == ["2025-01-26 12_40 a.mp3"]
    assert places(search(state, "rain", Where(language="de"))) == ["2025-01-26 12_30 a.mp3"]


def test_no_journal_is_opened_that_nobody_reads_on_to(state: Path) -> None:
    write_texts(state, "rain", day=NEXT_DAY)
    write_texts(state, "rain").write_bytes(DAMAGE)
    unread: list[JournalError] = []
    hits = search_journals(state, parse_query("rain"), EVERYWHERE, unreadable=unread.append)
    assert places(list(islice(hits, 1))) == ["2025-01-26 12_30 0.mp3"]
    assert unread == []
    assert list(hits) == []
    assert len(unread) == 1


def test_only_what_counts_is_found(state: Path) -> None:
    """Not what a batch said before it was done again, what no batch ends, or what was not stored."""
    again = [*whole_archive(1), started(2), extracted(0, "b"), *transcribed(0, "fog"), read_to_end(1), ended(2)]
    write_journal(state, "00_00", again)
    broken_off = [started(), extracted(0), *clip_lines(0, "one two"), ended(outcome=Outcome.DRAINED)]
    write_journal(state, "00_10", broken_off)
    rejected = ClipRecord(0, "b.mp3", ClipState.REJECTED, Reason.UNDECODABLE, text="one two")
    write_clips(state, [rejected], slot="00_20")
    assert search(state, '"one two"') == []
    assert places(search(state, "fog")) == ["2025-01-25 00_00 0.mp3"]


def test_a_job_may_be_writing_meanwhile(state: Path) -> None:
    journal = write_journal(state, "12_30", [started(), extracted(0), *transcribed(0, "rain")])
    with journal.open("ab") as file:
        file.write(b'{"event":"clip","at":"x","batch":1,"clip":{"ordinal":3,"member":"3.mp3","text":"rain')
    assert places(search(state, "rain")) == ["2025-01-25 12_30 0.mp3"]


LETTERS = st.sampled_from(
    ["k", "K", "i", "İ", "\N{KELVIN SIGN}", "é", "É", "\u0301", "ß", "д", "Д", "日", "7", " ", '"', "\\", "\n"]
)


def test_looking_through_bytes_first_loses_no_hit(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever is spoken and however JSON writes it, each of its words finds it, and so do all together."""

    @given(st.text(LETTERS, min_size=1, max_size=12), st.booleans())
    def finds_its_words(text: str, escaped: bool) -> None:
        state = tmp_path_factory.mktemp("state")
        journal = write_texts(state, text, "snow")
        if escaped:
            lines = [json.dumps(json.loads(line), separators=(",", ":")) for line in journal.read_bytes().splitlines()]
            journal.write_text("".join(f"{line}\n" for line in lines))
        words = [word.folded for word in words_of(text)]
        for query in [*words, *(word.upper() for word in words if word.upper().lower() == word), " ".join(words)]:
            if parse_query(query).alternatives:
                assert places(search(state, query)) == ["2025-01-25 12_30 0.mp3"], query
        assert places(search(state, "-snow")) == ["2025-01-25 12_30 0.mp3"]

    finds_its_words()


def test_a_long_text_is_shown_around_its_first_hit(state: Path) -> None:
    text = " ".join(str(number) for number in range(100))
    write_texts(state, text)
    [hit] = search(state, '"50 51" or 54')
    shown = f"{HIT_START}50{HIT_END} {HIT_START}51{HIT_END} 52 53 {HIT_START}54{HIT_END}"
    assert shown in hit.snippet
    assert hit.snippet.startswith("40 41 ")
    assert len(hit.snippet.split()) == SNIPPET_WORDS


@pytest.mark.parametrize("hits", [set(), {0}, {2}, {0, 1, 2}])
def test_a_short_text_is_shown_whole(hits: set[int]) -> None:
    text = "Ça va?   Oui!"
    shown = snippet(text, words_of(text), hits)
    assert re.sub(f"[{HIT_START}{HIT_END}]", "", shown) == text
    assert shown.count(HIT_START) == len(hits)


# The command


def test_the_command_searches_the_journals_without_a_database(workspace: Workspace) -> None:
    hostile = "\x1b[2J../a\nb.mp3"
    write_clips(workspace.state, [clip(0, hostile, "alpha \x1b[31m bravo"), clip(1, "c.mp3", "charlie")])
    found = workspace.audioctl("search", "BRAVO", "--json")
    assert found.returncode == ExitCode.DONE, found.stderr
    [hit] = json.loads(found.stdout)["hits"]
    assert hit == {
        "day": DAY,
        "slot": "12_30",
        "member": hostile,
        "filename": "a\nb.mp3",
        "snippet": "alpha \x1b[31m bravo",
    }
    table = workspace.audioctl("search", "alpha")
    assert "a\\nb.mp3" in table.stdout
    assert "\x1b" not in table.stdout
    assert "1 hit." in table.stderr
    assert "0 hits" in workspace.audioctl("search", "zulu").stderr


def test_the_command_finds_the_same_in_the_database(workspace: Workspace, upgraded: Connection) -> None:
    clips = [clip(0, "a\nb.mp3", text="alpha, then bravo", language="en"), clip(1, "c.mp3", text="charlie alpha")]
    write_clips(workspace.state, clips)
    store_batch(upgraded, DAY, "12_30", clips)
    for arguments in (["bravo"], ["alpha"], ["zulu"], ["alpha", "--language", "en"], ["bravo", "--slot", "12_30"]):
        both = [
            workspace.audioctl("search", *arguments, "--json", option) for option in ("--database", "--no-database")
        ]
        found = [[(hit["member"], hit["filename"]) for hit in json.loads(result.stdout)["hits"]] for result in both]
        assert found[0] == found[1]
        assert (len(found[0]) == 0) is (arguments == ["zulu"])
    nothing = workspace.audioctl("search", "zulu", "--database")
    assert nothing.stderr == "0 hits in PostgreSQL; --no-database looks through the journals.\n"


def test_a_damaged_journal_is_named_and_the_others_are_searched(workspace: Workspace) -> None:
    write_texts(workspace.state, "rain")
    damaged = write_texts(workspace.state, "snow", slot="12_40")
    with damaged.open("ab") as file:
        file.write(DAMAGE)
    result = workspace.audioctl("search", "rain")
    assert result.returncode == ExitCode.LOOK
    assert "12_30" in result.stdout
    assert f"Left out: The journal {damaged} is damaged" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["..."], "no word"),
        (["rain", "--day", "2025-02-30"], "is not a day"),
        (["rain", "--day", "2025-02-01"], "no journal"),
        (["rain", "--slot", "1230"], "is not a slot"),
    ],
)
def test_a_search_for_nothing_or_nowhere_says_so(workspace: Workspace, arguments: list[str], said: str) -> None:
    write_texts(workspace.state, *["rain"] * BATCH_SIZE)
    result = workspace.audioctl("search", *arguments)
    assert result.returncode == ExitCode.USAGE
    assert said in result.stderr
