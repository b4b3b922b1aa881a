"""The figures of a day for scripts: what ``report --json`` promises for each day."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from audioctl.reporting.clips import LENGTH_EDGES_SECONDS, ClipTally
from audioctl.reporting.figures import DayFigures
from audioctl.reporting.history import Attempt
from audioctl.reporting.series import DaySeries


def as_object(figures: DayFigures) -> dict[str, Any]:
    """Times as everywhere in ``--json``; whatever is named ``_seconds`` is so many seconds."""
    status: dict[str, Any] = msgspec.to_builtins(figures.status)
    return status | {
        "is_interim": figures.is_interim,
        "work_seconds": figures.work.work_seconds if figures.work else 0.0,
        "attempts": list(map(_attempt, figures.attempts)),
        "series": _series(figures.series) if figures.series else [],
        "clips": _clips(figures.clips),
        "why_slow": _why_slow(figures),
        "costs": msgspec.to_builtins(figures.costs),
        "to_see_to": msgspec.to_builtins(figures.troubles),
        "unreadable_journals": figures.unreadable,
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    value: dict[str, Any] = msgspec.to_builtins(attempt)
    return value | {"began": _time(attempt.began), "until": _time(attempt.until)}


def _series(series: DaySeries) -> list[dict[str, Any]]:
    """One object a stretch of time."""
    columns = {name: getattr(series, name) for name in DaySeries.__slots__ if name != "stretches"}
    return [
        {"start": _time(stretch.start), "end": _time(stretch.end)}
        | {name: values[index] for name, values in columns.items() if values}
        for index, stretch in enumerate(series.stretches)
    ]


def _clips(clips: ClipTally) -> dict[str, Any]:
    ends = [*LENGTH_EDGES_SECONDS, None]
    return {
        "lengths": [{"below_seconds": end, "clips": count} for end, count in zip(ends, clips.lengths, strict=True)],
        "languages": [
            {"language": language, "clips": count, "audio_seconds": round(clips.language_seconds[language], 3)}
            for language, count in clips.languages.most_common()
        ],
        "flags": dict(clips.flags),
        "rejected": dict(clips.rejected),
        "skipped": dict(clips.skipped),
        "first_rejected": msgspec.to_builtins(clips.first_rejected),
        "doubtful_clips": clips.doubtful_count,
        "most_doubtful": msgspec.to_builtins(clips.doubtful),
    }


def _why_slow(figures: DayFigures) -> Any:
    """As ``status --why-slow --json`` has it."""
    if figures.slowness is None:
        return None
    value = msgspec.to_builtins(figures.slowness)
    value["bound"]["settings"] = figures.slowness.bound.settings
    return value


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
