"""What the commands ask of whatever runs the jobs. An executor knows runs and jobs, nothing of audio."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from audioctl.jobs import JobKey, JobStatus
from audioctl.runs import Run
from audioctl.settings import Settings

if TYPE_CHECKING:
    from audioctl.templates import ScriptRequest


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of a submission."""

    job_ids: Mapping[str, str]
    """By the names that ``plan`` gave the jobs."""
    numbers: tuple[str, ...] = ()
    """Ids that another run may wait for."""
    remarks: tuple[str, ...] = ()
    """What a person should know of it."""


class Executor(Protocol):
    name: str
    poll_seconds: float
    """How often somebody who waits for jobs may ask about them."""

    def plan(self, archives: int, settings: Settings) -> list[str]:
        """Which job of the run works on each archive, in order: names within the run. Raises AudioctlError."""
        ...

    def scripts(self, request: ScriptRequest) -> Mapping[str, str]:
        """The files that the run's folder needs besides its settings, by name."""
        ...

    def submit(self, folder: Path, run: Run, after: Sequence[str]) -> Submitted:
        """Start the jobs of the run that is written in ``folder``, which go on without us.

        They begin when the jobs ``after`` (ids) have ended. Raises SchedulerSilentError when it is not known whether
        they were started, and another AudioctlError when they were not.
        """
        ...

    def look(
        self, state_dir: Path, runs: Sequence[Run], on_trouble: Callable[[str], None]
    ) -> Mapping[JobKey, JobStatus]:
        """What is known of the jobs of these runs, asked once for all; what is missing is unknown.

        Never raises for a scheduler that does not answer: ``on_trouble`` is told.
        """
        ...

    def cancel(self, state_dir: Path, runs: Sequence[Run]) -> None:
        """End the jobs of these runs. Raises AudioctlError where that cannot be asked for."""
        ...
