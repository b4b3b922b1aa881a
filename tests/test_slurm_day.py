"""A day on a real Slurm cluster, from submit-day to a finished day that nobody had to watch."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from cluster_day import DAY, ClusterDay
from psycopg import Connection
from slurm import Cluster
from waiting import wait_until

from audioctl.demo import make_demo_day
from audioctl.ledger.journal import journal_path
from audioctl.runs import run_folder

TWELVE = [f"{hour:02}_{minute:02}" for hour in (0, 1) for minute in range(0, 60, 10)]
HOSTILE = """it's a "day" #1 %A $(touch stolen) &"""


def test_twelve_archives_are_done_on_two_nodes_never_more_at_once_than_allowed(
    idle_cluster: Cluster, tmp_path: Path
) -> None:
    day = ClusterDay(
        idle_cluster, tmp_path / HOSTILE, TWELVE, cpus_per_task=4, max_concurrent=3, mail_user="me@here.org"
    )
    day.take(0.2)

    submitted = day.run("submit-day", DAY)

    assert "Submitted 12 of 12 archives." in submitted.stderr
    array, finish = day.number(), day.number("finish")
    assert {archive["job_id"] for archive in day.status().values()} == {f"{array}_{task}" for task in range(12)}
    most = 0
    while finish in (jobs := idle_cluster.unfinished_jobs()):
        running = [job for job, state in jobs.items() if state == "RUNNING" and job.startswith(f"{array}_")]
        most = max(most, len(running))
        time.sleep(0.1)
    assert most == 3
    archives = day.status()
    assert {archive["state"] for archive in archives.values()} == {"done"}
    assert {archive["node"] for archive in archives.values()} == {"node1", "node2"}
    assert [archive["attempt"] for archive in archives.values()] == [1] * 12
    summary = day.summary()
    assert (summary["state"], summary["left"], summary["next_run_id"]) == ("done", [], None)
    assert summary["totals"]["done"] == 12
    assert idle_cluster.jobs()[finish] == "COMPLETED"
    (mail,) = [mail for mail in idle_cluster.mails() if mail.recipient == "me@here.org"]
    assert f"Job_id={finish} Name=audioctl-" in mail.subject
    assert "COMPLETED, ExitCode 0" in mail.subject
    assert not list(tmp_path.rglob("stolen"))
    day.check_nothing_is_lost_or_doubled()
    assert day.run("resume").stderr == "Nothing is left to do.\n"


def test_squeue_tells_what_each_job_is_at_and_logs_are_json_where_they_should_be(
    idle_cluster: Cluster, tmp_path: Path
) -> None:
    day = ClusterDay(idle_cluster, tmp_path, ["00_00", "00_10", "00_20"], max_concurrent=2)
    day.configure("logging", format="json")
    day.take(5.0)

    def shown() -> dict[str, str]:
        lines = idle_cluster.run("squeue", "--noheader", "--format=%i|%k").stdout.splitlines()
        return dict(line.split("|", 1) for line in lines)

    day.run("submit-day", DAY)

    array, finish, run = day.number(), day.number("finish"), f"(run {day.runs()[-1].run_id})"
    wait_until(
        lambda: (
            shown()
            == {
                f"{array}_0": f"audioctl {DAY} 00_00 {run}",
                f"{array}_1": f"audioctl {DAY} 00_10 {run}",
                f"{array}_2": f"audioctl {DAY}: 3 archives, 00_00 to 00_20 {run}",
                finish: f"audioctl {DAY}: finishes the day {run}",
            }
        ),
        "both tasks to say what they work on",
    )
    day.take(0)
    idle_cluster.wait_for_end(finish)
    log = run_folder(day.state, day.runs()[-1]) / "logs" / "00_10.log"
    told = [json.loads(line) for line in log.read_text().splitlines()]
    assert {(line["slot"], line["job_id"], line["attempt"]) for line in told} == {("00_10", f"{array}_1", 1)}
    assert f"[attempt 1] {told[-1]['message']}\n" in day.run("logs", DAY, "00_10").stdout


def test_the_monitoring_page_sees_a_day_as_it_goes_and_jobs_find_the_database(
    idle_cluster: Cluster, tmp_path: Path, upgraded: Connection
) -> None:
    day = ClusterDay(idle_cluster, tmp_path, ["00_00", "00_10"], clips=20)
    day.configure("database", enabled=True)
    day.take(1.0)
    queue = "select status, slurm_job_id, processing_end is not null from processing_queue where year = 2025"

    day.run("submit-day", DAY)

    day.wait_for_journal("00_10", "batch_transcribed")
    assert upgraded.execute(queue).fetchall() == [("processing", int(day.number()), False)]
    idle_cluster.run("scancel", f"{day.number()}_1")
    day.take(0)
    idle_cluster.wait_for_end(day.number("finish"))
    assert upgraded.execute(queue).fetchall() == [("processing_failed", int(day.number()), True)]
    day.run("submit-day", DAY)
    idle_cluster.wait_for_end(day.number("finish"))
    assert upgraded.execute(queue).fetchall() == [("completed", int(day.number()), True)]
    assert upgraded.execute("select count(*) from transcripts").fetchone() == (len(day.said),)
    day.run("verify", DAY)
    scripts = "".join(path.read_text() for path in day.state.rglob("*.sbatch"))
    assert "DB_CREDS" not in scripts


