"""What changed over a day: how fast it went, how far each stage was, what waited for the next one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from audioctl.reporting.history import BatchTimes
from audioctl.reporting.worktime import Stretch


@dataclass(frozen=True, slots=True)
class DaySeries:
    """One value for each of ``stretches``. Series that the day has nothing for (no database) hold nothing."""

    stretches: list[Stretch]
    real_time: list[float]
    """Seconds of audio transcribed in a second; all jobs together."""
    clips_per_second: list[float]
    read: list[int]
    """Members, until the end of the stretch; as the next one."""
    transcribed: list[int]
    recorded: list[int]
    """Clips; as the next one."""
    uploaded: list[int]
    waiting_recogniser: list[int]
    """Members that were read and not transcribed, at most in the stretch."""
    waiting_record: list[int]
    """Clips that were transcribed and not in the database; as the next one."""
    waiting_upload: list[int]


Change = tuple[float, int]
"""A time, and by how much something grew then."""


def day_series(batches: Sequence[BatchTimes], stretches: list[Stretch], *, records: bool, uploads: bool) -> DaySeries:
    heard = [(batch.begun, batch.heard, batch) for batch in batches if batch.heard is not None]
    read = [(batch.read, batch.members) for batch in batches]
    through = [(end, batch.members) for _, end, batch in heard]
    stored = [(end, batch.stored) for _, end, batch in heard]
    recorded = [(batch.recorded, batch.stored) for batch in batches if batch.recorded is not None]
    uploaded = [(batch.uploaded, batch.stored) for batch in batches if batch.uploaded is not None]
    audio = [(begun, end, batch.audio_seconds) for begun, end, batch in heard]
    clips = [(begun, end, float(batch.stored)) for begun, end, batch in heard]
    return DaySeries(
        stretches=stretches,
        real_time=_rates(audio, stretches),
        clips_per_second=_rates(clips, stretches),
        read=_sums(read, stretches),
        transcribed=_sums(through, stretches),
        recorded=_sums(recorded, stretches) if records else [],
        uploaded=_sums(uploaded, stretches) if uploads else [],
        waiting_recogniser=_deepest(read, through, stretches),
        waiting_record=_deepest(stored, recorded, stretches) if records else [],
        waiting_upload=_deepest(stored, uploaded, stretches) if uploads else [],
    )


def _rates(work: Iterable[tuple[float, float, float]], stretches: Sequence[Stretch]) -> list[float]:
    """``work`` is from when until when how much was done; it is taken to have gone evenly."""
    amounts = [0.0] * len(stretches)
    starts = [stretch.start for stretch in stretches]
    for start, end, amount in work:
        # Times have whole seconds, so this is also where most of a batch was that took less than one.
        first, last = (max(0, bisect_right(starts, time) - 1) for time in (start, end))
        overlaps = [
            max(0.0, min(end, stretches[index].end) - max(start, stretches[index].start))
            for index in range(first, last + 1)
        ]
        covered = sum(overlaps)
        if covered == 0:
            amounts[last] += amount
            continue
        for index, overlap in enumerate(overlaps, first):
            amounts[index] += amount * overlap / covered
    return [round(amount / max(1.0, stretch.seconds), 3) for amount, stretch in zip(amounts, stretches, strict=True)]


def _sums(changes: Iterable[Change], stretches: Sequence[Stretch]) -> list[int]:
    """Of all changes until the end of each stretch; the last one has all."""
    grown = [0] * len(stretches)
    ends = [stretch.end for stretch in stretches]
    for time, amount in changes:
        grown[min(bisect_right(ends, time), len(ends) - 1)] += amount
    total = 0
    sums = []
    for amount in grown:
        total += amount
        sums.append(total)
    return sums


def _deepest(come: Iterable[Change], gone: Iterable[Change], stretches: Sequence[Stretch]) -> list[int]:
    """The most that had come and not gone at any time in each stretch."""
    # Of the same second nobody knows the order; what goes is taken to go first.
    changes = sorted([*come, *((time, -amount) for time, amount in gone)])
    level = position = 0
    deepest = []
    for stretch in stretches:
        while position < len(changes) and changes[position][0] <= stretch.start:
            level += changes[position][1]
            position += 1
        most = level
        while position < len(changes) and changes[position][0] < stretch.end:
            level += changes[position][1]
            most = max(most, level)
            position += 1
        deepest.append(max(0, most))
    return deepest
