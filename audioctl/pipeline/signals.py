"""Signals that terminals, Slurm and systemd send to every process of a job, though they are for its own one alone."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS_OF_THE_JOB = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""They make it drain."""


@contextmanager
def held_back() -> Iterator[None]:
    """A process that is started meanwhile begins deaf to them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS_OF_THE_JOB)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
