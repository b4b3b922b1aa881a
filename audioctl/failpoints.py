"""Named places where a test can let something go wrong.

``AUDIOCTL_FAILPOINTS`` names a folder. A file in it that is called like a failpoint is an order, ``<hit> <action>``:
``2 kill`` in the file ``upload.sent``, for example. The process that gets there for the second time takes the order
away and obeys, so that it is obeyed once only, whoever else gets there and whatever becomes of that process. Without
the variable, as everywhere but in tests, ``failpoint`` does nothing.

``kill``, ``term``, ``abort`` and ``stop`` are signals to the process itself; the name of an error (``ENOSPC``, ``EIO``)
raises that OSError; ``sleep:SECONDS`` waits. ``meet`` leaves a file ``<name>.waiting`` with its process id, and goes on
when somebody has removed it: so anything at all can be done to the surroundings at just this moment.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

VARIABLE = "AUDIOCTL_FAILPOINTS"
WAITING = ".waiting"

_SIGNALS = {
    "kill": signal.SIGKILL,
    "term": signal.SIGTERM,
    "abort": signal.SIGABRT,
    "stop": signal.SIGSTOP,
}
_LOOK_SECONDS = 0.005
_MEETING_SECONDS = 60.0
"""Nobody may ever come, if the test has died."""

_Failpoint = Callable[[str], None]


def _nothing(name: str) -> None:
    pass


class _Orders:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hits: Counter[str] = Counter()

    def __call__(self, name: str) -> None:
        self._hits[name] += 1
        order = self._folder / name
        try:
            hit, action = order.read_text().split()
            if self._hits[name] < int(hit):
                return
            order.unlink()
        except (FileNotFoundError, ValueError):  # no order, taken by another process, or being written
            return
        self._carry_out(action, name)

    def _carry_out(self, action: str, name: str) -> None:
        kind, _, argument = action.partition(":")
        if kind in _SIGNALS:
            os.kill(os.getpid(), _SIGNALS[kind])
        elif kind == "sleep":
            time.sleep(float(argument))
        elif kind == "meet":
            self._meet(name)
        else:
            number = getattr(errno, kind)
            raise OSError(number, os.strerror(number), f"failpoint {name}")

    def _meet(self, name: str) -> None:
        waiting = self._folder / f"{name}{WAITING}"
        unfinished = self._folder / f"{name}.unfinished"
        unfinished.write_text(str(os.getpid()))
        unfinished.rename(waiting)
        give_up_at = time.monotonic() + _MEETING_SECONDS
        while waiting.exists() and time.monotonic() < give_up_at:
            time.sleep(_LOOK_SECONDS)


failpoint: _Failpoint = _Orders(Path(folder)) if (folder := os.environ.get(VARIABLE)) else _nothing
