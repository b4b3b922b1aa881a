"""What a watch shows: a page for one day, and one for many. Pure: from what is known to lines of text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from rich.text import Text

from audioctl.cli.blocks import Block, fitted, wrapped
from audioctl.cli.output import GAP, Column, audio_hours, duration, printable, state_text, table_lines
from audioctl.cli.status_tables import remaining_seconds, scheduler_job, speed, that_fit, to_see_to, what_is_owed, why
from audioctl.cli.strip import Mark, Slot, between_cells, cells, day_strip, legend, mark_of, strip
from audioctl.states import ArchiveState, Outcome, Stage

if TYPE_CHECKING:
    from audioctl.bounds import Bound
    from audioctl.ledger.queries import ArchiveStatus, DayStatus
    from audioctl.timing import Timing

_WORTH_A_LOOK = (Mark.FAILED, Mark.LOOK)
_NAMED_SLOTS = 4
_SILENT_SECONDS = 900.0
"""A job that has written nothing for so long, its last line, is shown in yellow. Batches of slow jobs take minutes."""

_DAY_MINUTES = 24 * 60
_STRIP_MINUTES = (10, 20, 30, 60)
_HOURS_NAMED = 6
"""In the titles above the strips of many days, every so many."""
_GIVE_WAY = ("audio", "clips", "speed", "state")
"""Columns that a narrow terminal goes without, in this order, where there are many days."""


@dataclass(frozen=True, slots=True)
class RunningJob:
    archive: ArchiveStatus
    timing: Timing | None
    """``None`` until its first batch."""
    silent_seconds: float | None
    """Since the last line of its journal."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a day that is under way gets on: clips of each stage within the last ``seconds``, and the jobs that run."""

    seconds: float
    clips: Mapping[Stage, int]
    bound: Bound | None
    jobs: Sequence[RunningJob]


def day_page(day: DayStatus, pace: Pace, clock: str, width: int, height: int | None) -> list[Text]:
    """One day. ``clock`` is the time of the look."""
    slots = [Slot(archive.slot, mark_of(archive.state, archive.reason)) for archive in day.archives or []]
    picture = [
        *day_strip(slots, width),
        *_flowing(legend(slots), width),
        *([odd] if (odd := between_cells(slots)) else []),
        *_flowing(_totals(day, are_rates_shown=bool(pace.clips)), width),
        *_flowing(_why_they_wait(day), width),
    ]
    if not pace.jobs and day.totals.done:
        picture.append(Text(f"`audioctl status {day.day} --why-slow` tells where the time went.", "dim"))
    blocks = [
        Block([_title(_day_in_short(day), clock, width)], [[line] for line in picture], wanted=len(picture)),
        trouble_block(day, width),
        _pace_block(day, pace, width),
        _jobs_block(pace),
    ]
    return _cropped(fitted([block for block in blocks if block is not None], height), width)


def failures_page(days: Sequence[DayStatus], clock: str, width: int, height: int | None) -> list[Text]:
    """What failed, day by day."""
    blocks = [block for day in days if (block := trouble_block(day, width, title=day.day)) is not None]
    title = Block([_title(Text(f"To see to: {_days(len(days))}", "bold"), clock, width)])
    return _cropped(fitted([title, *blocks], height), width)


def days_page(
    days: Sequence[DayStatus], slots: Mapping[str, Sequence[Slot]], clock: str, width: int, height: int | None
) -> list[Text]:
    """A row a day, the newest first; those that ``slots`` does not have, without a strip."""
    counts = Counter(day.state for day in days)
    states = ", ".join(f"{counts[state]} {state.value}" for state in ArchiveState if counts[state])
    newest_first = sorted(days, key=lambda day: day.day, reverse=True)
    titles, *rows = _days_table(newest_first, slots, width)
    foot = _flowing(legend([slot for of_day in slots.values() for slot in of_day]), width)
    if any(to_see_to(day.totals) for day in days):
        foot.append(_command("audioctl status --failed", "tells why, and of which slots"))
    title = Block([_title(Text(f"{_days(len(days))}: {states}", "bold"), clock, width)])
    table = Block(
        [titles],
        [[row] for row in rows],
        foot,
        wanted=len(rows),
        left_out=lambda missing: Text(f"... and {_days(missing)} before", "dim"),
    )
    return _cropped(fitted([title, table], height), width)


def one_sentence(text: str, clock: str, width: int, height: int | None) -> list[Text]:
    """Where there is nothing else to say."""
    return fitted([Block([_title(Text(), clock, width), *wrapped(text, width)])], height)


