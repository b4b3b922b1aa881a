"""A day on a real Slurm cluster on which things go wrong: nothing is lost or doubled, and what happened shows."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from cluster_day import DAY, ClusterDay
from clusters import cluster_folder
from slurm import Cluster
from waiting import wait_until

from audioctl.processes import user_name

THREE = ["00_00", "00_10", "00_20"]

NOTHING_BUT_WHAT_WAS_CANCELLED = (
    "Nothing is left to do.\n"
    f"What was cancelled stays so (archives of {DAY}); `audioctl submit-day {DAY}` submits it again.\n"
)


def processes_of(day: ClusterDay, slot: str) -> list[psutil.Process]:
    """Those that work on an archive."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            arguments = process.cmdline()
            if "process-tar" in arguments and slot in arguments and str(day.folder) in " ".join(arguments):
                found.append(process)
    return found


def kill_work(day: ClusterDay, slot: str) -> None:
    """As if its node had lost power: no word, no exit code."""
    for process in processes_of(day, slot):
        with suppress(psutil.Error):
            family = [process, *process.children(recursive=True)]
            for one in family:
                one.send_signal(signal.SIGKILL)


def test_a_job_that_reaches_its_time_limit_drains_and_goes_on(idle_cluster: Cluster, tmp_path: Path) -> None:
    # Slurm looks at time limits every 30 s: the signal comes at the first look, the limit is a minute.
    day = ClusterDay(idle_cluster, tmp_path, ["00_00"], clips=100, time="00:01:00", drain_seconds=60)
    day.take(1.0)
    day.run("submit-day", DAY)

    day.wait_for_journal("00_00", "attempt_ended")

    waiting = day.status()["00_00"]
    assert (waiting["state"], waiting["attempt"]) == ("submitted", 1)
    assert 0 < waiting["batches"]["done"] < 50
    idle_cluster.run("scontrol", "update", f"jobid={day.number()}_0", "TimeLimit=10")
    day.take(0)
    day.wait_for_states(done=1)
    first, second = day.attempts("00_00")
    assert first.job_id == second.job_id == f"{day.number()}_0"
    assert idle_cluster.accounted(f"{day.number()}_0")[0][1] == "REQUEUED"
    day.check_nothing_is_lost_or_doubled()
    log = day.run("logs", DAY, "00_00").stdout
    assert "[attempt 2]" in log
    assert "[attempt 1]" in day.run("logs", DAY, "00_00", "--attempt", "1").stdout


def test_a_job_is_requeued_no_more_often_than_max_attempts_says(idle_cluster: Cluster, tmp_path: Path) -> None:
    day = ClusterDay(idle_cluster, tmp_path, ["00_00"], clips=100, max_attempts=1)
    day.take(1.0)
    day.run("submit-day", DAY)
    day.wait_for_journal("00_00", "batch_transcribed")

    idle_cluster.run("scancel", "--signal=USR1", "--batch", f"{day.number()}_0")
    idle_cluster.wait_for_end(day.number("finish"))

    archive = day.status()["00_00"]
    assert (archive["state"], archive["reason"]) == ("failed", "drained")
    (left,) = day.summary()["left"]
    assert left["slot"] == "00_00"
    assert "slurm.max_attempts" in left["why"]
    assert len(day.runs()) == 1


def test_a_job_that_crashes_is_submitted_again_by_the_job_that_finishes_the_day(
    idle_cluster: Cluster, tmp_path: Path
) -> None:
    day = ClusterDay(idle_cluster, tmp_path, THREE)
    day.take(1.0)
    day.run("submit-day", DAY)
    day.wait_for_journal("00_10", "batch_transcribed")

    kill_work(day, "00_10")
    day.take(0)
    day.wait_for_states(done=3)

    first, second = day.runs()
    assert (first.submission, second.submission) == (1, 2)
    assert [archive.slot for archive in second.archives] == ["00_10"]
    summary = day.summary(run=0)
    assert (summary["submitted_again"], summary["next_run_id"]) == (["00_10"], second.run_id)
    assert day.summary(run=1)["totals"]["done"] == 3
    day.check_nothing_is_lost_or_doubled()


