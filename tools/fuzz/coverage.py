"""Which steps from line to line an input takes. ``sys.settrace`` is slow, and needs nothing built or installed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

Step = tuple[CodeType, int, int]


@contextmanager
def recorded_steps(files: frozenset[str]) -> Iterator[set[Step]]:
    """The steps that this thread takes in ``files``, as they are known once the block was left."""
    steps: set[Step] = set()

    def enter(frame: FrameType, _event: str, _: Any) -> Callable[..., Any] | None:
        if frame.f_code.co_filename not in files:
            return None
        code, before = frame.f_code, 0

        def step(frame: FrameType, event: str, _: Any) -> Callable[..., Any]:
            nonlocal before
            if event == "line":
                steps.add((code, before, frame.f_lineno))
                before = frame.f_lineno
            return step

        return step

    earlier = sys.gettrace()
    sys.settrace(enter)
    try:
        yield steps
    finally:
        sys.settrace(earlier)
