"""The Slurm of our tests is a real one, and what they do to it really happens."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from clusters import cluster_folder
from slurm import Cluster, Mail
from waiting import wait_until

STARTED_AND_KILLED = """
import os, pathlib, signal, sys
from slurm import Cluster

cluster = Cluster(pathlib.Path(sys.argv[1]), accounting=False)
cluster.start()
print(cluster.nodes(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with cluster_folder() as path:
        yield path


def processes_of(folder: Path) -> list[str]:
    """Command lines of those that are in it, or name it there or in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            command = " ".join(process.cmdline())
            if str(folder) in f"{command} {process.cwd()} {process.environ()}":
                found.append(command)
        except psutil.Error:  # it has ended meanwhile
            continue
    return found


def test_an_array_runs_on_both_nodes_and_the_accounting_tells_its_end(idle_cluster: Cluster) -> None:
    commands = "echo $SLURMD_NODENAME; exit $SLURM_ARRAY_TASK_ID"
    job = idle_cluster.submit("--array=0-3", "--cpus-per-task=4", "--output=%A_%a", commands=commands)

    idle_cluster.wait_for_end(job)

    nodes = Counter((idle_cluster.work / f"{job}_{task}").read_text().strip() for task in range(4))
    assert nodes == {"node1": 2, "node2": 2}
    ends = [(f"{job}_0", "COMPLETED"), (f"{job}_1", "FAILED"), (f"{job}_2", "FAILED"), (f"{job}_3", "FAILED")]
    wait_until(lambda: sorted(idle_cluster.accounted(job)) == ends, "the accounting of the array")


def test_a_job_runs_as_the_user_who_handed_it_in_and_sees_the_gpus_it_asked_for(idle_cluster: Cluster) -> None:
    job = idle_cluster.submit("--gpus=2", "--output=seen", commands="id -un; echo $CUDA_VISIBLE_DEVICES", user="nobody")

    idle_cluster.wait_for_end(job)

    assert (idle_cluster.work / "seen").read_text().split() == ["nobody", "0,1"]


def test_mail_of_slurm_arrives(idle_cluster: Cluster) -> None:
    job = idle_cluster.submit("--mail-type=END", "--mail-user=me@here.org", commands="true")

    def mails() -> list[Mail]:
        return [mail for mail in idle_cluster.mails() if f"Job_id={job} " in mail.subject]

    wait_until(mails, "the mail about the job")
    assert [mail.recipient for mail in mails()] == ["me@here.org"]
    assert "COMPLETED" in mails()[0].subject


def test_a_job_fails_with_its_node(idle_cluster: Cluster) -> None:
    job = idle_cluster.submit("--no-requeue", "--nodelist=node1", commands="sleep 600")
    idle_cluster.wait_for_state(job, "RUNNING")

    idle_cluster.kill_node("node1")
    idle_cluster.mark_node_down("node1")

    idle_cluster.wait_for_state(job, "NODE_FAIL")
    idle_cluster.start_node("node1")
    assert idle_cluster.nodes() == {"node1": "idle", "node2": "idle"}


def test_a_job_goes_on_without_the_controller(idle_cluster: Cluster) -> None:
    job = idle_cluster.submit(commands="until [ -e over ]; do sleep 0.1; done")
    idle_cluster.wait_for_state(job, "RUNNING")

    idle_cluster.stop_controller()
    assert idle_cluster.attempt("scontrol", "ping").returncode != 0
    (idle_cluster.work / "over").touch()
    idle_cluster.start_controller()

    idle_cluster.wait_for_end(job)
    assert idle_cluster.jobs()[job] == "COMPLETED"


def test_accounting_catches_up_after_an_outage(idle_cluster: Cluster) -> None:
    idle_cluster.stop_accounting()
    assert "Connection refused" in idle_cluster.attempt("sacct").stderr
    job = idle_cluster.submit(commands="true")
    idle_cluster.wait_for_end(job)

    idle_cluster.start_accounting()

    wait_until(lambda: (job, "COMPLETED") in idle_cluster.accounted(job), "the accounting of the job")


def test_an_idle_cluster_is_whole_again_whatever_was_done_to_it(cluster: Cluster) -> None:
    stubborn = "trap '' TERM; sleep 600 & wait; wait; sleep 600"
    job = cluster.submit("--array=0-19", commands=stubborn)
    cluster.submit(f"--dependency=afterany:{job}", commands=stubborn)
    cluster.wait_for_state(f"{job}_0", "RUNNING")
    cluster.kill_node("node2")
    cluster.stop_accounting()
    cluster.freeze_controller()

    cluster.make_idle()

    assert cluster.unfinished_jobs() == {}
    assert cluster.nodes() == {"node1": "idle", "node2": "idle"}
    cluster.run("sacct")


def test_a_frozen_controller_does_later_what_it_was_asked(folder: Path) -> None:
    with Cluster(folder, nodes=1, accounting=False, settings={"MessageTimeout": "2"}) as cluster:
        cluster.freeze_controller()
        refused = cluster.attempt("sbatch", stdin="#!/bin/sh\n")
        assert "Socket timed out" in refused.stderr

        cluster.thaw_controller()

        wait_until(cluster.jobs, "the job that sbatch gave up")


def test_nothing_is_left_of_a_cluster_that_was_stopped(folder: Path) -> None:
    with Cluster(folder, accounting=False) as cluster:
        job = cluster.submit(commands="trap '' TERM; setsid sleep 600 & sleep 600; wait")
        cluster.wait_for_state(job, "RUNNING")
        wait_until(lambda: "sleep 600" in processes_of(folder), "the job's own processes")

    assert processes_of(folder) == []


def test_the_daemons_end_with_the_process_that_started_them(folder: Path) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", STARTED_AND_KILLED, folder], cwd=Path(__file__).parent, capture_output=True, text=True
    )

    assert killed.stdout == "{'node1': 'idle', 'node2': 'idle'}\n", killed.stderr
    wait_until(lambda: not processes_of(folder), "all daemons to end")


def test_missing_programs_are_told_with_their_packages(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slurm_daemons.SEARCH_PATH", str(folder))

    with pytest.raises(
        RuntimeError, match="apt-get install --no-install-recommends munge slurmctld slurmd slurm-client"
    ):
        Cluster(folder)
