"""A page of lines on a terminal, of which only those are sent that have changed: a slow line has time for little."""

from __future__ import annotations

import signal
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest

from rich.console import Console
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text

_REDRAW_SIGNALS = {signal.SIGWINCH, signal.SIGCONT}
"""The terminal has another size, or somebody has brought us back with ``fg``."""


class LiveScreen:
    """Between ``show`` and ``show`` the terminal keeps the page. ``live_screen`` makes one."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: list[Text] = []

    @property
    def width(self) -> int:
        return self._console.width

    @property
    def height(self) -> int:
        return self._console.height

    def show(self, lines: Sequence[Text]) -> None:
        lines = lines[: self.height]
        with self._console:  # all of it in one write
            for row, (before, line) in enumerate(zip_longest(self._shown, lines)):
                if line != before:
                    # Erased first: behind a line as wide as the terminal, that would take its last character.
                    self._console.control(Control.move_to(0, row), Control((ControlType.ERASE_IN_LINE, 2)))
                    self._console.print(line or Text(), end="", no_wrap=True, overflow="crop")
        self._shown = list(lines)

    def wait(self, seconds: float) -> bool:
        """Whether the page has to be drawn anew before ``seconds`` are over."""
        if signal.sigtimedwait(_REDRAW_SIGNALS, seconds) is None:
            return False
        self._console.clear()
        self._shown = []
        return True


@contextmanager
def live_screen(console: Console) -> Iterator[LiveScreen]:
    """The terminal's other screen, without a cursor and without echo; however it ends, all is as it was."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _REDRAW_SIGNALS)
    console.set_alt_screen(True)
    console.show_cursor(False)
    try:
        with _no_echo():
            yield LiveScreen(console)
    finally:
        console.show_cursor(True)
        console.set_alt_screen(False)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


@contextmanager
def _no_echo() -> Iterator[None]:
    """Keys that somebody presses would stand in the middle of a line that does not change."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    silent = [*before]
    silent[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSAFLUSH, before)
