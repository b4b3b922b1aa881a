"""What the commands ask of whatever runs the jobs. An executor knows runs and jobs, nothing of audio."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from audioctl.runs import Run
from audioctl.templates import ScriptRequest


class Executor(Protocol):
    name: str

    def scripts(self, request: ScriptRequest) -> Mapping[str, str]:
        """The files that the run's folder needs besides its settings, by name."""
        ...

    def job_ids(self, run_id: str, archives: int) -> list[str]:
        """An id for each archive of a run, in order, as they will be known from the moment of submission."""
        ...

    def submit(self, folder: Path, run: Run) -> None:
        """Start the jobs of the run that is written in ``folder``; they go on without us. Raises AudioctlError."""
        ...

    def may_still_run(self, folder: Path, run: Run, job_id: str) -> bool:
        """Whether a job may still begin or go on. When that cannot be told, it may."""
        ...
