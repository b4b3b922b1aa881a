"""The database: connecting, the schema on new and on old tables, and the rows, against a real PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import Connection
from psycopg.conninfo import make_conninfo

from audioctl.clips import ClipRecord, Segment
from audioctl.database import schema
from audioctl.database.connection import RecordRefusedError, connect
from audioctl.database.rows import (
    HIT_END,
    HIT_START,
    Confirmation,
    QueueStatus,
    confirm_batch,
    filename_candidates,
    member_key,
    read_day,
    search,
    store_batch,
    update_queue,
)
from audioctl.errors import AudioctlError, ConfigurationError, RecordError, SchemaError
from audioctl.states import ClipState, Flag, Reason

if TYPE_CHECKING:
    from postgres import PostgresServer

pytest_plugins = ["postgres"]

DAY, SLOT = "2025-01-25", "12_30"

OLD_TABLES = """
create extension "uuid-ossp";
create table audio_files (id uuid primary key default uuid_generate_v4(), filename varchar(255) not null unique,
  file_path varchar(500), file_size_bytes bigint, month integer not null, date integer not null,
  year integer not null, location varchar(100), classification varchar(100),
  classification_probability decimal(3,2), created_at timestamp default current_timestamp,
  updated_at timestamp default current_timestamp);
create table transcripts (id uuid primary key default uuid_generate_v4(),
  audio_file_id uuid not null unique references audio_files(id) on delete cascade, transcript_text text not null,
  word_count integer, duration_seconds decimal(10,2), created_at timestamp default current_timestamp);
create table processing_queue (id uuid primary key, year integer not null, month integer not null,
  date integer not null, location varchar(100), status varchar(50) default 'pending', transfer_start timestamp,
  transfer_end timestamp, transfer_task_id varchar(255), processing_start timestamp, processing_end timestamp,
  slurm_job_id integer, error_message text, created_at timestamp default current_timestamp,
  updated_at timestamp default current_timestamp, unique (year, month, date));
insert into audio_files (filename, file_path, month, date, year, location, classification_probability)
  values ('old.mp3', '/archive/old.mp3', 1, 25, 2025, 'Bern', 0.75), ('a.mp3', null, 12, 31, 2024, 'Bern', null);
insert into transcripts (audio_file_id, transcript_text, word_count)
  select id, 'words of ' || filename, 3 from audio_files;
insert into processing_queue (id, year, month, date, location, status)
  values (uuid_generate_v4(), 2024, 12, 31, 'Bern', 'completed');
create view spoken as select filename, location, transcript_text
  from audio_files join transcripts on audio_files.id = audio_file_id;
"""

OLD_QUERY = """
select filename, location, transcript_text, word_count
  from audio_files join transcripts on audio_files.id = transcripts.audio_file_id where filename = 'old.mp3'
"""


@pytest.fixture
def empty(database: str) -> Iterator[Connection]:
    """A connection to a database without tables."""
    with connect() as connection:
        assert connection.info.dbname in database
        yield connection


@pytest.fixture
def clerk(postgres: PostgresServer, database: str) -> str:
    """How the role that owns nothing reaches the database."""
    return make_conninfo(database, host="127.0.0.1", user="clerk", password=postgres.clerk_password)


@pytest.fixture
def upgraded(empty: Connection) -> Connection:
    schema.upgrade(empty)
    return empty


@pytest.fixture
def old(empty: Connection) -> Connection:
    """The group's tables as they were, with rows and a view."""
    empty.execute(OLD_TABLES)
    return empty


def clip(ordinal: int, member: str, text: str | None = "good morning", **fields: object) -> ClipRecord:
    return ClipRecord(ordinal, member, ClipState.STORED, text=text, **fields)  # type: ignore[arg-type]


def clips(count: int) -> list[ClipRecord]:
    return [clip(ordinal, f"clips/{ordinal:05}.mp3") for ordinal in range(count)]


def value(connection: Connection, query: str, *parameters: object) -> object:
    row = connection.execute(query, parameters).fetchone()
    assert row is not None
    return row[0] if len(row) == 1 else row


def filenames(connection: Connection) -> dict[tuple[str, str], str]:
    rows = connection.execute("select slot, member, filename from audio_files where slot is not null")
    return {(slot, member): filename for slot, member, filename in rows}


# Connecting


@pytest.mark.usefixtures("database")
def test_the_server_sees_which_archive_is_being_worked_on() -> None:
    with connect(application_name=f"audioctl/{DAY}/{SLOT}") as connection:
        assert value(connection, "show application_name") == "audioctl/2025-01-25/12_30"


