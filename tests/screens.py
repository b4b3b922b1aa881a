"""A terminal in which a command runs, and what a person would see on it."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pyte

PATIENCE_SECONDS = 60.0
"""Far more than anything here takes; only what is broken uses it up."""

CTRL_C = b"\x03"


class Terminal:
    """``received`` is all that the command has sent."""

    def __init__(self, process: subprocess.Popen[bytes], master: int, columns: int, lines: int) -> None:
        self.received = b""
        self._process = process
        self._master = master
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)

    @property
    def rows(self) -> list[str]:
        """What stands on the screen now."""
        return [row.rstrip() for row in self._screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.rows)

    @property
    def cells(self) -> list[list[pyte.screens.Char]]:
        """The same, a character each with its colours."""
        return [
            [self._screen.buffer[line][column] for column in range(self._screen.columns)]
            for line in range(self._screen.lines)
        ]

    def wait_for(self, pattern: str) -> str:
        """The screen, once something on it looks like ``pattern``."""
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while not re.search(pattern, self.text, re.MULTILINE):
            received = self.receive()
            assert received, f"It ended without {pattern!r}:\n{self.text}"
            assert time.monotonic() < give_up_at, f"{pattern!r} is not to be seen:\n{self.text}"
        return self.text

    def receive(self) -> bytes:
        """What is sent next; nothing where the command has ended."""
        readable, _, _ = select.select([self._master], [], [], PATIENCE_SECONDS)
        assert readable, f"Nothing more is sent:\n{self.text}"
        try:
            received = os.read(self._master, 65_536)
        except OSError:  # as Linux tells that nobody has the other end any more
            return b""
        self.received += received
        self._stream.feed(received)
        return received

    def wait_for_end(self) -> int:
        """The exit code."""
        while self.receive():
            pass
        return self._process.wait(PATIENCE_SECONDS)

    def press(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def resize(self, columns: int, lines: int) -> None:
        self._screen.resize(lines, columns)
        _set_size(self._master, columns, lines)

    def echoes(self) -> bool:
        """What is typed is shown."""
        return bool(termios.tcgetattr(self._master)[3] & termios.ECHO)


@contextmanager
def in_terminal(command: Sequence[str], environment: Mapping[str, str], columns: int, lines: int) -> Iterator[Terminal]:
    """The command in a session of its own, of which this is the terminal."""
    master, slave = os.openpty()
    _set_size(master, columns, lines)
    in_own_session = ["setsid", "--ctty", *command]
    with subprocess.Popen(in_own_session, env=environment, stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        try:
            yield Terminal(process, master, columns, lines)
        finally:
            process.kill()
            os.close(master)


def _set_size(terminal: int, columns: int, lines: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", lines, columns, 0, 0))
