"""Waiting for an archive that an earlier job may still hold.

A job that Slurm runs again after its node was lost comes sooner than its predecessor's lease grows stale.
"""

from __future__ import annotations

import time
from pathlib import Path

from audioctl.errors import ArchiveBusyError, ArchiveStillBusyError
from audioctl.ledger.lease import HEARTBEAT_SECONDS, STALE_AFTER_SECONDS, Lease
from audioctl.pipeline.job import ArchiveJob, Surroundings

PATIENCE_SECONDS = STALE_AFTER_SECONDS + 2 * HEARTBEAT_SECONDS
"""Whoever is dead is known to be dead by then, even if it died after we began to wait."""

_LOOK_SECONDS = 2.0


def acquire_patiently(
    path: Path,
    job: ArchiveJob,
    around: Surroundings,
    *,
    patience_seconds: float = PATIENCE_SECONDS,
    look_seconds: float = _LOOK_SECONDS,
) -> Lease:
    """The lease, once its holder has given it back or is known to be dead.

    Raises ArchiveStillBusyError when it is neither after ``patience_seconds``, Drained as soon as that is asked for,
    and JournalError when the lease cannot be made.
    """
    give_up_at = time.monotonic() + patience_seconds
    told = False
    while True:
        around.drain.check()
        try:
            return Lease.acquire(path, run_id=job.run_id, job_id=job.job_id)
        except ArchiveBusyError as busy:
            if time.monotonic() >= give_up_at:
                raise ArchiveStillBusyError(
                    f"{busy.message} This job waited {patience_seconds:.0f} s for it, and asks to be run again.",
                    hint="If its node was lost to Slurm, it ends when the node comes back or is restarted.",
                ) from busy
            if not told:
                told = True
                around.notify(f"{busy.message} Waiting for it to end, for up to {patience_seconds:.0f} s.")
        time.sleep(look_seconds)
