"""The append-only record of what jobs did to one archive: one JSON line an event, fsynced, one writer.

The writer is whoever holds the archive's lease (``audioctl.ledger.lease``).
"""

from __future__ import annotations

import os
import re
import shlex
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import msgspec

from audioctl.clips import ClipRecord
from audioctl.errors import JournalError, NewerJournalError
from audioctl.failpoints import failpoint
from audioctl.ledger.events import AttemptEnded, BatchTranscribed, ClipTranscribed, Event
from audioctl.ledger.lease import Lease
from audioctl.ledger.lines import append_lines, open_for_lines, whole_lines, whole_lines_backwards
from audioctl.timing import Timing

_CLIP_LINE = b'{"event":"clip",'

_UNKNOWN_WORD = re.compile(r"Invalid (enum )?value '")
"""msgspec, of an event or a state that it does not know in a line that is otherwise whole. Damage looks otherwise."""

_ENCODER = msgspec.json.Encoder()
_DECODER: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


class Entry(NamedTuple):
    """An event other than a clip line, the records that came with it if it is a BatchTranscribed, the byte behind it.

    The clip lines of a batch and its BatchTranscribed are one append. Clip lines that anything else follows are the
    rest of an append that did not succeed, and say nothing.
    """

    event: Event
    clips: list[ClipRecord]
    end: int


def journal_path(state_dir: Path, day: str, slot: str) -> Path:
    return state_dir / "journals" / day / f"{slot}.jsonl"


def read_entries(path: Path, offset: int = 0) -> Iterator[Entry]:
    """What the journal says from byte ``offset`` on, the ``end`` of an earlier entry. A missing journal says nothing.

    So reading on from entry to entry, with any breaks, gives the same as reading all at once. Raises JournalError for
    a whole line that is no event: only damage from outside makes one, or, NewerJournalError, a newer version.
    """
    waiting: list[ClipTranscribed] = []
    try:
        for line, end in whole_lines(path, offset):
            event = _decode(line, path, end)
            if isinstance(event, ClipTranscribed):
                waiting.append(event)
                continue
            yield Entry(event, _clips_of(event, waiting), end)
            waiting = []
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unreadable(path, error) from error


def last_event(path: Path) -> Event | None:
    """The event of the last whole line, found from the end of the file; ``None`` where there is none."""
    return next((_decode(line, path, end) for line, end in _backwards(path)), None)


def newest_timing(path: Path) -> Timing | None:
    """How the newest attempt that transcribed something has spent its time, found from the end of the file.

    ``None`` where there is none, or an earlier version wrote it.
    """
    for event, _ in newest_events(path):
        if isinstance(event, BatchTranscribed | AttemptEnded) and (event.timing is None or event.timing.batches):
            return event.timing
    return None


def newest_events(path: Path) -> Iterator[tuple[Event, int]]:
    """What the journal says, from its end back, without its clip lines; of each event also the byte behind it.

    Of the file only what is asked for is read. Raises JournalError.
    """
    for line, end in _backwards(path):
        if not line.startswith(_CLIP_LINE):  # most lines, and the largest
            yield _decode(line, path, end), end


def _backwards(path: Path) -> Iterator[tuple[bytes, int]]:
    try:
        yield from whole_lines_backwards(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> JournalError:
    return JournalError(
        f"The journal {path} cannot be read: {error.strerror}.",
        hint="Look at its permissions; where the disk has failed, bring it back from a backup.",
    )


def _clips_of(event: Event, waiting: list[ClipTranscribed]) -> list[ClipRecord]:
    if not isinstance(event, BatchTranscribed):
        return []
    return [line.clip for line in waiting if line.batch == event.batch]


def _decode(line: bytes, path: Path, end: int) -> Event:
    try:
        return _DECODER.decode(line)
    # Beside its own error: bytes that are no UTF-8, and brackets in brackets without end.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        start, name = end - len(line), shlex.quote(str(path))
        if isinstance(error, msgspec.ValidationError) and _UNKNOWN_WORD.match(str(error)):
            raise NewerJournalError(
                f"The journal {path} was written by a newer audioctl (at byte {start}: {error}).",
                hint="Upgrade audioctl on this machine; the journal is left as it is.",
            ) from error
        raise JournalError(
            f"The journal {path} is damaged: the line at byte {start} is no event ({error}).",
            hint=f"`cp {name} {name}.damaged && truncate --size={start} {name}` keeps what comes before it; "
            "the rest is done again.",
        ) from error


class JournalWriter:
    """Appends to the journal of an archive whose lease is held.

    Safe to call from several threads: the lines of one ``append`` stay together.
    """

    def __init__(self, path: Path, lease: Lease) -> None:
        self._path = path
        self._lease = lease
        self._lock = threading.Lock()
        try:
            self._descriptor = open_for_lines(path)
        except OSError as error:
            raise JournalError(
                f"The journal {path} cannot be written: {error.strerror}.",
                hint="Look at the permissions and the free space of paths.state_dir.",
            ) from error

    def append(self, *events: Event) -> None:
        """Write the events and return when they are on disk.

        Raises LeaseLostError once another job has taken the archive over, and JournalError when the disk does not take
        the lines; they may then be there in part, which no reader takes for more than it is.
        """
        name = events[-1].__struct_config__.tag
        lines = b"".join(_ENCODER.encode(event) + b"\n" for event in events)
        with self._lock:
            self._lease.check()
            try:
                failpoint(f"journal.before.{name}")
                append_lines(self._descriptor, lines)
                failpoint(f"journal.after.{name}")
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
