"""ledger.db: one row an archive, one row a batch, one row a rejected clip. See ``audioctl.ledger.migrations``."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from peewee import (
    CompositeKey,
    DatabaseError,
    FloatField,
    IntegerField,
    Model,
    OperationalError,
    SqliteDatabase,
    TextField,
)

from audioctl.errors import LedgerError
from audioctl.ledger.migrations import migrate
from audioctl.permissions import check_readable, open_private
from audioctl.states import ArchiveState

BUSY_TIMEOUT_SECONDS = 30.0
"""A day's journals are absorbed in one transaction, which may take another command some seconds."""


class ArchiveRow(Model):
    day = TextField()
    slot = TextField()
    path = TextField(default="")
    state = TextField(default=ArchiveState.PENDING)
    reason = TextField(null=True)
    error = TextField(null=True)
    attempt = IntegerField(default=0)
    run_id = TextField(null=True)
    job_id = TextField(null=True)
    node = TextField(null=True)
    batches_seen = IntegerField(default=0)
    batches_done = IntegerField(default=0)
    batches_failed = IntegerField(default=0)
    clips = IntegerField(default=0)
    stored = IntegerField(default=0)
    rejected = IntegerField(default=0)
    skipped = IntegerField(default=0)
    audio_seconds = FloatField(default=0.0)
    owed_record = IntegerField(default=0)
    owed_upload = IntegerField(default=0)
    started_at = TextField(null=True)
    finished_at = TextField(null=True)
    journal_offset = IntegerField(default=0)
    batch_error = TextField(null=True)
    attempt_started = TextField(null=True)
    attempt_ended = TextField(null=True)
    archive_read = TextField(null=True)
    # What the state depends on besides the journal: see audioctl.ledger.verdict.
    question = TextField(null=True)
    is_answered = IntegerField(default=0)
    is_restless = IntegerField(default=0)

    class Meta:
        table_name = "archives"
        primary_key = CompositeKey("day", "slot")


class BatchRow(Model):
    day = TextField()
    slot = TextField()
    batch = IntegerField()
    first_ordinal = IntegerField()
    members = IntegerField()
    digest = TextField()
    stored = IntegerField()
    rejected = IntegerField()
    skipped = IntegerField()
    audio_seconds = FloatField()
    extract = TextField()
    transcribe = TextField()
    record = TextField()
    upload = TextField()
    confirm = TextField()
    updated_at = TextField(null=True)
    error = TextField(null=True)

    class Meta:
        table_name = "batches"
        primary_key = CompositeKey("day", "slot", "batch")


class RejectionRow(Model):
    day = TextField()
    slot = TextField()
    ordinal = IntegerField()
    batch = IntegerField()
    member = TextField()
    stage = TextField()
    reason = TextField()
    detail = TextField(null=True)

    class Meta:
        table_name = "rejections"
        primary_key = CompositeKey("day", "slot", "ordinal")


class DayRow(Model):
    """When the folders of a day were last looked at: their modification times then."""

    day = TextField(primary_key=True)
    journals_mtime_ns = IntegerField()
    runs_mtime_ns = IntegerField()

    class Meta:
        table_name = "days"


MODELS = [ArchiveRow, BatchRow, RejectionRow, DayRow]


def ledger_path(state_dir: Path) -> Path:
    return state_dir / "ledger.db"


class DamagedLedgerError(LedgerError):
    """The file is no ledger, or not any more."""


@contextmanager
def open_ledger(state_dir: Path, *, busy_timeout_seconds: float = BUSY_TIMEOUT_SECONDS) -> Iterator[SqliteDatabase]:
    """The ledger below ``state_dir``, made or migrated as needed, its models bound to it.

    Where the folder may not be written (somebody else's runs), the ledger is copied to memory, so that it can still
    be brought up to date for this one look. Only commands open it, jobs never do. Raises LedgerError when it cannot
    be used: after ``busy_timeout_seconds`` when another command keeps it locked.
    """
    check_readable(state_dir)
    path = ledger_path(state_dir)
    try:
        database = _database(path, busy_timeout_seconds)
        with database.connection_context(), database.bind_ctx(MODELS, bind_refs=False, bind_backrefs=False):
            migrate(database)
            yield database
    except (OperationalError, sqlite3.OperationalError) as error:
        raise LedgerError(
            f"The ledger {path} cannot be used now: {error}.",
            hint="If another command is at work on it, try again; if the disk is full, make room.",
        ) from error
    except (DatabaseError, sqlite3.DatabaseError) as error:
        raise DamagedLedgerError(
            f"The ledger {path} is damaged: {error}.",
            hint="It is only a view: `audioctl ledger rebuild` makes it anew.",
        ) from error


@contextmanager
def open_private_ledger() -> Iterator[SqliteDatabase]:
    """An empty ledger in memory, for a look from a node that must not write to the one on disk."""
    database = SqliteDatabase(":memory:")
    with database.connection_context(), database.bind_ctx(MODELS, bind_refs=False, bind_backrefs=False):
        migrate(database)
        yield database


def empty_ledger(state_dir: Path) -> None:
    """Forget everything, so that the next refresh reads all runs and journals anew.

    The rows are deleted rather than the file, which another command may have open; only a damaged file goes as a whole.
    """
    path = ledger_path(state_dir)
    if not _is_writable(path):
        raise LedgerError(
            f"You may not write to the ledger {path}.", hint="Ask its owner to run `audioctl ledger rebuild`."
        )
    try:
        with open_ledger(state_dir) as database, database.atomic("IMMEDIATE"):
            for model in MODELS:
                model.delete().execute()
    except DamagedLedgerError:
        for file in (path, path.with_name(f"{path.name}-journal")):
            file.unlink(missing_ok=True)


def _database(path: Path, busy_timeout_seconds: float) -> SqliteDatabase:
    if _is_writable(path):
        with suppress(OSError):  # SQLite says better what is wrong, and gives its journal the mode of this file
            os.close(open_private(str(path), os.O_WRONLY | os.O_CREAT))
        # A rollback journal and full sync: write-ahead logs need shared memory, which network file systems lack.
        pragmas = {"journal_mode": "delete", "synchronous": "full"}
        return SqliteDatabase(str(path), pragmas=pragmas, timeout=busy_timeout_seconds)
    memory = SqliteDatabase(":memory:")
    if path.exists():
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=busy_timeout_seconds)
        ) as source:
            source.backup(memory.connection())
    return memory


def _is_writable(path: Path) -> bool:
    folder = path.parent
    return os.access(folder, os.W_OK) and (not path.exists() or os.access(path, os.W_OK))
