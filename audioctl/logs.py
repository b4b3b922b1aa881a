"""The logs of a run: where they are, and reading them while jobs append to them.

A run has one log for each of its archives, to which all attempts of the run append (a job may be requeued). Beside it
stands what the scheduler, and the shell that it started, said of the job.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from audioctl.errors import JournalError, LedgerError
from audioctl.joblog import JSON_BEGINNING, as_text, lines_of_attempt
from audioctl.ledger.events import AttemptStarted
from audioctl.ledger.journal import journal_path, read_entries
from audioctl.runs import log_path, runs_folder

_PIECE_BYTES = 64 * 1024
"""What is held in memory of a log, whatever its size and however long its lines."""

_ENCODING = "latin-1"
"""One character a byte, and back: logs hold whatever libraries print."""


@dataclass(frozen=True, slots=True)
class ArchiveLogs:
    """What is on disk about the jobs of one archive."""

    state_dir: Path
    day: str
    slot: str

    def of_run(self, run_id: str) -> Path:
        return log_path(runs_folder(self.state_dir, self.day) / run_id, self.slot)

    def attempts(self) -> dict[int, AttemptStarted]:
        """Every attempt that began, by its number, up to where the journal may be damaged."""
        found: dict[int, AttemptStarted] = {}
        try:
            for entry in read_entries(journal_path(self.state_dir, self.day, self.slot)):
                if isinstance(entry.event, AttemptStarted):
                    found[entry.event.attempt] = entry.event
        except JournalError:
            pass  # The archive's state tells of the damage; its logs are whole.
        return found


def scheduler_log(log: Path, job_id: str | None) -> Path | None:
    """What was said of a job that wrote to ``log``; ``None`` where nobody said anything."""
    # The names that the templates give to the logs of a task of an array, and of the job that finishes the day.
    paths = (log.parent / f"slurm-{job_id}.log", log.parent / f"finish-{job_id}.log")
    return next((path for path in paths if path.is_file() and path.stat().st_size), None)


class GrowingFile:
    """Reads a file from byte ``offset`` on, and later what was appended since.

    It is opened anew each time: that is when network file systems show what other machines have written.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self.offset = offset

    def read(self) -> Iterator[bytes]:
        """What has come since the last call, in pieces; nothing while there is no file. Raises LedgerError."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                while piece := file.read(_PIECE_BYTES):
                    piece = piece[: _end_of_whole_lines(piece)]
                    if not piece:
                        return
                    self.offset += len(piece)
                    yield piece
                    file.seek(self.offset)
        except FileNotFoundError:
            return
        except OSError as error:
            raise _unreadable(self.path, error) from error


def _end_of_whole_lines(piece: bytes) -> int:
    """Of a piece, the end of what can be shown: a line of JSON only as a whole, so one that is cut comes later."""
    start = piece.rfind(b"\n") + 1
    tail = piece[start:]
    is_cut = bool(tail) and JSON_BEGINNING.startswith(tail[: len(JSON_BEGINNING)])
    return start if is_cut and (start or len(piece) < _PIECE_BYTES) else len(piece)


def readable(piece: bytes) -> bytes:
    """Lines of a log for people: those of JSON as text."""
    if JSON_BEGINNING not in piece:
        return piece
    return b"".join(map(as_text, piece.splitlines(keepends=True)))


def read_attempt(log: Path, attempt: int) -> Iterator[bytes]:
    """The lines of ``log`` that tell of ``attempt``. Raises LedgerError."""
    return (line.encode(_ENCODING) for line in lines_of_attempt(_lines(log), attempt))


def attempt_offset(log: Path, attempt: int) -> int:
    """The byte at which ``attempt`` begins in ``log``; its end where the attempt has printed nothing yet.

    Raises LedgerError.
    """
    end, latest = 0, ""

    def lines() -> Iterator[str]:
        nonlocal end, latest
        for latest in _lines(log):
            end += len(latest)
            yield latest

    length = 0
    for line in lines_of_attempt(lines(), attempt):
        length += len(line)
        # Lines from before the attempt was known come first, all at once; then the one that makes it known.
        if line is latest:
            return end - length
    return end


def _lines(log: Path) -> Iterator[str]:
    """A line that is very long comes in pieces."""
    try:
        with log.open("rb") as file:
            while line := file.readline(_PIECE_BYTES):
                yield line.decode(_ENCODING)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unreadable(log, error) from error


def _unreadable(log: Path, error: OSError) -> LedgerError:
    return LedgerError(
        f"The log {log} cannot be read: {error.strerror}.",
        hint="It belongs to whoever submitted the run: ask them, or for the right to read their paths.state_dir.",
    )
