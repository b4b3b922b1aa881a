"""``audioctl doctor --on-node``: the checks in a job of a real Slurm."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from cluster_day import ClusterDay, Result
from slurm import Cluster
from waiting import wait_until


@pytest.fixture
def day(idle_cluster: Cluster, tmp_path: Path) -> ClusterDay:
    return ClusterDay(idle_cluster, tmp_path, ["00_00"], gpus="1")


def findings(result: Result) -> dict[str, dict[str, Any]]:
    return {finding["check"]: finding for finding in json.loads(result.stdout)["findings"]}


def left(day: ClusterDay) -> list[Path]:
    return list((day.state / "doctor").iterdir())


def test_a_node_is_checked_with_the_resources_of_a_job(day: ClusterDay) -> None:
    result = day.run("doctor", "--on-node", "--json")

    found = findings(result)
    machine = json.loads(result.stdout)["machine"]
    assert machine in ("node1", "node2")
    assert {name for name, finding in found.items() if finding["verdict"] == "good"} >= {
        *("node", "python", "limits", "state", "filesystem", "clock", "clocks", "scratch", "destination", "worker"),
        *("opus", "gpu", "model"),
    }
    assert f"ran on {machine}, which shares {day.state}" in found["node"]["message"]
    assert "The bundled model heard" in found["model"]["message"]
    assert "slurm" not in found
    number = found["node"]["message"].split()[1]
    job = day.cluster.run("scontrol", "show", "job", number).stdout
    assert "NumCPUs=2 " in job
    assert "gres/gpu=1" in job
    assert left(day) == []


def test_what_is_bad_on_the_node_is_told_in_the_same_table(day: ClusterDay) -> None:
    day.configure("transcribe", model=f"{day.folder}/nowhere")
    result = day.attempt("doctor", "--on-node")
    assert result.returncode == 4
    assert any(line.startswith("bad   model") and "nowhere" in line for line in result.stdout.splitlines())
    assert "A job would fail on node" in result.stderr


def test_a_job_that_cannot_begin_its_checks_says_why_and_leaves_its_log(day: ClusterDay) -> None:
    day.configure("slurm", modules=("nosuch/1.0",))
    result = day.attempt("doctor", "--on-node")
    assert result.returncode == 1
    assert "without having checked anything" in result.stderr
    assert "module" in result.stderr
    [folder] = left(day)
    assert f"{folder}/logs/slurm-" in result.stderr


def test_what_slurm_refuses_is_told_in_its_own_words(day: ClusterDay) -> None:
    day.configure("slurm", gpus="5000")
    result = day.attempt("doctor", "--on-node")
    assert result.returncode == 1
    assert "Slurm says (sbatch)" in result.stderr
    assert left(day) == []


def test_while_it_waits_in_the_queue_ctrl_c_cancels_the_job(day: ClusterDay) -> None:
    for node in day.cluster.nodes():
        day.cluster.run("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    process = day.begin("doctor", "--on-node")
    assert process.stderr is not None
    waits = process.stderr.readline()
    assert "waits in the queue" in waits
    assert "Ctrl-C cancels it" in waits
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "is cancelled" in errors
    wait_until(lambda: not day.cluster.unfinished_jobs(), "the job to be gone")
    assert left(day) == []
