"""Tables of the report of a day, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from audioctl.reporting.clips import LENGTH_EDGES_SECONDS, ClipTally
from audioctl.reporting.costs import Costs
from audioctl.reporting.figures import DayFigures
from audioctl.words import audio_hours, duration

SHOWN_LANGUAGES = 15
_NO_SPEECH = "nobody speaks"


@dataclass(frozen=True, slots=True)
class Share:
    """One class of a distribution. ``share`` is of the whole, ``of_largest`` of its largest class."""

    label: str
    count: int
    share: float
    of_largest: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Fact:
    label: str
    value: str
    detail: str = ""


def lengths(tally: ClipTally) -> list[Share]:
    """From the class of the shortest clip to that of the longest; none where there is no clip."""
    edges = (0, *LENGTH_EDGES_SECONDS)
    labels = [f"{_length(start)} to {_length(end)}" for start, end in pairwise(edges)]
    counts = dict(zip([*labels, f"{_length(edges[-1])} and more"], tally.lengths, strict=True))
    used = [index for index, count in enumerate(counts.values()) if count]
    some = list(counts.items())[used[0] : used[-1] + 1] if used else []
    return _shares(dict(some))


def languages(tally: ClipTally) -> list[Share]:
    """The most frequent first; those that are rare as one."""
    common = tally.languages.most_common(SHOWN_LANGUAGES)
    counts = {_language(language): count for language, count in common}
    details = {_language(language): audio_hours(tally.language_seconds[language]) for language, _ in common}
    if rare := len(tally.languages) - len(common):
        label = f"{rare} others"
        counts[label] = tally.languages.total() - sum(counts.values())
        common_seconds = sum(tally.language_seconds[language] for language, _ in common)
        details[label] = audio_hours(sum(tally.language_seconds.values()) - common_seconds)
    return _shares(counts, details)


def reasons(counts: Mapping[Any, int], of: int | None = None) -> list[Share]:
    """The most frequent first; shares are of all of them, or of ``of`` clips that may have several or none."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0] or ""))
    return _shares({reason or "no reason": count for reason, count in ordered}, total=of)


def headline(figures: DayFigures) -> list[Fact]:
    totals = figures.status.totals
    doubtful = figures.clips.doubtful_count
    facts = [
        Fact("archives done", f"{totals.done:,} of {totals.archives:,}"),
        Fact("clips", f"{totals.clips:,}", f"{totals.rejected:,} rejected, {totals.skipped:,} other members"),
        Fact("audio", audio_hours(totals.audio_seconds)),
        Fact("transcripts worth a check", f"{doubtful:,}", _percent(doubtful, totals.stored, "of the clips")),
    ]
    if figures.work is not None and figures.work.work_seconds and totals.audio_seconds:
        speed = totals.audio_seconds / figures.work.work_seconds
        while_at_work = f"in {duration(figures.work.work_seconds)}, as long as jobs were at work"
        facts.insert(3, Fact("speed", f"{speed:,.0f} × real time", while_at_work))
    if totals.owed_upload or totals.owed_record:
        owed = ", ".join(
            f"{count:,} {what}"
            for count, what in ((totals.owed_upload, "to upload"), (totals.owed_record, "to record"))
            if count
        )
        facts.append(Fact("owed", owed))
    return facts


def cost_facts(figures: DayFigures) -> list[Fact]:
    """None where nobody has begun."""
    costs, audio_seconds = figures.costs, figures.status.totals.audio_seconds
    if not costs.attempts:
        return []
    facts = [
        Fact("audio transcribed", audio_hours(audio_seconds)),
        Fact("jobs' time", duration(costs.job_seconds), f"{costs.attempts:,} attempts, without the time in a queue"),
    ]
    if costs.lost_attempts:
        lost = f"{costs.lost_attempts:,} attempts; what they had done by then is kept"
        facts.append(Fact("of it in attempts that failed or broke off", duration(costs.lost_seconds), lost))
    facts.append(
        Fact("speed of one job", _speed(audio_seconds, costs.job_seconds), "audio transcribed in a job's second")
    )
    nodes = f"of {costs.nodes:,} {'node' if costs.nodes == 1 else 'nodes'}, with at least one job of this day"
    facts.append(Fact("node hours", _hours(costs.node_seconds), nodes))
    return [*facts, *_reserved_facts(costs, audio_seconds)]


def _reserved_facts(costs: Costs, audio_seconds: float) -> list[Fact]:
    if not costs.reserved_seconds:
        return [Fact("GPU hours", "not known", "no job was started by Slurm, which counts GPUs")]
    unknown = costs.job_seconds - costs.reserved_seconds
    without = f"without {duration(unknown)} of jobs that Slurm did not start" if unknown >= 1 else ""
    facts = [Fact("CPU core hours", _hours(costs.core_seconds), without)]
    if not costs.gpu_seconds:
        return [Fact("GPU hours", "0", "jobs asked for none"), *facts]
    per_gpu = f"{audio_seconds / costs.gpu_seconds:,.1f} h" if unknown < 1 else "not known"
    return [
        Fact("GPU hours", _hours(costs.gpu_seconds), without or "jobs' time × the GPUs that they asked for"),
        Fact("audio transcribed in a GPU hour", per_gpu),
        *facts,
    ]


def _shares(
    counts: Mapping[str, int], details: Mapping[str, str] | None = None, total: int | None = None
) -> list[Share]:
    total, largest = total or sum(counts.values()), max(counts.values(), default=0)
    return [
        Share(label, count, count / max(1, total), count / max(1, largest), (details or {}).get(label, ""))
        for label, count in counts.items()
    ]


def _language(language: str | None) -> str:
    return language or _NO_SPEECH


def _length(seconds: int) -> str:
    if seconds < 60:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 3600 else f"{seconds // 3600} h"


def _percent(count: int, total: int, of_what: str) -> str:
    return f"{count / total:.1%} {of_what}" if total else ""


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.2f}" if seconds < 36_000 else f"{seconds / 3600:,.1f}"


def _speed(audio_seconds: float, seconds: float) -> str:
    return f"{audio_seconds / seconds:,.0f} × real time" if seconds else "-"
