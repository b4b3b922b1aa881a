"""The schema of ledger.db as a list of named steps, each applied once. Add at the end; never edit a step."""

from __future__ import annotations

from collections.abc import Callable

from peewee import SqliteDatabase

from audioctl.errors import LedgerError


def _m001_initial(database: SqliteDatabase) -> None:
    database.execute_sql("""
        CREATE TABLE archives (
            day TEXT NOT NULL, slot TEXT NOT NULL, path TEXT NOT NULL, state TEXT NOT NULL, reason TEXT, error TEXT,
            attempt INTEGER NOT NULL, run_id TEXT, job_id TEXT, node TEXT,
            batches_seen INTEGER NOT NULL, batches_done INTEGER NOT NULL, batches_failed INTEGER NOT NULL,
            clips INTEGER NOT NULL, stored INTEGER NOT NULL, rejected INTEGER NOT NULL, skipped INTEGER NOT NULL,
            audio_seconds REAL NOT NULL, owed_record INTEGER NOT NULL, owed_upload INTEGER NOT NULL,
            started_at TEXT, finished_at TEXT,
            journal_offset INTEGER NOT NULL, batch_error TEXT,
            attempt_started TEXT, attempt_ended TEXT, archive_read TEXT,
            PRIMARY KEY (day, slot)
        ) WITHOUT ROWID""")
    database.execute_sql("CREATE INDEX archives_by_state ON archives (state, reason, day)")
    # All that a table of all days needs, so that it reads 5 MB of a year instead of 50.
    database.execute_sql("""
        CREATE INDEX archives_summary ON archives (
            day, state, started_at, finished_at,
            clips, stored, rejected, skipped, audio_seconds, owed_record, owed_upload
        )""")
    database.execute_sql("""
        CREATE TABLE batches (
            day TEXT NOT NULL, slot TEXT NOT NULL, batch INTEGER NOT NULL,
            first_ordinal INTEGER NOT NULL, members INTEGER NOT NULL, digest TEXT NOT NULL,
            stored INTEGER NOT NULL, rejected INTEGER NOT NULL, skipped INTEGER NOT NULL, audio_seconds REAL NOT NULL,
            extract TEXT NOT NULL, transcribe TEXT NOT NULL, record TEXT NOT NULL, upload TEXT NOT NULL,
            confirm TEXT NOT NULL, updated_at TEXT, error TEXT,
            PRIMARY KEY (day, slot, batch)
        ) WITHOUT ROWID""")
    database.execute_sql("""
        CREATE TABLE rejections (
            day TEXT NOT NULL, slot TEXT NOT NULL, ordinal INTEGER NOT NULL, batch INTEGER NOT NULL,
            member TEXT NOT NULL, stage TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT,
            PRIMARY KEY (day, slot, ordinal)
        ) WITHOUT ROWID""")
    database.execute_sql("""
        CREATE TABLE days (
            day TEXT NOT NULL PRIMARY KEY, journals_mtime_ns INTEGER NOT NULL, runs_mtime_ns INTEGER NOT NULL
        ) WITHOUT ROWID""")


def _m002_jobs(database: SqliteDatabase) -> None:
    database.execute_sql("ALTER TABLE archives ADD COLUMN question TEXT")
    database.execute_sql("ALTER TABLE archives ADD COLUMN is_answered INTEGER NOT NULL DEFAULT 0")
    # What earlier versions left unfinished is looked at again once.
    database.execute_sql("ALTER TABLE archives ADD COLUMN is_restless INTEGER NOT NULL DEFAULT 0")
    database.execute_sql("UPDATE archives SET is_restless = 1 WHERE state IN ('submitted', 'running', 'failed')")
    # What may still change is looked for at every status, among the tens of thousands of archives of a year.
    database.execute_sql("CREATE INDEX archives_restless ON archives (day) WHERE is_restless = 1")


MIGRATIONS: list[tuple[str, Callable[[SqliteDatabase], None]]] = [
    ("m001_initial", _m001_initial),
    ("m002_jobs", _m002_jobs),
]


def migrate(database: SqliteDatabase) -> None:
    """Bring the schema up to date. Raises LedgerError for a ledger of a newer version."""
    known = [name for name, _ in MIGRATIONS]
    if _applied(database) == known:
        return
    # Looked at again under the write lock: another command may have been quicker.
    with database.atomic("IMMEDIATE"):
        applied = _applied(database)
        if newer := [name for name in applied if name not in known]:
            raise LedgerError(
                f"The ledger was written by a newer audioctl (it has {newer[-1]}).",
                hint="Upgrade audioctl on this machine; the ledger is left as it is.",
            )
        database.execute_sql(
            "CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_at TEXT DEFAULT CURRENT_TIMESTAMP)"
        )
        for name, step in MIGRATIONS:
            if name not in applied:
                step(database)
                database.execute_sql("INSERT INTO migrations (name) VALUES (?)", (name,))


def _applied(database: SqliteDatabase) -> list[str]:
    if "migrations" not in database.get_tables():
        return []
    return [name for (name,) in database.execute_sql("SELECT name FROM migrations ORDER BY rowid")]
