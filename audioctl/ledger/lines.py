"""Files that grow by whole lines and survive a crash at any byte.

A line without its newline is the torn end of a write that a crash or a full disk cut short: readers stop before it,
and the next writer cuts it off.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from audioctl.permissions import open_private

_BLOCK_BYTES = 64 * 1024
_TAIL_BYTES = 4 * 1024
"""Holds the last line of most files, and a bit of the one before."""
_LARGEST_BLOCK_BYTES = 1024 * 1024


def whole_lines(path: Path, offset: int = 0) -> Iterator[tuple[bytes, int]]:
    """Each whole line from byte ``offset`` on, with the offset behind it. Raises OSError."""
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            yield line, offset


def whole_lines_backwards(path: Path) -> Iterator[tuple[bytes, int]]:
    """The same from the last one to the first; of the file only what is asked for is read. Raises OSError."""
    with path.open("rb") as file:
        start = file.seek(0, os.SEEK_END)
        block_bytes, waiting, is_torn = _TAIL_BYTES, b"", True
        while start > 0:
            start, read_bytes = max(0, start - block_bytes), min(start, block_bytes)
            block_bytes = min(8 * block_bytes, _LARGEST_BLOCK_BYTES)
            file.seek(start)
            waiting = file.read(read_bytes) + waiting
            if is_torn:
                waiting = waiting[: waiting.rfind(b"\n") + 1]
                is_torn = not waiting
            end = start + len(waiting)
            lines = [line + b"\n" for line in waiting.split(b"\n")[:-1]]
            waiting = lines.pop(0) if start > 0 and lines else b""  # it may begin further ahead
            for line in reversed(lines):
                yield line, end
                end -= len(line)


def open_for_lines(path: Path) -> int:
    """A descriptor for ``append_lines``; a file that is made for it survives a power cut. Raises OSError."""
    created = not path.exists()
    descriptor = open_private(str(path), os.O_RDWR | os.O_CREAT | os.O_APPEND)
    if created:
        _sync_folder(path.parent)
        _sync_folder(path.parent.parent)
    return descriptor


def append_lines(descriptor: int, lines: bytes) -> None:
    """Returns when the lines are on disk. Raises OSError; then the next call makes good what this one began."""
    _cut_torn_end(descriptor)
    remaining = memoryview(lines)
    while remaining:
        remaining = remaining[os.write(descriptor, remaining) :]
    os.fsync(descriptor)


def _cut_torn_end(descriptor: int) -> None:
    size = os.fstat(descriptor).st_size
    end = size
    while end > 0:
        start = max(0, end - (1 if end == size else _BLOCK_BYTES))
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        os.ftruncate(descriptor, end)


def _sync_folder(folder: Path) -> None:
    """Some network file systems refuse this, and keep names anyway."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
