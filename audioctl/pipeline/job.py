"""What whoever starts the work on an archive has to say."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from audioctl.engines.base import Engine
from audioctl.pipeline.counters import Counters
from audioctl.pipeline.drain import DrainRequest


@dataclass(frozen=True, slots=True)
class ArchiveJob:
    """Which archive, and on whose behalf."""

    day: str
    slot: str
    path: Path
    run_id: str | None = None
    job_id: str | None = None


def _tell_nobody(attempt: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the work is given. ``load_engine`` is called only if something has to be transcribed; ``notify`` takes
    messages for a person, from any thread; ``attempt_began`` hears the number of the attempt; ``secrets`` are
    those of the environment, in which they may not be any more."""

    load_engine: Callable[[], Engine]
    counters: Counters
    drain: DrainRequest
    notify: Callable[[str], None]
    attempt_began: Callable[[int], None] = _tell_nobody
    secrets: Mapping[str, str] = field(default_factory=lambda: os.environ)
