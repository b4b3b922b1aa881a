"""What a job has done so far, for those who watch it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Counts:
    """One look. Clips are those of this attempt; what earlier attempts finished is in ``clips_before``."""

    elapsed_seconds: float = 0.0
    compressed_bytes_read: int = 0
    compressed_size_bytes: int = 0
    clips_before: int = 0
    members_read: int = 0
    clips_ahead: int = 0
    """Read, and not in the recogniser yet."""
    clips_converted: int = 0
    clips_stored: int = 0
    clips_rejected: int = 0
    members_skipped: int = 0
    audio_seconds: float = 0.0
    transcribe_busy_seconds: float = 0.0
    clips_recorded: int = 0
    clips_uploaded: int = 0
    bytes_uploaded: int = 0
    owed_record: int = 0
    owed_upload: int = 0
    first_transcript_seconds: float | None = None

    @property
    def share_read(self) -> float | None:
        """Of the archive, from 0 to 1; ``None`` before it is opened."""
        return self.compressed_bytes_read / self.compressed_size_bytes if self.compressed_size_bytes else None

    @property
    def share_done(self) -> float | None:
        """Of the archive, from 0 to 1: what was read and has come to the recogniser; ``None`` before it is opened."""
        if self.share_read is None or not self.members_read:
            return self.share_read
        return self.share_read * max(0, self.members_read - self.clips_ahead) / self.members_read

    @property
    def remaining_seconds(self) -> float | None:
        """If the rest of the archive is like what is done of it; ``None`` before the first transcript."""
        share = self.share_done
        if not share or not self.clips_stored or self.elapsed_seconds < 1:
            return None
        return self.elapsed_seconds * (1 - share) / share


@dataclass(slots=True)
class Counters:
    """Counts that several threads add to."""

    began: float = field(default_factory=time.monotonic)
    _counts: Counts = field(default_factory=Counts)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, **amounts: float) -> None:
        """Add to the counts of these names."""
        with self._lock:
            self._counts = replace(
                self._counts, **{name: getattr(self._counts, name) + amount for name, amount in amounts.items()}
            )

    def set(self, **values: float) -> None:
        with self._lock:
            self._counts = replace(self._counts, **values)  # type: ignore[arg-type]

    def look(self) -> Counts:
        with self._lock:
            return replace(self._counts, elapsed_seconds=time.monotonic() - self.began)
