"""Executors by the name that ``submit.executor`` and run.json give them."""

from __future__ import annotations

from pathlib import Path

from audioctl.errors import ConfigurationError
from audioctl.executors.base import Executor
from audioctl.executors.local import LocalExecutor
from audioctl.runs import Run, run_folder

_EXECUTORS: dict[str, type[Executor]] = {LocalExecutor.name: LocalExecutor}


def executor_named(name: str) -> Executor:
    """Raises ConfigurationError for one that this version does not have."""
    try:
        return _EXECUTORS[name]()
    except KeyError:
        raise ConfigurationError(
            f"This version of audioctl has no executor {name!r}.", hint=f"It has: {', '.join(_EXECUTORS)}."
        ) from None


def job_may_still_run(state_dir: Path, run: Run, job_id: str) -> bool:
    """Whether a job may still begin or go on; yes where nobody here can tell."""
    if run.executor not in _EXECUTORS:
        return True
    return executor_named(run.executor).may_still_run(run_folder(state_dir, run), run, job_id)