def test_without_db_creds_libpq_decides(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DB_CREDS", raising=False)
    for key, part in psycopg.conninfo.conninfo_to_dict(postgres.conninfo).items():
        monkeypatch.setenv({"dbname": "PGDATABASE"}.get(key, f"PG{key.upper()}"), str(part))
    with connect() as connection:
        assert value(connection, "select current_database()") == "postgres"


def test_a_service_names_the_connection(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DB_CREDS", raising=False)
    (tmp_path / "services").write_text("[speech]\n" + postgres.conninfo.replace(" ", "\n") + "\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    with connect(service="speech") as connection:
        assert value(connection, "select current_database()") == "postgres"
    with pytest.raises(RecordRefusedError, match="does not name this service"):
        connect(service="speach")


@pytest.mark.parametrize(
    ("changes", "error", "sentence"),
    [
        ({"host": "127.0.0.1", "port": "1"}, RecordError, "does not answer"),
        ({"host": "/nowhere"}, RecordError, "does not answer"),
        ({"host": "no-such-host.invalid"}, RecordError, "host is not known"),
        ({"dbname": "nothing"}, RecordRefusedError, "no such database"),
        ({"user": "nobody_here"}, RecordRefusedError, "refuses these credentials"),
        ({"host": "127.0.0.1", "user": "clerk", "password": "tr0ub4dor"}, RecordRefusedError, "refuses these"),
        ({"host": "127.0.0.1", "user": "clerk"}, RecordRefusedError, "refuses these credentials"),
    ],
)
def test_each_way_of_failing_to_connect_has_its_own_sentence(
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, str],
    error: type[RecordError],
    sentence: str,
) -> None:
    monkeypatch.setenv("DB_CREDS", make_conninfo(database, **changes))
    with pytest.raises(error, match=sentence) as raised:
        connect()
    assert type(raised.value) is error
    assert raised.value.message.endswith(".")
    assert "\n" not in raised.value.message
    assert raised.value.hint
    assert_nowhere("tr0ub4dor", raised.value)


@pytest.mark.parametrize(
    "credentials",
    [
        "host=localhost user=clerk password=tr0ub4dor &3",
        "host=localhost pasword=tr0ub4dor",
        "postgresql://clerk:pre@tr0ub4dor@localhost/db",
        "postgresql://clerk:1/tr0ub4dor@localhost/db",
        "postgresql://clerk:%tr0ub4dor@localhost/db",
        "tr0ub4dor",
    ],
)
def test_a_malformed_db_creds_is_refused_without_being_quoted(
    credentials: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_CREDS", credentials)
    with pytest.raises(ConfigurationError, match="DB_CREDS is not a connection string") as raised:
        connect()
    assert_nowhere("tr0ub4dor", raised.value)


def assert_nowhere(secret: str, error: AudioctlError) -> None:
    """Neither in the error nor in anything it was raised from."""
    link: BaseException | None = error
    while link is not None:
        assert secret not in str(link)
        assert secret not in repr(link)
        link = link.__cause__ or link.__context__
    assert secret not in str(error.hint)


def test_the_password_of_db_creds_is_no_argument_of_any_process(postgres: PostgresServer) -> None:
    program = (
        "from audioctl.database.connection import connect\n"
        "with connect(application_name='audioctl/2025-01-25/12_30') as connection:\n"
        "    print(connection.info.user, flush=True); input()\n"
    )
    credentials = f"postgresql://clerk:{postgres.clerk_password}@127.0.0.1:{postgres.port}/postgres"
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "DB_CREDS": credentials},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "clerk\n"
        command_lines = [read_if_there(path) for path in Path("/proc").glob("[0-9]*/cmdline")]
        process.communicate("\n")
    assert process.returncode == 0
    assert any(b"clerk" in line for line in command_lines), "the server's own process title was not looked at"
    assert not any(postgres.clerk_password.encode() in line for line in command_lines)


def read_if_there(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


# The schema


def test_an_empty_database_gets_the_three_tables(empty: Connection) -> None:
    assert schema.pending(empty) == [migration.name for migration in schema.MIGRATIONS]
    assert schema.upgrade(empty) == [migration.name for migration in schema.MIGRATIONS]
    assert schema.check(empty) == []
    assert schema.pending(empty) == []


def test_a_second_upgrade_applies_nothing(upgraded: Connection) -> None:
    assert schema.upgrade(upgraded) == []


def test_old_tables_keep_rows_columns_queries_and_views(old: Connection) -> None:
    old_rows = "select filename, file_path, month, date, year, location, classification_probability from audio_files"
    before = old.execute(old_rows).fetchall()

    schema.upgrade(old)

    assert schema.check(old) == []
    assert old.execute(old_rows).fetchall() == before
    assert old.execute(OLD_QUERY).fetchall() == [("old.mp3", "Bern", "words of old.mp3", 3)]
    queue = "select status from processing_queue where year = 2024 and month = 12 and date = 31"
    assert value(old, queue) == "completed"
    assert old.execute("select * from spoken order by filename").fetchall() == [
        ("a.mp3", "Bern", "words of a.mp3"),
        ("old.mp3", "Bern", "words of old.mp3"),
    ]


def test_what_the_old_pipeline_writes_is_still_taken(old: Connection) -> None:
    schema.upgrade(old)
    for name in ("b.mp3", "c.mp3"):
        file_id = value(
            old, "insert into audio_files (filename, month, date, year) values (%s, 1, 25, 2025) returning id", name
        )
        old.execute("insert into transcripts (audio_file_id, transcript_text) values (%s, 'new')", [file_id])
    assert value(old, "select count(*) from spoken") == 4


def test_new_rows_stand_beside_old_ones(old: Connection) -> None:
    schema.upgrade(old)
    store_batch(old, DAY, SLOT, [clip(0, "new.mp3")])
    assert value(old, "select count(*) from spoken") == 3


def test_columns_that_somebody_already_added_are_kept(old: Connection) -> None:
    old.execute("alter table audio_files add slot text, add member text; update audio_files set slot = '00_00'")
    schema.upgrade(old)
    assert value(old, "select count(*) from audio_files where slot = '00_00'") == 2
    assert schema.check(old) == []


def test_two_upgrades_at_once_apply_each_migration_once(empty: Connection) -> None:
    def upgrade(_: int) -> list[str]:
        with connect() as connection:
            return schema.upgrade(connection)

    with ThreadPoolExecutor(4) as pool:
        applied = [name for names in pool.map(upgrade, range(4)) for name in names]
    assert sorted(applied) == [migration.name for migration in schema.MIGRATIONS]
    assert schema.check(empty) == []


def test_without_the_uuid_extension_ids_are_made_all_the_same(
    empty: Connection, clerk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A role that may make tables but, without CREATE on the database, no extension.
    empty.execute("grant create on schema public to clerk")
    monkeypatch.setenv("DB_CREDS", clerk)
    with connect() as connection:
        schema.upgrade(connection)
        assert value(connection, "select count(*) from pg_extension where extname = 'uuid-ossp'") == 0
        store_batch(connection, DAY, SLOT, clips(2))
        assert schema.check(connection) == []
        assert len(set(connection.execute("select id from audio_files"))) == 2


@pytest.mark.parametrize(
    ("damage", "difference"),
    [
        ("drop table processing_queue", "The table processing_queue is missing."),
        ("alter table transcripts drop segments", "The column transcripts.segments is missing."),
        ("alter table audio_files drop location", "The column audio_files.location is missing."),
        (
            "alter table audio_files alter ordinal type text",
            "The column audio_files.ordinal is text, not integer.",
        ),
        (
            "alter table audio_files alter filename type varchar(100)",
            "The column audio_files.filename is character varying(100), not character varying(255).",
        ),
        (
            "drop index audio_files_clip_key; create index on audio_files (year, month, date, slot, member)",
            "The table audio_files has no unique index on (date, member, month, slot, year).",
        ),
        (
            "alter table audio_files drop constraint audio_files_filename_key",
            "The table audio_files has no unique index on (filename).",
        ),
        (
            "alter table transcripts drop constraint transcripts_audio_file_id_key",
            "The table transcripts has no unique index on (audio_file_id).",
        ),
        (
            "alter table processing_queue drop constraint processing_queue_year_month_date_key",
            "The table processing_queue has no unique index on (date, month, year).",
        ),
        ("drop index transcripts_full_text", "The table transcripts has no full-text index."),
    ],
)
def test_check_names_each_difference(upgraded: Connection, damage: str, difference: str) -> None:
    upgraded.execute(damage)
    assert schema.check(upgraded) == [difference]


def test_check_names_missing_privileges(upgraded: Connection, clerk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    upgraded.execute("grant select, insert, update on audio_files, processing_queue to clerk")
    upgraded.execute("grant select on transcripts to clerk")
    monkeypatch.setenv("DB_CREDS", clerk)
    with connect() as connection:
        assert schema.check(connection) == [
            "This database user may not insert on transcripts.",
            "This database user may not update on transcripts.",
        ]
        with pytest.raises(RecordRefusedError, match="does not permit"):
            store_batch(connection, DAY, SLOT, clips(1))


def test_rows_without_a_schema_say_what_to_type(empty: Connection) -> None:
    with pytest.raises(SchemaError, match="audio_files") as raised:
        store_batch(empty, DAY, SLOT, clips(1))
    assert "audioctl db upgrade" in str(raised.value.hint)


# Rows


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
    assert list(read_day(upgraded, DAY)) == [(SLOT, "a.mp3", "store:/a.opus", 5, "second")]
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


# Confirming, the queue, reading


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
    assert list(read_day(old, DAY)) == [
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


def test_search_uses_the_full_text_index(upgraded: Connection) -> None:
    store_batch(upgraded, DAY, SLOT, [*clips(2000), clip(9999, "rare.mp3", "zebra")])
    upgraded.execute("analyze")
    plan = upgraded.execute(
        "explain select from transcripts, websearch_to_tsquery('simple', 'zebra') query"
        " where to_tsvector('simple', transcript_text) @@ query"
    ).fetchall()
    assert "transcripts_full_text" in str(plan)
