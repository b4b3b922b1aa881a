"""What a job prints, as lines of a log that several attempts share: each with its time and its attempt.

    2025-01-26T08:00:00Z [attempt 2] 0_2025-01-25_12_30.tar: 40% read, 800 clips transcribed, ...

A line without such a beginning (of a C library, of a process that was started) belongs to the line before it. One
with ``[attempt ?]`` was written before the attempt was known, and belongs to the next that is.
"""

from __future__ import annotations

import io
import re
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import TextIO

from audioctl.clock import utc_now

_BEGINNING = re.compile(r"\S+Z \[attempt (\d+|\?)\] ")


def log_line(attempt: int | None, text: str) -> str:
    """``text`` as a line of a log, with its newline."""
    return f"{utc_now()} [attempt {'?' if attempt is None else attempt}] {text}\n"


def lines_of_attempt(lines: Iterable[str], attempt: int) -> Iterator[str]:
    """The lines of a log that tell of ``attempt``."""
    of_next: list[str] = []
    current: str | None = None
    for line in lines:
        beginning = _BEGINNING.match(line)
        current = beginning[1] if beginning else current
        if current == "?":
            of_next.append(line)
            continue
        if beginning:
            if current == str(attempt):
                yield from of_next
            of_next = []
        if current == str(attempt):
            yield line


class JobLog:
    """Makes everything that this process prints lines of a log; ``attempt`` may be set at any time.

    What goes to a terminal stays as it is.
    """

    def __init__(self) -> None:
        self.attempt: int | None = None
        if not sys.stdout.isatty():
            sys.stdout = _LineStream(sys.stdout, self)
        if not sys.stderr.isatty():
            sys.stderr = _LineStream(sys.stderr, self)


class _LineStream(io.TextIOWrapper):
    """Writes each line at once and in one piece, with its beginning: other processes append to the same file.

    What a thread has not ended with a newline waits for it. ``buffer`` is the stream of bytes below, for results that
    are no lines.
    """

    def __init__(self, stream: TextIO, log: JobLog) -> None:
        stream.flush()
        binary = open(stream.fileno(), "wb", closefd=False)  # noqa: SIM115 - of a descriptor, which stays open
        super().__init__(binary, encoding="utf-8", errors="backslashreplace", write_through=True)
        self._log = log
        self._of_thread = threading.local()
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        *lines, unfinished = (getattr(self._of_thread, "unfinished", "") + text).split("\n")
        self._of_thread.unfinished = unfinished
        with self._lock:
            for line in lines:
                super().write(log_line(self._log.attempt, line))
                self.flush()
        return len(text)
