"""Folders for temporary files and sockets, which the next job removes where one was killed."""

from __future__ import annotations

import atexit
import hashlib
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from audioctl.errors import ScratchError
from audioctl.locked_folders import LockedFolder

_LONGEST_SOCKET_PATH = 107
"""Bytes (unix(7))."""
_OUR_PART = len("/audioctl-12345678-12345678")

_MULTIPROCESSING = len("/pymp-12345678/listener-12345678")
"""Of the socket through which a job has workers forked."""


def short_folder(room: int) -> LockedFolder:
    """A new folder that only we can enter, in which the path of a socket may go on for ``room`` bytes.

    It is where temporary files belong, or in /tmp where that path is too long. The node is told in a few letters: its
    name may have 64. Raises ScratchError.
    """
    parent = tempfile.gettempdir()
    if len(os.fsencode(parent)) + _OUR_PART + room > _LONGEST_SOCKET_PATH:
        parent = "/tmp"
    node = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
    try:
        return LockedFolder(Path(parent), f"audioctl-{node}-")
    except OSError as error:
        raise ScratchError(
            f"No folder for temporary files can be made in {parent}: {error.strerror}.",
            hint="Point TMPDIR to a local folder that has room and that you may write to.",
        ) from error


@contextmanager
def temporary_files_together() -> Iterator[None]:
    """Within, whatever this process or a library of it makes for a while lies in a folder of its own.

    That goes when the process ends: multiprocessing keeps a folder for that long, and leaves it behind when it is
    killed.
    """
    folder = short_folder(_MULTIPROCESSING)
    atexit.register(folder.remove)
    before, tempfile.tempdir = tempfile.tempdir, str(folder.path)
    try:
        yield
    finally:
        tempfile.tempdir = before
