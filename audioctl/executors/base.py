"""What the commands ask of whatever runs the jobs. An executor knows runs and jobs, nothing of audio."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from audioctl.runs import Run

if TYPE_CHECKING:
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

    def living_jobs(self, folder: Path, run: Run) -> Collection[str]:
        """The jobs of the run that may still begin or go on; where that cannot be told, all of them."""
        ...
