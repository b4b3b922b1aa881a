"""The script of the job that finishes a day: what bash does with it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from job_node import FINISHING, Does, Job, Node, request_on

from audioctl.templates import render_finish


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def finish_script(node: Node, **sections: object) -> str:
    return render_finish(request_on(node, "/a.tar", "/b.tar", "/c.tar", "/d.tar", **sections))


def test_what_is_owed_is_sent_and_then_the_day_is_finished(node: Node) -> None:
    owed = {"prints": "12_10\n12_30"}

    assert node.run(finish_script(node), does={"list-owed": owed, "finish-day": {"code": 3}}, environ=FINISHING) == 3

    config = ["--config", str(node.run_folder / "config.toml")]
    run_and_job = ["--run-id", "run-1", "--job-id", "200"]
    assert [call.arguments for call in node.calls()] == [
        [*config, "list-owed", "2025-01-25", "--run-id", "run-1"],
        [*config, "process-tar", "2025-01-25", "/b.tar", "12_10", *run_and_job],
        [*config, "process-tar", "2025-01-25", "/d.tar", "12_30", *run_and_job],
        [*config, "finish-day", "2025-01-25", "--run-id", "run-1"],
    ]
    assert (node.run_folder / "logs" / "12_10.log").read_text() == "output of 12_10\n"


@pytest.mark.parametrize("printed", ["", "12", "x12_10", "12_100"])
def test_only_slots_that_were_named_owe_anything(printed: str, node: Node) -> None:
    assert node.run(finish_script(node), does={"list-owed": {"prints": printed}}, environ=FINISHING) == 0

    assert node.subjects() == ["list-owed", "finish-day"]


def test_what_cannot_be_sent_keeps_nothing_from_being_finished(node: Node) -> None:
    does: Does = {"list-owed": {"prints": "12_00\n12_10"}, "12_00": {"code": 3}}

    with node.started(finish_script(node), does=does, environ=FINISHING) as job:
        code, output, _ = job.end()

    assert code == 0
    assert node.subjects() == ["list-owed", "12_00", "12_10", "finish-day"]
    assert "12_00 ended with exit code 3\n" in output


def test_where_nobody_can_tell_what_is_owed_the_job_ends(node: Node) -> None:
    assert node.run(finish_script(node), does={"list-owed": {"code": 4, "prints": "12_00"}}, environ=FINISHING) == 4

    assert node.subjects() == ["list-owed"]


@pytest.mark.parametrize("during", ["list-owed", "12_00"])
def test_when_its_time_is_short_it_sends_nothing_more_and_finishes_the_day(during: str, node: Node) -> None:
    with started_finishing(node, during) as job:
        job.signal("SIGUSR1")
        (node.records / "enough").touch()
        assert job.end()[0] == 3

    assert node.subjects() == [*dict.fromkeys(["list-owed", during]), "finish-day"]


@pytest.mark.parametrize("during", ["list-owed", "12_00"])
def test_a_finishing_job_that_is_cancelled_or_preempted_submits_nothing(during: str, node: Node) -> None:
    with started_finishing(node, during) as job:
        job.signal("SIGTERM")
        (node.records / "enough").touch()
        assert job.end()[0] == 75

    assert node.subjects() == [*dict.fromkeys(["list-owed", during])]


@contextlib.contextmanager
def started_finishing(node: Node, during: str) -> Iterator[Job]:
    """Two archives owe something; ``during`` tells what has begun."""
    slow = {"takes_long": True} if during == "list-owed" else {"when_signalled": 75}
    does: dict[str, dict[str, object]] = {"list-owed": {"prints": "12_00\n12_10"}, "finish-day": {"code": 3}}
    does[during] = {**does.get(during, {}), **slow}
    with node.started(finish_script(node), does=does, environ=FINISHING) as job:
        job.wait_until_ready()
        yield job


def test_a_node_with_no_python_at_all_says_so(node: Node) -> None:
    request = replace(request_on(node, "/a.tar"), python="/gone/bin/python")

    with node.started(render_finish(request), environ=FINISHING) as job:
        code, _, errors = job.end()

    assert code == 127
    assert "/gone/bin/python: No such file or directory" in errors
