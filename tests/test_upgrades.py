"""What earlier versions left: each is taken up by this one, whole; what a later version left is refused."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import get_args

import pytest
from archives import write_archive
from journals import ended, extracted, read_to_end, started, submit, uploaded, write_journal
from ledgers import Tables, archives, look
from versions import DAY, STATE, UNFINISHED_SLOTS, bring_back_eventful, bring_back_unfinished, states
from workspace import Workspace, spoken

from audioctl.errors import LedgerError, NewerJournalError
from audioctl.ledger.events import BatchTranscribed, Event
from audioctl.ledger.journal import journal_path, read_entries
from audioctl.ledger.migrations import MIGRATIONS
from audioctl.ledger.models import ledger_path
from audioctl.ledger.transcripts import read_transcripts
from audioctl.runs import RUN_FILE, read_run
from audioctl.states import ExitCode

OLDEST, *_, NEWEST = [name for name, _ in MIGRATIONS]

STANDS = {
    "00_00": ("done", None, 6),
    "00_10": ("done", None, 2),
    "00_20": ("damaged", "cut_off", 2),
    "00_30": ("failed", "failed", 0),
    "00_40": ("failed", "owed", 2),
    "00_50": ("failed", "lost", 4),
    "01_00": ("done", None, 4),
    "01_10": ("failed", "lost", 2),
    "01_20": ("failed", "lost", 0),
    "01_30": ("failed", "lost", 0),
    "01_40": ("cancelled", None, 0),
    "01_50": ("failed", "owed", 4),
}
"""State, reason and clips of each archive of ``eventful`` now that the jobs which worked on it are gone."""


@pytest.fixture(params=states())
def eventful_of_old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    bring_back_eventful(request.param, tmp_path / "eventful")
    return tmp_path / "eventful"


@pytest.fixture
def oldest(tmp_path: Path) -> Path:
    """The state folder of the first version."""
    bring_back_eventful(OLDEST, tmp_path / "oldest")
    return tmp_path / "oldest"


@pytest.fixture(params=states())
def unfinished(request: pytest.FixtureRequest, workspace: Workspace) -> Workspace:
    for slot in UNFINISHED_SLOTS:
        write_archive(workspace.folder / f"0_{DAY}_{slot}.tar", spoken(9)[0])
    bring_back_unfinished(request.param, workspace.folder)
    return workspace


def schema_of(state: Path) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(ledger_path(state))) as connection:
        return connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()


def meaning(tables: Tables) -> dict[str, list[list[object]]]:
    """Fields that came later are missing in what an earlier version wrote, which says the same as none."""
    return {name: [[_meaning_of(value) for value in row] for row in rows] for name, rows in tables.items()}


def _meaning_of(value: object) -> object:
    if not isinstance(value, str) or not value.startswith("{"):
        return value
    return {name: field for name, field in json.loads(value).items() if field is not None}


def test_there_is_a_fixture_of_every_schema_of_the_ledger() -> None:
    """Where this fails, CONTRIBUTING.md says how to make the one that is missing."""
    assert states() == [name for name, _ in MIGRATIONS]


def test_the_fixtures_hold_every_kind_of_event_that_is_written_now() -> None:
    kinds = {
        json.loads(line)["event"]
        for journal in (STATE / NEWEST).rglob("*.jsonl")
        if journal.parent.parent.name == "journals"
        for line in journal.read_text().splitlines()
    }
    assert kinds == {event.__struct_config__.tag for event in get_args(Event)}


# The ledger


def test_an_old_ledger_says_where_everything_stands_now(eventful_of_old: Path) -> None:
    found = archives(eventful_of_old, DAY)
    expected = {slot: stands for slot, stands in STANDS.items() if slot in found}
    assert {slot: (str(row.state), row.reason, row.clips) for slot, row in found.items()} == expected
    assert len(found) >= 10
    # In the words of this version, also where an earlier one had others.
    assert "audioctl logs 2025-01-25 01_30" in str(found["01_30"].error)
    assert (found["00_40"].owed_record, found["00_40"].owed_upload, found["00_40"].error) == (
        1,
        1,
        "connection refused",
    )
    assert (found["01_10"].job_id, found["01_10"].attempt) == ("20250125T123000Z-0001_0", 1)


def test_an_upgraded_ledger_is_the_same_as_one_made_from_the_journals(eventful_of_old: Path) -> None:
    upgraded, schema = meaning(look(eventful_of_old)), schema_of(eventful_of_old)
    ledger_path(eventful_of_old).unlink()
    assert meaning(look(eventful_of_old)) == upgraded
    assert schema_of(eventful_of_old) == schema


def test_an_upgraded_ledger_reads_on_where_the_old_one_stopped(eventful_of_old: Path) -> None:
    more: list[Event] = [started(3), extracted(0), uploaded(0), uploaded(1), read_to_end(2), ended(3)]
    write_journal(eventful_of_old, "00_50", more)
    now = archives(eventful_of_old, DAY)["00_50"]
    assert (now.state, now.attempt, now.batches.done, now.owed_upload) == ("done", 3, 2, 0)
    upgraded = meaning(look(eventful_of_old))
    ledger_path(eventful_of_old).unlink()
    assert meaning(look(eventful_of_old)) == upgraded


_OPEN = """
import os, sys
from pathlib import Path
from audioctl.ledger import models

