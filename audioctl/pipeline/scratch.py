"""The folder of a job for members too large for memory and Opus files that wait for their upload."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from audioctl.errors import ScratchError
from audioctl.processes import process_started

_PREFIX = "audioctl"
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

    Raises ScratchError when it cannot be made.
    """
    folder = root / f"{_PREFIX}.{socket.gethostname()}.{os.getpid()}.{process_started(os.getpid())}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(root)
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise ScratchError(
            f"The scratch folder {folder} cannot be made: {error.strerror}.",
            hint="Point paths.scratch to a local folder that you may write to.",
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_leftovers(root: Path) -> None:
    """Only of processes of this node that are gone; others' folders cannot be judged from here."""
    for folder in root.glob(f"{_PREFIX}.*"):
        identity = folder.name.removeprefix(f"{_PREFIX}.").rsplit(".", 2)
        if len(identity) != 3 or identity[0] != socket.gethostname() or not identity[1].isdigit():
            continue
        if process_started(int(identity[1])) != identity[2] and folder.owner() == Path(f"/proc/{os.getpid()}").owner():
            shutil.rmtree(folder, ignore_errors=True)
