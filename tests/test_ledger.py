"""The ledger: always what the runs and the journals say, however it came to know."""

from __future__ import annotations

import os
import shutil
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
from hypothesis import given, settings
from hypothesis import strategies as st
from journals import (
    ARCHIVE,
    DAY,
    SLOT,
    STAGES_WITH_DATABASE,
    clip_lines,
    encode,
    ended,
    extracted,
    failed,
    holder_process,
    read_to_end,
    started,
    submit,
    transcribed,
    uploaded,
    whole_archive,
    write_holder,
    write_journal,
)
from ledgers import archives, bring_up_to_date, look, tables
from test_progress import journals

from audioctl.errors import LedgerError
from audioctl.executors.local import SUPERVISOR_LEASE
from audioctl.ledger import absorb
from audioctl.ledger.events import Event
from audioctl.ledger.journal import journal_path
from audioctl.ledger.lease import LeaseHolder, lease_path
from audioctl.ledger.migrations import MIGRATIONS
from audioctl.ledger.models import empty_ledger, ledger_path, open_ledger
from audioctl.ledger.queries import all_days, days_with, files_read, one_day
from audioctl.runs import Run
from audioctl.states import ArchiveState, Damage, Outcome, Stage

OLD = 1_600_000_000
"""A time long ago, in seconds since 1970."""

REPLACED = msgspec.structs.replace(ARCHIVE, size_bytes=900)

# root may do anything anywhere; without this capability it may do what any other user may.
AS_ANYBODY = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


@pytest.fixture
def eventful(state: Path) -> Path:
    """A state folder with an archive in each way in which one can stand."""
    write_journal(state, "00_00", whole_archive(3))
    cut = [started(), extracted(0), *transcribed(0), uploaded(0), read_to_end(1, Damage.CUT_OFF), ended()]
    write_journal(state, "00_10", cut)
    write_journal(state, "00_20", [started(), ended(outcome=Outcome.FAILED, error="No model.")])
    write_journal(state, "00_30", [started(), extracted(0), *transcribed(0), ended(outcome=Outcome.DRAINED)])
    write_journal(state, "00_30", whole_archive(2, attempt=2, run_id="20250125T123000Z-0001"))
    write_journal(state, "00_40", [started(), extracted(0), *transcribed(0), *clip_lines(1)])
    owed = [started(), extracted(0), *transcribed(0), failed(0, Stage.UPLOAD), read_to_end(1)]
    write_journal(state, "00_50", [*owed, ended(outcome=Outcome.OWED)])
    write_journal(state, "01_00", whole_archive(3))
    shorter = [
        started(2, archive=REPLACED, stages=STAGES_WITH_DATABASE),
        extracted(0),
        extracted(1, "b"),
        *transcribed(1),
    ]
    write_journal(state, "01_00", [*shorter, read_to_end(2), ended(2, Outcome.OWED)])
    write_journal(state, "00_00", whole_archive(1), day="2025-01-26")
    submit(state, ["00_30", "02_00"])
    submit(state, ["00_50"], "20250126T123000Z-0002", created_at="2025-01-26T12:30:00Z")
    return state


# What the ledger knows is what the files say


@settings(max_examples=60, deadline=None)
@given(journals, st.lists(st.integers(0, 20_000), max_size=6))
def test_absorbing_in_any_pieces_gives_what_absorbing_at_once_gives(
    tmp_path_factory: pytest.TempPathFactory, events: list[Event], cuts: list[int]
) -> None:
    content = encode([started(), *events])
    in_pieces, at_once = tmp_path_factory.mktemp("pieces"), tmp_path_factory.mktemp("once")
    journal = journal_path(in_pieces, DAY, SLOT)
    journal.parent.mkdir(parents=True)
    for cut in sorted({cut % len(content) for cut in cuts}):
        journal.write_bytes(content[:cut])
        bring_up_to_date(in_pieces)
    journal.write_bytes(content)
    shutil.copytree(in_pieces / "journals", at_once / "journals")
    assert look(in_pieces) == look(at_once)


def test_a_batch_of_which_only_the_clips_are_written_counts_once_the_rest_is_there(state: Path) -> None:
    journal = write_journal(state, SLOT, [started(), extracted(0)])
    whole = journal.read_bytes() + encode(transcribed(0))
    for size in range(journal.stat().st_size, len(whole), 97):
        journal.write_bytes(whole[:size])
        found = look(state)
        assert found["rejections"] == []
        assert archives(state, DAY)[SLOT].clips == 0
    journal.write_bytes(whole)
    assert [row[2:] for row in look(state)["rejections"]] == [
        (1, 0, "1.mp3", "transcribe", "undecodable", "no audio in it")
    ]
    assert archives(state, DAY)[SLOT].clips == 2


