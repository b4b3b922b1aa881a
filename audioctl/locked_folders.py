"""Private folders of jobs, which the next job removes where one died without doing so.

A living job holds a lock on its folder, which the kernel lets go however the job ends; unlike a process id, it means
the same in every container.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self


class LockedFolder:
    """A new folder below ``root`` that only its user can enter; what the dead left there under ``prefix`` is removed.

    ``prefix`` names this node as well: on a disk that nodes share, locks may not reach from one to another. A context
    manager, of its path. Raises OSError.
    """

    def __init__(self, root: Path, prefix: str) -> None:
        for leftover in leftovers(root, prefix):
            remove_leftover(leftover)
        self.path, self._lock = _make(root, prefix)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


def leftovers(root: Path, prefix: str) -> list[Path]:
    """The folders of dead jobs below ``root``."""
    return [folder for folder in sorted(root.glob(f"{prefix}*")) if _is_dead(folder)]


def remove_leftover(folder: Path) -> None:
    """Unless a job lives in it, after all, or it is not ours to remove."""
    with suppress(OSError), _locked_if_dead(folder):
        shutil.rmtree(folder, ignore_errors=True)


def _make(root: Path, prefix: str) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=root))
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue  # another job took it for a leftover before we could lock it
        with suppress(OSError):  # a file system without locks: nobody can lock it to remove it either
            fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            return folder, lock
        os.close(lock)


def _is_dead(folder: Path) -> bool:
    with suppress(OSError), _locked_if_dead(folder):
        return True
    return False


@contextmanager
def _locked_if_dead(folder: Path) -> Iterator[None]:
    """Raises OSError where the folder is another user's, already removed, or locked by the living."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)
