"""What Slurm's words mean: for the life of a job, for its end, and for the tasks of an array."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audioctl.executors.slurm_words import ENDS, STUCK, parse_tasks, phase_of, why_waiting
from audioctl.jobs import JobPhase

WORDS = {
    JobPhase.WAITING: "PENDING REQUEUED REQUEUE_FED REQUEUE_HOLD SPECIAL_EXIT RESV_DEL_HOLD",
    JobPhase.RUNNING: "CONFIGURING POWER_UP_NODE RUNNING COMPLETING SUSPENDED STOPPED SIGNALING STAGE_OUT RESIZING",
    JobPhase.GONE: (
        "COMPLETED FAILED TIMEOUT OUT_OF_MEMORY NODE_FAIL PREEMPTED BOOT_FAIL DEADLINE LAUNCH_FAILED RECONFIG_FAIL "
        "REVOKED"
    ),
    JobPhase.CANCELLED: "CANCELLED",
}
"""squeue(1) and sacct(1), "JOB STATE CODES", from 22.05 to 25.x."""


@pytest.mark.parametrize(("word", "phase"), [(word, phase) for phase, words in WORDS.items() for word in words.split()])
def test_each_word_tells_whether_the_job_may_still_begin_or_go_on(word: str, phase: JobPhase) -> None:
    assert phase_of(word) is phase


@pytest.mark.parametrize("word", ["CANCELLED by 1001", "CANCELLED by 0", "CANCELLED+"])
def test_who_cancelled_a_job_does_not_matter(word: str) -> None:
    assert phase_of(word) is JobPhase.CANCELLED


@pytest.mark.parametrize("word", ["HIBERNATING", "", "running", "?", "PENDINGS"])
def test_a_word_of_a_future_slurm_tells_nothing(word: str) -> None:
    assert phase_of(word) is JobPhase.UNKNOWN


def test_each_end_has_its_meaning_in_words() -> None:
    assert set(WORDS[JobPhase.GONE].split()) == ENDS.keys()


def test_a_waiting_job_says_why_and_what_that_means_where_it_is_not_plain() -> None:
    assert why_waiting("Priority") == "Priority"
    assert why_waiting("JobHeldUser") == f"JobHeldUser: {STUCK['JobHeldUser']}"
    assert "scontrol release" in (why_waiting("launch failed requeued held") or "")


@pytest.mark.parametrize("reason", ["", "None", "(null)"])
def test_a_job_that_waits_for_nothing_says_nothing(reason: str) -> None:
    assert why_waiting(reason) is None


# The tasks of an array


@pytest.mark.parametrize(
    ("text", "tasks"),
    [
        ("7", {7}),
        ("[7]", {7}),
        ("[3-5%2]", {3, 4, 5}),
        ("6-19%4", set(range(6, 20))),
        ("[0,2-3%1]", {0, 2, 3}),
        ("[9-15:2,20%2]", {9, 11, 13, 15, 20}),
        ("0-198:3", set(range(0, 199, 3))),
        ("0x3FC", set(range(2, 10))),
        ("0x1", {0}),
    ],
)
def test_tasks_are_read_as_slurm_prints_them(text: str, tasks: set[int]) -> None:
    assert parse_tasks(text) == frozenset(tasks)


@pytest.mark.parametrize(
    "text",
    [
        "[1,4,7,...",
        "1,4,7,...,61,...",
        "[1,4,7,10,13,16,19,22,25,28,",
        "[1,4,7,10,13,16,19,22,25,2",
        "[1-4%",
        "1-4]",
        "N/A",
        "",
        "[]",
        "0x",
        "3.batch",
        "٣",
    ],
)
def test_what_slurm_cut_off_or_says_in_another_way_is_no_list_of_tasks(text: str) -> None:
    assert parse_tasks(text) is None


@st.composite
def ranges(draw: st.DrawFn) -> tuple[str, frozenset[int]]:
    """A range as Slurm writes it, and its tasks."""
    first, count, step = draw(st.tuples(st.integers(0, 4_000_000), st.integers(1, 50), st.integers(1, 9)))
    tasks = range(first, first + count * step, step)
    if count == 1:
        return str(first), frozenset(tasks)
    return f"{first}-{tasks[-1]}" + (f":{step}" if step > 1 else ""), frozenset(tasks)


throttles = st.one_of(st.just(""), st.integers(0, 999).map("%{}".format))
arrays = st.lists(ranges(), min_size=1, max_size=6)


@given(arrays, throttles, st.booleans())
def test_whatever_ranges_an_array_has_its_tasks_are_found(
    parts: list[tuple[str, frozenset[int]]], throttle: str, in_brackets: bool
) -> None:
    text = ",".join(text for text, _ in parts) + throttle
    assert parse_tasks(f"[{text}]" if in_brackets else text) == frozenset().union(*(tasks for _, tasks in parts))


@given(arrays, throttles, st.data())
def test_a_list_that_was_cut_anywhere_is_no_list(
    parts: list[tuple[str, frozenset[int]]], throttle: str, data: st.DataObject
) -> None:
    text = f"[{','.join(text for text, _ in parts)}{throttle}]"
    cut = data.draw(st.integers(0, len(text) - 1))
    assert parse_tasks(text[:cut]) is None
    assert parse_tasks(f"{text[:cut]}...") is None


@given(st.frozensets(st.integers(0, 300), min_size=1))
def test_a_bitmap_has_a_bit_for_each_task(tasks: frozenset[int]) -> None:
    assert parse_tasks(f"0x{sum(1 << task for task in tasks):X}") == tasks
