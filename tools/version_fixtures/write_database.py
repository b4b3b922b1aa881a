"""Run with the code of the version that is to write: a database after some of its migrations, with rows."""

from __future__ import annotations

import sys

import psycopg

from audioctl.clips import ClipRecord, Segment
from audioctl.database import schema
from audioctl.database.connection import connect
from audioctl.database.queue import QueueStatus, update_queue
from audioctl.database.rows import Confirmation, confirm_batch, store_batch
from audioctl.states import ClipState, Flag

DAY, SLOT = "2025-01-25", "12_30"

GROUP_TABLES = """
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
"""

CLIPS = [
    ClipRecord(
        0, "radio/a.mp3", ClipState.STORED, sha256="0" * 64, duration_seconds=2.5, language="en",
        language_probability=0.9, text="good morning", segments=[Segment(0.0, 2.5, "good morning", -0.1, 0.0, 1.0)],
        model="bundled",
    ),
    ClipRecord(1, "radio/b.mp3", ClipState.STORED, text="", flags=[Flag.NO_SPEECH], model="bundled"),
]  # fmt: skip


def write(origin: str, steps: int) -> None:
    with connect() as connection:
        if origin == "group":
            connection.execute(GROUP_TABLES)
        schema.MIGRATIONS = schema.MIGRATIONS[:steps]  # type: ignore[assignment]
        schema.upgrade(connection)
        columns = "select count(*) from pg_attribute where attrelid = to_regclass('audio_files') and attname = 'member'"
        if connection.execute(columns).fetchone() == (1,):
            store_batch(connection, DAY, SLOT, CLIPS)
            confirm_batch(connection, DAY, SLOT, [Confirmation("radio/a.mp3", "storage:/radio/a.opus", 9)])
            update_queue(connection, DAY, QueueStatus.COMPLETED)


if __name__ == "__main__":
    import os

    os.environ["DB_CREDS"] = psycopg.conninfo.make_conninfo(sys.argv[1])
    if sys.argv[2] == "names":
        print(*(migration.name for migration in schema.MIGRATIONS))
    else:
        write(sys.argv[2], int(sys.argv[3]))
