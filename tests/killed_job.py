"""``audioctl`` that ends itself with SIGKILL halfway through a write of its journal: killed_job.py NUMBER ARGUMENTS...

NUMBER counts the writes from 1. The product knows nothing of this.
"""

import os
import signal
import sys
from itertools import count

from audioctl.cli import main
from audioctl.ledger.events import Event
from audioctl.ledger.journal import JournalWriter

_append = JournalWriter.append
_write = os.write
_numbers = count(1)


def write_half_and_die(descriptor: int, data: memoryview) -> int:
    _write(descriptor, data[: len(data) // 2])
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def append(journal: JournalWriter, *events: Event) -> None:
    if next(_numbers) != fatal_number:
        _append(journal, *events)
        return
    os.write = write_half_and_die  # type: ignore[assignment]
    _append(journal, *events)


if __name__ == "__main__":
    fatal_number = int(sys.argv.pop(1))
    JournalWriter.append = append  # type: ignore[method-assign, assignment]
    main()
