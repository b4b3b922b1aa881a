"""Ending early and well: what is in flight is finished or given back within a time."""

from __future__ import annotations

import threading
import time

from audioctl.errors import Drained


class DrainRequest:
    """Set once, by a signal; the stages look at it between batches."""

    def __init__(self, drain_seconds: float) -> None:
        self.drain_seconds = drain_seconds
        self._requested = threading.Event()
        self._deadline = float("inf")

    def request(self) -> None:
        if not self._requested.is_set():
            self._deadline = time.monotonic() + self.drain_seconds
            self._requested.set()

    def is_requested(self) -> bool:
        return self._requested.is_set()

    def check(self) -> None:
        """Raises Drained once it is requested."""
        if self.is_requested():
            raise Drained(
                "Ended early by a signal; what is done is kept.",
                hint="Run the same command again, or `audioctl resume`.",
            )

    def remaining_seconds(self) -> float:
        """Until everything has to have ended; infinite while nobody asked."""
        return max(0.0, self._deadline - time.monotonic())

    def is_overdue(self, seconds: float) -> bool:
        """Whether the deadline passed that long ago."""
        return time.monotonic() > self._deadline + seconds
