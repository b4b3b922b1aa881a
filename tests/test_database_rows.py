"""The rows of a batch of clips: what is stored, under which filename, and beside whom, against a real PostgreSQL."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import pytest
from databases import DAY, OLD_QUERY, SLOT, clip, clips, value
from psycopg import Connection

from audioctl.clips import ClipRecord, Segment
from audioctl.database import schema
from audioctl.database.connection import RecordRefusedError, connect
from audioctl.database.keys import filename_candidates, member_key
from audioctl.database.rows import Confirmation, confirm_batch, read_day, store_batch
from audioctl.states import ClipState, Flag, Reason


def filenames(connection: Connection) -> dict[tuple[str, str], str]:
    rows = connection.execute("select slot, member, filename from audio_files where slot is not null")
    return {(slot, member): filename for slot, member, filename in rows}


def test_a_clip_is_stored_with_all_that_is_known_of_it(upgraded: Connection) -> None:
    segment = Segment(0.5, 2.25, "Grüezi, 世界 🎧 'quoted' \\u0000 \x01", -0.25, 0.01, 1.1, 0.2)
    store_batch(
        upgraded,
        DAY,
        SLOT,
        [
            clip(
                7, "x/é \\ '\".mp3", "Grüezi, 世界 🎧", sha256="ab" * 32, duration_seconds=2.345, language="de",
                language_probability=0.9, segments=[segment], flags=[Flag.LOW_CONFIDENCE], model="small",
            )
        ],
    )  # fmt: skip
    assert value(
        upgraded,
        "select year, month, date, slot, member, filename, ordinal, sha256, file_path, file_size_bytes,"
        " transcript_text, word_count, duration_seconds::text, language, language_probability, segments, flags, model"
        " from audio_files join transcripts on audio_file_id = audio_files.id",
    ) == (
        2025, 1, 25, SLOT, "x/é \\ '\".mp3", "é \\ '\".mp3", 7, "ab" * 32, None, None,
        "Grüezi, 世界 🎧", 3, "2.35", "de", 0.9,
        [{"start": 0.5, "end": 2.25, "text": segment.text, "avg_logprob": -0.25, "no_speech_prob": 0.01,
          "compression_ratio": 1.1, "temperature": 0.2}],
        ["low_confidence"], "small",
    )  # fmt: skip


def test_only_stored_clips_get_rows(upgraded: Connection) -> None:
    store_batch(
        upgraded,
        DAY,
        SLOT,
        [
            clip(0, "a.mp3"),
            ClipRecord(1, "b.mp3", ClipState.REJECTED, Reason.EMPTY),
            ClipRecord(2, "c.txt", ClipState.SKIPPED, Reason.NOT_AUDIO),
        ],
    )
    assert [row.member for row in read_day(upgraded, DAY)] == ["a.mp3"]


@pytest.mark.parametrize("text", ["", None])
def test_silence_is_an_empty_text_and_never_null(upgraded: Connection, text: str | None) -> None:
    store_batch(upgraded, DAY, SLOT, [clip(0, "a.mp3", text, reason=Reason.NO_SPEECH, flags=[Flag.NO_SPEECH])])
    assert value(upgraded, "select transcript_text, word_count, flags from transcripts") == ("", 0, ["no_speech"])


def test_nul_characters_are_left_out(upgraded: Connection) -> None:
    segment = Segment(0.0, 1.0, "b\0c", 0.0, 0.0, 1.0)
    store_batch(upgraded, DAY, SLOT, [clip(0, "a.mp3", "a\0b", segments=[segment])])
    assert value(upgraded, "select transcript_text, segments -> 0 ->> 'text' from transcripts") == ("ab", "bc")


def test_the_same_batch_twice_gives_the_same_rows(upgraded: Connection) -> None:
    everything = (
        "select a.id, filename, t.id, transcript_text from audio_files a join transcripts t on a.id = audio_file_id"
    )
    batch = [clip(0, "x/a.mp3"), clip(1, "y/a.mp3"), clip(2, "b.mp3")]
    store_batch(upgraded, DAY, SLOT, batch)
    once = sorted(upgraded.execute(everything))
    store_batch(upgraded, DAY, SLOT, batch)
    assert sorted(upgraded.execute(everything)) == once
    assert len(once) == 3


def test_a_second_transcription_replaces_the_first_and_keeps_the_file(upgraded: Connection) -> None:
    store_batch(upgraded, DAY, SLOT, [clip(0, "a.mp3", "first", sha256="1")])
    confirm_batch(upgraded, DAY, SLOT, [Confirmation("a.mp3", "store:/a.opus", 5)])
    store_batch(upgraded, DAY, SLOT, [clip(3, "a.mp3", "second", sha256="2")])
    assert [row[:5] for row in read_day(upgraded, DAY)] == [(SLOT, "a.mp3", "store:/a.opus", 5, "second")]
    assert value(upgraded, "select ordinal, sha256 from audio_files") == (3, "2")


def test_a_batch_that_fails_leaves_nothing_behind(upgraded: Connection) -> None:
    with pytest.raises(RecordRefusedError, match="does not take these rows"):
        store_batch(upgraded, DAY, SLOT, [*clips(5), clip(9, "z.mp3", duration_seconds=1e12)])
    assert value(upgraded, "select count(*) from audio_files") == 0


def test_five_thousand_clips_in_one_batch(upgraded: Connection) -> None:
    store_batch(upgraded, DAY, SLOT, clips(5000))
    assert len(list(read_day(upgraded, DAY))) == 5000


@pytest.mark.parametrize(
    ("member", "candidates"),
    [
        ("a.mp3", ["a.mp3", "2025-01-25_12_30_a.mp3"]),
        ("x/y/a.mp3", ["a.mp3", "2025-01-25_12_30_x_y_a.mp3"]),
        ("x/a.mp3~2", ["a.mp3~2", "2025-01-25_12_30_x_a.mp3~2"]),
        ("n" * 238, ["n" * 238, "2025-01-25_12_30_" + "n" * 238]),
        ("n" * 239, ["n" * 239]),
        ("ü" * 255, ["ü" * 255]),
        ("n" * 256, []),
        ("x/" * 200 + "a.mp3", ["a.mp3"]),
    ],
)
def test_filename_candidates(member: str, candidates: list[str]) -> None:
    *readable, hashed = filename_candidates(DAY, SLOT, member)
    assert readable == candidates
    assert len(hashed) <= 255
    assert hashed.startswith("2025-01-25_12_30_")
    assert hashed not in filename_candidates(DAY, "12_40", member)


def test_a_base_name_goes_to_the_first_and_the_others_get_their_paths(upgraded: Connection) -> None:
    store_batch(upgraded, DAY, SLOT, [clip(1, "x/a.mp3"), clip(0, "y/a.mp3")])
    store_batch(upgraded, DAY, "12_40", [clip(0, "y/a.mp3")])
    assert filenames(upgraded) == {
        (SLOT, "y/a.mp3"): "a.mp3",
        (SLOT, "x/a.mp3"): "2025-01-25_12_30_x_a.mp3",
        ("12_40", "y/a.mp3"): "2025-01-25_12_40_y_a.mp3",
    }


def test_when_the_path_is_taken_too_the_name_ends_in_a_hash(upgraded: Connection) -> None:
    store_batch(upgraded, DAY, SLOT, [clip(0, "a"), clip(1, "x_y/a"), clip(2, "x/y/a")])
    names = filenames(upgraded)
    assert names[SLOT, "x_y/a"] == "2025-01-25_12_30_x_y_a"
    assert names[SLOT, "x/y/a"] == filename_candidates(DAY, SLOT, "x/y/a")[-1]


def test_an_old_row_with_the_same_filename_stays_as_it_is(old: Connection) -> None:
    schema.upgrade(old)
    store_batch(old, DAY, SLOT, [clip(0, "old.mp3", "not the old words")])
    assert old.execute(OLD_QUERY).fetchall() == [("old.mp3", "Bern", "words of old.mp3", 3)]
    assert filenames(old) == {(SLOT, "old.mp3"): "2025-01-25_12_30_old.mp3"}


def test_a_clip_keeps_its_filename_when_a_better_one_becomes_free(old: Connection) -> None:
    schema.upgrade(old)
    store_batch(old, DAY, SLOT, [clip(0, "old.mp3")])
    old.execute("delete from audio_files where filename = 'old.mp3'")
    store_batch(old, DAY, SLOT, [clip(0, "old.mp3")])
    assert filenames(old) == {(SLOT, "old.mp3"): "2025-01-25_12_30_old.mp3"}


def test_a_clip_that_finds_every_filename_taken_is_no_silent_loss(upgraded: Connection) -> None:
    for name in filename_candidates(DAY, SLOT, "a.mp3"):
        upgraded.execute("insert into audio_files (filename, year, month, date) values (%s, 2020, 1, 1)", [name])
    with pytest.raises(RecordRefusedError, match="every filename"):
        store_batch(upgraded, DAY, SLOT, [clip(0, "b.mp3"), clip(1, "a.mp3")])
    assert filenames(upgraded) == {}


def test_members_too_long_for_an_index_stay_different(upgraded: Connection) -> None:
    # Not compressible, so that PostgreSQL cannot make it fit by itself.
    path = "/".join(os.urandom(60).hex() for _ in range(38))
    members = [f"{path}/a.mp3", f"{path}/b.mp3"]
    store_batch(upgraded, DAY, SLOT, [clip(ordinal, member) for ordinal, member in enumerate(members)])
    confirm_batch(upgraded, DAY, SLOT, [Confirmation(member, "somewhere", 1) for member in members])
    assert {row.member for row in read_day(upgraded, DAY)} == {member_key(member) for member in members}
    assert len({member_key(member) for member in members}) == 2


def store_elsewhere(slot: str, batch: list[ClipRecord]) -> None:
    with connect() as connection:
        for _ in range(5):
            store_batch(connection, DAY, slot, batch)


def in_two_processes(slots: tuple[str, str], batches: tuple[list[ClipRecord], list[ClipRecord]]) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(store_elsewhere, slots, batches))


def test_two_processes_with_the_same_batch_make_the_same_rows(upgraded: Connection) -> None:
    in_two_processes((SLOT, SLOT), (clips(300), clips(300)))
    assert [row.member for row in read_day(upgraded, DAY)] == [record.member for record in clips(300)]
    assert value(upgraded, "select count(*) from transcripts") == 300


def test_two_processes_that_want_the_same_base_names_both_succeed(upgraded: Connection) -> None:
    forwards = clips(300)
    backwards = [clip(ordinal, record.member) for ordinal, record in enumerate(reversed(forwards))]
    in_two_processes((SLOT, "12_40"), (forwards, backwards))
    names = filenames(upgraded)
    assert len(set(names.values())) == 600
    for record in forwards:
        base = record.member.removeprefix("clips/")
        both = {names[SLOT, record.member], names["12_40", record.member]}
        assert both in (
            {base, filename_candidates(DAY, "12_40", record.member)[1]},
            {base, filename_candidates(DAY, SLOT, record.member)[1]},
        )


def test_a_base_name_that_another_transaction_is_just_taking_is_waited_for(upgraded: Connection) -> None:
    with connect() as other, ThreadPoolExecutor(1) as pool:
        with other.transaction():
            other.execute("insert into audio_files (filename, year, month, date) values ('a.mp3', 2020, 1, 1)")
            storing = pool.submit(store_elsewhere, SLOT, [clip(0, "a.mp3")])
            until_somebody_waits(upgraded)
        storing.result()
    assert filenames(upgraded) == {(SLOT, "a.mp3"): "2025-01-25_12_30_a.mp3"}


def test_a_deadlock_is_tried_again(upgraded: Connection) -> None:
    store_batch(upgraded, DAY, SLOT, [clip(0, "a.mp3"), clip(1, "b.mp3")])
    with connect() as other, ThreadPoolExecutor(1) as pool:
        other.execute("set deadlock_timeout = '1min'")  # so that the batch is the one that PostgreSQL ends
        with other.transaction():
            # Holds the transcripts that the batch wants last, then wants the files that the batch took first.
            other.execute("select from transcripts for update")
            storing = pool.submit(store_elsewhere, SLOT, [clip(0, "a.mp3", "again"), clip(1, "b.mp3", "again")])
            until_somebody_waits(upgraded)
            other.execute("select from audio_files for update")
        storing.result()
    assert {row.transcript_text for row in read_day(upgraded, DAY)} == {"again"}


def until_somebody_waits(connection: Connection) -> None:
    query = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    while value(connection, query) == 0:
        pass
