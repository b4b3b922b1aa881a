"""What the job that finishes a day decides, and when it stops waiting."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from journals import AT, DAY

from audioctl.archives import Archive
from audioctl.database.queue import QueueStatus
from audioctl.finishing import (
    Left,
    Repairs,
    choose_repairs,
    exit_code_of,
    owed,
    summarize,
    wait_until_settled,
    write_summary,
)
from audioctl.ledger.queries import ArchiveStatus, BatchCounts, DayStatus, Totals
from audioctl.pipeline.day_queue import status_of
from audioctl.runs import Run, RunArchive
from audioctl.states import ArchiveState, ExitCode
from audioctl.submission import Decision, decide_resumption

RUN_ID = "20250126T080000Z-ab12"
MAX_ATTEMPTS = 3


def archive(slot: str, state: ArchiveState, reason: str | None = None, **changes: Any) -> ArchiveStatus:
    found = ArchiveStatus(
        slot=slot, path=f"/staging/{slot}.tar", state=state, attempt=1, run_id=RUN_ID, job_id="77_0", node="gpu1",
        batches=BatchCounts(5, 3, 0), clips=600, stored=600, rejected=0, skipped=0, audio_seconds=9e3, owed_record=0,
        owed_upload=0, started_at=None, finished_at=None, reason=reason, error=None,
    )  # fmt: skip
    return msgspec.structs.replace(found, **changes)


def run_of(*slots: str, attempts_before: int = 0, submission: int = 1) -> Run:
    archives = [
        RunArchive(slot, f"/staging/{slot}.tar", f"0_{index}", attempts_before) for index, slot in enumerate(slots)
    ]
    return Run(RUN_ID, DAY, AT, "0.1.0", "slurm", 8, archives, "me", submission)


def day_of(*archives: ArchiveStatus) -> DayStatus:
    totals = Totals(archives=len(archives))
    for one in archives:
        setattr(totals, one.state.value, getattr(totals, one.state.value) + 1)
    return DayStatus(DAY, archives[0].state, totals, None, None, list(archives))


def repairs_of(run: Run, *archives: ArchiveStatus, hopeless: frozenset[str] = frozenset()) -> Repairs:
    decisions = [decide_resumption(Archive(DAY, one.slot, Path(one.path), 1, 1), one, None) for one in archives]
    return choose_repairs(run, {one.slot: one for one in archives}, decisions, set(hopeless), MAX_ATTEMPTS)


FAILED = ArchiveState.FAILED


@pytest.mark.parametrize(
    "reason", ["TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "lost", "drained", "owed", "failed"]
)
def test_what_a_resume_would_take_up_is_submitted_again(reason: str) -> None:
    repairs = repairs_of(run_of("00_00"), archive("00_00", FAILED, reason))
    assert [decision.archive.slot for decision in repairs.again] == ["00_00"]
    assert repairs.left == []


def test_what_is_done_is_left_alone_and_what_only_a_person_can_mend_is_told() -> None:
    repairs = repairs_of(
        run_of("00_00", "00_10", "00_20"),
        archive("00_10", ArchiveState.CANCELLED, "CANCELLED by 7"),
        archive("00_20", FAILED, "failed", error="There is no folder /models."),
        hopeless=frozenset({"00_20"}),
    )
    assert repairs.again == []
    assert {left.slot: left.why.partition(";")[0] for left in repairs.left} == {
        "00_10": "cancelled",
        "00_20": "failed: There is no folder /models. (trying again would not help)",
    }


@pytest.mark.parametrize(
    ("attempt", "attempts_before", "submission", "again"),
    [
        (1, 0, 1, True),
        (2, 0, 1, True),
        (3, 0, 1, False),  # its own job was requeued twice
        (9, 7, 1, True),  # a person has submitted it again since the seventh
        (9, 6, 1, False),
        (0, 0, 2, True),  # no job ever began
        (0, 0, 3, False),
    ],
)
def test_attempts_count_since_a_person_submitted_the_archive(
    attempt: int, attempts_before: int, submission: int, again: bool
) -> None:
    run = run_of("00_00", attempts_before=attempts_before, submission=submission)
    repairs = repairs_of(run, archive("00_00", FAILED, "lost", attempt=attempt))
    assert bool(repairs.again) is again
    assert [left.why for left in repairs.left] == (
        [] if again else ["its job went away after 3 batches (attempt 3; slurm.max_attempts)"]
    )


def test_what_somebody_submitted_again_meanwhile_is_not_ours() -> None:
    newer = archive("00_00", FAILED, "lost", run_id="another")
    decision = Decision(Archive(DAY, "00_00", Path("/staging/00_00.tar"), 1, 1), True, "lost")
    assert newer.run_id != RUN_ID
    assert choose_repairs(run_of("00_00"), {}, [decision], set(), MAX_ATTEMPTS) == Repairs([], [])


def test_it_waits_until_no_job_of_the_run_holds_an_archive() -> None:
    looks = iter(
        [
            day_of(archive("00_00", ArchiveState.RUNNING), archive("00_10", ArchiveState.DONE)),
            day_of(archive("00_00", ArchiveState.SUBMITTED), archive("00_10", ArchiveState.DONE)),
            day_of(
                archive("00_00", FAILED, "NODE_FAIL"),
                archive("00_10", ArchiveState.DONE),
                archive("00_20", ArchiveState.RUNNING, run_id="another"),
            ),
        ]
    )
    settled = wait_until_settled(lambda: next(looks), run_of("00_00", "00_10"), look_seconds=0)
    assert {slot: status.state for slot, status in settled.items()} == {
        "00_00": FAILED,
        "00_10": ArchiveState.DONE,
    }
    assert next(looks, None) is None


def test_it_does_not_wait_for_ever() -> None:
    running = day_of(archive("00_00", ArchiveState.RUNNING))
    found = wait_until_settled(lambda: running, run_of("00_00"), patience_seconds=0.05, look_seconds=0.01)
    assert found["00_00"].state is ArchiveState.RUNNING


def test_only_what_is_finished_but_for_its_sending_is_owed() -> None:
    archives = [
        archive("00_00", FAILED, "owed"),
        archive("00_10", FAILED, "drained"),
        archive("00_20", ArchiveState.DONE),
    ]
    assert owed({one.slot: one for one in archives}) == ["00_00"]


def ends() -> Iterator[tuple[list[ArchiveStatus], list[Left], str | None, ExitCode]]:
    done, lost = archive("00_00", ArchiveState.DONE), archive("00_10", FAILED, "lost")
    damaged = archive("00_20", ArchiveState.DAMAGED, "cut_off")
    yield [done], [], None, ExitCode.DONE
    yield [done, lost], [], "another", ExitCode.DONE
    yield [done, lost], [Left("00_10", "lost")], None, ExitCode.FAILED
    yield [done, damaged], [Left("00_20", "damaged")], None, ExitCode.LOOK


@pytest.mark.parametrize(("archives", "left", "next_run_id", "code"), list(ends()))
def test_the_exit_code_tells_whether_a_person_is_needed(
    archives: list[ArchiveStatus], left: list[Left], next_run_id: str | None, code: ExitCode, tmp_path: Path
) -> None:
    summary = summarize(run_of("00_00"), day_of(*archives), Repairs([], left), next_run_id)
    assert exit_code_of(summary) is code
    written = json.loads(write_summary(tmp_path, summary).read_text())
    assert (written["schema"], written["day"], written["totals"]["archives"]) == (1, DAY, len(archives))
    assert [one["slot"] for one in written["archives"]] == [one.slot for one in archives]


def test_what_could_not_be_submitted_again_is_left_to_a_person() -> None:
    repairs = repairs_of(run_of("00_00"), archive("00_00", FAILED, "lost"))
    day = day_of(archive("00_00", FAILED, "lost"))
    summary = summarize(run_of("00_00"), day, repairs, None)
    assert [left.slot for left in summary.left] == ["00_00"]
    assert summary.submitted_again == []
    assert exit_code_of(summary) is ExitCode.FAILED
    assert exit_code_of(summarize(run_of("00_00"), day, repairs, "another")) is ExitCode.DONE


@pytest.mark.parametrize(
    ("states", "status", "error"),
    [
        ([(ArchiveState.DONE, None)], QueueStatus.COMPLETED, None),
        ([(ArchiveState.DONE, None), (ArchiveState.RUNNING, None)], QueueStatus.PROCESSING, None),
        ([(FAILED, "TIMEOUT"), (ArchiveState.SUBMITTED, None)], QueueStatus.PROCESSING, "00_00: TIMEOUT"),
        ([(FAILED, "owed")], QueueStatus.COMPLETED_WITH_ERRORS, "00_00: owed"),
        ([(ArchiveState.DAMAGED, "cut_off")], QueueStatus.COMPLETED_WITH_ERRORS, "00_00: cut_off"),
        ([(FAILED, "TIMEOUT"), (FAILED, "owed")], QueueStatus.FAILED, "00_00: TIMEOUT; and 1 more archives"),
        ([(ArchiveState.DONE, None), (ArchiveState.CANCELLED, None)], QueueStatus.FAILED, None),
    ],
)
def test_the_monitoring_page_is_told_where_the_day_stands(
    states: list[tuple[ArchiveState, str | None]], status: QueueStatus, error: str | None
) -> None:
    archives = [archive(f"00_{number}0", state, reason) for number, (state, reason) in enumerate(states)]
    assert status_of(day_of(*archives)) == (status, error)
