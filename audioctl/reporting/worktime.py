"""The axis of time of a day's charts: when jobs were at work, with the long pauses between cut out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

_PAUSE_SHARE = 0.25
"""A pause that is longer than this share of all the work is cut out; a night would leave no room for the day."""
_PAUSE_WIDTH = 0.03
"""Of the axis: what stands for a pause."""

_STRETCHES = 100
"""How finely what changes over time is told, at most about so many pieces."""

_STEPS_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_MOST_TICKS = 6
_TICKS_APART = 0.14
"""Of the axis: as wide as a label is on a phone."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """From ``start`` to ``end``, in seconds since 1970."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Tick:
    """``position`` is from 0, the beginning of the axis, to 1, its end."""

    position: float
    label: str


@dataclass(frozen=True, slots=True)
class Pause:
    """``position`` is that of its middle; ``start`` and ``end`` are in seconds since 1970."""

    position: float
    start: float
    end: float


class WorkTime:
    """Maps times to positions between 0 and 1. ``periods`` are the stretches between which nothing happened."""

    def __init__(self, work: Iterable[Stretch]) -> None:
        """``work`` is at least one stretch in which a job was at work; they may overlap."""
        busy = merged(work)
        self.work_seconds = sum(stretch.seconds for stretch in busy)
        self.periods = merged(busy, closing=_PAUSE_SHARE * self.work_seconds)
        pauses = len(self.periods) - 1
        seconds = max(1.0, sum(period.seconds for period in self.periods))
        width = max(0.5, 1 - pauses * _PAUSE_WIDTH)
        self._scale = width / seconds
        self._pause_width = (1 - width) / pauses if pauses else 0.0

    def position(self, time: float) -> float:
        position = 0.0
        for period in self.periods:
            if time <= period.end:
                return position + max(0.0, time - period.start) * self._scale
            position += period.seconds * self._scale + self._pause_width
        return 1.0 if self._pause_width else min(1.0, position)

    def pauses(self) -> list[Pause]:
        return [
            Pause(self.position(after.start) - self._pause_width / 2, before.end, after.start)
            for before, after in pairwise(self.periods)
        ]

    def stretches(self) -> list[Stretch]:
        """The periods in pieces of about the same length."""
        step = _nice(sum(period.seconds for period in self.periods) / _STRETCHES)
        return [piece for period in self.periods for piece in _cut(period, max(1, round(period.seconds / step)))]

    def ticks(self) -> list[Tick]:
        """Times that are round, as far apart as their labels need."""
        step = _nice(sum(period.seconds for period in self.periods) / _MOST_TICKS)
        first, last = self.periods[0].start, self.periods[-1].end
        label = "%H:%M:%S" if step < 60 else "%H:%M"
        if datetime.fromtimestamp(first, UTC).date() != datetime.fromtimestamp(last, UTC).date():
            label = f"%m-%d {label}"
        ticks: list[Tick] = []
        for period in self.periods:
            for time in range(-(-int(period.start) // step) * step, int(period.end) + 1, step):
                position = self.position(time)
                if not ticks or position - ticks[-1].position >= _TICKS_APART:
                    ticks.append(Tick(position, datetime.fromtimestamp(time, UTC).strftime(label)))
        return ticks


def merged(stretches: Iterable[Stretch], closing: float = 0.0) -> list[Stretch]:
    """What these cover together, in order; gaps of up to ``closing`` seconds are covered, too."""
    covered: list[Stretch] = []
    for stretch in sorted(stretches, key=lambda one: one.start):
        if covered and stretch.start - covered[-1].end <= closing:
            covered[-1] = Stretch(covered[-1].start, max(covered[-1].end, stretch.end))
        else:
            covered.append(stretch)
    return covered


def _cut(period: Stretch, pieces: int) -> Sequence[Stretch]:
    edges = [period.start + period.seconds * number / pieces for number in range(pieces + 1)]
    return [Stretch(start, end) for start, end in pairwise(edges)]


def _nice(seconds: float) -> int:
    return next((step for step in _STEPS_SECONDS if step >= seconds), _STEPS_SECONDS[-1])
