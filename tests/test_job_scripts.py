"""The scripts of jobs: what bash does with those that work on archives."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from job_node import Node, array_task, request_on
from waiting import wait_until

from audioctl.settings import Slurm
from audioctl.templates import render_array, render_finish, render_job


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


# --- one archive ----------------------------------------------------------------------------------


def test_a_job_runs_the_archive_of_its_index(node: Node) -> None:
    script = render_job(request_on(node, "/staging/a.tar", "/staging/b.tar"))

    assert node.run(script, "1", "job-7") == 0

    (call,) = node.calls()
    assert call.arguments == [
        *("--config", str(node.run_folder / "config.toml")),
        *("process-tar", "2025-01-25", "/staging/b.tar", "12_10"),
        *("--run-id", "run-1"),
        *("--job-id", "job-7"),
    ]
    assert call.environment["HF_HUB_OFFLINE"] == "1"


def test_a_local_job_is_known_by_its_process(node: Node) -> None:
    with node.started(render_job(request_on(node, "/staging/a.tar")), "0") as job:
        job.end()

    assert node.calls()[0].arguments[-1] == str(job.pid)


@pytest.mark.parametrize(
    "name",
    [
        "a 0",
        "a'; echo foo",
        "two\nlines",
        '"$(touch stolen)`touch stolen`',
        "*",
        "back\\slash",
        "caf\udce9",
        "{{ day }}",
        "#",
        "!x",
    ],
)
def test_a_hostile_path_arrives_as_it_is(name: str, node: Node) -> None:
    script = render_job(request_on(node, f"/staging/{name}"))

    assert node.run(script, "0") == 0

    assert node.calls()[0].arguments[3:5] == ["2025-01-25", f"/staging/{name}"]
    assert not (node.run_folder / "stolen").exists()


def test_what_is_printed_is_appended_to_the_log_of_the_slot(node: Node) -> None:
    log = node.run_folder / "logs" / "12_00.log"
    log.write_text("an earlier attempt\n")

    node.run(render_job(request_on(node, "/staging/a.tar")), "0")

    assert log.read_text() == "an earlier attempt\noutput of 12_00\n"


def test_a_file_in_the_current_folder_does_not_stand_in_for_a_module(node: Node) -> None:
    (node.run_folder / "json.py").write_text("raise SystemExit('the wrong json')")

    assert node.run(render_job(request_on(node, "/staging/a.tar")), "0") == 0


@pytest.mark.parametrize("code", [1, 3, 75, 138, 143])
def test_the_exit_code_is_that_of_audioctl(code: int, node: Node) -> None:
    script = render_job(request_on(node, "/staging/a.tar"))

    assert node.run(script, "0", does={"12_00": {"code": code}}) == code


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR1"])
def test_a_signal_to_the_script_reaches_audioctl_and_its_exit_code_comes_back(name: str, node: Node) -> None:
    script = render_job(request_on(node, "/staging/a.tar"))

    with node.started(script, "0", does={"12_00": {"when_signalled": 75}}) as job:
        job.wait_until_ready()
        job.signal(name)
        assert job.end()[0] == 75

    assert (node.records / "signal").read_text() == name


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_signal_before_audioctl_hears_signals_counts_as_an_early_end(name: str, node: Node) -> None:
    script = render_job(request_on(node, "/staging/a.tar"))

    with node.started(script, "0", does={"12_00": {"never_hears": True}}) as job:
        job.wait_until_ready()
        job.signal(name)
        assert job.end()[0] == 75


# --- an array task --------------------------------------------------------------------------------


def test_an_array_task_runs_its_archives_one_after_the_other(node: Node) -> None:
    request = request_on(node, "/a.tar", "/b.tar", "/c.tar", "/d.tar", "/e.tar", slurm=Slurm(archives_per_job=2))
    script = render_array(request, "0")

    for task in (2, 0, 1):
        assert node.run(script, environ=array_task(task)) == 0

    assert [(call.subject, call.arguments[-1]) for call in node.calls()] == [
        *(("12_40", "123_2"),),
        *(("12_00", "123_0"), ("12_10", "123_0")),
        *(("12_20", "123_1"), ("12_30", "123_1")),
    ]
    assert node.slurm_calls() == []


def test_a_task_of_a_further_part_finds_its_archives(node: Node) -> None:
    request = request_on(node, "/a.tar", "/b.tar", "/c.tar")
    jobs = ("0_0", "0_1", "1_0")
    archives = [(slot, path, job) for (slot, path, _), job in zip(request.archives, jobs, strict=True)]

    assert node.run(render_array(replace(request, archives=archives), "1"), environ=array_task(0)) == 0

    assert [call.arguments[4:6] for call in node.calls()] == [["/c.tar", "12_20"]]


@pytest.mark.parametrize(
    ("codes", "code"), [((1, 0), 1), ((0, 3), 3), ((3, 1), 3), ((1, 75), 75), ((75, 1), 75), ((0, 0), 0)]
)
def test_all_archives_are_tried_and_an_early_end_counts_most(codes: tuple[int, int], code: int, node: Node) -> None:
    script = render_array(request_on(node, "/a.tar", "/b.tar", slurm=Slurm(archives_per_job=2)), "0")

    with node.started(
        script, does={"12_00": {"code": codes[0]}, "12_10": {"code": codes[1]}}, environ=array_task()
    ) as job:
        ended, output, errors = job.end()

    assert (ended, errors) == (code, "")
    assert node.subjects() == ["12_00", "12_10"]
    for slot, its_code in zip(("12_00", "12_10"), codes, strict=True):
        assert (f"{slot} ended with exit code {its_code}\n" in output) == (its_code != 0)


@pytest.mark.parametrize(("code", "times"), [(134, 4), (139, 4), (137, 1), (1, 1)])
def test_an_archive_that_crashed_is_tried_three_times_more(code: int, times: int, node: Node) -> None:
    """As often as it takes until a clip that is to blame is set aside. What the kernel killed is not tried again."""
    script = render_array(request_on(node, "/a.tar", "/b.tar", slurm=Slurm(archives_per_job=2)), "0")

    with node.started(script, does={"12_00": {"code": code}}, environ=array_task()) as job:
        ended, output, _ = job.end()

    assert ended == code
    assert node.subjects() == ["12_00"] * times + ["12_10"]
    assert output.count("is tried again") == times - 1


def test_after_a_signal_no_further_archive_is_begun(node: Node) -> None:
    script = render_array(request_on(node, "/a.tar", "/b.tar", slurm=Slurm(archives_per_job=2)), "0")

    with node.started(script, does={"12_00": {"when_signalled": 0}}, environ=array_task()) as job:
        job.wait_until_ready()
        job.signal("SIGUSR1")
        assert job.end()[0] == 75

    assert node.subjects() == ["12_00"]


def test_what_the_task_says_has_its_time_its_start_and_its_node(node: Node) -> None:
    script = render_array(request_on(node, "/a.tar"), "0")

    with node.started(script, environ=array_task(SLURM_RESTART_COUNT="2", SLURMD_NODENAME="n17")) as job:
        _, output, _ = job.end()

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \[start 3 on n17\] task 123_0 of run run-1\n", output)


def test_modules_are_loaded_before_the_work(node: Node) -> None:
    request = request_on(node, "/a.tar", slurm=Slurm(modules=("cuda/12.4", "a b")))
    module = 'module() { printf "%s\\n" "$@" >loaded; echo "$NOT_SET" >>loaded; }\n'

    for script in (render_array(request, "0"), render_finish(request)):
        assert node.run(module + script, environ=array_task()) == 0
        assert (node.run_folder / "loaded").read_text() == "load\ncuda/12.4\na b\n\n"
        (node.run_folder / "loaded").unlink()


def test_a_job_whose_module_is_missing_does_not_begin(node: Node) -> None:
    script = render_array(request_on(node, "/a.tar", slurm=Slurm(modules=("cuda",))), "0")

    assert node.run("module() { return 5; }\n" + script, environ=array_task()) == 5
    assert node.calls() == []


def test_a_task_tells_squeue_which_archive_it_is_at(node: Node) -> None:
    request = request_on(node, "/a.tar", "/b.tar", slurm=Slurm(archives_per_job=2))

    assert node.run(render_array(request, "0"), environ=array_task()) == 0

    wait_until(lambda: len(node.updates()) == 2, "both updates")
    assert sorted(node.updates()) == [
        f"scontrol update jobid=123_0 comment=audioctl 2025-01-25 {slot} (run run-1)" for slot in ("12_00", "12_10")
    ]


def test_a_comment_that_the_site_wants_is_left_as_it_is(node: Node) -> None:
    script = render_array(request_on(node, "/a.tar", slurm=Slurm(extra=("--comment=project-7",))), "0")

    assert "scontrol update" not in script
    assert node.run(script, environ=array_task()) == 0


def test_nothing_is_said_where_squeue_cannot_be_told(node: Node) -> None:
    node.install("scontrol", "#!/bin/sh\necho slurm_update error >&2\nexit 1\n")

    with node.started(render_array(request_on(node, "/a.tar"), "0"), environ=array_task()) as job:
        code, _, errors = job.end()

    assert (code, errors) == (0, "")


# --- asking to be requeued ------------------------------------------------------------------------

LOOK = "squeue --noheader --jobs=123_0 --format=%T"
REQUEUE = "scontrol requeue 123_0"
ENDED_EARLY = {"12_00": {"code": 75}}


def test_a_task_that_ended_early_asks_to_be_requeued(node: Node) -> None:
    script = render_array(request_on(node, "/a.tar"), "0")

    with node.started(script, does={"12_00": {"when_signalled": 75}}, environ=array_task()) as job:
        job.wait_until_ready()
        job.signal("SIGUSR1")
        assert job.end()[0] == 75

    assert node.slurm_calls() == [LOOK, REQUEUE]


@pytest.mark.parametrize("code", [0, 1, 3])
def test_no_other_end_is_a_reason_to_ask(code: int, node: Node) -> None:
    node.run(render_array(request_on(node, "/a.tar"), "0"), does={"12_00": {"code": code}}, environ=array_task())

    assert node.slurm_calls() == []


@pytest.mark.parametrize("state", ["COMPLETING", "PENDING", "COMPLETED", "RUNNING\nRUNNING", ""])
def test_a_task_that_is_not_simply_running_does_not_ask(state: str, node: Node) -> None:
    script = render_array(request_on(node, "/a.tar"), "0")

    with node.started(script, does=ENDED_EARLY, environ=array_task(STATE=state)) as job:
        code, output, _ = job.end()

    assert code == 75
    assert node.slurm_calls() == [LOOK]
    assert f"does not ask to be requeued, because its state is {state or 'unknown'}\n" in output


def test_where_squeue_fails_nothing_is_asked(node: Node) -> None:
    node.install("squeue", "#!/bin/bash\necho RUNNING\necho 'squeue: error: cut off' >&2\nexit 1\n")
    script = render_array(request_on(node, "/a.tar"), "0")

    with node.started(script, does=ENDED_EARLY, environ=array_task()) as job:
        code, _, errors = job.end()

    assert (code, errors) == (75, "squeue: error: cut off\n")
    assert node.slurm_calls() == []


def test_where_there_is_no_squeue_nothing_is_asked(node: Node) -> None:
    script = render_array(request_on(node, "/a.tar"), "0")

    path = node.path_with_only("bash", "date")
    with node.started(script, does=ENDED_EARLY, environ=array_task(PATH=path)) as job:
        code, _, errors = job.end()

    assert code == 75
    assert errors.endswith("squeue: command not found\n")


def test_the_users_settings_for_squeue_do_not_hide_the_job(node: Node) -> None:
    script = render_array(request_on(node, "/a.tar"), "0")

    assert node.run(script, does=ENDED_EARLY, environ=array_task(SQUEUE_STATES="PENDING", SQUEUE_USERS="me")) == 75
    assert node.slurm_calls() == [LOOK, REQUEUE]


@pytest.mark.parametrize(
    ("submission", "restarts", "asks"),
    [(1, None, True), (1, 1, True), (1, 2, False), (1, 7, False), (2, None, True), (2, 1, False), (3, None, False)],
)
def test_it_asks_until_the_attempts_are_used_up(submission: int, restarts: int | None, asks: bool, node: Node) -> None:
    request = replace(request_on(node, "/a.tar", slurm=Slurm(max_attempts=3)), submission=submission)
    count = {} if restarts is None else {"SLURM_RESTART_COUNT": str(restarts)}

    with node.started(render_array(request, "0"), does=ENDED_EARLY, environ=array_task(**count)) as job:
        code, output, _ = job.end()

    assert code == 75
    assert node.slurm_calls() == ([LOOK, REQUEUE] if asks else [])
    attempt = submission + (restarts or 0)
    assert (f"attempt {attempt} of 3 (slurm.max_attempts) was the last\n" in output) == (not asks)


def test_a_task_that_somebody_cancels_does_not_ask(node: Node) -> None:
    script = render_array(request_on(node, "/a.tar"), "0")

    with node.started(script, does={"12_00": {"when_signalled": 75}}, environ=array_task()) as job:
        job.wait_until_ready()
        (node.run_folder / "cancelled").touch()
        job.signal("SIGTERM")
        assert job.end()[0] == 75

    assert node.slurm_calls() == []


def test_a_task_that_comes_back_to_a_cancelled_run_does_nothing(node: Node) -> None:
    (node.run_folder / "cancelled").touch()

    assert node.run(render_array(request_on(node, "/a.tar"), "0"), environ=array_task()) == 0

    assert node.calls() == []
