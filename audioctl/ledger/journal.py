"""The append-only record of what jobs did to one archive: one JSON line an event, fsynced, one writer.

The writer is whoever holds the archive's lease (``audioctl.ledger.lease``). A line without its newline is the
torn end of a write that a crash cut short: readers stop before it, and the next writer cuts it off.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import msgspec

from audioctl.errors import JournalError
from audioctl.ledger.events import Event
from audioctl.ledger.lease import Lease

_ENCODER = msgspec.json.Encoder()
_BLOCK_BYTES = 64 * 1024
_DECODER: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


def journal_path(state_dir: Path, day: str, slot: str) -> Path:
    return state_dir / "journals" / day / f"{slot}.jsonl"


def read_events(path: Path, offset: int = 0) -> Iterator[tuple[Event, int]]:
    """Each event from byte ``offset`` on, with the offset behind its line. A missing journal has none.

    Raises JournalError for a whole line that is no event: only damage from outside makes one.
    """
    try:
        journal = path.open("rb")
    except FileNotFoundError:
        return
    except OSError as error:
        raise JournalError(f"The journal {path} cannot be read: {error.strerror}.") from error
    with journal:
        journal.seek(offset)
        for line in journal:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                event = _DECODER.decode(line)
            except msgspec.DecodeError as error:
                raise JournalError(
                    f"The journal {path} is damaged: the line that ends at byte {offset} is no event ({error}).",
                    hint="Move the damaged line out of the file; what it said will be done again.",
                ) from error
            yield event, offset


class JournalWriter:
    """Appends to the journal of an archive whose lease is held.

    Safe to call from several threads: the lines of one ``append`` stay together.
    Raises LeaseLostError from ``append`` once another job has taken the archive over, and JournalError when the disk
    does not take the lines.
    """

    def __init__(self, path: Path, lease: Lease) -> None:
        self._path = path
        self._lease = lease
        self._lock = threading.Lock()
        try:
            created = not path.exists()
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            if created:
                _sync_folder(path.parent)
        except OSError as error:
            raise JournalError(f"The journal {path} cannot be written: {error.strerror}.") from error

    def append(self, *events: Event) -> None:
        """Write the events and return when they are on disk."""
        lines = b"".join(_ENCODER.encode(event) + b"\n" for event in events)
        with self._lock:
            self._lease.check()
            try:
                self._cut_torn_end()
                _write_all(self._descriptor, lines)
                os.fsync(self._descriptor)
            except OSError as error:
                raise JournalError(
                    f"The journal {self._path} cannot be written: {error.strerror}.",
                    hint="Free space on the file system of paths.state_dir, then run `audioctl resume`.",
                ) from error

    def close(self) -> None:
        os.close(self._descriptor)

    def __enter__(self) -> JournalWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _cut_torn_end(self) -> None:
        """Drop a last line without its newline: a crash, or a disk that was full for a while, left it."""
        size = os.fstat(self._descriptor).st_size
        end = size
        while end > 0:
            start = max(0, end - (1 if end == size else _BLOCK_BYTES))
            newline = os.pread(self._descriptor, end - start, start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            os.ftruncate(self._descriptor, end)


def _write_all(descriptor: int, lines: bytes) -> None:
    remaining = memoryview(lines)
    while remaining:
        remaining = remaining[os.write(descriptor, remaining) :]


def _sync_folder(folder: Path) -> None:
    """Make a new name in a folder survive a power cut; some network file systems refuse, and keep names anyway."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
