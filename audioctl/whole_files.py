"""Files that are there as a whole or not at all, whenever their writing is broken off."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """The path to write to: a new file beside ``path``, which takes its place when the block ends without an error.

    Links are followed. What cannot be replaced, as a pipe or /dev/stdout, is written to as it is. Raises OSError.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    whole = path.resolve()
    # A dot, because readers of Parquet folders take every other file for data; short, because ``path`` may be long.
    unfinished = whole.with_name(f".audioctl-{uuid4().hex}")
    try:
        yield unfinished
        _sync(unfinished)
        unfinished.replace(whole)
    finally:
        unfinished.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Or a power cut could leave the new name with nothing behind it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
