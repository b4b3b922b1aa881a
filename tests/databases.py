"""The databases that tests begin with: empty, with our schema, with the tables that an old pipeline left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from psycopg import Connection
from psycopg.conninfo import make_conninfo

from audioctl.clips import ClipRecord
from audioctl.database import schema
from audioctl.database.connection import connect
from audioctl.states import ClipState

if TYPE_CHECKING:
    from postgres import PostgresServer

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
