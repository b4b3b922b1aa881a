"""``audioctl search`` in the journals of a year, against the same transcripts in PostgreSQL.

    DB_CREDS='host=... dbname=...' python -m benchmarks.search [--days 365] [--archives 144] [--clips 8] [--repeats 3]

Every figure is a whole process, as the shell sees it, the best of the repeats; all take turns. The words are common,
rare, on the oldest day alone, and nowhere: for the last two every journal is looked at. What bounds them is measured
beside it: starting the command, and reading the same files. Real archives have some hundred times as many clips, so one
day of such archives is searched, too, in the journals alone, and its pace told in MB/s.

Works in a schema of its own, which it drops at the end. Without DB_CREDS it starts the server of the tests, which is
beside it.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from uuid import uuid4

import msgspec
from psycopg import Connection

from audioctl.clips import ClipRecord, Segment
from audioctl.database import schema
from audioctl.database.connection import connect
from audioctl.database.keys import day_key
from audioctl.ledger.events import BatchExtracted, BatchTranscribed, ClipTranscribed
from audioctl.ledger.journal import journal_path
from audioctl.names import storage_path
from audioctl.states import ClipState
from benchmarks.bounds import Bound, tell
from benchmarks.record import database
from benchmarks.status import AT, day_number, slots_of_day, take_turns

SCHEMA = "audioctl_search_benchmark"
COMMON, RARE, OLDEST, NOWHERE = "weather", "quixotic", "antediluvian", "zebra"
CLIPS_PER_RARE_WORD = 2_000
LARGE_ARCHIVES, LARGE_CLIPS = 100, 2_800
BATCH = 200
VOCABULARY = 10_000

Archive = tuple[str, str, list[ClipRecord]]
"""Day, slot and clips."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--archives", type=int, default=144, help="of a day")
    parser.add_argument("--clips", type=int, default=8, help="of an archive")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    days = [day_number(number) for number in range(options.days)]
    with tempfile.TemporaryDirectory(prefix="audioctl-benchmark-") as folder, database(), tables() as connection:
        year, large = Path(folder, "year"), Path(folder, "large")
        fill(connection, year, archives(days, options.archives, options.clips))
        for archive in archives(days[-1:], LARGE_ARCHIVES, LARGE_CLIPS):
            write_journal(large, *archive)
        journals, clips = options.days * options.archives, options.days * options.archives * options.clips
        print(f"{journals:,} journals of {megabytes(year):,.0f} MB, {clips:,} clips; the best of {options.repeats}\n")
        report(measure(year, large, options.repeats), megabytes(large))


def archives(days: Sequence[str], archives_of_day: int, clips_of_archive: int) -> Iterator[Archive]:
    """Always the same. The last clip of all is not the rare one, so that a search for it has to go on."""
    chance = random.Random(0)
    vocabulary = [COMMON, *(f"word{rank}" for rank in range(1, VOCABULARY))]
    weights = [1 / (rank + 1) for rank in range(VOCABULARY)]  # as in speech (Zipf)
    texts = [" ".join(chance.choices(vocabulary, weights, k=40)) for _ in range(5000)]
    number = 0
    for day in days:
        for slot in slots_of_day(archives_of_day):
            clips = []
            for ordinal in range(clips_of_archive):
                extra = {0: OLDEST}.get(number, RARE if number % CLIPS_PER_RARE_WORD == 1 else "")
                clips.append(clip(day, slot, ordinal, f"{chance.choice(texts)} {extra}".strip()))
                number += 1
            yield day, slot, clips


def clip(day: str, slot: str, ordinal: int, text: str) -> ClipRecord:
    member = f"radio/{ordinal:06}.mp3"
    return ClipRecord(
        ordinal, member, ClipState.STORED, storage_path=storage_path(day, slot, member), size_bytes=100_000,
        sha256=f"{ordinal:064x}", duration_seconds=15.0, language="en", language_probability=0.98, text=text,
        segments=[Segment(0.0, 15.0, text, -0.2345, 0.0123, 1.234)], model="large-v3-turbo",
    )  # fmt: skip


@contextmanager
def tables() -> Iterator[Connection]:
    """Empty ones, which the commands of this process find, too."""
    with connect(application_name="audioctl/benchmark") as connection:
        connection.execute(f"drop schema if exists {SCHEMA} cascade; create schema {SCHEMA}")
        connection.execute(f"set search_path = {SCHEMA}, public")
        os.environ["PGOPTIONS"] = f"-c search_path={SCHEMA},public"
        try:
            schema.upgrade(connection)
            yield connection
        finally:
            connection.execute(f"drop schema {SCHEMA} cascade")


