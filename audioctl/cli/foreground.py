"""Work in the foreground: a thread does it, while this one shows its progress and hears signals.

The first SIGINT, SIGTERM or SIGUSR1 asks for a drain; a second SIGINT ends everything at once. Nothing is lost then
either: whatever is done is in the journal, and what is in flight is done again.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Generic, TypeVar

from audioctl.cli.output import note
from audioctl.cli.progress import ProgressDisplay
from audioctl.pipeline.drain import DrainRequest
from audioctl.states import ExitCode

Result = TypeVar("Result")

INTERRUPTED = 128 + signal.SIGINT
_SECONDS_AFTER_THE_DEADLINE = 10.0
"""For the stages to tidy up once the drain's time is over, before they are ended without asking."""

_STANDARD_ERROR = 2
_SHOW_CURSOR = b"\x1b[?25h\n"


class _Outcome(Generic[Result]):
    value: Result
    error: BaseException | None = None


def run_in_foreground(
    work: Callable[[], Result], drain: DrainRequest, display: ProgressDisplay, tick_seconds: float
) -> Result:
    """What ``work`` returns or raises. ``display`` ticks every ``tick_seconds`` while it works."""
    outcome: _Outcome[Result] = _Outcome()

    def do_work() -> None:
        try:
            outcome.value = work()
        except BaseException as error:
            outcome.error = error

    with _signals(drain):
        worker = threading.Thread(target=do_work, name="work")
        worker.start()
        drain_was_told = False
        while worker.is_alive():
            worker.join(tick_seconds)
            with suppress(OSError, SystemExit):  # a reader that has gone (rich exits then) must not end the work
                if drain.is_requested() and not drain_was_told:
                    drain_was_told = True
                    display.tell(
                        f"Finishing what is in flight, for up to {drain.drain_seconds:.0f} s; Ctrl-C ends it at once."
                    )
                display.tick()
            if drain.is_overdue(_SECONDS_AFTER_THE_DEADLINE):
                note("The time to drain is over; what is in flight will be done again.")
                _end_at_once(ExitCode.DRAINED)
    if outcome.error is not None:
        raise outcome.error
    return outcome.value


@contextmanager
def _signals(drain: DrainRequest) -> Iterator[None]:
    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
        if number == signal.SIGINT and drain.is_requested():
            _end_at_once(INTERRUPTED)
        drain.request()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_at_once(code: int) -> None:
    for child in _children():
        # Each of our children leads a group of its own; the converters die with their server, which dies with us.
        with suppress(ProcessLookupError, PermissionError):
            if os.getpgid(child) == child:
                os.killpg(child, signal.SIGKILL)
    if os.isatty(_STANDARD_ERROR):
        os.write(_STANDARD_ERROR, _SHOW_CURSOR)  # which the display has hidden
    os._exit(code)


def _children() -> list[int]:
    children: list[int] = []
    for thread in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # a thread that has ended meanwhile
            children += map(int, (thread / "children").read_text().split())
    return children
