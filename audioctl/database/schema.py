"""The tables: an append-only list of named migrations, and what applies them.

The three tables are older than this program and have other readers. So nothing is ever dropped, renamed or retyped,
every statement can meet a database where it was already done, and new columns may be null in old rows.
"""

from typing import NamedTuple

from psycopg import Connection

from audioctl.database.comparison import compare
from audioctl.database.connection import record_errors
from audioctl.errors import SchemaError

OLDEST_SERVER = 130_000
"""PostgreSQL 13: the first with gen_random_uuid() built in and with extensions that need no superuser."""

# Any constant will do, so long as no other program takes the same: "audioctl" in ASCII, shortened to a bigint.
_ADVISORY_LOCK = int.from_bytes(b"audioctl") >> 1


class Migration(NamedTuple):
    name: str
    statements: str


MIGRATIONS = (
    Migration(
        "0001_uuid_generate_v4",
        """
        do $$ begin
          if to_regprocedure('uuid_generate_v4()') is null then
            begin
              create extension "uuid-ossp";
            exception
              -- Not installed on the server, not ours to create, or created where we do not look.
              when insufficient_privilege or feature_not_supported or undefined_file or duplicate_object then null;
            end;
          end if;
          if to_regprocedure('uuid_generate_v4()') is null then
            create function uuid_generate_v4() returns uuid language sql volatile as 'select gen_random_uuid()';
          end if;
        end $$;
        """,
    ),
    Migration(
        "0002_three_tables",
        """
        create table if not exists audio_files (
          id uuid primary key default uuid_generate_v4(),
          filename varchar(255) not null unique,
          file_path varchar(500),
          file_size_bytes bigint,
          month integer not null,
          date integer not null,
          year integer not null,
          location varchar(100),
          classification varchar(100),
          classification_probability decimal(3,2),
          created_at timestamp default current_timestamp,
          updated_at timestamp default current_timestamp
        );
        create table if not exists transcripts (
          id uuid primary key default uuid_generate_v4(),
          audio_file_id uuid not null unique references audio_files(id) on delete cascade,
          transcript_text text not null,
          word_count integer,
          duration_seconds decimal(10,2),
          created_at timestamp default current_timestamp
        );
        create table if not exists processing_queue (
          id uuid primary key default uuid_generate_v4(),
          year integer not null,
          month integer not null,
          date integer not null,
          location varchar(100),
          status varchar(50) default 'pending',
          transfer_start timestamp,
          transfer_end timestamp,
          transfer_task_id varchar(255),
          processing_start timestamp,
          processing_end timestamp,
          slurm_job_id integer,
          error_message text,
          created_at timestamp default current_timestamp,
          updated_at timestamp default current_timestamp,
          unique (year, month, date)
        );
        """,
    ),
    Migration(
        "0003_clip_columns",
        """
        alter table audio_files
          add column if not exists slot text,
          add column if not exists member text,
          add column if not exists ordinal integer,
          add column if not exists sha256 text;
        alter table transcripts
          add column if not exists language text,
          add column if not exists language_probability double precision,
          add column if not exists segments jsonb,
          add column if not exists flags text[],
          add column if not exists model text;
        comment on column audio_files.date is 'day of the month';
        comment on column audio_files.member is 'path in the archive; with year, month, date and slot, the key';
        comment on column audio_files.sha256 is 'of the recording as it stood in the archive';
        """,
    ),
    Migration(
        "0004_clip_key",
        # Old rows have no slot and no member, and nulls never conflict. Its leading columns also serve every
        # question about a day or a slot.
        """
        create unique index if not exists audio_files_clip_key on audio_files (year, month, date, slot, member);
        """,
    ),
    Migration(
        "0005_full_text",
        # An index on an expression, not a generated column: that would rewrite a table that others are reading.
        # 'simple' because clips are in many languages.
        """
        create index if not exists transcripts_full_text
          on transcripts using gin (to_tsvector('simple', transcript_text));
        """,
    ),
)


@record_errors()
def upgrade(connection: Connection) -> list[str]:
    """Applies what is pending and returns its names, in order.

    Each migration is a transaction of its own; two upgrades at once wait for each other. Raises SchemaError for a
    server that is too old or tables that are too new, RecordRefusedError without the permission, RecordError when a
    table stays in use.
    """
    if connection.info.server_version < OLDEST_SERVER:
        raise SchemaError(
            f"This is PostgreSQL {connection.info.server_version // 10_000}.",
            hint=f"audioctl needs PostgreSQL {OLDEST_SERVER // 10_000} or newer.",
        )
    if pending(connection):
        return [migration.name for migration in MIGRATIONS if _apply(connection, migration)]
    return []


@record_errors()
def pending(connection: Connection) -> list[str]:
    """The names that ``upgrade`` would apply. Raises SchemaError for tables that a newer version has upgraded.

    Only an upgrade refuses those. Jobs of this version go on with them: a migration only ever adds.
    """
    applied = _applied(connection)
    if newer := applied - {migration.name for migration in MIGRATIONS}:
        raise SchemaError(
            f"The tables were upgraded by a newer audioctl (they have {max(newer)}).",
            hint="Upgrade audioctl on this machine; the tables are left as they are.",
        )
    return [migration.name for migration in MIGRATIONS if migration.name not in applied]


@record_errors()
def mend(connection: Connection) -> list[str]:
    """Makes again what upgraded tables have lost since; the differences that are gone by that, one sentence each.

    Raises RecordRefusedError for a key that rows hold twice, or without the permission.
    """
    before = compare(connection)
    if not before:
        return []
    with connection.transaction():
        _take_turn(connection)
        for migration in MIGRATIONS:
            connection.execute(migration.statements)
    left = compare(connection)
    return [difference for difference in before if difference not in left]


def _applied(connection: Connection) -> set[str]:
    if not connection.execute("select where to_regclass('audioctl_migrations') is not null").fetchall():
        return set()
    return {name for (name,) in connection.execute("select name from audioctl_migrations")}


def _apply(connection: Connection, migration: Migration) -> bool:
    with connection.transaction():
        _take_turn(connection)
        connection.execute(
            "create table if not exists audioctl_migrations"
            " (name text primary key, applied_at timestamptz not null default current_timestamp)"
        )
        if connection.execute("select from audioctl_migrations where name = %s", [migration.name]).fetchall():
            return False
        connection.execute(migration.statements)
        connection.execute("insert into audioctl_migrations (name) values (%s)", [migration.name])
        return True


def _take_turn(connection: Connection) -> None:
    """One upgrade at a time, until the end of this transaction."""
    connection.execute("select pg_advisory_xact_lock(%s)", [_ADVISORY_LOCK])
    # A statement that waits for a table holds up everyone who comes after it, so it must not wait for long.
    connection.execute("set local lock_timeout = '30s'")