state, last = Path(sys.argv[1]), int(sys.argv[2])
steps = 0

def until_the_last(method):
    def call(database, *arguments, **keywords):
        global steps
        result = method(database, *arguments, **keywords)
        steps += 1
        if steps == last:
            os.kill(os.getpid(), 9)
        return result
    return call

models.SqliteDatabase.execute_sql = until_the_last(models.SqliteDatabase.execute_sql)
models.SqliteDatabase.commit = until_the_last(models.SqliteDatabase.commit)
with models.open_ledger(state):
    print(steps)
"""
"""Opens a ledger, which upgrades it, and is killed behind this step (a statement or the commit); 0 for none."""


def opening(state: Path, last: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", _OPEN, str(state), str(last)], stdout=subprocess.PIPE, text=True)


def test_an_upgrade_that_is_killed_leaves_the_old_ledger_or_the_new(oldest: Path, tmp_path: Path) -> None:
    expected = meaning(look(shutil.copytree(oldest, tmp_path / "expected")))
    old, new = schema_of(oldest), schema_of(tmp_path / "expected")
    counting = opening(shutil.copytree(oldest, tmp_path / "counting"), 0)
    steps = int(counting.communicate()[0])
    found = []
    for last in range(1, steps + 1):
        state = shutil.copytree(oldest, tmp_path / f"killed_{last}")
        with opening(state, last) as killed:
            assert killed.wait() == -9
        found.append(schema_of(state))
        assert meaning(look(state)) == expected, f"killed behind step {last}"
    assert all(schema in (old, new) for schema in found)
    assert found[0] == old
    assert found[-1] == new
    assert steps > 10


def test_two_upgrades_at_once_make_one_ledger(oldest: Path) -> None:
    ledger = ledger_path(oldest)
    with closing(sqlite3.connect(ledger, isolation_level=None)) as connection:
        # All of them have found an old ledger before the first may write.
        connection.execute("BEGIN IMMEDIATE")
        commands = [opening(oldest, 0) for _ in range(3)]
        time.sleep(1)
        assert [command.poll() for command in commands] == [None] * 3
        connection.execute("ROLLBACK")
    for command in commands:
        command.communicate(timeout=60)
    assert [command.returncode for command in commands] == [0, 0, 0]
    upgraded, schema = meaning(look(oldest)), schema_of(oldest)
    ledger.unlink()
    assert (meaning(look(oldest)), schema_of(oldest)) == (upgraded, schema)


# A day that the upgrade found unfinished


def test_an_unfinished_day_is_resumed_where_it_broke_off(unfinished: Workspace) -> None:
    status = json.loads(unfinished.audioctl("status", DAY, "--json").stdout)
    stands = {
        one["slot"]: (one["state"], one["reason"], one["batches"]["done"]) for one in status["days"][0]["archives"]
    }
    assert stands == {"12_00": ("done", None, 2), "12_10": ("failed", "lost", 1), "12_20": ("failed", "lost", 0)}
    resumed = unfinished.audioctl("resume", DAY, "--wait")
    assert resumed.returncode == ExitCode.DONE, resumed.stderr
    assert "went away after 1 batches" in resumed.stdout
    # The first batch was heard by the earlier version, and is not heard again.
    batches = {slot: [event.batch for event in transcriptions(unfinished, slot)] for slot in UNFINISHED_SLOTS}
    assert batches == {"12_00": [0, 1], "12_10": [0, 1], "12_20": [0, 1]}
    journals = unfinished.state / "journals" / DAY
    texts = [
        [clip.text for batch in read_transcripts(path).values() for clip in batch.clips]
        for path in journals.glob("*.jsonl")
    ]
    assert texts[0] == texts[1] == texts[2]
    assert len(texts[0]) == 9


def transcriptions(workspace: Workspace, slot: str) -> list[BatchTranscribed]:
    entries = read_entries(journal_path(workspace.state, DAY, slot))
    return [entry.event for entry in entries if isinstance(entry.event, BatchTranscribed)]


def test_the_job_of_an_earlier_version_goes_on_with_this_one(unfinished: Workspace) -> None:
    """Its script and its frozen settings were written before the upgrade, and it begins behind it."""
    (folder,) = (unfinished.state / "runs" / DAY).iterdir()
    (folder / "logs").mkdir()
    job = unfinished.start_program(["bash", str(folder / "job.sh"), "2", f"{folder.name}_2"])
    job.communicate(timeout=60)
    assert job.returncode == ExitCode.DONE, (folder / "logs" / "12_20.log").read_text()
    assert archives(unfinished.state, DAY)["12_20"].job_id == f"{folder.name}_2"


@pytest.mark.parametrize("command", [["logs", DAY, "12_10"], ["cancel", DAY], ["export", DAY], ["status"]])
def test_every_command_understands_an_old_run(command: list[str], unfinished: Workspace) -> None:
    result = unfinished.audioctl(*command)
    assert "Traceback" not in result.stderr
    assert "understood" not in result.stderr
    assert result.returncode in (ExitCode.DONE, ExitCode.FAILED)


# What a newer version wrote


def test_a_newer_ledger_is_refused_and_left_as_it_is(oldest: Path) -> None:
    look(oldest)
    with closing(sqlite3.connect(ledger_path(oldest))) as connection:
        connection.execute("INSERT INTO migrations (name) VALUES ('m999_from_the_future')")
        connection.commit()
    content = ledger_path(oldest).read_bytes()
    with pytest.raises(LedgerError, match=r"written by a newer audioctl \(it has m999_from_the_future\)\."):
        look(oldest)
    assert ledger_path(oldest).read_bytes() == content


NEWER_LINES = {
    "event": b'{"event":"batch_translated","at":"2025-01-25T12:40:00Z","batch":0}\n',
    "state": b'{"event":"attempt_ended","at":"2025-01-25T12:40:00Z","attempt":1,"outcome":"postponed"}\n',
}


@pytest.mark.parametrize("line", NEWER_LINES.values(), ids=NEWER_LINES)
def test_a_newer_journal_is_refused_by_name_and_left_as_it_is(line: bytes, oldest: Path) -> None:
    journal = journal_path(oldest, DAY, "00_00")
    with journal.open("ab") as file:
        file.write(line)
    content = journal.read_bytes()
    with pytest.raises(NewerJournalError, match="was written by a newer audioctl") as raised:
        list(read_entries(journal))
    assert str(journal) in raised.value.message
    assert raised.value.hint == "Upgrade audioctl on this machine; the journal is left as it is."
    found = archives(oldest, DAY)
    assert (found["00_00"].state, found["00_00"].reason) == ("failed", "newer_version")
    assert found["00_10"].state == "done"
    assert journal.read_bytes() == content


def test_a_field_more_is_no_reason_to_refuse_a_journal(oldest: Path) -> None:
    journal = journal_path(oldest, DAY, "00_00")
    journal.write_bytes(journal.read_bytes().replace(b'"batch":0,', b'"batch":0,"weather":"fair",'))
    ledger_path(oldest).unlink()
    assert archives(oldest, DAY)["00_00"].state == "done"


def test_a_newer_run_is_refused_with_the_version_that_wrote_it(oldest: Path) -> None:
    folder = submit(oldest, ["02_00"], "20250125T123000Z-0009", version="99.0.0")
    text = (folder / RUN_FILE).read_text().replace('"job"', '"task"')
    (folder / RUN_FILE).write_text(text)
    with pytest.raises(LedgerError, match=r"audioctl 99\.0\.0 wrote it") as raised:
        read_run(folder)
    assert "missing required field `job`" in raised.value.message
    assert "upgrade" in str(raised.value.hint)
