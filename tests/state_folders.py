"""State folders to look at: an empty one, one in which everything has happened, and somebody else's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from journals import (
    ARCHIVE,
    STAGES_WITH_DATABASE,
    clip_lines,
    ended,
    extracted,
    failed,
    read_to_end,
    started,
    submit,
    transcribed,
    uploaded,
    whole_archive,
    write_journal,
)
from ledgers import bring_up_to_date

from audioctl.ledger.models import ledger_path
from audioctl.states import Damage, Outcome, Stage

# root may do anything anywhere; without this capability it may do what any other user may.
AS_ANYBODY = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []

REPLACED = msgspec.structs.replace(ARCHIVE, size_bytes=900)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


@pytest.fixture
def eventful(state: Path) -> Path:
    """A state folder with an archive in each way in which one can stand."""
    write_journal(state, "00_00", whole_archive(3))
    cut = [started(), extracted(0), *transcribed(0), uploaded(0), read_to_end(1, Damage.CUT_OFF), ended()]
    write_journal(state, "00_10", cut)
    write_journal(state, "00_20", [started(), ended(outcome=Outcome.FAILED, error="No model.")])
    write_journal(state, "00_30", [started(), extracted(0), *transcribed(0), ended(outcome=Outcome.DRAINED)])
    write_journal(state, "00_30", whole_archive(2, attempt=2, run_id="20250125T123000Z-0001"))
    write_journal(state, "00_40", [started(), extracted(0), *transcribed(0), *clip_lines(1)])
    owed = [started(), extracted(0), *transcribed(0), failed(0, Stage.UPLOAD), read_to_end(1)]
    write_journal(state, "00_50", [*owed, ended(outcome=Outcome.OWED)])
    write_journal(state, "01_00", whole_archive(3))
    shorter = [
        started(2, archive=REPLACED, stages=STAGES_WITH_DATABASE),
        extracted(0),
        extracted(1, "b"),
        *transcribed(1),
    ]
    write_journal(state, "01_00", [*shorter, read_to_end(2), ended(2, Outcome.OWED)])
    write_journal(state, "00_00", whole_archive(1), day="2025-01-26")
    submit(state, ["00_30", "02_00"])
    submit(state, ["00_50"], "20250126T123000Z-0002", created_at="2025-01-26T12:30:00Z")
    return state


@pytest.fixture
def read_only(eventful: Path) -> Iterator[Path]:
    """Somebody else's state folder, whose ledger knows nothing of the newest archive."""
    bring_up_to_date(eventful)
    write_journal(eventful, "20_00", whole_archive(5))
    folders = [folder for folder, _, _ in os.walk(eventful)]
    ledger_path(eventful).chmod(0o444)
    for folder in folders:
        Path(folder).chmod(0o555)
    yield eventful
    for folder in folders:
        Path(folder).chmod(0o755)
