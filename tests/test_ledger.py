"""The ledger: always what the runs and the journals say, however it came to know."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journals import (
    DAY,
    SLOT,
    encode,
    ended,
    extracted,
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
from state_folders import REPLACED
from test_progress import journals

from audioctl.executors.local import SUPERVISOR_LEASE
from audioctl.jobs import JobKey, JobPhase, JobStatus
from audioctl.ledger import absorb, verdict
from audioctl.ledger.events import Event
from audioctl.ledger.journal import journal_path
from audioctl.ledger.lease import LeaseHolder, lease_path
from audioctl.ledger.models import empty_ledger, ledger_path, open_ledger
from audioctl.ledger.queries import all_days, days_with, files_read, one_day
from audioctl.runs import Run
from audioctl.states import ArchiveState, Outcome

OLD = 1_600_000_000
"""A time long ago, in seconds since 1970."""


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
        absorb.refresh(database, eventful, lambda _: {}, ["2025-01-26"])
        assert [day.day for day in all_days()] == ["2025-01-26"]
        absorb.refresh(database, eventful, lambda _: {})
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

    monkeypatch.setattr(verdict, "live_holder", ends_now)
    assert archives(state, DAY)[SLOT].state is ArchiveState.DONE


def test_a_job_that_begins_and_ends_while_we_look_is_not_told_as_lost(state: Path) -> None:
    submit(state, [SLOT])

    def has_ended(runs: Sequence[Run]) -> dict[JobKey, JobStatus]:
        write_journal(state, SLOT, whole_archive(run_id=runs[0].run_id))
        return {(runs[0].run_id, SLOT): JobStatus(JobPhase.GONE, is_final=True)}

    with open_ledger(state) as database:
        absorb.refresh(database, state, has_ended)
        found = one_day(DAY)
    assert found is not None
    assert found.state is ArchiveState.DONE
