"""How the time of one attempt at an archive was spent: what its journal says of it."""

from __future__ import annotations

import msgspec


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Of one attempt, from its beginning until now; so the newest says all, and a missing one costs nothing.

    The time of the job's thread is cut in three: ``start_seconds``, until the recogniser had its first batch; the time
    between; ``finish_seconds``, since it gave back its last one. What has neither of these in its description is of the
    time between. Seconds of processes and calls that ran side by side are summed.
    """

    elapsed_seconds: float = 0.0
    """All three."""
    start_seconds: float = 0.0
    load_seconds: float = 0.0
    """Of the start: loading the model."""
    finish_seconds: float = 0.0
    record_finish_seconds: float = 0.0
    """Of the end: waiting for the database when all uploads had ended."""

    transcribe_seconds: float = 0.0
    """The recogniser had a batch."""
    wait_extract_seconds: float = 0.0
    """It had none, because none was read."""
    wait_convert_seconds: float = 0.0
    """The next one was read, and not converted."""
    wait_upload_seconds: float = 0.0
    """It was held back, because too many batches waited for their upload."""
    journal_seconds: float = 0.0
    """Its results were on their way to the journal's disk."""

    extract_seconds: float = 0.0
    """The reader was reading, decompressing, and checking, not waiting for those behind it."""
    convert_seconds: float = 0.0
    extract_before_seconds: float = 0.0
    """The same of the start, as the next one."""
    convert_before_seconds: float = 0.0
    upload_seconds: float = 0.0
    """Calls of rsync, and the pauses between attempts; of the whole attempt, as the next one."""
    record_seconds: float = 0.0

    num_workers: int = 0
    max_concurrent_uploads: int = 0
    batches: int = 0
    clips: int = 0
    audio_seconds: float = 0.0

    clips_ahead: int = 0
    """Read, and not in the recogniser yet; at this moment, as the next two."""
    owed_upload: int = 0
    owed_record: int = 0

    @property
    def between_seconds(self) -> float:
        return max(0.0, self.elapsed_seconds - self.start_seconds - self.finish_seconds)

    @property
    def worker_seconds(self) -> float:
        """What the workers could have worked between."""
        return self.num_workers * self.between_seconds

    @property
    def upload_slot_seconds(self) -> float:
        """What uploads could have taken since there was anything to upload."""
        return self.max_concurrent_uploads * (self.between_seconds + self.finish_seconds)