def trouble_block(day: DayStatus, width: int, title: str = "") -> Block | None:
    """What failed, is damaged or owed, by reason, and what to type; ``None`` where there is nothing."""
    marked = [(mark_of(archive.state, archive.reason), archive) for archive in day.archives or []]
    found = [(mark, archive) for mark, archive in marked if mark in _WORTH_A_LOOK]
    if not found:
        return None
    found.sort(key=lambda one: (_WORTH_A_LOOK.index(one[0]), one[1].reason or "", one[1].slot))
    groups = [
        (mark, [archive for _, archive in group])
        for (mark, _), group in groupby(found, key=lambda one: (one[0], one[1].reason))
    ]
    items = [_group_lines(mark, archives, width) for mark, archives in groups]
    return Block(
        [Text(title, "bold")] if title else [],
        items,
        _what_to_type(day.day, groups),
        wanted=3,
        left_out=lambda missing: Text(f"  ... and {missing} other reasons: audioctl status {day.day} --failed"),
    )


def _group_lines(mark: Mark, archives: Sequence[ArchiveStatus], width: int) -> list[Text]:
    named = " ".join(archive.slot for archive in archives[:_NAMED_SLOTS])
    more = f" and {len(archives) - _NAMED_SLOTS} more" if len(archives) > _NAMED_SLOTS else ""
    sign = mark.value.character
    lines = wrapped(f"{sign} {named}{more}  {_plain(why(archives[0]))}", width, indent="  ", most=2)
    lines[0].stylize(mark.value.style, 0, 1)
    return lines


def _what_to_type(day: str, groups: Sequence[tuple[Mark, Sequence[ArchiveStatus]]]) -> list[Text]:
    archives = [archive for _, of_group in groups for archive in of_group]
    states = {(archive.state, archive.reason == Outcome.OWED) for archive in archives}
    said = {
        (ArchiveState.FAILED, False): "failed",
        (ArchiveState.FAILED, True): "is owed",
        (ArchiveState.DAMAGED, False): "was replaced",
    }
    what = " or ".join(words for state, words in said.items() if state in states)
    return [
        _command(f"audioctl resume {day}", f"takes up what {what}"),
        _command(f"audioctl logs {day} {archives[0].slot}", "tells more"),
    ]


def _command(typed: str, what_for: str) -> Text:
    return Text.assemble("  ", (typed, "bold"), "  ", (what_for, "dim"))


def _day_in_short(day: DayStatus) -> Text:
    parts = [f"{day.totals.done} of {day.totals.archives} done"]
    if (left := remaining_seconds(day)) is not None:
        parts.append(f"{duration(left)} left")
    return Text.assemble((day.day, "bold"), "  ", state_text(day.state), f"  {', '.join(parts)}")


def _title(text: Text, clock: str, width: int) -> Text:
    """With as much of the right half as there is room for."""
    for right in (f"{clock}  Ctrl-C ends the watch, not the jobs", f"{clock}  Ctrl-C ends", clock):
        missing = width - text.cell_len - len(right)
        if missing >= 2:
            return Text.assemble(text, " " * missing, (right, "dim"))
    return text


def _totals(day: DayStatus, *, are_rates_shown: bool) -> Text:
    totals = day.totals
    parts = [f"{totals.clips:,} clips", f"{audio_hours(totals.audio_seconds)} of audio", speed(day)]
    parts.append(f"{totals.rejected:,} rejected" if totals.rejected else "-")
    if not are_rates_shown:  # they tell what waits, too
        parts.append(what_is_owed(totals.owed_upload, totals.owed_record) or "-")
    return Text(", ".join(part for part in parts if part != "-"))


def _why_they_wait(day: DayStatus) -> Text:
    waiting = [archive for archive in day.archives or [] if archive.state is ArchiveState.SUBMITTED]
    reasons = Counter(archive.reason for archive in waiting if archive.reason)
    told = ", ".join(f"{count} {_plain(reason)}" for reason, count in reasons.most_common())
    return Text(f"waiting: {told}" if told else "")


