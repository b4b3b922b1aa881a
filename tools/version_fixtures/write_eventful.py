"""Run with the code of the version that is to write: a state folder in which all has happened, its ledger as SQL."""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import journals
import msgspec
from journals import (
    ARCHIVE,
    STAGES_WITH_DATABASE,
    clip_lines,
    confirmed,
    ended,
    extracted,
    failed,
    read_to_end,
    recorded,
    started,
    submit,
    transcribed,
    uploaded,
    whole_archive,
    write_journal,
)
from ledgers import bring_up_to_date

from audioctl import runs
from audioctl.executors.local import SUPERVISOR_LEASE
from audioctl.ledger.events import Event
from audioctl.ledger.journal import journal_path
from audioctl.ledger.lease import Lease, lease_path
from audioctl.ledger.models import ledger_path
from audioctl.states import Damage, Outcome, Stage

DAY = "2025-01-25"
LONG_AGO = 1_737_800_000
"""Folders that changed lately would be looked at again, whatever the ledger says."""


def write(state: Path) -> None:
    write_journal(state, "00_00", whole_archive(3))
    events = [
        started(stages=STAGES_WITH_DATABASE),
        extracted(0),
        *given_to_the_recogniser(0),
        *transcribed(0),
        recorded(0),
        uploaded(0),
        confirmed(0),
    ]
    write_journal(state, "00_10", [*events, read_to_end(1), ended()])
    cut = [started(), extracted(0), *transcribed(0), uploaded(0), read_to_end(1, Damage.CUT_OFF), ended()]
    write_journal(state, "00_20", cut)
    write_journal(state, "00_30", [started(), ended(outcome=Outcome.FAILED, error="No model.")])
    owed = [started(stages=STAGES_WITH_DATABASE), extracted(0), *transcribed(0), recorded(0)]
    owed += [failed(0, Stage.UPLOAD), read_to_end(1), ended(outcome=Outcome.OWED)]
    write_journal(state, "00_40", owed)
    write_journal(state, "00_50", [started(), extracted(0), *transcribed(0), ended(outcome=Outcome.DRAINED)])
    write_journal(state, "00_50", [started(2), extracted(0), extracted(1), *transcribed(1), *clip_lines(2)])
    replaced = msgspec.structs.replace(ARCHIVE, size_bytes=900)
    write_journal(state, "01_00", whole_archive(3))
    write_journal(state, "01_00", [started(2, archive=replaced), extracted(0), extracted(1, "b"), *transcribed(1)])
    write_journal(state, "01_00", [uploaded(1), read_to_end(2), ended(2)])
    if hasattr(journals, "revoked"):  # of versions that can
        write_journal(state, "01_50", [*whole_archive(2), journals.revoked(1)])
    run_id = "20250125T123000Z-0001"
    submit(state, ["01_10", "01_20"], run_id)
    write_journal(state, "01_10", [started(run_id=run_id, job_id=f"{run_id}_0"), extracted(0), *transcribed(0)])
    submit(state, ["01_30"], "20250125T123000Z-0002")
    if hasattr(runs, "mark_cancelled"):
        runs.mark_cancelled(submit(state, ["01_40"], "20250125T123000Z-0003"))


def given_to_the_recogniser(batch: int) -> list[Event]:
    """Of versions that say so."""
    return [journals.begun(batch)] if hasattr(journals, "begun") else []


def dump_ledger(state: Path) -> str:
    for folder in (state / "journals" / DAY, state / "runs" / DAY):
        os.utime(folder, (LONG_AGO, LONG_AGO))
    bring_up_to_date(state)
    with closing(sqlite3.connect(ledger_path(state))) as connection:
        return "".join(f"{line}\n" for line in connection.iterdump())


if __name__ == "__main__":
    state = Path(sys.argv[1])
    write(state)
    supervisor = state / "runs" / DAY / "20250125T123000Z-0001" / SUPERVISOR_LEASE
    with ExitStack() as alive:
        # While its supervisor and one of its jobs live, 01_10 is running and 01_20 waits.
        for path in (supervisor, lease_path(journal_path(state, DAY, "01_10"))):
            alive.enter_context(Lease.acquire(path, run_id=None, job_id=None))
        sys.stdout.write(dump_ledger(state))