def test_what_is_under_way_is_refused_with_its_number(idle_cluster: Cluster, tmp_path: Path) -> None:
    day = ClusterDay(idle_cluster, tmp_path, ["00_00", "00_10"])
    day.take(1.0)
    day.run("submit-day", DAY)

    again = day.attempt("submit-day", DAY)

    assert again.returncode == 1
    assert f"2 archives of {DAY} are under way as job {day.number()}" in again.stderr
    archive = f"{tmp_path}/{DAY}/0_{DAY}_00_10.tar.xz"
    assert f"job {day.number()}" in day.attempt("submit-tar", DAY, archive, "00_10").stderr
    assert len(day.runs()) == 1


def test_of_two_submissions_at_once_one_is_refused(idle_cluster: Cluster, tmp_path: Path) -> None:
    day = ClusterDay(idle_cluster, tmp_path, ["00_00", "00_10"])
    day.take(1.0)

    both = [day.begin("submit-day", DAY) for _ in range(2)]

    errors = [process.communicate(timeout=60)[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 1]
    assert any("are under way as job" in error for error in errors)
    (run,) = day.runs()
    arrays = idle_cluster.run("squeue", "--noheader", f"--name=audioctl-{run.run_id}-0", "--format=%F").stdout.split()
    assert set(arrays) == {day.number()}


def test_a_dry_run_prints_what_would_be_submitted_and_submits_nothing(idle_cluster: Cluster, tmp_path: Path) -> None:
    day = ClusterDay(idle_cluster, tmp_path, ["00_00"])
    before = idle_cluster.jobs()

    dry = day.run("submit-day", DAY, "--dry-run")

    assert idle_cluster.jobs() == before
    assert not day.state.exists()
    day.run("submit-day", DAY)
    (run,) = day.runs()
    dry_id = dry.stdout.partition("--job-name=audioctl-")[2].partition("-0\n")[0]
    for name in ("array-0.sbatch", "finish.sbatch", "config.toml"):
        submitted = (run_folder(day.state, run) / name).read_text()
        assert submitted.replace(run.run_id, dry_id).rstrip("\n") in dry.stdout


def test_several_archives_share_a_job_and_what_it_had_no_time_for_waits_with_it(
    idle_cluster: Cluster, tmp_path: Path
) -> None:
    day = ClusterDay(idle_cluster, tmp_path, ["00_00", "00_10", "00_20"], clips=20, archives_per_job=2)
    day.take(1.0)
    day.run("submit-day", DAY)
    array = day.number()
    day.wait_for_journal("00_00", "batch_transcribed")
    archives = day.status()
    assert [archive["job_id"] for archive in archives.values()] == [f"{array}_0", f"{array}_0", f"{array}_1"]
    assert archives["00_10"]["state"] == "submitted"

    idle_cluster.run("scancel", "--signal=USR1", "--batch", f"{array}_0")  # as Slurm does before the time limit

    wait_until(lambda: day.status()["00_10"]["reason"], "the job to wait for another go")
    assert day.status()["00_00"]["state"] == "submitted"
    assert str(day.status()["00_00"]["reason"]).startswith("requeued")
    day.take(0)
    day.wait_for_states(done=3)
    assert [attempt.attempt for attempt in day.attempts("00_00")] == [1, 2]
    assert [attempt.attempt for attempt in day.attempts("00_10")] == [1]
    day.check_nothing_is_lost_or_doubled()


def test_a_range_of_days_is_worked_on_some_days_at_a_time(idle_cluster: Cluster, tmp_path: Path) -> None:
    days = ["2025-01-25", "2025-01-26", "2025-01-27"]
    day = ClusterDay(idle_cluster, tmp_path, ["00_00"], days_at_once=1)
    for name in days[1:]:
        make_demo_day(tmp_path / name, name, ["00_00"], clips_per_archive=2)

    day.run("submit-day", f"{days[0]}..{days[2]}")

    dependencies = idle_cluster.run("squeue", "--noheader", "--format=%j|%E").stdout
    assert dependencies.count("|afterany:") >= 4, dependencies
    shown = day.run("status").stdout
    assert all(name in shown for name in days)

    def all_done() -> bool:
        found = json.loads(day.run("status", "--json").stdout)["days"]
        return [one["state"] for one in found] == ["done"] * 3

    wait_until(all_done, "three days to be done")
    begun = [journal_path(day.state, name, "00_00").stat().st_mtime for name in days]
    assert begun == sorted(begun)


@pytest.mark.parametrize(
    ("name", "template", "message"),
    [
        ("array.sbatch.j2", "#!/bin/bash\n{{ nothing }}\n", "'nothing' is undefined"),
        ("finish.sbatch.j2", "{% extends 'nowhere' %}", "nowhere"),
    ],
)
def test_a_fault_in_a_users_template_is_told_before_anything_is_submitted(
    idle_cluster: Cluster, tmp_path: Path, name: str, template: str, message: str
) -> None:
    day = ClusterDay(idle_cluster, tmp_path, ["00_00"])
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / name).write_text(template)
    day.configure("paths", templates=str(templates))

    refused = day.attempt("submit-day", DAY)

    assert refused.returncode == 4
    assert message in refused.stderr
    assert f"{templates / name}, line" in refused.stderr
    assert day.runs() == []


def test_a_wrong_partition_is_told_in_slurms_own_words_with_the_setting(idle_cluster: Cluster, tmp_path: Path) -> None:
    day = ClusterDay(idle_cluster, tmp_path, ["00_00"], partition="nosuch")

    refused = day.attempt("submit-day", DAY)

    assert refused.returncode == 1
    assert "invalid partition specified: nosuch" in refused.stderr
    assert "slurm.partition" in refused.stderr
    assert day.runs() == []
    assert day.status() == {}