def _pace_block(day: DayStatus, pace: Pace, width: int) -> Block | None:
    """How fast each stage is, and what bounds them all."""
    if not pace.clips:
        return None
    audio_per_clip = day.totals.audio_seconds / max(1, day.totals.stored)
    ahead = sum(job.timing.clips_ahead for job in pace.jobs if job.timing)
    waiting = {Stage.TRANSCRIBE: ahead, Stage.RECORD: day.totals.owed_record, Stage.UPLOAD: day.totals.owed_upload}
    rates = {stage: clips / pace.seconds for stage, clips in pace.clips.items()}
    columns = [Column(_last(pace.seconds)), *(Column(stage.value, "right") for stage in rates)]
    rows: list[list[str | Text]] = [
        ["clips/s", *(f"{rate:,.1f}" for rate in rates.values())],
        ["× real time", *(f"{rate * audio_per_clip:,.0f}" for rate in rates.values())],
        ["clips waiting", *(f"{waiting[stage]:,}" if stage in waiting else "" for stage in rates)],
    ]
    lines = table_lines(columns, rows)
    if pace.bound is None:
        return Block(lines)
    evidence = wrapped(pace.bound.evidence, width, most=2)
    return Block([*lines, *evidence], [wrapped(pace.bound.advice, width, "dim", most=3)])


def _last(seconds: float) -> str:
    return f"last {seconds / 60:.0f} min" if seconds >= 120 else f"last {seconds:.0f} s"


def _jobs_block(pace: Pace) -> Block | None:
    if not pace.jobs:
        return None
    columns = [
        Column("running"),
        Column("node"),
        Column("batches", "right"),
        Column("clips", "right"),
        Column("× real time", "right"),
        Column("last line", "right"),
        Column("job"),
    ]
    titles, *rows = table_lines(columns, [_job_cells(job) for job in pace.jobs])
    return Block(
        [titles], [[row] for row in rows], wanted=3, left_out=lambda missing: Text(f"... and {missing} more", "dim")
    )


def _job_cells(job: RunningJob) -> list[str | Text]:
    archive, timing, silent = job.archive, job.timing, job.silent_seconds
    return [
        archive.slot,
        archive.node or "-",
        f"{archive.batches.done}/{archive.batches.seen}",
        f"{archive.clips:,}",
        f"{timing.audio_seconds / timing.elapsed_seconds:,.0f}" if timing and timing.elapsed_seconds else "-",
        Text(_ago(silent), "yellow" if silent is not None and silent > _SILENT_SECONDS else ""),
        scheduler_job(archive) or "-",
    ]


def _ago(seconds: float | None) -> str:
    """In whole minutes, so that not every look changes every line."""
    return "-" if seconds is None else "now" if seconds < 60 else f"{seconds // 60:,.0f} min ago"


def _days(count: int) -> str:
    return f"{count:,} day{'' if count == 1 else 's'}"


def _days_table(days: Sequence[DayStatus], slots: Mapping[str, Sequence[Slot]], width: int) -> list[Text]:
    """With the columns, and then the finest strips, that ``width`` has room for."""
    columns: dict[Column, list[str | Text]] = {
        Column("day"): [day.day for day in days],
        Column("state"): [state_text(day.state) for day in days],
        Column("done", "right"): [f"{day.totals.done}/{day.totals.archives}" for day in days],
        Column("clips", "right"): [f"{day.totals.clips:,}" for day in days],
        Column("audio", "right"): [audio_hours(day.totals.audio_seconds) for day in days],
        Column("speed", "right"): [speed(day) for day in days],
        Column("to see to", fold=True): [to_see_to(day.totals) for day in days],
    }
    kept = that_fit(columns, width - _DAY_MINUTES // max(_STRIP_MINUTES) - GAP, _GIVE_WAY, folded=width // 4)
    lines = table_lines(kept, zip(*(columns[column] for column in kept), strict=True))
    room = width - max(line.cell_len for line in lines) - GAP
    minutes = next((minutes for minutes in _STRIP_MINUTES if _DAY_MINUTES // minutes <= room), max(_STRIP_MINUTES))
    strips = [strip(cells(slots[day.day], minutes)) if day.day in slots else Text() for day in days]
    hours = "".join(f"{hour:02}".ljust(60 // minutes * _HOURS_NAMED) for hour in range(0, 24, _HOURS_NAMED))
    kept.insert(2, Column(hours))
    columns[kept[2]] = list(strips)
    return table_lines(kept, zip(*(columns[column] for column in kept), strict=True))


def _plain(text: str) -> str:
    return " ".join(printable(text).split())


def _flowing(text: Text, width: int) -> list[Text]:
    """No line where there is nothing to say."""
    from rich.console import Console

    return list(text.wrap(Console(width=width), width)) if text else []


def _cropped(lines: Sequence[Text], width: int) -> list[Text]:
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return list(lines)