def fill(connection: Connection, state_dir: Path, year: Iterator[Archive]) -> None:
    """The journals, and the rows that jobs would have written: in bulk, as a year of them would take hours."""
    audio_files = "copy audio_files (id, filename, year, month, date, slot, member, ordinal) from stdin"
    transcripts = "copy transcripts (audio_file_id, transcript_text, language) from stdin"
    texts = []
    with connection.cursor() as cursor, cursor.copy(audio_files) as copy:
        for day, slot, clips in year:
            write_journal(state_dir, day, slot, clips)
            for record in clips:
                row_id = uuid4()
                name = f"{day}_{slot}_{record.ordinal}"
                copy.write_row([row_id, name, *day_key(day).values(), slot, record.member, record.ordinal])
                texts.append((row_id, record.text, record.language))
    with connection.cursor() as cursor, cursor.copy(transcripts) as copy:
        for row in texts:
            copy.write_row(row)
    connection.execute("vacuum analyze transcripts")
    connection.execute("vacuum analyze audio_files")


def write_journal(state_dir: Path, day: str, slot: str, clips: Sequence[ClipRecord]) -> None:
    """Without fsync, which is not what is measured here."""
    path = journal_path(state_dir, day, slot)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for batch, first in enumerate(range(0, len(clips), BATCH)):
            part = clips[first : first + BATCH]
            events = [
                BatchExtracted(at=AT, batch=batch, first_ordinal=first, members=len(part), digest="0" * 64),
                *(ClipTranscribed(at=AT, batch=batch, clip=record) for record in part),
                BatchTranscribed(at=AT, batch=batch, stored=len(part), rejected=0, skipped=0, audio_seconds=0.0),
            ]
            file.writelines(msgspec.json.encode(event) + b"\n" for event in events)


def measure(year: Path, large: Path, repeats: int) -> dict[str, float]:
    """The least seconds that each took."""
    ways: dict[str, Callable[[], float]] = {
        "starting the command": partial(seconds_of, "--version"),
        "reading the files": partial(seconds_of_reading, year),
        "large journals": partial(search, NOWHERE, "--no-database", "--state-dir", str(large)),
    }
    for word in (COMMON, RARE, OLDEST, NOWHERE):
        ways[f"{word} journals"] = partial(search, word, "--no-database", "--state-dir", str(year))
        ways[f"{word} database"] = partial(search, word, "--database")
    return {name: min(taken) for name, taken in take_turns(ways, repeats).items()}


def search(word: str, *where: str) -> float:
    return seconds_of("search", word, *where)


def seconds_of(*arguments: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "audioctl", *arguments], capture_output=True, check=True)
    return time.perf_counter() - began


def seconds_of_reading(state_dir: Path) -> float:
    began = time.perf_counter()
    for path in state_dir.rglob("*.jsonl"):
        path.read_bytes()
    return time.perf_counter() - began


def megabytes(state_dir: Path) -> float:
    return sum(path.stat().st_size for path in state_dir.rglob("*.jsonl")) / 1e6


def report(seconds: dict[str, float], large_megabytes: float) -> None:
    start, reading = seconds["starting the command"], seconds["reading the files"]
    print(f"{'the newest 100 with a word':<30}{'journals':>10}{'PostgreSQL':>12}{'ratio':>8}")
    for what, word in (("common", COMMON), ("rare", RARE), ("in the oldest archive", OLDEST), ("nowhere", NOWHERE)):
        journals, rows = seconds[f"{word} journals"], seconds[f"{word} database"]
        print(f"{what:<30}{journals:>8.2f} s{rows:>10.2f} s{journals / rows:>8.1f}")
    pace = large_megabytes / (seconds["large journals"] - start)
    print(f"\nWhat bounds it: starting the command takes {start:.2f} s; reading every journal {reading:.2f} s.")
    print(f"Journals of {LARGE_CLIPS:,} clips are looked through at {pace:,.0f} MB/s.")
    tell(
        [
            Bound("s, a common word in the journals", seconds[f"{COMMON} journals"], at_most=3 * start),
            Bound(
                "times reading every journal: a word that is nowhere",
                seconds[f"{NOWHERE} journals"] / reading,
                at_most=4,
            ),
            Bound("MB/s in large journals", pace, at_least=400),
        ]
    )


if __name__ == "__main__":
    main()
