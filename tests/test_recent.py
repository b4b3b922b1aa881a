"""How fast the stages are now, told by the ends of journals."""

from __future__ import annotations

from pathlib import Path

import msgspec
from journals import extracted, recorded, started, transcribed, uploaded, whole_archive, write_journal

from audioctl.ledger.events import BatchExtracted, Event
from audioctl.ledger.recent import RecentEvents, recently, stage_clips
from audioctl.states import Stage

NOW = "2025-01-25T12:42:00Z"
SLOT = "12_30"


def before(minutes: int, events: list[Event]) -> list[Event]:
    return [msgspec.structs.replace(event, at=f"2025-01-25T12:{42 - minutes}:00Z") for event in events]


def batch(index: int) -> list[Event]:
    """One stored clip in each stage, of three members."""
    return [extracted(index), *transcribed(index), recorded(index), uploaded(index)]


def test_clips_of_the_last_minutes_are_counted_by_stage(state: Path) -> None:
    old, new = before(10, [started(), *batch(0)]), before(1, [*batch(1), extracted(2)])
    journal = write_journal(state, SLOT, [*old, *new])
    events = RecentEvents().look({SLOT: journal}, recently(NOW))
    clips = stage_clips(events, {(SLOT, 0): 1, (SLOT, 1): 1})
    assert clips == {Stage.EXTRACT: 6, Stage.TRANSCRIBE: 1, Stage.RECORD: 1, Stage.UPLOAD: 1}


def test_a_second_look_reads_on_and_forgets_what_is_not_recent_any_more(state: Path) -> None:
    recent = RecentEvents()
    journal = write_journal(state, SLOT, before(2, [started(), extracted(0)]))
    first = recent.look({SLOT: journal}, recently(NOW))
    assert len(first[SLOT]) == 2
    write_journal(state, SLOT, before(1, [extracted(1)]))
    again = recent.look({SLOT: journal}, recently(NOW))
    assert stage_clips(again, {})[Stage.EXTRACT] == 6
    later = recent.look({SLOT: journal}, "2025-01-25T12:41:00Z")
    assert [event.batch for event in later[SLOT] if isinstance(event, BatchExtracted)] == [1]


def test_of_a_journal_only_what_is_new_is_read(state: Path) -> None:
    recent = RecentEvents()
    journal = write_journal(state, SLOT, before(1, whole_archive(2)))
    known = recent.look({SLOT: journal}, recently(NOW))
    damaged = b"x" * (journal.stat().st_size - 1) + b"\n"
    journal.write_bytes(damaged)  # nobody could read it again
    write_journal(state, SLOT, before(1, [extracted(7)]))
    assert len(recent.look({SLOT: journal}, recently(NOW))[SLOT]) == len(known[SLOT]) + 1


def test_a_journal_that_is_damaged_or_gone_tells_nothing(state: Path) -> None:
    journal = write_journal(state, SLOT, before(1, [started()]))
    journal.write_bytes(b"no event\n")
    assert RecentEvents().look({SLOT: journal, "12_40": state / "nowhere"}, recently(NOW)) == {SLOT: [], "12_40": []}
