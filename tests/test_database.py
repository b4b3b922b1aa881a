"""The database: connecting, and the schema on new and on old tables, against a real PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from databases import DAY, OLD_QUERY, SLOT, clip, clips, value
from psycopg import Connection
from psycopg.conninfo import make_conninfo

from audioctl.database import schema
from audioctl.database.comparison import compare
from audioctl.database.connection import RecordRefusedError, connect
from audioctl.database.rows import store_batch
from audioctl.errors import AudioctlError, ConfigurationError, RecordError, SchemaError

if TYPE_CHECKING:
    from postgres import PostgresServer


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
    assert compare(empty) == []
    assert schema.pending(empty) == []


def test_a_second_upgrade_applies_nothing(upgraded: Connection) -> None:
    assert schema.upgrade(upgraded) == []


def test_old_tables_keep_rows_columns_queries_and_views(old: Connection) -> None:
    old_rows = "select filename, file_path, month, date, year, location, classification_probability from audio_files"
    before = old.execute(old_rows).fetchall()

    schema.upgrade(old)

    assert compare(old) == []
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
    assert compare(old) == []


def test_two_upgrades_at_once_apply_each_migration_once(empty: Connection) -> None:
    def upgrade(_: int) -> list[str]:
        with connect() as connection:
            return schema.upgrade(connection)

    with ThreadPoolExecutor(4) as pool:
        applied = [name for names in pool.map(upgrade, range(4)) for name in names]
    assert sorted(applied) == [migration.name for migration in schema.MIGRATIONS]
    assert compare(empty) == []


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
        assert compare(connection) == []
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
    assert compare(upgraded) == [difference]


@pytest.mark.parametrize(
    "loss",
    [
        "drop table processing_queue",
        "alter table transcripts drop segments",
        "drop index audio_files_clip_key",
        "drop index transcripts_full_text",
        "drop table transcripts; alter table audio_files drop member, drop sha256",
    ],
)
def test_what_upgraded_tables_have_lost_is_made_again(upgraded: Connection, loss: str) -> None:
    store_batch(upgraded, DAY, SLOT, clips(2))
    upgraded.execute(loss)
    lost = compare(upgraded)
    assert lost
    assert schema.mend(upgraded) == lost
    assert compare(upgraded) == []
    assert value(upgraded, "select count(*) from audio_files") == 2


def test_what_cannot_be_made_again_is_left_as_it_is(upgraded: Connection) -> None:
    upgraded.execute("alter table audio_files alter filename type varchar(100); drop index transcripts_full_text")
    type_differs, index_is_missing = compare(upgraded)
    assert schema.mend(upgraded) == [index_is_missing]
    assert compare(upgraded) == [type_differs]


def test_a_key_that_rows_hold_twice_is_refused_in_words(upgraded: Connection) -> None:
    store_batch(upgraded, DAY, SLOT, clips(2))
    upgraded.execute("drop index audio_files_clip_key; drop table processing_queue")
    upgraded.execute("update audio_files set member = 'the same'")
    with pytest.raises(RecordRefusedError, match="audio_files_clip_key"):
        schema.mend(upgraded)
    assert "The table processing_queue is missing." in compare(upgraded)  # all or nothing


def test_check_names_missing_privileges(upgraded: Connection, clerk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    upgraded.execute("grant select, insert, update on audio_files, processing_queue to clerk")
    upgraded.execute("grant select on transcripts to clerk")
    monkeypatch.setenv("DB_CREDS", clerk)
    with connect() as connection:
        assert compare(connection) == [
            "This database user may not insert on transcripts.",
            "This database user may not update on transcripts.",
        ]
        with pytest.raises(RecordRefusedError, match="does not permit"):
            store_batch(connection, DAY, SLOT, clips(1))


def test_rows_without_a_schema_say_what_to_type(empty: Connection) -> None:
    with pytest.raises(SchemaError, match="audio_files") as raised:
        store_batch(empty, DAY, SLOT, clips(1))
    assert "audioctl db upgrade" in str(raised.value.hint)
