"""Makes jobs take their time.

After each transcribed batch the job waits for as many seconds as the file $SLOW_JOB says at that moment. The real
recogniser is at work; only how long it takes must not depend on the machine that the tests run on.
"""

import os
import time
from pathlib import Path


def begin() -> None:
    from audioctl.ledger.events import BatchTranscribed, Event
    from audioctl.ledger.journal import JournalWriter

    append = JournalWriter.append

    def append_and_wait(journal: JournalWriter, *events: Event) -> None:
        append(journal, *events)
        if any(isinstance(event, BatchTranscribed) for event in events):
            time.sleep(float(Path(os.environ["SLOW_JOB"]).read_text()))

    JournalWriter.append = append_and_wait  # type: ignore[method-assign, assignment]
