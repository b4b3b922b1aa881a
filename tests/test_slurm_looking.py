"""Finding and ending the jobs of runs in Slurm, with prepared answers of Slurm's commands."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_slurm import DOWN, FakeSlurm, sacct_row, squeue_row
from fake_submissions import DAY, SLOTS, aged, in_doubt, prepare, sbatch_numbers
from journals import whole_archive, write_journal
from ledgers import archives as archives_of_day

from audioctl.errors import SchedulerError
from audioctl.executors.slurm import SlurmExecutor, job_name
from audioctl.jobs import JobPhase
from audioctl.runs import Run
from audioctl.states import ArchiveState
from audioctl.submission import submit_run

# Looking


def submitted_runs(fake: FakeSlurm, state: Path) -> list[Run]:
    """Two of an hour ago: one in arrays of two tasks, the other with two archives in a task."""
    sbatch_numbers(fake, "5", "6", "7", "8", "9")
    runs = []
    for day, size, per_job in ((DAY, 2, 1), ("2025-01-26", 1001, 2)):
        prepared = prepare(fake, state, day=day, max_array_size=size, archives_per_job=per_job)
        submit_run(prepared, SlurmExecutor())
        runs.append(aged(prepared.run, 3600))
    fake.forget_calls()
    return runs


def test_each_archive_has_the_status_of_its_task_from_one_squeue_for_all(fake: FakeSlurm, state: Path) -> None:
    first, second = submitted_runs(fake, state)
    fake.prepare_squeue(
        squeue_row(0, "RUNNING", name=job_name(first.run_id, "0"), number="5", node="node1"),
        squeue_row(1, "PENDING", name=job_name(first.run_id, "0"), number="5"),
        squeue_row(0, "PENDING", name=job_name(first.run_id, "1"), number="6"),
        squeue_row(0, "RUNNING", name=job_name(second.run_id, "0"), number="8", node="node2"),
        squeue_row(1, "TIMEOUT", name=job_name(second.run_id, "0"), number="8", node="node2"),
    )
    found = SlurmExecutor().look(state, [first, second], print)
    assert {key: (status.job_id, status.word) for key, status in found.items()} == {
        (first.run_id, "12_00"): ("5_0", "RUNNING"),
        (first.run_id, "12_10"): ("5_1", "PENDING"),
        (first.run_id, "12_20"): ("6_0", "PENDING"),
        (second.run_id, "12_00"): ("8_0", "RUNNING"),
        (second.run_id, "12_10"): ("8_0", "RUNNING"),
        (second.run_id, "12_20"): ("8_1", "TIMEOUT"),
    }
    assert fake.programs == ["squeue"]


def test_where_slurm_is_down_everything_is_unknown(fake: FakeSlurm, state: Path) -> None:
    runs = submitted_runs(fake, state)
    fake.fail("squeue", DOWN)
    told: list[str] = []
    found = SlurmExecutor().look(state, runs, told.append)
    assert len(found) == 6
    assert {status.phase for status in found.values()} == {JobPhase.UNKNOWN}
    assert len(told) == 1


def test_slurm_is_asked_until_it_has_told_how_each_job_ended_and_never_again(fake: FakeSlurm, state: Path) -> None:
    prepared = prepare(fake, state)
    sbatch_numbers(fake, "5", "6")
    submit_run(prepared, SlurmExecutor())
    run, name = prepared.run, job_name(prepared.run.run_id, "0")
    fake.forget_calls()
    done_row = squeue_row(0, "COMPLETED", name=name, number="5")
    fake.prepare_squeue(done_row, squeue_row("1-2", "PENDING", name=name, number="5"))
    fake.prepare_squeue(done_row)
    fake.prepare_sacct(sacct_row(1, "TIMEOUT", name=name, number="5"))
    fake.prepare_sacct(*(sacct_row(task, "TIMEOUT", name=name, number="5") for task in (1, 2)))
    write_journal(state, "12_00", whole_archive(run_id=run.run_id, job_id="5_0"))

    def look() -> dict[str, tuple[ArchiveState, str | None]]:
        return {slot: (archive.state, archive.reason) for slot, archive in archives_of_day(state, DAY).items()}

    done, failed = (ArchiveState.DONE, None), (ArchiveState.FAILED, "TIMEOUT")
    waits = (ArchiveState.SUBMITTED, None)
    assert look() == {"12_00": done, "12_10": waits, "12_20": waits}
    assert look() == {"12_00": done, "12_10": failed, "12_20": (ArchiveState.FAILED, "lost")}
    assert look() == {"12_00": done, "12_10": failed, "12_20": failed}
    asked = fake.programs
    assert look() == {"12_00": done, "12_10": failed, "12_20": failed}
    assert fake.programs == asked


def test_of_what_is_done_no_end_is_looked_up(fake: FakeSlurm, state: Path) -> None:
    """Minutes after its end a job is gone from squeue; a day in which others still run costs one call all the same."""
    prepared = prepare(fake, state)
    sbatch_numbers(fake, "5", "6")
    submit_run(prepared, SlurmExecutor())
    fake.forget_calls()
    write_journal(state, "12_00", whole_archive(run_id=prepared.run.run_id, job_id="5_0"))
    fake.prepare_squeue(squeue_row("1-2", "PENDING", name=job_name(prepared.run.run_id, "0"), number="5"))
    fake.prepare_sacct()
    assert archives_of_day(state, DAY)["12_00"].state is ArchiveState.DONE
    assert fake.programs == ["squeue"]


def test_where_journals_settle_everything_slurm_is_not_asked(fake: FakeSlurm, state: Path) -> None:
    prepared = prepare(fake, state)
    sbatch_numbers(fake, "5", "6")
    submit_run(prepared, SlurmExecutor())
    fake.forget_calls()
    for slot in SLOTS:
        write_journal(state, slot, whole_archive(run_id=prepared.run.run_id))
    assert {archive.state for archive in archives_of_day(state, DAY).values()} == {ArchiveState.DONE}
    assert fake.programs == []


# Ending


def test_all_jobs_of_some_runs_are_ended_in_one_call(fake: FakeSlurm, state: Path) -> None:
    runs = submitted_runs(fake, state)
    fake.prepare("scancel")
    SlurmExecutor().cancel(state, runs)
    assert [call.command for call in fake.calls] == [["scancel", "5", "6", "7", "8", "9"]]


def test_jobs_that_cannot_be_ended_are_told(fake: FakeSlurm, state: Path) -> None:
    runs = submitted_runs(fake, state)
    fake.fail("scancel", "scancel: error: Kill job error on job id 5: Access/permission denied", code=210)
    with pytest.raises(SchedulerError, match="permission denied"):
        SlurmExecutor().cancel(state, runs)


def test_where_no_job_is_known_there_is_none_to_end(fake: FakeSlurm, state: Path) -> None:
    run = in_doubt(fake, state)
    SlurmExecutor().cancel(state, [run])
    assert fake.programs == []
