"""Runs that are submitted to a Slurm of prepared answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from fake_slurm import DOWN, TIMED_OUT, FakeSlurm, install

from audioctl.archives import Archive
from audioctl.errors import SchedulerSilentError
from audioctl.executors import slurm as slurm_module
from audioctl.executors.slurm import SlurmExecutor
from audioctl.runs import Run
from audioctl.settings import Paths, Settings, Slurm
from audioctl.submission import PreparedRun, prepare_run, submit_run

DAY = "2025-01-25"
SLOTS = ["12_00", "12_10", "12_20"]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    monkeypatch.setattr(slurm_module, "_SECONDS_BETWEEN_LOOKS", 0.0)
    return install(tmp_path, monkeypatch)


def prepare(
    fake: FakeSlurm, state: Path, *, day: str = DAY, max_array_size: int = 1001, archives_per_job: int = 1
) -> PreparedRun:
    fake.prepare("scontrol", f"MaxArraySize            = {max_array_size}\n")
    settings = Settings(paths=Paths(state_dir=str(state)), slurm=Slurm(archives_per_job=archives_per_job))
    archives = [Archive(day, slot, Path(f"/staging/{slot}.tar"), 1_000, 7) for slot in SLOTS]
    prepared = prepare_run(day, archives, settings, SlurmExecutor(), 2)
    fake.forget_calls()
    return prepared


def sbatch_numbers(fake: FakeSlurm, *answers: str) -> None:
    for answer in answers:
        fake.prepare("sbatch", f"{answer}\n")


def in_doubt(fake: FakeSlurm, state: Path) -> Run:
    """A run whose submission got no answer."""
    prepared = prepare(fake, state)
    fake.fail("sbatch", TIMED_OUT)
    for _ in range(4):
        fake.fail("squeue", DOWN)
    with pytest.raises(SchedulerSilentError):
        submit_run(prepared, SlurmExecutor())
    fake.forget_calls()
    return prepared.run


def aged(run: Run, seconds: float) -> Run:
    created_at = datetime.now(UTC) - timedelta(seconds=seconds)
    return msgspec.structs.replace(run, created_at=created_at.strftime("%Y-%m-%dT%H:%M:%SZ"))
