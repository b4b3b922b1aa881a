"""What is known of jobs, from what squeue and sacct answer: prepared answers, as a real Slurm 22.05 gave them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fake_slurm import DOWN, NO_ACCOUNTING, FakeSlurm, install, sacct_row, squeue_row

from audioctl.executors.slurm_jobs import IN_DOUBT_SECONDS, LATE_SECONDS, ArrayOfRun, look
from audioctl.executors.slurm_words import ENDS
from audioctl.jobs import JobPhase, JobStatus

NAME = "audioctl-20250125T123000Z-0001-0"
OTHER = "audioctl-20250126T123000Z-0002-0"
ME = "ada"


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    return install(tmp_path, monkeypatch)


@pytest.fixture
def told() -> list[str]:
    """Trouble that a person was told of."""
    return []


def array(tasks: int = 1, **changes: Any) -> ArrayOfRun:
    """An array of an hour ago, whose number was told."""
    values: dict[str, Any] = {"name": NAME, "number": "12", "age_seconds": 3600.0, "user": ME}
    return ArrayOfRun(tasks=frozenset(range(tasks)), **(values | changes))


def queued(task: int | str, state: str, **columns: str) -> str:
    return squeue_row(task, state, **{"name": NAME, **columns})


def accounted(task: int | str, state: str, **columns: str) -> str:
    return sacct_row(task, state, **{"name": NAME, **columns})


def statuses(told: list[str], *arrays: ArrayOfRun) -> Mapping[int, JobStatus]:
    """Of the first array."""
    found = look(arrays, told.append, me=ME)
    return found[arrays[0].name].statuses if found else {}


def phases(told: list[str], *arrays: ArrayOfRun) -> dict[int, JobPhase]:
    return {task: status.phase for task, status in statuses(told, *arrays).items()}


# One answer for all


def test_one_squeue_tells_of_many_runs(slurm: FakeSlurm, told: list[str]) -> None:
    slurm.prepare_squeue(
        queued(0, "RUNNING", node="node1"), queued(1, "PENDING", reason="JobArrayTaskLimit"),
        squeue_row(0, "PENDING", name=OTHER, number="15", reason="Dependency"),
    )  # fmt: skip
    found = look([array(2), array(name=OTHER, number="15")], told.append, me=ME)
    assert found[NAME].statuses == {
        0: JobStatus(JobPhase.RUNNING, "12_0", "RUNNING", node="node1"),
        1: JobStatus(JobPhase.WAITING, "12_1", "PENDING", "JobArrayTaskLimit"),
    }
    assert found[OTHER].statuses == {0: JobStatus(JobPhase.WAITING, "15_0", "PENDING", "Dependency")}
    (call,) = slurm.calls
    assert call.program == "squeue"
    assert call.option("name") == f"{NAME},{OTHER}"
    assert {"--array", "--states=all"} <= set(call.command), "each task, also those that have ended"
    assert told == []


def test_jobs_that_ended_a_moment_ago_need_no_second_question(slurm: FakeSlurm, told: list[str]) -> None:
    ends = [word for word in ENDS if word != "FAILED"]
    slurm.prepare_squeue(*(queued(task, word, node="node1") for task, word in enumerate(ends)))
    found = statuses(told, array(len(ends)))
    assert slurm.programs == ["squeue"]
    for task, word in enumerate(ends):
        expected = None if word == "COMPLETED" else word
        assert found[task] == JobStatus(JobPhase.GONE, f"12_{task}", expected, ENDS[word], "node1", is_final=True)


def test_a_failed_job_is_looked_up_for_its_exit_code(slurm: FakeSlurm, told: list[str]) -> None:
    slurm.prepare_squeue(queued(0, "FAILED", node="node1"))
    slurm.prepare_sacct(accounted(0, "FAILED", exit_code="127:0"))
    status = statuses(told, array())[0]
    assert status.is_final
    assert status.word == "FAILED"
    assert "127:0" in str(status.detail)


@pytest.mark.parametrize(("answer", "is_final"), [("late", False), ("none", True), ("down", False)])
def test_a_failed_job_stays_one_without_its_exit_code(
    slurm: FakeSlurm, told: list[str], answer: str, is_final: bool
) -> None:
    slurm.prepare_squeue(queued(0, "FAILED", node="node1"))
    if answer == "late":
        slurm.prepare_sacct(accounted(0, "RUNNING"))
    else:
        slurm.fail("sacct", NO_ACCOUNTING if answer == "none" else "sacct: error: Connection refused")
    status = statuses(told, array())[0]
    assert (status.phase, status.word, status.is_final) == (JobPhase.GONE, "FAILED", is_final)


def test_a_cancelled_job_is_told_by_squeue_as_long_as_it_is_there(slurm: FakeSlurm, told: list[str]) -> None:
    slurm.prepare_squeue(queued(0, "CANCELLED", node="node1"))
    assert statuses(told, array()) == {
        0: JobStatus(JobPhase.CANCELLED, "12_0", "CANCELLED", node="node1", is_final=True)
    }
    assert slurm.programs == ["squeue"]


def test_only_the_tasks_that_somebody_asks_about_matter(slurm: FakeSlurm, told: list[str]) -> None:
    slurm.prepare_squeue(queued(1, "RUNNING"), queued(7, "FAILED"))
    only_one = ArrayOfRun(NAME, "12", frozenset({1}), 3600.0, ME)
    assert phases(told, only_one) == {1: JobPhase.RUNNING}
    assert slurm.programs == ["squeue"]


# Jobs that squeue does not have any more


@pytest.mark.parametrize("word", ENDS)
def test_sacct_has_the_word_for_the_end_of_a_job_that_aged_out_of_squeue(
    slurm: FakeSlurm, told: list[str], word: str
) -> None:
    slurm.prepare_squeue()
    slurm.prepare_sacct(accounted(0, word))
    expected = None if word == "COMPLETED" else word
    assert statuses(told, array()) == {0: JobStatus(JobPhase.GONE, "12_0", expected, ENDS[word], "node1", True)}
    assert slurm.programs == ["squeue", "sacct"]
    assert slurm.calls[1].option("jobs") == "12"
    assert "--allocations" in slurm.calls[1].command, "jobs, not their steps"


def test_one_sacct_is_asked_about_those_arrays_only_of_which_something_is_gone(
    slurm: FakeSlurm, told: list[str]
) -> None:
    slurm.prepare_squeue(squeue_row(0, "RUNNING", name=OTHER, number="15"))
    slurm.prepare_sacct(accounted(0, "TIMEOUT"), accounted(0, "NODE_FAIL", number="19", name="audioctl-x-0"))
    arrays = [array(), array(name=OTHER, number="15"), array(name="audioctl-x-0", number="19")]
    found = look(arrays, told.append, me=ME)
    assert found[NAME].statuses[0].word == "TIMEOUT"
    assert found["audioctl-x-0"].statuses[0].word == "NODE_FAIL"
    assert slurm.programs == ["squeue", "sacct"]
    assert slurm.calls[1].option("jobs") == "12,19"


def test_a_cancelled_job_is_told_with_who_cancelled_it(slurm: FakeSlurm, told: list[str]) -> None:
    slurm.prepare_squeue(queued(0, "RUNNING"))
    slurm.prepare_sacct(accounted(0, "RUNNING"), accounted("[1-3%2]", "CANCELLED by 1001", node="None assigned"))
    found = statuses(told, array(4))
    assert found[0].phase is JobPhase.RUNNING
    for task in (1, 2, 3):
        assert found[task] == JobStatus(JobPhase.CANCELLED, f"12_{task}", "CANCELLED by 1001", is_final=True)


def test_an_exit_code_is_told_and_one_of_them_explained(slurm: FakeSlurm, told: list[str]) -> None:
    slurm.prepare_squeue()
    slurm.prepare_sacct(accounted(0, "FAILED", exit_code="0:9"), accounted(1, "FAILED", exit_code="0:53"))
    found = statuses(told, array(2))
    assert "(exit code 0:9)" in str(found[0].detail)
    assert "paths.state_dir" in str(found[1].detail)


def test_steps_of_a_job_are_not_the_job(slurm: FakeSlurm, told: list[str]) -> None:
    slurm.prepare_squeue()
    slurm.prepare_sacct(accounted(0, "TIMEOUT"), accounted("0.batch", "CANCELLED", exit_code="0:15"))
    assert statuses(told, array())[0].word == "TIMEOUT"


# The array's rows


def test_a_range_stands_for_each_of_its_tasks(slurm: FakeSlurm, told: list[str]) -> None:
    slurm.prepare_squeue(queued("0,3-5%2", "PENDING", reason="Priority"), queued("0x6", "RUNNING"))
    found = statuses(told, array(6))
    assert {task: status.job_id for task, status in found.items()} == {task: f"12_{task}" for task in range(6)}
    assert [found[task].phase for task in range(6)] == [
        JobPhase.WAITING, JobPhase.RUNNING, JobPhase.RUNNING, JobPhase.WAITING, JobPhase.WAITING, JobPhase.WAITING,
    ]  # fmt: skip


@pytest.mark.parametrize("order", [1, -1])
def test_the_own_row_of_a_task_wins_over_the_range_that_it_was_part_of(
    slurm: FakeSlurm, told: list[str], order: int
) -> None:
    slurm.prepare_squeue(*[queued(1, "RUNNING"), queued("[1-2%4]", "PENDING")][::order])
    slurm.prepare_sacct(*[accounted(0, "NODE_FAIL"), accounted("[0-2%4]", "PENDING")][::order])
    found = statuses(told, array(3))
    assert [found[task].phase for task in range(3)] == [JobPhase.GONE, JobPhase.RUNNING, JobPhase.WAITING]
    assert (found[0].word, found[0].is_final) == ("NODE_FAIL", True)


def test_of_a_list_that_slurm_cut_nothing_is_known_and_nothing_is_gone(slurm: FakeSlurm, told: list[str]) -> None:
    slurm.prepare_squeue(queued(0, "RUNNING"), queued("[1,4,7,...", "PENDING"))
    assert phases(told, array(200)) == {0: JobPhase.RUNNING}
    assert slurm.programs == ["squeue"]


def test_lists_are_asked_for_whole(slurm: FakeSlurm, told: list[str]) -> None:
    slurm.prepare_squeue()
    slurm.prepare_sacct()
    statuses(told, array())
    assert [call.environment["SLURM_BITSTR_LEN"] for call in slurm.calls] == ["0", "0"]


def test_tasks_that_were_cancelled_one_by_one_are_told_by_the_row_of_their_array(
    slurm: FakeSlurm, told: list[str]
) -> None:
    """As `scancel --user` or `--name` leaves it; a task that ended before has its own row in sacct."""
    slurm.prepare_squeue(queued(0, "CANCELLED", node="node1"), f"12|12|N/A|CANCELLED||{NAME}|Priority")
    slurm.prepare_sacct(accounted(1, "TIMEOUT"), f"12|{NAME}|CANCELLED by 1001|0:0|None assigned")
    assert statuses(told, array(3)) == {
        0: JobStatus(JobPhase.CANCELLED, "12_0", "CANCELLED", node="node1", is_final=True),
        1: JobStatus(JobPhase.GONE, "12_1", "TIMEOUT", ENDS["TIMEOUT"], "node1", is_final=True),
        2: JobStatus(JobPhase.CANCELLED, "12_2", "CANCELLED by 1001", is_final=True),
    }


@pytest.mark.parametrize("row", [NAME, "allocation", None])
def test_tasks_that_were_cancelled_one_by_one_are_cancelled_before_sacct_knows(
    slurm: FakeSlurm, told: list[str], row: str | None
) -> None:
    slurm.prepare_squeue(f"12|12|N/A|CANCELLED||{NAME}|Priority")
    slurm.prepare_sacct(*([f"12|{row}|CANCELLED by 0|0:0|None assigned"] if row else []))
    status = statuses(told, array(age_seconds=60.0))[0]
    assert (status.phase, status.is_final) == (JobPhase.CANCELLED, row == NAME)


def test_a_job_that_failed_before_its_array_was_cancelled_is_no_cancelled_one(
    slurm: FakeSlurm, told: list[str]
) -> None:
    slurm.prepare_squeue(queued(0, "FAILED"), f"12|12|N/A|CANCELLED||{NAME}|Priority")
    slurm.prepare_sacct(f"12|{NAME}|CANCELLED by 0|0:0|None assigned")
    assert statuses(told, array(2))[0].phase is JobPhase.GONE


# Rows that are late, half, or never come


def test_a_task_without_a_row_is_gone_and_its_end_may_still_be_told(slurm: FakeSlurm, told: list[str]) -> None:
    slurm.prepare_squeue(queued(0, "RUNNING"))
    slurm.prepare_sacct()
    status = statuses(told, array(2, age_seconds=LATE_SECONDS - 1))[1]
    assert (status.phase, status.job_id, status.word, status.is_final) == (JobPhase.GONE, "12_1", None, False)
    assert "no word" in str(status.detail)


def test_a_row_that_has_not_come_by_now_never_will(slurm: FakeSlurm, told: list[str]) -> None:
    """So it is with a waiting task that was cancelled alone, and with jobs that aged out of the accounting."""
    slurm.prepare_squeue()
    slurm.prepare_sacct()
    status = statuses(told, array(age_seconds=LATE_SECONDS + 1))[0]
    assert (status.phase, status.word, status.is_final) == (JobPhase.GONE, None, True)


@pytest.mark.parametrize(
    "row",
    [
        accounted(0, "COMPLETED", name="allocation"),
        accounted(0, "RUNNING"),
        accounted("[0-3%2]", "PENDING"),
        accounted(0, "HIBERNATING"),
    ],
    ids=["half a row", "a row of before its end", "a range of before its beginning", "a word of a future Slurm"],
)
def test_a_row_that_is_late_or_half_is_waited_for(slurm: FakeSlurm, told: list[str], row: str) -> None:
    slurm.prepare_squeue()
    slurm.prepare_sacct(row)
    status = statuses(told, array())[0]
    assert (status.phase, status.word, status.is_final) == (JobPhase.GONE, None, False)


@pytest.mark.parametrize("name", ["train", OTHER])
def test_another_job_with_our_number_is_none_of_ours(slurm: FakeSlurm, told: list[str], name: str) -> None:
    slurm.prepare_squeue()
    slurm.prepare_sacct(accounted(0, "TIMEOUT", name=name), f"12|{name}|CANCELLED by 7|0:0|node1")
    assert statuses(told, array())[0] == JobStatus(
        JobPhase.GONE, "12_0", detail="Its job has gone, and Slurm has no word for its end", is_final=True
    )


def test_a_word_of_a_future_slurm_in_squeue_means_unknown(slurm: FakeSlurm, told: list[str]) -> None:
    slurm.prepare_squeue(queued(0, "HIBERNATING"))
    assert phases(told, array()) == {0: JobPhase.UNKNOWN}
    assert slurm.programs == ["squeue"]


# Where nobody answers, or not all


@pytest.mark.parametrize("answer", ["fails", "is empty", "has no header"])
def test_without_an_answer_of_squeue_nothing_is_known_and_that_is_told_once(
    slurm: FakeSlurm, told: list[str], answer: str
) -> None:
    match answer:
        case "fails":
            slurm.fail("squeue", DOWN)
        case "is empty":
            slurm.prepare("squeue", "")
        case _:
            slurm.prepare("squeue", "slurm_load_jobs: nothing\n")
    assert look([array(), array(name=OTHER)], told.append, me=ME) == {}
    assert len(told) == 1
    assert "not known now" in told[0]


@pytest.mark.parametrize("answer", ["fails", "is empty"])
def test_without_an_answer_of_sacct_what_squeue_said_holds_and_that_is_told_once(
    slurm: FakeSlurm, told: list[str], answer: str
) -> None:
    slurm.prepare_squeue(queued(0, "RUNNING"), squeue_row(0, "RUNNING", name=OTHER, number="15"))
    slurm.prepare("sacct", code=1 if answer == "fails" else 0, stderr="sacct: error: Problem talking to the database")
    found = look([array(2), array(2, name=OTHER, number="15")], told.append, me=ME)
    for name in (NAME, OTHER):
        assert found[name].statuses[0].phase is JobPhase.RUNNING
        assert (found[name].statuses[1].phase, found[name].statuses[1].is_final) == (JobPhase.GONE, False)
    assert len(told) == 1
    assert "not known yet" in told[0]


def test_where_no_accounts_are_kept_no_word_will_come_and_nobody_is_told(slurm: FakeSlurm, told: list[str]) -> None:
    slurm.prepare_squeue(f"12|12|N/A|CANCELLED||{NAME}|Priority", squeue_row(0, "RUNNING", name=OTHER, number="15"))
    slurm.fail("sacct", NO_ACCOUNTING)
    found = look([array(age_seconds=1), array(2, name=OTHER, number="15", age_seconds=1)], told.append, me=ME)
    assert (found[NAME].statuses[0].phase, found[NAME].statuses[0].is_final) == (JobPhase.CANCELLED, True)
    assert (found[OTHER].statuses[1].phase, found[OTHER].statuses[1].is_final) == (JobPhase.GONE, True)
    assert told == []


def test_of_somebody_elses_jobs_that_the_site_may_hide_nothing_is_known(slurm: FakeSlurm, told: list[str]) -> None:
    slurm.prepare_squeue()
    assert statuses(told, array(user="grace")) == {}
    assert slurm.programs == ["squeue"]


def test_somebody_elses_jobs_are_told_as_far_as_they_are_shown(slurm: FakeSlurm, told: list[str]) -> None:
    slurm.prepare_squeue(queued(0, "RUNNING"))
    slurm.prepare_sacct(accounted(1, "TIMEOUT"))
    assert phases(told, array(2, user="grace")) == {0: JobPhase.RUNNING, 1: JobPhase.GONE}


@pytest.mark.parametrize(
    ("users", "me", "asked"), [([ME, ME], ME, ME), ([ME, "grace"], ME, None), (["1001"], "1001", None)]
)
def test_squeue_is_asked_about_one_user_only_where_all_is_ours_and_slurm_knows_our_name(
    slurm: FakeSlurm, told: list[str], users: list[str], me: str, asked: str | None
) -> None:
    """Of a user that it does not know, squeue has an empty answer and no error."""
    slurm.prepare_squeue(*(queued(0, "RUNNING", name=f"{NAME}{index}") for index in range(len(users))))
    arrays = [array(name=f"{NAME}{index}", user=user) for index, user in enumerate(users)]
    look(arrays, told.append, me=me)
    assert slurm.calls[0].option("user") == asked


# Submissions of which sbatch's answer is not known


def test_a_job_whose_number_was_not_told_is_found_by_its_name(slurm: FakeSlurm, told: list[str]) -> None:
    slurm.prepare_squeue(queued(0, "PENDING", number="77"))
    found = look([array(number=None, age_seconds=5.0)], told.append, me=ME)
    assert found[NAME].number == "77"
    assert found[NAME].statuses[0].job_id == "77_0"


def test_a_submission_that_squeue_does_not_have_yet_is_in_doubt(slurm: FakeSlurm, told: list[str]) -> None:
    slurm.prepare_squeue()
    assert statuses(told, array(number=None, age_seconds=IN_DOUBT_SECONDS - 1)) == {}
    assert slurm.programs == ["squeue"]


@pytest.mark.parametrize(("age_seconds", "is_final"), [(IN_DOUBT_SECONDS + 1, False), (LATE_SECONDS + 1, True)])
def test_a_submission_that_squeue_still_does_not_have_was_not_taken(
    slurm: FakeSlurm, told: list[str], age_seconds: float, is_final: bool
) -> None:
    slurm.prepare_squeue()
    status = statuses(told, array(number=None, age_seconds=age_seconds))[0]
    assert status == JobStatus(JobPhase.GONE, detail="Slurm has not taken its job", is_final=is_final)
    assert slurm.programs == ["squeue"]


def test_whether_somebody_elses_submission_was_taken_is_not_known(slurm: FakeSlurm, told: list[str]) -> None:
    slurm.prepare_squeue()
    assert statuses(told, array(number=None, user="grace")) == {}


# Several clusters


def test_the_line_that_names_the_cluster_is_no_answer(slurm: FakeSlurm, told: list[str]) -> None:
    slurm.prepare("squeue", f"CLUSTER: lab\nJOBID|A|T|STATE|NODELIST|NAME|REASON\n{queued(0, 'RUNNING')}\n")
    assert phases(told, array()) == {0: JobPhase.RUNNING}
