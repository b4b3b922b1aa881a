"""Signals that come to a job while nothing is in flight: it is still importing its own parts, or has done its work.

It ends at once then, and tells the job script to run it again. What is imported here is all that stands between the
start of the interpreter and the first signal that is heard.
"""

from __future__ import annotations

import atexit
import os
import signal
from types import FrameType

from audioctl.joblog import log_line
from audioctl.states import ExitCode

_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
_STANDARD_ERROR = 2


def end_on_signals() -> None:
    """Until ``audioctl.cli.foreground`` drains instead."""
    for number in _SIGNALS:
        signal.signal(number, _end)
    atexit.register(_ignore_signals)


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
    # Not by an exception: whatever is being imported may catch it.
    name = signal.Signals(number).name
    os.write(_STANDARD_ERROR, log_line(None, f"Ended by {name} while nothing was in flight.").encode())
    os._exit(ExitCode.DRAINED)


def _ignore_signals() -> None:
    # The exit code is decided. While the interpreter takes itself apart, it would let signals kill it.
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
