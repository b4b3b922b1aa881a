"""The file of the ledger: old, damaged, locked, read by somebody else, or left by a command that was killed."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from journals import DAY, whole_archive, write_journal
from ledgers import bring_up_to_date, look, tables
from state_folders import AS_ANYBODY

from audioctl.errors import LedgerError
from audioctl.ledger.migrations import MIGRATIONS
from audioctl.ledger.models import ledger_path, open_ledger
from audioctl.ledger.queries import one_day


def test_a_ledger_without_tables_is_made_up_to_date(eventful: Path) -> None:
    expected = look(eventful)
    ledger_path(eventful).unlink()
    with closing(sqlite3.connect(ledger_path(eventful))) as connection:
        connection.execute("CREATE TABLE migrations (name TEXT PRIMARY KEY, applied_at TEXT)")
        connection.commit()
    assert look(eventful) == expected
    with closing(sqlite3.connect(ledger_path(eventful))) as connection:
        applied = [name for (name,) in connection.execute("SELECT name FROM migrations ORDER BY rowid")]
    assert applied == [name for name, _ in MIGRATIONS]


def test_a_ledger_of_a_newer_version_is_left_as_it_is(eventful: Path) -> None:
    bring_up_to_date(eventful)
    with closing(sqlite3.connect(ledger_path(eventful))) as connection:
        connection.execute("INSERT INTO migrations (name) VALUES ('m999_from_the_future')")
        connection.commit()
    content = ledger_path(eventful).read_bytes()
    with pytest.raises(LedgerError, match="m999_from_the_future") as caught:
        bring_up_to_date(eventful)
    assert "Upgrade" in str(caught.value.hint)
    assert ledger_path(eventful).read_bytes() == content


def damage_all(path: Path) -> None:
    path.write_bytes(b"This was never a database.\n" * 200)


def damage_pages(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))


@pytest.mark.parametrize("damage", [damage_all, damage_pages])
def test_a_damaged_ledger_is_told_and_rebuilt_when_asked(eventful: Path, damage: Any) -> None:
    expected = look(eventful)
    damage(ledger_path(eventful))
    with pytest.raises(LedgerError, match="damaged") as caught:
        bring_up_to_date(eventful)
    assert "audioctl ledger rebuild" in str(caught.value.hint)
    assert audioctl(eventful, "status").returncode == 1
    assert audioctl(eventful, "ledger", "rebuild").returncode == 0
    assert look(eventful) == expected


def test_a_rebuild_while_another_command_reads_disturbs_neither(eventful: Path) -> None:
    expected = look(eventful)
    with open_ledger(eventful):
        before = one_day(DAY)
        assert audioctl(eventful, "ledger", "rebuild").returncode == 0
        assert one_day(DAY) == before
    assert tables(eventful) == expected


@contextmanager
def locked(state: Path) -> Iterator[sqlite3.Connection]:
    """As by a command that is writing."""
    connection = sqlite3.connect(ledger_path(state), isolation_level=None, check_same_thread=False)
    with closing(connection):
        connection.execute("BEGIN EXCLUSIVE")
        yield connection


def test_a_locked_ledger_is_waited_for_and_then_told(eventful: Path) -> None:
    expected = look(eventful)
    with locked(eventful) as other:
        with pytest.raises(LedgerError, match="locked") as caught, open_ledger(eventful, busy_timeout_seconds=0.2):
            pass
        assert "try again" in str(caught.value.hint)
        threading.Timer(0.3, lambda: other.execute("ROLLBACK")).start()
        assert look(eventful) == expected


def test_two_commands_that_look_at_once_do_not_disturb_each_other(state: Path) -> None:
    for number in range(40):
        write_journal(state, f"{number // 6:02}_{number % 6}0", whole_archive(8))
    commands = [start_audioctl(state, "status", "--json") for _ in range(3)]
    outputs = [command.communicate(timeout=60) for command in commands]
    assert [command.returncode for command in commands] == [0, 0, 0], outputs
    days = [msgspec.json.decode(stdout)["days"] for stdout, _ in outputs]
    assert days[0] == days[1] == days[2]
    assert days[0][0]["totals"]["done"] == 40
    found = tables(state)
    ledger_path(state).unlink()
    assert found == look(state)


def test_somebody_else_sees_what_is_new_and_changes_nothing(read_only: Path) -> None:
    content = ledger_path(read_only).read_bytes()
    status = audioctl(read_only, "status", "--json", prefix=AS_ANYBODY)
    assert status.returncode == 0, status.stderr
    days = msgspec.json.decode(status.stdout)["days"]
    assert [archive["slot"] for archive in days[0]["archives"]][-1] == "20_00"
    assert days[0]["totals"]["archives"] == 9
    assert ledger_path(read_only).read_bytes() == content
    rebuild = audioctl(read_only, "ledger", "rebuild", prefix=AS_ANYBODY)
    assert rebuild.returncode == 1
    assert "may not write" in rebuild.stderr


def test_somebody_else_sees_everything_where_there_is_no_ledger_yet(read_only: Path) -> None:
    ledger_path(read_only).unlink()
    status = audioctl(read_only, "status", DAY, "--json", prefix=AS_ANYBODY)
    assert status.returncode == 0, status.stderr
    assert msgspec.json.decode(status.stdout)["days"][0]["totals"]["archives"] == 9


@pytest.mark.parametrize(
    "command", ["status", "status 2025-01-25", "export 2025-01-25", "search rain", "metrics", "resume"]
)
def test_somebody_who_may_not_look_is_told_so_and_not_that_there_is_nothing(command: str, eventful: Path) -> None:
    eventful.chmod(0)
    told = audioctl(eventful, *command.split(), prefix=AS_ANYBODY)
    eventful.chmod(0o700)
    assert told.returncode == 1
    assert told.stderr.startswith(f"You may not look into the state folder {eventful}.\nAsk its owner"), told.stderr


def test_a_state_folder_below_one_that_is_closed_is_out_of_sight_too(eventful: Path) -> None:
    closed = eventful.parent / "closed"
    (closed / "state").mkdir(parents=True)
    closed.chmod(0)
    told = audioctl(eventful, "status", "--state-dir", f"{closed / 'state'}", prefix=AS_ANYBODY)
    closed.chmod(0o700)
    assert told.returncode == 1
    assert told.stderr.startswith("You may not look into the state folder")


def test_a_ledger_that_was_killed_in_the_middle_of_a_transaction_is_what_it_was_before(eventful: Path) -> None:
    expected = look(eventful)
    script = """
