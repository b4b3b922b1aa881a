"""The rows of a day later on: uploads confirmed, the queue, reading and search, against a real PostgreSQL."""

from __future__ import annotations

import pytest
from databases import DAY, SLOT, clip, clips, value
from psycopg import Connection

from audioctl.database import schema
from audioctl.database.connection import RecordRefusedError
from audioctl.database.queue import QueueStatus, update_queue
from audioctl.database.rows import Confirmation, confirm_batch, read_day, store_batch
from audioctl.database.search import search
from audioctl.hits import HIT_END, HIT_START, Where


def test_a_confirmation_sets_path_size_and_time(upgraded: Connection) -> None:
    store_batch(upgraded, DAY, SLOT, clips(2))
    confirm_batch(upgraded, DAY, SLOT, [Confirmation("clips/00001.mp3", "store:/1.opus", 4321)])
    assert [(row.file_path, row.file_size_bytes) for row in read_day(upgraded, DAY)] == [
        (None, None),
        ("store:/1.opus", 4321),
    ]
    assert value(upgraded, "select updated_at > created_at from audio_files where file_path is not null") is True


def test_a_confirmation_without_a_row_is_said_and_the_others_hold(upgraded: Connection) -> None:
    store_batch(upgraded, DAY, SLOT, clips(1))
    files = [Confirmation("clips/00000.mp3", "here", 1), Confirmation("gone.mp3", "there", 1)]
    with pytest.raises(RecordRefusedError, match="1 of 2 uploaded clips"):
        confirm_batch(upgraded, DAY, SLOT, files)
    assert [row.file_path for row in read_day(upgraded, DAY)] == ["here"]


def queue_row(connection: Connection) -> object:
    return value(
        connection,
        "select status, processing_start is not null, processing_end is not null, slurm_job_id, error_message"
        " from processing_queue where year = 2025 and month = 1 and date = 25",
    )


def test_the_queue_row_follows_the_day(upgraded: Connection) -> None:
    update_queue(upgraded, DAY, QueueStatus.PROCESSING, slurm_job_id=42)
    assert queue_row(upgraded) == ("processing", True, False, 42, None)
    start = value(upgraded, "select processing_start from processing_queue")

    update_queue(upgraded, DAY, QueueStatus.PROCESSING, slurm_job_id=43)
    assert value(upgraded, "select processing_start, slurm_job_id from processing_queue") == (start, 43)

    update_queue(upgraded, DAY, QueueStatus.FAILED, error_message="no\0de lost")
    assert queue_row(upgraded) == ("processing_failed", True, True, 43, "node lost")

    update_queue(upgraded, DAY, QueueStatus.PROCESSING, slurm_job_id=44)
    assert queue_row(upgraded) == ("processing", True, False, 44, None)
    assert value(upgraded, "select processing_start > %s from processing_queue", start) is True

    update_queue(upgraded, DAY, QueueStatus.COMPLETED)
    assert queue_row(upgraded) == ("completed", True, True, 44, None)


def test_the_queue_row_that_waited_for_us_is_taken_over(old: Connection) -> None:
    schema.upgrade(old)
    old.execute(
        "insert into processing_queue (id, year, month, date, location, transfer_task_id)"
        " values (uuid_generate_v4(), 2025, 1, 25, 'Bern', 'globus-1')"
    )
    update_queue(old, DAY, QueueStatus.COMPLETED_WITH_ERRORS, error_message="2 archives are damaged")
    assert value(
        old, "select location, transfer_task_id, status, error_message from processing_queue where year = 2025"
    ) == ("Bern", "globus-1", "completed_with_errors", "2 archives are damaged")


def test_a_day_is_read_by_slot_and_member_without_old_rows_and_other_days(old: Connection) -> None:
    schema.upgrade(old)
    store_batch(old, DAY, "12_40", [clip(0, "a.mp3", "later")])
    store_batch(old, DAY, SLOT, [clip(0, "b.mp3"), clip(1, "B.mp3")])
    store_batch(old, "2025-01-26", SLOT, [clip(0, "c.mp3")])
    old.execute("delete from transcripts using audio_files a where a.id = audio_file_id and member = 'B.mp3'")
    assert [row[:5] for row in read_day(old, DAY)] == [
        (SLOT, "B.mp3", None, None, None),
        (SLOT, "b.mp3", None, None, "good morning"),
        ("12_40", "a.mp3", None, None, "later"),
    ]


def test_search_finds_words_newest_first_in_old_rows_too(old: Connection) -> None:
    schema.upgrade(old)
    store_batch(old, DAY, SLOT, [clip(0, "x.mp3", "Words, and a fire"), clip(1, "y.mp3", "nothing")])
    store_batch(old, "2025-01-26", SLOT, [clip(0, "z.mp3", "more words")])
    found = search(old, "words")
    assert [(hit.day, hit.filename) for hit in found] == [
        ("2025-01-26", "z.mp3"),
        (DAY, "x.mp3"),
        (DAY, "old.mp3"),
        ("2024-12-31", "a.mp3"),
    ]
    assert found[1].snippet == f"{HIT_START}Words{HIT_END}, and a fire"
    assert [hit.filename for hit in search(old, '"a fire" -nothing')] == ["x.mp3"]
    assert len(search(old, "words", limit=2)) == 2


def test_search_can_be_narrowed_to_days_slots_and_a_language(old: Connection) -> None:
    schema.upgrade(old)
    for day, slot, language in (
        ("2025-01-31", "12_30", "en"),
        ("2025-02-01", "12_30", "de"),
        ("2025-02-01", "12_40", "en"),
    ):
        store_batch(old, day, slot, [clip(0, f"{day} {slot}.mp3", "words", language=language)])

    def found(where: Where) -> list[str]:
        return [hit.filename for hit in search(old, "words", where)]

    assert found(Where("2025-01-31", "2025-01-31")) == ["2025-01-31 12_30.mp3"]
    assert found(Where("2024-12-31", "2025-01-25")) == ["old.mp3", "a.mp3"]
    assert found(Where(slots=["12_40", "00_00"])) == ["2025-02-01 12_40.mp3"]
    assert found(Where("2025-01-26", language="en")) == ["2025-02-01 12_40.mp3", "2025-01-31 12_30.mp3"]


def test_search_uses_the_full_text_index(upgraded: Connection) -> None:
    store_batch(upgraded, DAY, SLOT, [*clips(2000), clip(9999, "rare.mp3", "zebra")])
    upgraded.execute("analyze")
    plan = upgraded.execute(
        "explain select from transcripts, websearch_to_tsquery('simple', 'zebra') query"
        " where to_tsvector('simple', transcript_text) @@ query"
    ).fetchall()
    assert "transcripts_full_text" in str(plan)
