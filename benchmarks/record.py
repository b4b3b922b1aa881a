"""Clips a second into PostgreSQL: a batch in bulk, against the same rows with a statement for each.

    DB_CREDS='host=... dbname=...' python -m benchmarks.record

Works in a schema of its own, which it drops at the end. Run it from where the jobs run: beside the server both are
bound by its indexes, and over a network each statement costs a round trip. Without DB_CREDS it starts the server of the
tests, which is beside it and does not wait for its disk (``fsync = off``).
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from psycopg import Connection

from audioctl.clips import ClipRecord, Segment
from audioctl.database import schema
from audioctl.database.connection import connect
from audioctl.database.rows import store_batch
from audioctl.names import base_name
from audioctl.states import ClipState
from benchmarks.bounds import Bound, tell

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from postgres import PostgresServer

DAY = "2025-01-25"
SCHEMA = "audioctl_benchmark"
WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "it", "rains"]

Store = Callable[[Connection, str, str, Sequence[ClipRecord]], None]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--clips", type=int, default=20_000)
    arguments.add_argument("--batch", type=int, default=200)
    options = arguments.parse_args()
    clips = [clip(ordinal) for ordinal in range(options.clips)]
    batches = [clips[start : start + options.batch] for start in range(0, len(clips), options.batch)]
    with database(), connect(application_name="audioctl/benchmark") as connection:
        one_by_one = clips_per_second(connection, store_one_by_one, batches)
        in_bulk = clips_per_second(connection, store_batch, batches)
    print(f"{options.clips} clips, {options.batch} in a transaction")
    print(f"a statement for each row  {one_by_one:8,.0f} clips/s")
    print(f"a batch in bulk           {in_bulk:8,.0f} clips/s   {in_bulk / one_by_one:.1f} times")
    tell([Bound("clips/s in bulk, with the full-text index", in_bulk, at_least=10_000)])


@contextmanager
def database() -> Iterator[None]:
    """That of DB_CREDS, or one for this run, of which DB_CREDS tells."""
    if "DB_CREDS" in os.environ:
        yield
        return
    server = PostgresServer()
    server.start()
    os.environ["DB_CREDS"] = server.conninfo
    try:
        yield
    finally:
        del os.environ["DB_CREDS"]
        server.remove()


def clip(ordinal: int) -> ClipRecord:
    text = " ".join(WORDS[(ordinal + place) % len(WORDS)] + str(ordinal % 997) for place in range(30))
    segment = Segment(0.0, 12.0, text, -0.2, 0.01, 1.3)
    return ClipRecord(
        ordinal, f"clips/{ordinal:06}.mp3", ClipState.STORED, sha256="0" * 64, duration_seconds=12.0, language="en",
        language_probability=0.98, text=text, segments=[segment], model="large-v3",
    )  # fmt: skip


def clips_per_second(connection: Connection, store: Store, batches: list[list[ClipRecord]]) -> float:
    """In fresh tables."""
    connection.execute(f"drop schema if exists {SCHEMA} cascade; create schema {SCHEMA}")
    connection.execute(f"set search_path = {SCHEMA}, public")
    try:
        schema.upgrade(connection)
        start = time.perf_counter()
        for batch in batches:
            store(connection, DAY, "12_30", batch)
        seconds = time.perf_counter() - start
    finally:
        connection.execute(f"drop schema {SCHEMA} cascade")
    return sum(map(len, batches)) / seconds


def store_one_by_one(connection: Connection, day: str, slot: str, clips: Sequence[ClipRecord]) -> None:
    """The same columns, without a fallback for a filename that is taken."""
    year, month, date = map(int, day.split("-"))
    with connection.transaction():
        for record in clips:
            name = base_name(record.member)
            row = connection.execute(
                "insert into audio_files (filename, year, month, date, slot, member, ordinal, sha256)"
                " values (%s, %s, %s, %s, %s, %s, %s, %s)"
                " on conflict (year, month, date, slot, member) do update set sha256 = excluded.sha256 returning id",
                [name, year, month, date, slot, record.member, record.ordinal, record.sha256],
            ).fetchone()
            assert row is not None
            text = record.text or ""
            connection.execute(
                "insert into transcripts (audio_file_id, transcript_text, word_count, duration_seconds, language,"
                " language_probability, segments, flags, model) values (%s, %s, %s, %s, %s, %s, %s::jsonb, %s, %s)"
                " on conflict (audio_file_id) do update set transcript_text = excluded.transcript_text",
                [
                    row[0], text, len(text.split()), record.duration_seconds, record.language,
                    record.language_probability, msgspec.json.encode(record.segments).decode(),
                    [str(flag) for flag in record.flags], record.model,
                ],
            )  # fmt: skip


if __name__ == "__main__":
    main()
