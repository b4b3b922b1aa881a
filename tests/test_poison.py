"""A clip that takes the recogniser's process with it is set aside, and the archive goes on."""

from __future__ import annotations

import signal
import sys
from functools import partial
from pathlib import Path

import pytest
from archives import write_archive
from ledgers import archives
from workspace import DAY, SLOT, CountingEngine, Workspace, assert_mended, spoken, wait_until

from audioctl.states import ClipState, Reason

POISONED_JOB = str(Path(__file__).with_name("poisoned_job.py"))
CLIPS, POISON = 12, 7
"""Batches hold five: the poison is in the second of three."""


def run_poisoned(workspace: Workspace, poison: int) -> int:
    arguments = ("process-tar", DAY, str(workspace.archive), SLOT)
    command = [sys.executable, "-P", POISONED_JOB, str(poison), "--config", str(workspace.write_configuration())]
    process = workspace.start_program([*command, *arguments])
    process.communicate(timeout=60)
    workspace.wait_until_no_process_is_left()
    return process.returncode


@pytest.fixture
def poisoned(workspace: Workspace) -> Workspace:
    workspace.write_clips(CLIPS)
    return workspace


def test_a_clip_that_kills_three_times_is_rejected_and_everything_else_is_done(poisoned: Workspace) -> None:
    codes = [run_poisoned(poisoned, POISON) for _ in range(4)]

    assert codes == [-signal.SIGABRT] * 3 + [0]
    records = poisoned.records()
    rejected = [record for record in records.values() if record.state is not ClipState.STORED]
    assert [(record.ordinal, record.state, record.reason) for record in rejected] == [
        (POISON, ClipState.REJECTED, Reason.CRASHED_RECOGNISER)
    ]
    assert "3 times" in str(rejected[0].detail)
    heard = {name: records[name].text for name in poisoned.said if name != rejected[0].member}
    assert heard == {name: text for name, text in poisoned.said.items() if name != rejected[0].member}
    assert len(poisoned.files()) == CLIPS - 1
    assert poisoned.scratch_content() == []
    found = archives(poisoned.state, DAY)[SLOT]
    assert (found.state, found.stored, found.rejected) == ("done", CLIPS - 1, 1)


def test_what_was_heard_before_the_poison_is_not_heard_again(poisoned: Workspace) -> None:
    for _ in range(3):
        run_poisoned(poisoned, POISON)
    engine = CountingEngine()

    poisoned.process(engine=engine)

    assert sorted(engine.heard) == [ordinal for ordinal in range(5, CLIPS) if ordinal != POISON]


def test_crashes_with_several_clips_cost_none_of_them(poisoned: Workspace) -> None:
    """Memory that fails, a driver: with the same clip alone only once."""
    assert [run_poisoned(poisoned, clip) for clip in (6, 5, 6)] == [-signal.SIGABRT] * 3

    assert_mended(poisoned)


def begun_more_often(workspace: Workspace, times: int) -> bool:
    return workspace.event_names().count("recognition_begun") > times


def test_a_process_that_is_killed_is_nobodys_fault(poisoned: Workspace) -> None:
    for time in range(3):
        job = poisoned.start("process-tar", DAY, str(poisoned.archive), SLOT)
        wait_until(partial(begun_more_often, poisoned, time), "the recogniser to begin")
        job.kill()
        job.communicate()
    poisoned.wait_until_no_process_is_left()

    assert_mended(poisoned)
    assert all(event.get("clip") is None for event in poisoned.events() if event["event"] == "recognition_begun")


def test_after_a_crash_the_batch_is_heard_clip_by_clip_and_the_next_one_as_ever(poisoned: Workspace) -> None:
    run_poisoned(poisoned, 2)

    poisoned.process()

    begun = [event.get("clip") for event in poisoned.events() if event["event"] == "recognition_begun"]
    assert begun == [None, *range(5), None, None]
    poisoned.assert_all_was_heard()


def test_a_replaced_archive_begins_without_a_past(poisoned: Workspace) -> None:
    for _ in range(3):
        run_poisoned(poisoned, POISON)
    entries, poisoned.said = spoken(CLIPS, first=1)
    write_archive(poisoned.archive, entries)

    assert poisoned.process_tar().returncode == 0
    assert {name: record.text for name, record in poisoned.records().items()} == poisoned.said
