"""Lets the wall clock jump: it is as many seconds ahead as the file $JUMPING_CLOCK says at that moment.

The monotonic clock and the times of files are not ours to change, as on a machine whose clock somebody sets.
"""

import datetime
import os
import time
from pathlib import Path

_time = time.time
_datetime = datetime.datetime


def _ahead_seconds() -> float:
    return float(Path(os.environ["JUMPING_CLOCK"]).read_text())


class _JumpingDatetime(_datetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> "_JumpingDatetime":
        return super().now(tz) + datetime.timedelta(seconds=_ahead_seconds())


def begin() -> None:
    time.time = lambda: _time() + _ahead_seconds()
    datetime.datetime = _JumpingDatetime  # type: ignore[misc]
