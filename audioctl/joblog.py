"""What a job prints, as lines of a log that several attempts share: each with its time and its attempt.

    2025-01-26T08:00:00Z [attempt 2] 0_2025-01-25_12_30.tar: 40% read, 800 clips transcribed, ...

A line without such a beginning (of a C library, of a process that was started) belongs to the line before it. One
with ``[attempt ?]`` was written before the attempt was known, and belongs to the next that is.

With ``logging.format = "json"`` a line is a ``LogLine`` instead, as soon as the settings are read.
"""

from __future__ import annotations

import io
import re
import sys
import threading
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple, TextIO

import msgspec

from audioctl.clock import utc_now

_BEGINNING = re.compile(r"\S+Z \[attempt (\d+|\?)\] ")
JSON_BEGINNING = b'{"time":"'


class Level(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class JobContext(NamedTuple):
    """What a line as JSON says of the job that writes it."""

    day: str
    slot: str
    run_id: str
    job_id: str | None
    node: str


class LogLine(msgspec.Struct, frozen=True):
    """A line of a log as JSON. ``attempt`` is null before it is known."""

    time: str
    level: Level
    day: str
    slot: str
    run_id: str
    job_id: str | None
    attempt: int | None
    node: str
    message: str


def log_line(attempt: int | None, text: str) -> str:
    """``text`` as a line of a log, with its newline."""
    return _text_line(utc_now(), attempt, text)


def _text_line(time: str, attempt: int | None, text: str) -> str:
    return f"{time} [attempt {'?' if attempt is None else attempt}] {text}\n"


def json_line(context: JobContext, attempt: int | None, level: Level, text: str) -> str:
    """The same as JSON."""
    line = LogLine(time=utc_now(), level=level, attempt=attempt, message=text, **context._asdict())
    return msgspec.json.encode(line).decode() + "\n"


def as_text(line: bytes) -> bytes:
    """A line of a log, if it is JSON, as ``log_line`` would have made it."""
    told = _parsed(line)
    return line if told is None else _text_line(told.time, told.attempt, told.message).encode()


def _parsed(line: bytes) -> LogLine | None:
    if not line.startswith(JSON_BEGINNING):
        return None
    try:
        return msgspec.json.decode(line, type=LogLine)
    except msgspec.DecodeError:
        return None  # somebody else's JSON, or a line that was cut off


def _attempt_of(line: str) -> str | None:
    """As text has it; ``None`` where the line has no beginning of ours."""
    if beginning := _BEGINNING.match(line):
        return beginning[1]
    if (told := _parsed(line.encode(errors="replace"))) is None:
        return None
    return "?" if told.attempt is None else str(told.attempt)


def lines_of_attempt(lines: Iterable[str], attempt: int) -> Iterator[str]:
    """The lines of a log that tell of ``attempt``."""
    of_next: list[str] = []
    current: str | None = None
    for line in lines:
        beginning = _attempt_of(line)
        current = beginning or current
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
    """Makes everything that this process prints lines of a log; ``attempt`` and ``context`` may be set at any time.

    With a ``context`` lines are JSON. What goes to a terminal stays as it is.
    """

    def __init__(self) -> None:
        self.attempt: int | None = None
        self.context: JobContext | None = None
        if not sys.stdout.isatty():
            sys.stdout = LogStream(sys.stdout, self, Level.INFO)
        if not sys.stderr.isatty():
            # What does not come through `audioctl.cli.output.note` is Python's or a library's, and no good news.
            sys.stderr = LogStream(sys.stderr, self, Level.WARNING)

    def line(self, level: Level, text: str) -> str:
        """``text`` as a line, with its newline."""
        if self.context is None:
            return log_line(self.attempt, text)
        return json_line(self.context, self.attempt, level, text)


class LogStream(io.TextIOWrapper):
    """Writes each line at once and in one piece, with its beginning: other processes append to the same file.

    What a thread has not ended with a newline waits for it. ``buffer`` is the stream of bytes below, for results that
    are no lines.
    """

    def __init__(self, stream: TextIO, log: JobLog, level: Level) -> None:
        stream.flush()
        binary = open(stream.fileno(), "wb", closefd=False)  # noqa: SIM115 - of a descriptor, which stays open
        super().__init__(binary, encoding="utf-8", errors="backslashreplace", write_through=True)
        self._log = log
        self._level = level
        self._of_thread = threading.local()
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        *lines, unfinished = (getattr(self._of_thread, "unfinished", "") + text).split("\n")
        self._of_thread.unfinished = unfinished
        self._write_lines(self._level, lines)
        return len(text)

    def say(self, level: Level, message: str) -> None:
        """Lines of a ``level`` of their own."""
        self._write_lines(level, message.split("\n"))

    def _write_lines(self, level: Level, lines: Iterable[str]) -> None:
        with self._lock:
            for line in lines:
                super().write(self._log.line(level, line))
                self.flush()
