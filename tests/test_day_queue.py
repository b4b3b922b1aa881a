"""``processing_queue``, which a monitoring page reads, follows the journals of the day."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from audioctl.database import schema
from audioctl.database.connection import connect
from audioctl.database.queue import QueueStatus
from audioctl.ledger.events import AttemptEnded, Event, UploadRevoked
from audioctl.ledger.journal import JournalWriter, journal_path, last_event
from audioctl.ledger.lease import Lease, lease_path
from audioctl.pipeline.day_queue import day_status, told_queue
from audioctl.pipeline.job import ArchiveJob
from audioctl.runs import Run, RunArchive, run_folder, write_run
from audioctl.settings import Database, Paths, Settings
from audioctl.states import Damage, Outcome

if TYPE_CHECKING:
    from postgres import PostgresServer

DAY = "2025-01-25"
BEFORE, THEN, LATER = "2025-01-26T08:00:00Z", "2025-01-26T09:00:00Z", "2025-01-26T10:00:00Z"


def ended(outcome: Outcome, *, at: str = THEN, damage: Damage | None = None, error: str | None = None) -> AttemptEnded:
    return AttemptEnded(at=at, attempt=1, outcome=outcome, damage=damage, error=error)


def write_journal(state_dir: Path, slot: str, *events: Event) -> None:
    path = journal_path(state_dir, DAY, slot)
    with Lease.acquire(lease_path(path), run_id=None, job_id=None) as lease, JournalWriter(path, lease) as journal:
        journal.append(*events)


def submit(state_dir: Path, *slots: str, at: str) -> None:
    run = Run(f"run-{at}", DAY, at, "1", "local", 1, [RunArchive(slot, f"/{slot}.tar", "1") for slot in slots])
    write_run(run_folder(state_dir, run), run, {})


@pytest.mark.parametrize(
    ("events", "status", "error"),
    [
        ([ended(Outcome.DONE), ended(Outcome.DONE)], QueueStatus.COMPLETED, None),
        (
            [ended(Outcome.DONE), ended(Outcome.DONE, damage=Damage.CUT_OFF)],
            QueueStatus.COMPLETED_WITH_ERRORS,
            "12_10: damaged (cut_off)",
        ),
        (
            [ended(Outcome.OWED), ended(Outcome.DONE)],
            QueueStatus.COMPLETED_WITH_ERRORS,
            "12_00: something could not be sent yet",
        ),
        (
            [ended(Outcome.FAILED, error="No model."), ended(Outcome.DRAINED)],
            QueueStatus.FAILED,
            "12_00: No model.; and 1 more archives",
        ),
    ],
)
def test_a_day_is_what_its_archives_are(
    events: list[AttemptEnded], status: QueueStatus, error: str | None, tmp_path: Path
) -> None:
    for slot, event in zip(("12_00", "12_10"), events, strict=True):
        write_journal(tmp_path, slot, event)
    assert day_status(tmp_path, DAY) == (status, error)


def test_a_day_of_which_an_upload_was_revoked_owes_something(tmp_path: Path) -> None:
    write_journal(tmp_path, "12_00", ended(Outcome.DONE), UploadRevoked(at=LATER, batch=0, reason="file missing"))
    assert day_status(tmp_path, DAY) == (
        QueueStatus.COMPLETED_WITH_ERRORS,
        "12_00: something could not be sent yet",
    )


def test_a_day_is_being_processed_while_an_archive_of_it_has_not_begun_again(tmp_path: Path) -> None:
    write_journal(tmp_path, "12_00", ended(Outcome.DONE))
    write_journal(tmp_path, "12_10", ended(Outcome.FAILED))
    submit(tmp_path, "12_00", "12_10", at=BEFORE)
    assert day_status(tmp_path, DAY)[0] is QueueStatus.FAILED
    submit(tmp_path, "12_10", at=LATER)
    assert day_status(tmp_path, DAY)[0] is QueueStatus.PROCESSING


def test_a_day_with_an_archive_at_work_is_being_processed(tmp_path: Path) -> None:
    write_journal(tmp_path, "12_00", ended(Outcome.DONE))
    with Lease.acquire(lease_path(journal_path(tmp_path, DAY, "12_10")), run_id=None, job_id=None):
        journal_path(tmp_path, DAY, "12_10").touch()
        assert day_status(tmp_path, DAY)[0] is QueueStatus.PROCESSING


def test_the_last_event_is_found_behind_lines_of_any_length(tmp_path: Path) -> None:
    path = journal_path(tmp_path, DAY, "12_00")
    assert last_event(path) is None
    write_journal(tmp_path, "12_00", ended(Outcome.FAILED, error="x" * 300_000))
    assert last_event(path) == ended(Outcome.FAILED, error="x" * 300_000)
    write_journal(tmp_path, "12_00", ended(Outcome.DONE))
    with path.open("ab") as torn:
        torn.write(b'{"event":"attempt_')
    assert last_event(path) == ended(Outcome.DONE)


def test_the_row_tells_the_beginning_and_the_end(database: str, tmp_path: Path) -> None:
    with connect() as connection:
        schema.upgrade(connection)

    def row() -> tuple[object, ...] | None:
        query = "select status, processing_end is null, slurm_job_id, error_message from processing_queue"
        with psycopg.connect(database) as connection:
            return connection.execute(query).fetchone()

    settings = Settings(paths=Paths(state_dir=str(tmp_path)), database=Database(enabled=True))
    job = ArchiveJob(DAY, "12_00", tmp_path / "a.tar", job_id="123_75")
    with told_queue(job, settings, pytest.fail):
        write_journal(tmp_path, "12_00", ended(Outcome.OWED))
    assert row() == ("completed_with_errors", False, 123, "12_00: something could not be sent yet")


@pytest.mark.usefixtures("database")
def test_a_database_that_is_away_is_told_and_costs_nothing(postgres: PostgresServer, tmp_path: Path) -> None:
    notices: list[str] = []
    settings = Settings(paths=Paths(state_dir=str(tmp_path)), database=Database(enabled=True))
    postgres.stop()
    try:
        with told_queue(ArchiveJob(DAY, "12_00", tmp_path / "a.tar"), settings, notices.append):
            write_journal(tmp_path, "12_00", ended(Outcome.DONE))
    finally:
        postgres.start()
    assert len(notices) == 2
    assert all("processing_queue was not told" in notice for notice in notices)
