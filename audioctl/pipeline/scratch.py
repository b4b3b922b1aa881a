"""The folder of a job for members too large for memory and Opus files that wait for their upload."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from audioctl.errors import ScratchError
from audioctl.failpoints import failpoint

_VARIABLES = ("SLURM_TMPDIR", "TMPDIR", "LOCAL_SCRATCH")


def scratch_root(setting: str, environ: Mapping[str, str]) -> Path:
    """The folder that ``paths.scratch`` names, or the first usable of the usual ones."""
    if setting:
        return Path(setting)
    usable = (Path(folder) for name in _VARIABLES if (folder := environ.get(name)) and os.access(folder, os.W_OK))
    return next(usable, Path("/tmp"))


@contextmanager
def scratch_folder(root: Path) -> Iterator[Path]:
    """A private folder below ``root``, removed at the end. What dead jobs of this node left there is removed too.

    A living job holds a lock on its folder, which the kernel lets go however the job ends; unlike a process id, it
    means the same in every container. Raises ScratchError when the folder cannot be made.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        for leftover in leftovers(root):
            remove_leftover(leftover)
        failpoint("scratch.make")
        folder, lock = _locked_folder(root)
    except OSError as error:
        raise ScratchError(
            f"No scratch folder can be made in {root}: {error.strerror}.",
            hint="Point paths.scratch to a local folder that you may write to.",
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def leftovers(root: Path) -> list[Path]:
    """The folders of dead jobs of this node below ``root``."""
    return [folder for folder in sorted(root.glob(f"{_prefix()}*")) if _is_dead(folder)]


def remove_leftover(folder: Path) -> None:
    """Unless a job lives in it, after all, or it is not ours to remove."""
    with suppress(OSError), _locked_if_dead(folder):
        shutil.rmtree(folder, ignore_errors=True)


def _prefix() -> str:
    return f"audioctl.{socket.gethostname()}."


def _locked_folder(root: Path) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_prefix(), dir=root))
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
