"""The geometry of a day's charts; the page's template draws them.

Across, everything is in percent, so that a chart is as wide as its page, on a phone or on paper, and its letters stay
as large as they are. Down, rows are in pixels, and curves in percent of their chart.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from audioctl.reporting.history import Attempt
from audioctl.reporting.series import DaySeries
from audioctl.reporting.worktime import Pause, Tick, WorkTime

_BAR_HEIGHT, _LANE_HEIGHT, _LABEL_HEIGHT = 14, 18, 20
_THIN_BAR_HEIGHT, _THIN_LANE_HEIGHT = 6, 8
_MANY_LANES = 40
_LABEL_WIDTH = 7.0
"""A bar of this width, in percent, has room for its slot, but on a phone."""
_NARROWEST_BAR = 0.25
_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class Frame:
    """What the charts of a day have in common."""

    ticks: list[Tick]
    pauses: list[Pause]


@dataclass(frozen=True, slots=True)
class Bar:
    """``x`` and ``width`` in percent, ``y`` in pixels."""

    attempt: Attempt
    x: float
    width: float
    y: int
    has_label: bool


@dataclass(frozen=True, slots=True)
class NodeRow:
    node: str
    y: int
    """Of the line on which its name stands."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Attempts as bars; those of a node below its name, side by side where they overlap."""

    height: int
    bar_height: int
    nodes: list[NodeRow]
    bars: list[Bar]


@dataclass(frozen=True, slots=True)
class Curve:
    """``path`` is SVG path data in a square of 100 by 100; ``peak`` is the largest value."""

    name: str
    path: str
    peak: float


@dataclass(frozen=True, slots=True)
class Chart:
    """Curves over time on one scale from 0 to ``top``."""

    top: float
    curves: list[Curve]


def frame(work: WorkTime) -> Frame:
    return Frame(work.ticks(), work.pauses())


def timeline(attempts: Sequence[Attempt], work: WorkTime) -> Timeline:
    by_node: dict[str, list[list[Attempt]]] = defaultdict(list)
    for attempt in sorted(attempts, key=lambda one: (one.began, one.slot)):
        lanes = by_node[attempt.node]
        lane = next((lane for lane in lanes if lane[-1].until <= attempt.began), None)
        if lane is None:
            lanes.append([attempt])
        else:
            lane.append(attempt)
    is_thin = sum(map(len, by_node.values())) > _MANY_LANES
    bar_height, lane_height = (_THIN_BAR_HEIGHT, _THIN_LANE_HEIGHT) if is_thin else (_BAR_HEIGHT, _LANE_HEIGHT)
    nodes, bars, y = [], [], 0
    for node in sorted(by_node, key=_natural):
        nodes.append(NodeRow(node, y))
        y += _LABEL_HEIGHT
        for lane in by_node[node]:
            bars += [_bar(attempt, work, y, may_have_label=not is_thin) for attempt in lane]
            y += lane_height
    return Timeline(y, bar_height, nodes, bars)


def speed_chart(series: DaySeries, work: WorkTime) -> Chart:
    return _chart({"× real time": series.real_time}, _area, series, work)


def rate_chart(series: DaySeries, work: WorkTime) -> Chart:
    return _chart({"clips a second": series.clips_per_second}, _area, series, work)


def stages_chart(series: DaySeries, work: WorkTime) -> Chart:
    curves = {"read": series.read, "transcribed": series.transcribed}
    return _chart(curves | {"recorded": series.recorded, "uploaded": series.uploaded}, _line, series, work)


def waiting_chart(series: DaySeries, work: WorkTime) -> Chart:
    curves = {"for the recogniser": series.waiting_recogniser, "for the database": series.waiting_record}
    return _chart(curves | {"for their upload": series.waiting_upload}, _steps, series, work)


Path = Callable[[Sequence[float], DaySeries, WorkTime, float], str]


def _chart(curves: Mapping[str, Sequence[float]], path: Path, series: DaySeries, work: WorkTime) -> Chart:
    """Of the curves that have values."""
    peaks = {name: max(values) for name, values in curves.items() if values}
    top = _round_up(max(peaks.values()))
    return Chart(top, [Curve(name, path(curves[name], series, work, top), peak) for name, peak in peaks.items()])


def _area(values: Sequence[float], series: DaySeries, work: WorkTime, top: float) -> str:
    """Closed; between two periods it is at 0."""
    parts = ["M0 100"]
    for stretch, value in zip(series.stretches, values, strict=True):
        start, end = (_percent(work.position(time)) for time in (stretch.start, stretch.end))
        is_behind_pause = any(stretch.start == period.start for period in work.periods[1:])
        parts.append(f"{'V100 ' if is_behind_pause else ''}H{start} V{_down(value, top)} H{end}")
    return " ".join([*parts, "V100 Z"])


def _steps(values: Sequence[float], series: DaySeries, work: WorkTime, top: float) -> str:
    steps = [
        f"V{_down(value, top)} H{_percent(work.position(stretch.end))}"
        for stretch, value in zip(series.stretches, values, strict=True)
    ]
    return " ".join(["M0 100", *steps])


def _line(values: Sequence[float], series: DaySeries, work: WorkTime, top: float) -> str:
    points = [
        f"L{_percent(work.position(stretch.end))} {_down(value, top)}"
        for stretch, value in zip(series.stretches, values, strict=True)
    ]
    return " ".join(["M0 100", *points])


def _bar(attempt: Attempt, work: WorkTime, y: int, *, may_have_label: bool) -> Bar:
    start, end = work.position(attempt.began), work.position(attempt.until)
    width = max(_NARROWEST_BAR, _percent(end - start))
    return Bar(attempt, min(_percent(start), 100 - width), width, y, may_have_label and width >= _LABEL_WIDTH)


def _percent(share: float) -> float:
    return round(100 * share, 2)


def _down(value: float, top: float) -> float:
    return round(100 - 100 * value / top, 2)


def _round_up(value: float) -> float:
    """1, 2, 5, 10, 20, 50... that is not less; 1 for 0."""
    if value <= 0:
        return 1.0
    scale = 1.0
    while scale >= value * 10:
        scale /= 10
    while scale * 10 < value:
        scale *= 10
    return next(step * scale for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * scale >= value)


def _natural(node: str) -> list[tuple[int, int | str]]:
    """node2 before node10."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in _DIGITS.split(node)]
