"""Who may read what is in the state folder: transcripts, and the scripts of jobs.

Its owner, and nobody else. A folder with the set-group-ID bit (``chmod g+s``, which gives what is made in it to the
folder's group) is shared with that group, as far as the folder's own mode and the umask allow.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from audioctl.errors import LedgerError


def open_private(path: str, flags: int) -> int:
    """An ``opener`` for ``open``, for files that may be new."""
    return os.open(path, flags, 0o600 | (_group_access(Path(path).parent) & 0o060))


def make_folder(folder: Path) -> None:
    """Makes it where it is missing, and the folders above it. Raises OSError."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir(0o700 | _group_access(folder.parent))
    except FileExistsError:
        if not folder.is_dir():
            raise


def check_readable(state_dir: Path) -> None:
    """Raises LedgerError where you may not look into it, because to you it would seem to be empty.

    A folder that is not there really has nothing in it.
    """
    try:
        may_look = not state_dir.exists() or os.access(state_dir, os.R_OK | os.X_OK)
    except PermissionError:  # from a folder above it
        may_look = False
    if not may_look:
        raise LedgerError(
            f"You may not look into the state folder {state_dir.absolute()}.",
            hint="Ask its owner to share it with a group, or name your own with paths.state_dir.",
        )


def _group_access(folder: Path) -> int:
    mode = folder.stat().st_mode
    return mode & stat.S_IRWXG if mode & stat.S_ISGID else 0
