"""What can be known of a job, whoever runs it. No job decides that work is done; only a journal does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from audioctl.runs import Run


class JobPhase(StrEnum):
    """Whether a job may still begin or go on."""

    WAITING = "waiting"
    RUNNING = "running"
    GONE = "gone"
    CANCELLED = "cancelled"
    """Gone, because somebody wanted it so."""
    UNKNOWN = "unknown"
    """Nobody could say. That changes nothing about what was known before."""


@dataclass(frozen=True, slots=True)
class JobStatus:
    """What whoever runs a job says of it."""

    phase: JobPhase
    job_id: str | None = None
    word: str | None = None
    """In the scheduler's own language: ``PENDING``, ``TIMEOUT``, ``CANCELLED by 1001``."""
    detail: str | None = None
    """Why it waits, or what its end means and which setting to look at."""
    node: str | None = None
    is_final: bool = False
    """Of a job that has gone: asking again would tell nothing more about its end."""
    needs_a_person: bool = False
    """Of a job that met a mistake in the configuration, which its next attempt would meet again."""


UNKNOWN = JobStatus(JobPhase.UNKNOWN)

JobKey = tuple[str, str]
"""Run id and slot."""

LookAtJobs = Callable[[Sequence[Run]], Mapping[JobKey, JobStatus]]
"""Asks once for all jobs of these runs. What is missing in the answer is unknown."""
