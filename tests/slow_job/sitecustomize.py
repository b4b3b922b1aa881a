"""Makes jobs take their time: found by Python at its start where this folder is on PYTHONPATH.

After each transcribed batch the job waits for as many seconds as the file $SLOW_JOB says at that moment. The real
recogniser is at work; only how long it takes must not depend on the machine that the tests run on.
"""

import os
import time
from pathlib import Path

if "SLOW_JOB" in os.environ and "SLURM_JOB_ID" in os.environ:
    from audioctl.ledger.events import BatchTranscribed, Event
    from audioctl.ledger.journal import JournalWriter

    _append = JournalWriter.append

    def append(journal: JournalWriter, *events: Event) -> None:
        _append(journal, *events)
        if any(isinstance(event, BatchTranscribed) for event in events):
            time.sleep(float(Path(os.environ["SLOW_JOB"]).read_text()))

    JournalWriter.append = append  # type: ignore[method-assign, assignment]
