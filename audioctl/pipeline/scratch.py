"""The folder of a job for members too large for memory and Opus files that wait for their upload."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from audioctl import locked_folders
from audioctl.errors import ScratchError
from audioctl.failpoints import failpoint
from audioctl.locked_folders import LockedFolder, remove_leftover

__all__ = ["leftovers", "remove_leftover", "scratch_folder", "scratch_root"]

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

    Raises ScratchError when the folder cannot be made.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        failpoint("scratch.make")
        folder = LockedFolder(root, _prefix())
    except OSError as error:
        raise ScratchError(
            f"No scratch folder can be made in {root}: {error.strerror}.",
            hint="Point paths.scratch to a local folder that you may write to.",
        ) from error
    with folder:
        yield folder.path


def leftovers(root: Path) -> list[Path]:
    """The folders of dead jobs of this node below ``root``."""
    return locked_folders.leftovers(root, _prefix())


def _prefix() -> str:
    return f"audioctl.{socket.gethostname()}."
