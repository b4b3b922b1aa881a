"""PostgreSQL as earlier versions, and the group before them, left it: upgraded whole, or not at all."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from databases import DAY, OLD_QUERY, SLOT, clip, value
from psycopg import Connection
from versions import bring_back_database, databases

from audioctl.database import schema
from audioctl.database.comparison import compare
from audioctl.database.connection import connect
from audioctl.database.rows import read_day, store_batch
from audioctl.database.search import search
from audioctl.errors import SchemaError

if TYPE_CHECKING:
    from postgres import PostgresServer

NAMES = [migration.name for migration in schema.MIGRATIONS]
STEPS = [*(f"empty_{name}" for name in NAMES), "group_0000", *(f"group_{name}" for name in NAMES)]

A, B = "radio/a.mp3", "radio/b.mp3"


def test_there_is_a_fixture_of_every_step_of_the_schema() -> None:
    """Where this fails, CONTRIBUTING.md says how to make the one that is missing."""
    assert databases() == STEPS


@pytest.fixture(params=databases())
def step(request: pytest.FixtureRequest, database: str) -> str:
    name: str = request.param
    bring_back_database(name, database)
    return name


def structure(connection: Connection) -> dict[str, set[tuple[Any, ...]]]:
    """Columns, indexes and constraints, wherever they came from."""
    columns = (
        "select table_name, column_name, data_type, character_maximum_length, numeric_precision, is_nullable"
        " from information_schema.columns where table_schema = 'public'"
    )
    indexes = "select tablename, indexname, indexdef from pg_indexes where schemaname = 'public'"
    constraints = (
        "select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint"
        " where connamespace = 'public'::regnamespace"
    )
    statements = {"columns": columns, "indexes": indexes, "constraints": constraints}
    return {name: set(connection.execute(statement).fetchall()) for name, statement in statements.items()}


@pytest.fixture
def new(postgres: PostgresServer) -> dict[str, set[tuple[Any, ...]]]:
    """The structure of a database that this version made."""
    with psycopg.connect(postgres.new_database(), autocommit=True) as connection:
        schema.upgrade(connection)
        return structure(connection)


def test_a_database_of_any_step_is_upgraded_to_what_is_made_anew(
    step: str, new: dict[str, set[tuple[Any, ...]]]
) -> None:
    origin, _, name = step.partition("_")
    pending = NAMES[NAMES.index(name) + 1 :] if name in NAMES else NAMES
    with connect() as connection:
        assert schema.pending(connection) == pending
        assert schema.upgrade(connection) == pending
        assert (schema.pending(connection), compare(connection)) == ([], [])
        assert structure(connection) == new
        assert value(connection, "select count(*) from audio_files where member is null") == 2 * (origin == "group")


def test_the_rows_of_any_step_say_what_they_said(step: str) -> None:
    origin, _, name = step.partition("_")
    with connect() as connection:
        schema.upgrade(connection)
        if origin == "group":
            assert connection.execute(OLD_QUERY).fetchall() == [("old.mp3", "Bern", "words of old.mp3", 3)]
            assert value(connection, "select status from processing_queue where year = 2024") == "completed"
        if name >= "0003":
            assert [row[:5] for row in read_day(connection, DAY)] == [
                (SLOT, A, "storage:/radio/a.opus", 9, "good morning"),
                (SLOT, B, None, None, ""),
            ]
            assert [hit.member for hit in search(connection, "morning")] == [A]
            # The same clips again find their rows; another finds none.
            store_batch(connection, DAY, SLOT, [clip(0, A, "good evening"), clip(1, B, ""), clip(2, "radio/c.mp3")])
            assert [row.transcript_text for row in read_day(connection, DAY)] == ["good evening", "", "good morning"]


_UPGRADE = """
import os, sys
from psycopg import Connection
from audioctl.database import schema
from audioctl.database.connection import connect

last, steps, execute = int(sys.argv[1]), 0, Connection.execute

def until_the_last(connection, *arguments, **keywords):
    global steps
    cursor = execute(connection, *arguments, **keywords)
    steps += 1
    if steps == last:
        os.kill(os.getpid(), 9)
    return cursor

with connect() as connection:
    Connection.execute = until_the_last
    schema.upgrade(connection)
    print(steps)
"""
"""Upgrades, and is killed behind this statement; 0 for none."""


def upgrading(last: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", _UPGRADE, str(last)], stdout=subprocess.PIPE, text=True)


def test_an_upgrade_that_is_killed_leaves_whole_steps_and_goes_on(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [structure_of(postgres, name) for name in STEPS if name.startswith("group")]
    monkeypatch.setenv("DB_CREDS", restored(postgres, "group_0000"))
    steps = int(upgrading(0).communicate()[0])
    assert steps > 4 * len(NAMES)
    found = []
    for last in range(1, steps + 1):
        database = restored(postgres, "group_0000")
        monkeypatch.setenv("DB_CREDS", database)
        with upgrading(last) as killed:
            assert killed.wait() == -9
        with connect() as connection:
            wait_until_alone(connection)
            applied = len(NAMES) - len(schema.pending(connection))
            assert structure(connection) == whole[applied], f"killed behind statement {last}"
            found.append(applied)
            assert schema.upgrade(connection) == NAMES[applied:]
            assert structure(connection) == whole[-1]
            assert connection.execute(OLD_QUERY).fetchall() == [("old.mp3", "Bern", "words of old.mp3", 3)]
    assert sorted(set(found)) == list(range(len(NAMES)))
    assert found == sorted(found)


def restored(postgres: PostgresServer, name: str) -> str:
    database = postgres.new_database()
    bring_back_database(name, database)
    return database


def structure_of(postgres: PostgresServer, name: str) -> dict[str, set[tuple[Any, ...]]]:
    with psycopg.connect(restored(postgres, name)) as connection:
        return structure(connection)


def wait_until_alone(connection: Connection) -> None:
    """The server notices a client that was killed a moment later, and takes back what that had begun."""
    others = (
        "select count(*) from pg_stat_activity where datname = current_database() and backend_type = 'client backend'"
    )
    deadline = time.monotonic() + 60
    while value(connection, others) != 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_upgrades_at_once_make_each_step_once(database: str, new: dict[str, set[tuple[Any, ...]]]) -> None:
    bring_back_database("group_0000", database)
    commands = [upgrading(0) for _ in range(3)]
    for command in commands:
        command.communicate(timeout=60)
    assert [command.returncode for command in commands] == [0, 0, 0]
    with connect() as connection:
        assert structure(connection) == new
        assert value(connection, "select count(*) from audioctl_migrations") == len(NAMES)


def test_tables_of_a_newer_version_are_refused_and_left_as_they_are(upgraded: Connection) -> None:
    upgraded.execute("insert into audioctl_migrations (name) values ('9999_translations')")
    before = structure(upgraded)
    for look in (schema.upgrade, schema.pending):
        with pytest.raises(
            SchemaError, match=r"upgraded by a newer audioctl \(they have 9999_translations\)\."
        ) as raised:
            look(upgraded)
        assert "Upgrade audioctl" in str(raised.value.hint)
    assert structure(upgraded) == before
    # What this version needs is there: a job that was submitted before the upgrade goes on.
    store_batch(upgraded, DAY, SLOT, [clip(0, A)])
    assert compare(upgraded) == []
