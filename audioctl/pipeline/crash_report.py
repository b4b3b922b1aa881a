"""Telling a process that crashed from one that was killed.

Whoever is killed from outside (by the kernel, with its node, by a person) leaves no word. Native code that aborts or
faults gives Python's faulthandler the time to write where; what it writes is also there for people.
"""

from __future__ import annotations

import faulthandler
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from audioctl.errors import JournalError
from audioctl.permissions import open_private


def crash_path(journal: Path) -> Path:
    return journal.with_suffix(".crash")


@contextmanager
def crash_report(path: Path) -> Iterator[bool]:
    """Whether the last process that was here crashed. If this one does so in the block, ``path`` tells the next.

    Whoever is here holds the archive's lease. Raises JournalError when the file cannot be made.
    """
    was_enabled = faulthandler.is_enabled()
    try:
        crashed = path.exists() and path.stat().st_size > 0
        report = open(path, "wb", opener=open_private)  # noqa: SIM115 - closed below
    except OSError as error:
        raise JournalError(
            f"The crash report {path} cannot be written: {error.strerror}.",
            hint="Look at the permissions and the free space of paths.state_dir.",
        ) from error
    with report:
        faulthandler.enable(report)
        try:
            yield crashed
        finally:
            faulthandler.disable()
            if was_enabled and sys.__stderr__ is not None:
                faulthandler.enable(sys.__stderr__)
            path.unlink(missing_ok=True)