import os, sys
from pathlib import Path
from audioctl.ledger.models import BatchRow, open_ledger
with open_ledger(Path(sys.argv[1])) as database:
    database.execute_sql("PRAGMA cache_size = 1")
    with database.atomic("IMMEDIATE"):
        BatchRow.delete().execute()
        for number in range(20_000):
            BatchRow.insert(day="x", slot="y", batch=number, first_ordinal=0, members=0, digest="d" * 50, stored=0,
                rejected=0, skipped=0, audio_seconds=0, extract="", transcribe="", record="", upload="",
                confirm="").execute()
        os.kill(os.getpid(), 9)
"""
    killed = subprocess.run([sys.executable, "-c", script, eventful], check=False)
    assert killed.returncode == -9
    assert ledger_path(eventful).with_name("ledger.db-journal").stat().st_size > 0
    assert look(eventful) == expected


def start_audioctl(state: Path, *arguments: str, prefix: Collection[str] = ()) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUDIOCTL_")}
    return subprocess.Popen(
        [*prefix, sys.executable, "-m", "audioctl", *arguments],
        cwd=state.parent,
        env=environment | {"AUDIOCTL_PATHS__STATE_DIR": str(state)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def audioctl(state: Path, *arguments: str, prefix: Collection[str] = ()) -> subprocess.CompletedProcess[str]:
    process = start_audioctl(state, *arguments, prefix=prefix)
    stdout, stderr = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)
