"""``audioctl`` that ends itself with SIGKILL at one write of its journal: killed_job.py NUMBER MOMENT ARGUMENTS...

NUMBER counts the writes from 1; MOMENT is ``before`` it, ``halfway`` through its bytes, or ``after`` it. The product
knows nothing of this.
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


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def write_half_and_die(descriptor: int, data: memoryview) -> int:
    _write(descriptor, data[: len(data) // 2])
    die()
    raise AssertionError


def append(journal: JournalWriter, *events: Event) -> None:
    if next(_numbers) != fatal_number:
        _append(journal, *events)
        return
    match moment:
        case "before":
            die()
        case "halfway":
            os.write = write_half_and_die  # type: ignore[assignment]
            _append(journal, *events)
        case "after":
            _append(journal, *events)
            die()


if __name__ == "__main__":
    fatal_number, moment = int(sys.argv[1]), sys.argv[2]
    del sys.argv[1:3]
    JournalWriter.append = append  # type: ignore[method-assign, assignment]
    main()
