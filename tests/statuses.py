"""Archives and days as the ledger tells of them, without a ledger."""

from __future__ import annotations

from typing import Any

import msgspec
from journals import DAY

from audioctl.ledger.queries import ArchiveStatus, BatchCounts, DayStatus, Totals
from audioctl.states import ArchiveState

RUN_ID = "20250125T123000Z-0001"
TIMEOUT = "Its job reached its time limit (slurm.time) before it had drained (slurm.drain_seconds)."


def archive(slot: str, state: str, **changes: Any) -> ArchiveStatus:
    plain = ArchiveStatus(
        slot=slot, path=f"/staging/{slot}.tar", state=ArchiveState(state), attempt=1, run_id=RUN_ID,
        job_id=f"12345678_{int(slot[:2])}", node="gpu-node03", batches=BatchCounts(15, 15, 0), clips=2_863,
        stored=2_863, rejected=0, skipped=1, audio_seconds=43_200.0, owed_record=0, owed_upload=0,
        started_at="2025-01-26T08:00:00Z", finished_at="2025-01-26T08:10:00Z", reason=None, error=None,
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


def done(slot: str, **changes: Any) -> ArchiveStatus:
    return archive(slot, "done", **changes)


def running(slot: str) -> ArchiveStatus:
    return archive(slot, "running", finished_at=None)


def waiting(slot: str, reason: str) -> ArchiveStatus:
    nothing = {"node": None, "clips": 0, "audio_seconds": 0.0, "started_at": None, "finished_at": None}
    return archive(slot, "submitted", attempt=0, batches=BatchCounts(0, 0, 0), reason=reason, **nothing)


def day_of(*archives: ArchiveStatus) -> DayStatus:
    totals = Totals(archives=len(archives), audio_seconds=sum(one.audio_seconds for one in archives))
    for one in archives:
        setattr(totals, one.state.value, getattr(totals, one.state.value) + 1)
    state = ArchiveState.RUNNING if totals.running else ArchiveState.SUBMITTED
    return DayStatus(DAY, state, totals, "2025-01-26T08:00:00Z", None, list(archives))
