"""Where the time of an attempt goes: a stopwatch for each stage, and what they add up to."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import TypeVar

from audioctl.clips import ClipRecord
from audioctl.pipeline.counters import Counters
from audioctl.states import ClipState
from audioctl.timing import Timing

Item = TypeVar("Item")


class Stopwatch:
    """Adds up what several threads spend on something; what is under way counts, too."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        self._turn(1)
        try:
            yield
        finally:
            self._turn(-1)

    @property
    def seconds(self) -> float:
        with self._lock:
            return self._seconds + self._running * time.monotonic()

    def _turn(self, change: int) -> None:
        with self._lock:
            self._seconds -= change * time.monotonic()
            self._running += change


def timed(items: Iterable[Item], stopwatch: Stopwatch) -> Iterator[Item]:
    """The same items; ``stopwatch`` runs while the next one is made."""
    iterator = iter(items)
    while True:
        try:
            with stopwatch.running():
                made = [next(iterator)]
        except StopIteration:
            return
        yield made.pop()  # as in Channel: a batch is large, and must not live on here


@dataclass(slots=True)
class AttemptTimes:
    """The stopwatches of one attempt. Whoever does the work lets them run; ``first_batch`` and ``transcribed`` are for
    the thread that has the recogniser."""

    counters: Counters
    num_workers: int
    max_concurrent_uploads: int
    load: Stopwatch = field(default_factory=Stopwatch)
    wait_extract: Stopwatch = field(default_factory=Stopwatch)
    wait_convert: Stopwatch = field(default_factory=Stopwatch)
    transcribe: Stopwatch = field(default_factory=Stopwatch)
    journal: Stopwatch = field(default_factory=Stopwatch)
    wait_upload: Stopwatch = field(default_factory=Stopwatch)
    record_finish: Stopwatch = field(default_factory=Stopwatch)
    extract: Stopwatch = field(default_factory=Stopwatch)
    convert: Stopwatch = field(default_factory=Stopwatch)
    upload: Stopwatch = field(default_factory=Stopwatch)
    record: Stopwatch = field(default_factory=Stopwatch)
    _began: float = field(default_factory=time.monotonic)
    _first: dict[str, float] | None = None
    _last: dict[str, float] | None = None
    _batches: int = 0
    _clips: int = 0
    _audio_seconds: float = 0.0

    def first_batch(self) -> None:
        """The recogniser is about to get a batch; only the first call counts."""
        self._first = self._first or self._seconds()

    def transcribed(self, records: Sequence[ClipRecord]) -> None:
        """The recogniser has given back a batch, of which these are the records."""
        self._last = self._seconds()
        self._batches += 1
        self._clips += sum(record.state is ClipState.STORED for record in records)
        self._audio_seconds += sum(record.duration_seconds or 0.0 for record in records)

    def look(self) -> Timing:
        now = self._seconds()
        first = self._first or now
        last = self._last or first
        between = {name: max(0.0, last[name] - first[name]) for name in now}
        counts = self.counters.look()
        seconds = {
            "elapsed_seconds": now["elapsed"],
            "start_seconds": first["elapsed"],
            "load_seconds": now["load"],
            "finish_seconds": now["elapsed"] - last["elapsed"],
            "record_finish_seconds": now["record_finish"],
            "transcribe_seconds": between["transcribe"],
            "wait_extract_seconds": between["wait_extract"],
            "wait_convert_seconds": between["wait_convert"],
            "wait_upload_seconds": between["wait_upload"],
            "journal_seconds": between["journal"],
            "extract_seconds": between["extract"],
            "convert_seconds": between["convert"],
            "extract_before_seconds": first["extract"],
            "convert_before_seconds": first["convert"],
            "upload_seconds": now["upload"],
            "record_seconds": now["record"],
            "audio_seconds": self._audio_seconds,
        }
        return Timing(
            **{name: round(value, 3) for name, value in seconds.items()},
            num_workers=self.num_workers,
            max_concurrent_uploads=self.max_concurrent_uploads,
            batches=self._batches,
            clips=self._clips,
            clips_ahead=int(counts.clips_ahead),
            owed_upload=int(counts.owed_upload),
            owed_record=int(counts.owed_record),
        )

    def _seconds(self) -> dict[str, float]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        seconds = {name: value.seconds for name, value in values.items() if isinstance(value, Stopwatch)}
        return seconds | {"elapsed": time.monotonic() - self._began}
