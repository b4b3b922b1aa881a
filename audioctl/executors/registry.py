"""Executors by the name that ``submit.executor`` and run.json give them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from audioctl.errors import ConfigurationError
from audioctl.executors.base import Executor
from audioctl.executors.local import LocalExecutor
from audioctl.executors.slurm import SlurmExecutor
from audioctl.jobs import JobKey, JobStatus
from audioctl.runs import Run

_EXECUTORS: dict[str, type[Executor]] = {LocalExecutor.name: LocalExecutor, SlurmExecutor.name: SlurmExecutor}


def executor_named(name: str) -> Executor:
    """Raises ConfigurationError for one that this version does not have."""
    try:
        return _EXECUTORS[name]()
    except KeyError:
        raise ConfigurationError(
            f"This version of audioctl has no executor {name!r}.", hint=f"It has: {', '.join(_EXECUTORS)}."
        ) from None


def look_at_jobs(state_dir: Path, on_trouble: Callable[[str], None], runs: Sequence[Run]) -> Mapping[JobKey, JobStatus]:
    """What is known of the jobs of these runs. Of runs whose executor this version does not have, nothing."""
    statuses: dict[JobKey, JobStatus] = {}
    for name in sorted({run.executor for run in runs} & _EXECUTORS.keys()):
        mine = [run for run in runs if run.executor == name]
        statuses |= executor_named(name).look(state_dir, mine, on_trouble)
    return statuses


def poll_seconds(runs: Sequence[Run]) -> float:
    """How long to wait before the jobs of these runs are asked about again."""
    return max((_EXECUTORS[run.executor]().poll_seconds for run in runs if run.executor in _EXECUTORS), default=0.0)
