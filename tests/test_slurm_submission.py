"""Runs submitted to a real Slurm, which says no, is down, or hangs and takes them all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters import cluster_folder
from slurm import Cluster
from waiting import wait_until

from audioctl.archives import Archive
from audioctl.errors import SchedulerError, SchedulerSilentError
from audioctl.executors import slurm as slurm_module
from audioctl.executors.slurm import SlurmExecutor
from audioctl.jobs import UNKNOWN, JobPhase, JobStatus
from audioctl.runs import Run
from audioctl.settings import Paths, Settings, Slurm
from audioctl.submission import PreparedRun, prepare_run, submit_run

DAY = "2025-01-25"
SLOTS = ["12_00", "12_10", "12_20", "12_30", "12_40"]
HELD = ("--hold",)
"""Hardly anything here needs jobs that run. Of held ones, Slurm does not check whether they ever could."""


@pytest.fixture(scope="module")
def small_cluster() -> Iterator[Cluster]:
    """Arrays have at most three tasks, there are no accounts, and commands give up on the controller after 2 s."""
    settings = {"MaxArraySize": "3", "MessageTimeout": "2"}
    with cluster_folder() as folder, Cluster(
        folder, nodes=1, gpus_per_node=2, accounting=False, settings=settings
    ) as running:  # fmt: skip
        yield running


@pytest.fixture
def cluster(small_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    for name, value in small_cluster.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(slurm_module, "_SECONDS_BETWEEN_LOOKS", 0.5)
    try:
        yield small_cluster
    finally:
        small_cluster.make_idle()


def finishing_job(prepared: PreparedRun) -> str:
    return (prepared.folder / "finish.job").read_text().strip()


def prepare(folder: Path, archives: int = 3, **slurm: Any) -> PreparedRun:
    modest: dict[str, Any] = {"cpus_per_task": 1, "mem": "100M", "extra": HELD, "finish_mem": "100M"}
    settings = Settings(paths=Paths(state_dir=str(folder / "state")), slurm=Slurm(**(modest | slurm)))
    found = [Archive(DAY, slot, Path(f"/staging/{slot}.tar"), 1_000, 7) for slot in SLOTS[:archives]]
    return prepare_run(DAY, found, settings, SlurmExecutor(), 2)


def look(folder: Path, run: Run) -> dict[str, JobStatus]:
    return {slot: status for (_, slot), status in SlurmExecutor().look(folder / "state", [run], print).items()}


def phases(folder: Path, run: Run) -> list[JobPhase]:
    return [status.phase for status in look(folder, run).values()]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"partition": "nosuch"}, "Invalid partition name"),
        ({"gres": "nosuch:1"}, "Invalid generic resource"),
        ({"gpus": "9"}, "node configuration is not available"),
        ({"gres": "gpu:h100:1"}, "node configuration is not available"),
        ({"mem": "999G"}, "Memory specification can not be satisfied"),
        ({"time": "soon"}, "Invalid --time specification"),
        ({"constraint": "nosuch"}, "Invalid feature"),
        ({"reservation": "nosuch"}, "reservation is invalid"),
        ({"exclude": "nosuch"}, "Invalid node name"),
        ({"extra": ("--nosuch=1",)}, "unrecognized option"),
    ],
    ids=str,
)
def test_what_slurm_refuses_is_told_with_the_setting_to_change_and_leaves_nothing(
    cluster: Cluster, tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    prepared = prepare(tmp_path, **{"extra": (), **settings})
    with pytest.raises(SchedulerError, match=said) as caught:
        submit_run(prepared, SlurmExecutor())
    assert any(name in str(caught.value.hint) for name in settings)
    assert list(prepared.folder.parent.iterdir()) == []
    assert cluster.unfinished_jobs() == {}


def test_a_day_that_is_too_long_for_one_array_is_a_chain_of_arrays(cluster: Cluster, tmp_path: Path) -> None:
    prepared = prepare(tmp_path, archives=5, extra=())
    holder = cluster.submit("--hold", commands="true")
    submitted = submit_run(prepared, SlurmExecutor(), [holder])
    first, second = submitted.numbers
    assert list(submitted.job_ids.values()) == [f"{first}_0", f"{first}_1", f"{first}_2", f"{second}_0", f"{second}_1"]
    rows = cluster.run("squeue", "--noheader", "--format=%F|%E").stdout.splitlines()
    dependencies = {number: waits_for for number, _, waits_for in (row.partition("|") for row in rows)}
    assert holder in dependencies[first]
    assert f"afterany:{first}_*" in dependencies[second]
    last = dependencies[finishing_job(prepared)]
    assert f"afterany:{first}_*" in last
    assert f"afterany:{second}_*" in last
    found = look(tmp_path, prepared.run)
    assert {status.phase for status in found.values()} == {JobPhase.WAITING}
    assert [status.job_id for status in found.values()] == list(submitted.job_ids.values())


def test_a_controller_that_is_down_takes_nothing_and_tells_nothing(cluster: Cluster, tmp_path: Path) -> None:
    first, second = prepare(tmp_path), prepare(tmp_path)
    submit_run(first, SlurmExecutor())
    cluster.stop_controller()
    with pytest.raises(SchedulerError, match="Unable to contact") as caught:
        submit_run(second, SlurmExecutor())
    assert not isinstance(caught.value, SchedulerSilentError)
    assert not second.folder.exists()
    told: list[str] = []
    found = SlurmExecutor().look(tmp_path / "state", [first.run], told.append)
    assert set(found.values()) == {UNKNOWN}
    assert len(told) == 1
    assert "Unable to contact" in told[0]
    cluster.start_controller()
    assert phases(tmp_path, first.run) == [JobPhase.WAITING] * 3


def test_a_job_that_a_frozen_controller_takes_later_is_adopted(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare(tmp_path)
    look_for = slurm_module._look_for

    def thaws_before_it_is_asked(name: str, silence: SchedulerSilentError) -> str | None:
        cluster.thaw_controller()
        return look_for(name, silence)

    monkeypatch.setattr(slurm_module, "_look_for", thaws_before_it_is_asked)
    cluster.freeze_controller()
    (number,) = submit_run(prepared, SlurmExecutor()).numbers
    assert set(cluster.unfinished_jobs()) == {
        *(f"{number}_{task}" for task in range(3)),
        finishing_job(prepared),
    }


def test_a_job_that_a_frozen_controller_takes_after_we_gave_up_is_found(cluster: Cluster, tmp_path: Path) -> None:
    prepared = prepare(tmp_path)
    cluster.freeze_controller()
    with pytest.raises(SchedulerSilentError, match="timed out"):
        submit_run(prepared, SlurmExecutor())
    assert set(look(tmp_path, prepared.run).values()) == {UNKNOWN}
    cluster.thaw_controller()

    def is_found() -> bool:
        found = phases(tmp_path, prepared.run)
        assert set(found) <= {JobPhase.UNKNOWN, JobPhase.WAITING}, "it is in doubt, not gone"
        return found == [JobPhase.WAITING] * 3

    wait_until(is_found, "the job to be found")
    number = (prepared.folder / "array-0.job").read_text().strip()
    assert f"{number}_2" in cluster.unfinished_jobs()


@pytest.mark.parametrize("way", ["by number", "by name", "by us"])
def test_jobs_that_were_cancelled_are_told_as_cancelled_however_it_was_done(
    cluster: Cluster, tmp_path: Path, way: str
) -> None:
    """By name or user, Slurm cancels the tasks one by one, and keeps a row of the array alone."""
    prepared = prepare(tmp_path)
    (number,) = submit_run(prepared, SlurmExecutor()).numbers
    match way:
        case "by number":
            cluster.run("scancel", number)
        case "by name":
            cluster.run("scancel", f"--name=audioctl-{prepared.run.run_id}-0")
        case _:
            SlurmExecutor().cancel(tmp_path / "state", [prepared.run])
            assert cluster.unfinished_jobs() == {}
    assert phases(tmp_path, prepared.run) == [JobPhase.CANCELLED] * 3


def test_a_waiting_task_that_was_cancelled_alone_has_gone_without_a_word(cluster: Cluster, tmp_path: Path) -> None:
    prepared = prepare(tmp_path)
    (number,) = submit_run(prepared, SlurmExecutor()).numbers
    cluster.run("scancel", f"{number}_1")
    assert phases(tmp_path, prepared.run) == [JobPhase.WAITING, JobPhase.GONE, JobPhase.WAITING]