def test_what_scancel_ends_stays_cancelled_until_it_is_submitted_again(idle_cluster: Cluster, tmp_path: Path) -> None:
    day = ClusterDay(idle_cluster, tmp_path, THREE, clips=20, max_concurrent=1)
    day.take(1.0)
    day.run("submit-day", DAY)
    day.wait_for_journal("00_00", "batch_transcribed")

    idle_cluster.run("scancel", f"{day.number()}_0")  # it runs
    wait_until(lambda: day.status()["00_00"]["state"] == "cancelled", "the archive to be cancelled")
    day.take(0)
    idle_cluster.wait_for_end(day.number("finish"))

    assert day.states() == {"cancelled": 1, "done": 2}
    assert str(day.status()["00_00"]["reason"]).startswith("CANCELLED")
    assert day.summary()["left"] == [
        {"slot": "00_00", "why": "cancelled; submit it again with submit-tar or submit-day"}
    ]
    assert day.run("resume").stderr == NOTHING_BUT_WHAT_WAS_CANCELLED
    day.run("submit-day", DAY)
    day.wait_for_states(done=3)
    day.check_nothing_is_lost_or_doubled()


def test_cancel_ends_a_day_and_its_finishing_job(idle_cluster: Cluster, tmp_path: Path) -> None:
    day = ClusterDay(idle_cluster, tmp_path, THREE, clips=20, max_concurrent=1)
    day.take(1.0)
    day.run("submit-day", DAY)
    day.wait_for_journal("00_00", "batch_transcribed")
    assert "3 archives" in day.run("cancel", DAY, "--dry-run").stderr

    day.run("cancel", DAY)

    wait_until(lambda: not idle_cluster.unfinished_jobs(), "all jobs to end")
    assert day.states() == {"cancelled": 3}
    assert day.status()["00_00"]["batches"]["done"] > 0
    assert idle_cluster.jobs()[day.number("finish")] == "CANCELLED"
    assert "No job" in day.run("cancel", DAY).stderr
    assert day.run("resume").stderr == NOTHING_BUT_WHAT_WAS_CANCELLED
    day.take(0)
    day.run("submit-day", DAY)
    day.wait_for_states(done=3)
    day.check_nothing_is_lost_or_doubled()


def test_a_job_whose_node_dies_goes_on_elsewhere(idle_cluster: Cluster, tmp_path: Path) -> None:
    day = ClusterDay(idle_cluster, tmp_path, ["00_00"], clips=10)
    day.take(1.0)
    day.run("submit-day", DAY)
    day.wait_for_journal("00_00", "batch_transcribed")
    dead = day.attempts("00_00")[0].node

    idle_cluster.kill_node(dead)
    kill_work(day, "00_00")
    idle_cluster.mark_node_down(dead)

    day.take(0)
    day.wait_for_states(done=1)
    assert len({attempt.node for attempt in day.attempts("00_00")}) == 2
    assert ("NODE_FAIL") in {state for _, state in idle_cluster.accounted(f"{day.number()}_0")}
    day.check_nothing_is_lost_or_doubled()


def test_a_copy_that_runs_on_a_lost_node_and_its_successor_do_not_work_at_once(
    idle_cluster: Cluster, tmp_path: Path
) -> None:
    day = ClusterDay(idle_cluster, tmp_path, ["00_00"], clips=20)
    day.take(1.0)
    day.run("submit-day", DAY)
    day.wait_for_journal("00_00", "batch_transcribed")
    lost = day.attempts("00_00")[0].node

    idle_cluster.kill_node(lost)  # the job itself goes on
    idle_cluster.mark_node_down(lost)
    wait_until(lambda: len(processes_of(day, "00_00")) > 1, "a second copy of the job")

    assert day.status()["00_00"]["state"] == "running"
    day.take(0)
    day.wait_for_states(done=1)
    day.check_nothing_is_lost_or_doubled()


def test_what_is_owed_is_sent_by_the_job_that_finishes_the_day(idle_cluster: Cluster, tmp_path: Path) -> None:
    day = ClusterDay(idle_cluster, tmp_path, ["00_00", "00_10"])
    day.take(1.0)
    day.storage.write_text("a file where the folder should be")
    day.run("submit-day", DAY)
    finish = day.number("finish")
    idle_cluster.run("scontrol", "hold", finish)
    day.take(0)
    day.wait_for_states(failed=2)
    assert {archive["reason"] for archive in day.status().values()} == {"owed"}

    day.storage.unlink()
    idle_cluster.run("scontrol", "release", finish)
    idle_cluster.wait_for_end(finish)

    assert day.states() == {"done": 2}
    assert len(day.runs()) == 1
    assert {attempt.job_id for attempt in day.attempts("00_10")} == {f"{day.number()}_1", finish}
    day.check_nothing_is_lost_or_doubled()