def test_a_rebuilt_ledger_is_the_same(eventful: Path) -> None:
    before = look(eventful)
    states = {slot: (archive.state, archive.reason) for slot, archive in archives(eventful, DAY).items()}
    assert states == {
        "00_00": ("done", None),
        "00_10": ("damaged", "cut_off"),
        "00_20": ("failed", "failed"),
        "00_30": ("done", None),
        "00_40": ("failed", "lost"),
        "00_50": ("failed", "lost"),
        "01_00": ("failed", "owed"),
        "02_00": ("failed", "lost"),
    }
    empty_ledger(eventful)
    assert sum(map(len, tables(eventful).values())) == 0
    assert look(eventful) == before
    ledger_path(eventful).unlink()
    assert look(eventful) == before


def test_a_second_look_at_the_same_changes_nothing(eventful: Path) -> None:
    assert look(eventful) == look(eventful)


def test_a_replaced_archive_leaves_no_rows_of_what_it_was(state: Path) -> None:
    write_journal(state, SLOT, whole_archive(3))
    assert len(look(state)["rejections"]) == 3
    write_journal(state, SLOT, [started(2, archive=REPLACED), extracted(0, "b")])
    assert [row[3] for row in look(state)["rejections"]] == [1, 2], "batch 0 is another one now"
    write_journal(state, SLOT, [*transcribed(0), read_to_end(1)])
    found = look(state)
    assert [row[2] for row in found["batches"]] == [0]
    assert [row[3] for row in found["rejections"]] == [0]


@pytest.mark.parametrize("size", [0, 1, 400])
def test_a_journal_that_was_cut_is_absorbed_anew(eventful: Path, size: int) -> None:
    bring_up_to_date(eventful)
    journal = journal_path(eventful, DAY, "00_00")
    os.truncate(journal, size)
    os.utime(journal.parent)
    after = look(eventful)
    ledger_path(eventful).unlink()
    assert after == look(eventful)


def test_what_was_deleted_from_the_state_folder_goes_from_the_ledger(eventful: Path) -> None:
    bring_up_to_date(eventful)
    journal_path(eventful, DAY, "00_00").unlink()
    shutil.rmtree(eventful / "journals" / "2025-01-26")
    after = look(eventful)
    assert {row[:2] for row in after["archives"]}.isdisjoint({(DAY, "00_00"), ("2025-01-26", "00_00")})
    ledger_path(eventful).unlink()
    assert after == look(eventful)


def test_a_damaged_journal_fails_its_archive_and_no_other(state: Path) -> None:
    write_journal(state, "00_00", whole_archive())
    journal = write_journal(state, "00_10", whole_archive())
    good = journal.read_bytes()
    cut = len(encode(whole_archive()[:7]))
    journal.write_bytes(good[:cut] + b"nonsense\n" + good[cut:])
    os.utime(journal.parent, (OLD, OLD))
    found = archives(state, DAY)
    assert found["00_00"].state is ArchiveState.DONE
    assert (found["00_10"].state, found["00_10"].reason) == (ArchiveState.FAILED, "damaged_journal")
    assert f"byte {cut} " in str(found["00_10"].error)
    assert "truncate" in str(found["00_10"].error)
    assert found["00_10"].stored == 1, "what comes before the damage is known"
    journal.write_bytes(good)
    assert archives(state, DAY)["00_10"].state is ArchiveState.DONE


def test_a_look_costs_nothing_where_nothing_may_have_changed(state: Path) -> None:
    write_journal(state, SLOT, whole_archive())
    os.utime(state / "journals" / DAY, (OLD, OLD))
    bring_up_to_date(state)
    with journal_path(state, DAY, SLOT).open("ab") as journal:
        journal.write(encode([started(2)]))  # which no job would do: it has no lease
    assert archives(state, DAY)[SLOT].attempt == 1
    write_journal(state, "12_40", whole_archive())
    assert archives(state, DAY)[SLOT].attempt == 2


def test_a_look_at_some_days_leaves_the_others_for_later(eventful: Path) -> None:
    with open_ledger(eventful) as database:
        absorb.refresh(database, eventful, lambda _: [], ["2025-01-26"])
        assert [day.day for day in all_days()] == ["2025-01-26"]
        absorb.refresh(database, eventful, lambda _: [])
        assert [day.day for day in all_days()] == [DAY, "2025-01-26"]


def test_the_sums_of_all_days_are_those_of_each(eventful: Path) -> None:
    bring_up_to_date(eventful)
    with open_ledger(eventful):
        days = all_days()
        assert [day.day for day in days] == days_with(ArchiveState) == [DAY, "2025-01-26"]
        for day in days:
            alone = one_day(day.day)
            assert alone is not None
            assert alone.totals == day.totals
            assert (alone.state, alone.started_at, alone.finished_at) == (day.state, day.started_at, day.finished_at)
        assert files_read(DAY)["01_00"] == REPLACED
        assert "02_00" not in files_read(DAY)


