"""The recorder, against a PostgreSQL that comes and goes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import pytest
from psycopg import Connection

from audioctl.clips import ClipRecord
from audioctl.database import schema
from audioctl.database.connection import connect
from audioctl.database.rows import Confirmation, read_day
from audioctl.pipeline.record import Owed, Recorder
from audioctl.states import ClipState, Stage

if TYPE_CHECKING:
    from postgres import PostgresServer

DAY, SLOT = "2025-01-25", "12_30"
PATIENCE_SECONDS = 60.0
"""Far more than anything here takes; only a broken recorder uses it up."""


@pytest.fixture(autouse=True)
def upgraded(database: str) -> None:
    with connect() as connection:
        assert connection.info.dbname in database
        schema.upgrade(connection)


@pytest.fixture
def away(postgres: PostgresServer) -> Iterator[PostgresServer]:
    """A server that the test may take away; it is back afterwards."""
    yield postgres
    postgres.stop()
    postgres.start()


class Calls:
    """A recorder and what it called back."""

    def __init__(self, connect: Callable[[], Connection] = connect) -> None:
        self.done: queue.SimpleQueue[tuple[int, Stage]] = queue.SimpleQueue()
        self.troubles: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.recorder = Recorder(
            connect,
            DAY,
            SLOT,
            on_done=lambda batch_index, stage: self.done.put((batch_index, stage)),
            on_trouble=self.troubles.put,
        )

    def next_done(self) -> tuple[int, Stage]:
        return self.done.get(timeout=PATIENCE_SECONDS)

    def next_trouble(self) -> str:
        return self.troubles.get(timeout=PATIENCE_SECONDS)

    def all_done(self) -> list[tuple[int, Stage]]:
        return [self.done.get_nowait() for _ in range(self.done.qsize())]


@pytest.fixture
def calls() -> Calls:
    return Calls()


def batch(index: int) -> list[ClipRecord]:
    return [ClipRecord(ordinal, f"{ordinal}.mp3", ClipState.STORED, text="yes") for ordinal in members(index)]


def files(index: int) -> list[Confirmation]:
    return [Confirmation(f"{ordinal}.mp3", f"store/{ordinal}.opus", ordinal) for ordinal in members(index)]


def members(index: int) -> range:
    return range(index * 10, index * 10 + 10)


class Row(NamedTuple):
    """What these tests look at of a clip."""

    slot: str
    member: str
    file_path: str | None
    file_size_bytes: int | None
    text: str | None


def rows() -> list[Row]:
    with connect() as connection:
        return sorted(
            (Row(*row[:5]) for row in read_day(connection, DAY)), key=lambda row: int(row.member.removesuffix(".mp3"))
        )


def confirmed_rows(count: int) -> list[Row]:
    """What the first ``count`` batches leave when all went well."""
    return [Row(SLOT, f"{ordinal}.mp3", f"store/{ordinal}.opus", ordinal, "yes") for ordinal in range(count * 10)]


def test_batches_are_recorded_and_confirmed_in_order(calls: Calls) -> None:
    with calls.recorder as recorder:
        for index in range(3):
            recorder.record(index, batch(index))
            recorder.confirm(index, files(index))
        assert recorder.finish(PATIENCE_SECONDS) == []
    assert calls.all_done() == [(index, stage) for index in range(3) for stage in (Stage.RECORD, Stage.CONFIRM)]
    assert calls.troubles.empty()
    assert rows() == confirmed_rows(3)


def test_a_batch_without_stored_clips_is_done_too(calls: Calls) -> None:
    with calls.recorder as recorder:
        recorder.record(0, [])
        recorder.confirm(0, [])
        assert recorder.finish(PATIENCE_SECONDS) == []
    assert calls.all_done() == [(0, Stage.RECORD), (0, Stage.CONFIRM)]


def test_a_batch_recorded_by_an_earlier_attempt_can_be_confirmed(calls: Calls) -> None:
    with Calls().recorder as earlier:
        earlier.record(0, batch(0))
        assert earlier.finish(PATIENCE_SECONDS) == []
    with calls.recorder as recorder:
        recorder.confirm(0, files(0))
        assert recorder.finish(PATIENCE_SECONDS) == []
    assert rows() == confirmed_rows(1)


def test_done_is_said_after_the_commit() -> None:
    seen: list[int] = []
    recorder = Recorder(
        connect, DAY, SLOT, on_done=lambda _index, _stage: seen.append(len(rows())), on_trouble=pytest.fail
    )
    with recorder:
        recorder.record(0, batch(0))
        recorder.record(1, batch(1))
        recorder.finish(PATIENCE_SECONDS)
    assert seen == [10, 20]


def test_a_server_killed_half_way_and_brought_back_costs_nothing(calls: Calls, away: PostgresServer) -> None:
    with calls.recorder as recorder:
        for index in range(40):
            recorder.record(index, batch(index))
            recorder.confirm(index, files(index))
        calls.next_done()
        away.kill()
        calls.next_trouble()
        for index in range(40, 50):
            recorder.record(index, batch(index))
            recorder.confirm(index, files(index))
        assert len(recorder.owed()) >= 20
        away.start()
        assert recorder.finish(PATIENCE_SECONDS) == []
    assert calls.all_done() == [(index, stage) for index in range(50) for stage in (Stage.RECORD, Stage.CONFIRM)][1:]
    assert rows() == confirmed_rows(50)


def test_a_server_that_is_away_at_first_is_waited_for(calls: Calls, away: PostgresServer) -> None:
    away.stop()
    with calls.recorder as recorder:
        recorder.record(0, batch(0))
        assert "does not answer" in calls.next_trouble()
        away.start()
        assert calls.next_done() == (0, Stage.RECORD)
        assert recorder.finish(PATIENCE_SECONDS) == []
    assert [row.member for row in rows()] == [f"{ordinal}.mp3" for ordinal in range(10)]


def test_each_trouble_is_said_once_and_again_after_a_success(
    away: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audioctl.pipeline.record.LONGEST_DELAY_SECONDS", 0.01)
    attempts = threading.Semaphore(0)

    def counted_connect() -> Connection:
        attempts.release()
        return connect()

    calls = Calls(counted_connect)
    with calls.recorder as recorder:
        for index in range(2):
            away.stop()
            recorder.record(index, batch(index))
            while "does not answer" not in calls.next_trouble():
                pass  # first it notices that its connection is gone
            for _ in range(5):
                assert attempts.acquire(timeout=PATIENCE_SECONDS)
            assert calls.troubles.empty()
            away.start()
            calls.next_done()


def test_what_a_server_that_stays_away_did_not_take_is_returned(calls: Calls, away: PostgresServer) -> None:
    away.stop()
    with calls.recorder as recorder:
        recorder.record(3, batch(3))
        recorder.confirm(3, files(3))
        assert recorder.finish(0.2) == [Owed(3, Stage.RECORD, None), Owed(3, Stage.CONFIRM, None)]
    assert calls.done.empty()


def test_a_refused_batch_waits_with_its_confirmation_and_the_others_go_on(calls: Calls) -> None:
    with Calls().recorder as earlier:  # so that the confirmation alone would find its row
        earlier.record(0, batch(0))
        assert earlier.finish(PATIENCE_SECONDS) == []
    bad = [ClipRecord(0, "0.mp3", ClipState.STORED, text="", duration_seconds=1e12)]
    with calls.recorder as recorder:
        recorder.record(0, bad)
        recorder.confirm(0, files(0)[:1])
        recorder.record(1, batch(1))
        assert calls.next_done() == (1, Stage.RECORD)
        owed = recorder.finish(PATIENCE_SECONDS)
    assert [(work.batch_index, work.stage) for work in owed] == [(0, Stage.RECORD), (0, Stage.CONFIRM)]
    assert rows()[0].file_path is None
    assert "does not take these rows" in str(owed[0].refusal)
    assert "does not take these rows" in calls.next_trouble()


def test_a_missing_schema_is_not_tried_for_ever(calls: Calls) -> None:
    with connect() as connection:
        connection.execute("drop table transcripts")
    with calls.recorder as recorder:
        recorder.record(0, batch(0))
        (owed,) = recorder.finish(PATIENCE_SECONDS)
    assert "audioctl db upgrade" in str(owed.refusal)


def test_refused_credentials_are_not_tried_for_ever(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_CREDS", "postgresql://clerk:1/tr0ub4dor@localhost/db")
    with calls.recorder as recorder:
        recorder.record(0, batch(0))
        (owed,) = recorder.finish(PATIENCE_SECONDS)
    assert "DB_CREDS" in str(owed.refusal)
    assert "tr0ub4dor" not in str(owed.refusal) + calls.next_trouble()


def test_what_was_refused_is_tried_once_more_at_the_end(calls: Calls) -> None:
    with connect() as connection:
        connection.execute("alter table audio_files rename to hidden")
        with calls.recorder as recorder:
            recorder.record(0, batch(0))
            recorder.confirm(0, files(0))
            calls.next_trouble()
            connection.execute("alter table hidden rename to audio_files")
            assert recorder.finish(PATIENCE_SECONDS) == []
    assert rows() == confirmed_rows(1)


def test_giving_work_to_it_never_waits_for_the_server(calls: Calls) -> None:
    with connect() as other, calls.recorder as recorder:
        with other.transaction():
            other.execute("lock table audio_files in exclusive mode")
            for index in range(100):
                recorder.record(index, batch(index))
            assert len(recorder.owed()) == 100
            assert calls.done.empty()
        assert recorder.finish(PATIENCE_SECONDS) == []
    assert len(rows()) == 1000


def test_stop_ends_it_while_it_waits_for_a_server(
    calls: Calls, away: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backoff.full_jitter", lambda _longest: PATIENCE_SECONDS)
    away.stop()
    before = threading.active_count()
    with calls.recorder as recorder:
        recorder.record(0, batch(0))
        calls.next_trouble()
        recorder.stop()
        assert threading.active_count() == before
        assert recorder.owed() == [Owed(0, Stage.RECORD, None)]


def test_no_connection_is_left_behind(calls: Calls) -> None:
    with calls.recorder as recorder:
        recorder.record(0, batch(0))
        recorder.finish(PATIENCE_SECONDS)
    with connect() as connection:
        query = "select from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        while connection.execute(query).fetchall():  # the server takes a moment to see that a client has gone
            pass


def test_a_fault_in_a_callback_reaches_the_caller() -> None:
    def on_done(_index: int, _stage: Stage) -> None:
        raise RuntimeError("the journal is full")

    recorder = Recorder(connect, DAY, SLOT, on_done=on_done, on_trouble=pytest.fail).__enter__()
    recorder.record(0, batch(0))
    with pytest.raises(RuntimeError, match="the journal is full"):
        recorder.finish(PATIENCE_SECONDS)


def test_a_connection_the_server_ended_is_made_anew(calls: Calls) -> None:
    with calls.recorder as recorder, connect() as other:
        recorder.record(0, batch(0))
        calls.next_done()
        other.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
        recorder.record(1, batch(1))
        assert recorder.finish(PATIENCE_SECONDS) == []
    assert calls.all_done() == [(1, Stage.RECORD)]
    assert len(rows()) == 20


def test_one_connection_is_enough(calls: Calls) -> None:
    most = 0
    with connect() as other, calls.recorder as recorder:
        for index in range(20):
            recorder.record(index, batch(index))
        for _ in range(20):
            calls.next_done()
            (clients,) = other.execute(
                "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
                " and backend_type = 'client backend'"
            ).fetchone() or (0,)
            most = max(most, clients)
        assert recorder.finish(PATIENCE_SECONDS) == []
    assert most == 1