@pytest.fixture
def plain_cluster() -> Iterator[Cluster]:
    """One without accounting, whose commands soon give up on a controller that is down."""
    with cluster_folder() as folder, Cluster(folder, accounting=False, settings={"MessageTimeout": "2"}) as cluster:
        yield cluster


def test_a_day_gets_done_where_no_accounts_are_kept(plain_cluster: Cluster, tmp_path: Path) -> None:
    day = ClusterDay(plain_cluster, tmp_path, THREE)
    day.take(0.5)
    day.run("submit-day", DAY)
    day.wait_for_journal("00_00", "batch_transcribed")

    kill_work(day, "00_00")

    day.take(0)
    day.wait_for_states(done=3)
    assert len(day.runs()) == 2
    day.check_nothing_is_lost_or_doubled()


def test_while_the_controller_is_down_status_says_what_the_journals_say_and_nothing_is_submitted(
    plain_cluster: Cluster, tmp_path: Path
) -> None:
    day = ClusterDay(plain_cluster, tmp_path, THREE, clips=20, max_concurrent=1)
    day.take(2.0)
    day.run("submit-day", DAY, "--slot", "00_00", "--slot", "00_10")
    day.wait_for_journal("00_00", "batch_transcribed")
    before = day.status()

    plain_cluster.stop_controller()

    status = day.run("status", DAY)
    assert "Unable to contact slurm controller" in status.stderr
    assert (
        {slot: archive["state"] for slot, archive in day.status().items()}
        == {slot: archive["state"] for slot, archive in before.items()}
        == {"00_00": "running", "00_10": "submitted"}
    )
    refused = day.attempt("submit-day", DAY)
    assert refused.returncode == 1
    assert "Unable to contact slurm controller" in refused.stderr
    assert len(day.runs()) == 1
    assert "Unable to contact" in day.attempt("cancel", DAY).stderr
    assert {archive["state"] for archive in day.status().values()} == {"running", "submitted"}
    plain_cluster.start_controller()
    day.take(0)
    day.wait_for_states(done=2)


def test_a_limit_that_is_reached_is_told_in_slurms_own_words(tmp_path: Path) -> None:
    enforced = {"AccountingStorageEnforce": "associations,limits"}
    with cluster_folder() as folder, Cluster(folder, settings=enforced) as cluster:
        cluster.run("sacctmgr", "--immediate", "add", "account", "radio")
        limit = (f"name={user_name()}", "account=radio", "MaxSubmitJobs=3")
        cluster.run("sacctmgr", "--immediate", "add", "user", *limit)
        day = ClusterDay(cluster, tmp_path, [*THREE, "00_30"], account="radio")

        refused = day.attempt("submit-day", DAY)

        assert refused.returncode == 1
        assert "AssocMaxSubmitJobLimit" in refused.stderr
        assert "slurm.archives_per_job" in refused.stderr
        assert day.runs() == []

        submitted = day.run("submit-day", DAY, "--slot", "00_00", "--slot", "00_10", "--slot", "00_20")
        assert f"No job will finish {DAY}" in submitted.stderr
        assert f"`audioctl resume {DAY}`" in submitted.stderr
        day.wait_for_states(done=3)
        day.run("submit-day", DAY)
        day.wait_for_states(done=4)


def test_a_job_that_makes_way_for_another_goes_on_afterwards(tmp_path: Path) -> None:
    settings = {"PreemptType": "preempt/partition_prio", "PreemptMode": "REQUEUE"}
    partitions = ["first Nodes=ALL PriorityTier=10", "last Nodes=ALL PriorityTier=1"]
    with (
        cluster_folder() as folder,
        Cluster(folder, nodes=1, cpus_per_node=2, settings=settings, partitions=partitions) as cluster,
    ):
        day = ClusterDay(cluster, tmp_path, ["00_00"], clips=20, partition="last", cpus_per_task=2)
        day.take(1.0)
        day.run("submit-day", DAY)
        day.wait_for_journal("00_00", "batch_transcribed")

        urgent = cluster.submit("--partition=first", "--cpus-per-task=2", commands="sleep 1")

        cluster.wait_for_end(urgent)
        day.take(0)
        day.wait_for_states(done=1)
        assert cluster.accounted(f"{day.number()}_0")[0][1] == "PREEMPTED"
        assert len(day.attempts("00_00")) == 2
        day.check_nothing_is_lost_or_doubled()
