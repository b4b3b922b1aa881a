"""Executors by the name that ``submit.executor`` and run.json give them."""

from __future__ import annotations

from collections.abc import Collection
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


def living_jobs(state_dir: Path, run: Run) -> Collection[str]:
    """The jobs of a run that may still begin or go on; all of them where this version cannot tell."""
    if run.executor not in _EXECUTORS:
        return [archive.job_id for archive in run.archives]
    return executor_named(run.executor).living_jobs(run_folder(state_dir, run), run)