# Jobs that live and die


def test_an_archive_whose_job_holds_its_lease_is_running_and_lost_when_the_job_was_killed(state: Path) -> None:
    journal = write_journal(state, SLOT, [started(), extracted(0), *transcribed(0)])
    with holder_process(lease_path(journal)) as job:
        assert archives(state, DAY)[SLOT].state is ArchiveState.RUNNING
        job.kill()
        job.wait()
        found = archives(state, DAY)[SLOT]
        assert (found.state, found.reason, found.stored) == (ArchiveState.FAILED, "lost", 1)


def test_a_lost_archive_is_running_again_when_its_job_comes_back(state: Path) -> None:
    """A node that was frozen, or away from the file server. No folder changes by it."""
    journal = write_journal(state, SLOT, [started()])
    write_holder(lease_path(journal))
    os.utime(lease_path(journal), (OLD, OLD))
    os.utime(journal.parent, (OLD, OLD))
    assert archives(state, DAY)[SLOT].reason == "lost"
    os.utime(lease_path(journal))
    os.utime(journal.parent, (OLD, OLD))
    assert archives(state, DAY)[SLOT].state is ArchiveState.RUNNING


def test_a_submitted_archive_waits_as_long_as_its_supervisor_lives(state: Path) -> None:
    folder = submit(state, ["12_30", "12_40"])
    with holder_process(folder / SUPERVISOR_LEASE) as supervisor:
        waiting = archives(state, DAY)
        assert {slot: archive.state for slot, archive in waiting.items()} == dict.fromkeys(
            ("12_30", "12_40"), ArchiveState.SUBMITTED
        )
        assert waiting["12_40"].job_id == "20250125T123000Z-0001_1"
        supervisor.kill()
        supervisor.wait()
        lost = archives(state, DAY)["12_30"]
        assert (lost.state, lost.reason) == (ArchiveState.FAILED, "lost")
        assert "before it began" in str(lost.error)


def test_an_archive_submitted_anew_is_submitted_until_its_job_begins(state: Path) -> None:
    first, second = "20250125T123000Z-0001", "20250125T133000Z-0002"
    # The clock of the node that worked on it is an hour ahead of the one that submits.
    write_journal(state, SLOT, [started(run_id=first, at="2025-01-25T14:00:00Z"), ended(outcome=Outcome.FAILED)])
    submit(state, [SLOT], first)
    folder = submit(state, [SLOT], second, created_at="2025-01-25T13:30:00Z")
    with holder_process(folder / SUPERVISOR_LEASE):
        waiting = archives(state, DAY)[SLOT]
        assert (waiting.state, waiting.run_id, waiting.error) == (ArchiveState.SUBMITTED, second, None)
        journal = write_journal(state, SLOT, [started(2, run_id=second)])
        with holder_process(lease_path(journal)):
            assert archives(state, DAY)[SLOT].state is ArchiveState.RUNNING
    write_journal(state, SLOT, [extracted(0), *transcribed(0), uploaded(0), read_to_end(1), ended(2)])
    assert archives(state, DAY)[SLOT].state is ArchiveState.DONE


def test_an_archive_worked_on_by_hand_after_it_was_submitted_is_what_its_journal_says(state: Path) -> None:
    submit(state, [SLOT], created_at="2025-01-25T12:00:00Z")
    write_journal(state, SLOT, whole_archive())
    assert archives(state, DAY)[SLOT].state is ArchiveState.DONE


def test_a_job_that_ends_while_we_look_is_not_told_as_lost(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    *before, last = whole_archive()
    journal = write_journal(state, SLOT, before)

    def ends_now(_: Path) -> LeaseHolder | None:
        with journal.open("ab") as file:
            file.write(encode([last]))
        return None

    monkeypatch.setattr(absorb, "live_holder", ends_now)
    assert archives(state, DAY)[SLOT].state is ArchiveState.DONE


def test_a_job_that_begins_and_ends_while_we_look_is_not_told_as_lost(state: Path) -> None:
    submit(state, [SLOT])

    def has_ended(run: Run) -> Collection[str]:
        write_journal(state, SLOT, whole_archive(run_id=run.run_id))
        return []

    with open_ledger(state) as database:
        absorb.refresh(database, state, has_ended)
        found = one_day(DAY)
    assert found is not None
    assert found.state is ArchiveState.DONE


# The file


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


@pytest.fixture
def read_only(eventful: Path) -> Iterator[Path]:
    """Somebody else's state folder, whose ledger knows nothing of the newest archive."""
    bring_up_to_date(eventful)
    write_journal(eventful, "20_00", whole_archive(5))
    folders = [folder for folder, _, _ in os.walk(eventful)]
    ledger_path(eventful).chmod(0o444)
    for folder in folders:
        Path(folder).chmod(0o555)
    yield eventful
    for folder in folders:
        Path(folder).chmod(0o755)


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
