"""``audioctl status --why-slow``: where the time of a day's jobs went, what bounds them, and which settings to turn.

It is read from the ends of the day's journals, so it needs no ledger, and tells as much of a job that still runs.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console

from audioctl.bounds import find_slowness
from audioctl.cli.output import Column, audio_hours, duration, note, print_line, print_table
from audioctl.errors import JournalError
from audioctl.ledger.journal import newest_timing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from audioctl.bounds import PartTime, Slowness
    from audioctl.timing import Timing

_COLUMNS = [
    Column("part"),
    Column("of the time", "right"),
    Column("seconds", "right"),
    Column("busy", "right"),
    Column("clips/s", "right"),
    Column("× real time", "right"),
]


def newest_day(state_dir: Path) -> str | None:
    """The last one that a job has worked on."""
    return max((folder.name for folder in (state_dir / "journals").glob("????-??-??")), default=None)


def why_slow(state_dir: Path, day: str) -> Slowness | None:
    """``None`` where no journal of the day tells."""
    timings = [timing for path in _journals(state_dir, day) if (timing := _timing(path)) is not None]
    return find_slowness(timings) if timings else None


def as_json(found: Slowness | None) -> object:
    """The same for scripts."""
    if found is None:
        return None
    value = msgspec.to_builtins(found)
    value["bound"]["settings"] = found.bound.settings
    return value


def print_why_slow(state_dir: Path, days: Sequence[str]) -> None:
    told = False
    for day in days:
        if (found := why_slow(state_dir, day)) is not None:
            _print(day, found)
            told = True
    if not told:
        note("Nothing tells yet how its time is spent: an archive does so from the end of its first batch on.")


def _journals(state_dir: Path, day: str) -> list[Path]:
    return sorted((state_dir / "journals" / day).glob("*.jsonl"))


def _timing(journal: Path) -> Timing | None:
    try:
        return newest_timing(journal)
    except JournalError as error:
        note(error.message, style="yellow")  # one archive's trouble
        return None


def _print(day: str, found: Slowness) -> None:
    console = Console()
    print_table(_COLUMNS, [_row(part, found) for part in found.parts if part.seconds or part.busy_seconds])
    spent = duration(found.elapsed_seconds)
    done = f"{found.clips:,} clips, {audio_hours(found.audio_seconds)} of audio"
    about = f"{day}: {spent} of jobs' time for {found.archives} archives ({done})."
    for line in (about, f"{found.bound.evidence} {found.bound.advice}"):
        # A terminal would break words.
        print_line(textwrap.fill(line, console.width, break_on_hyphens=False) if console.is_terminal else line)


def _row(part: PartTime, found: Slowness) -> list[str]:
    rate = part.clips_per_second
    audio_per_clip = found.audio_seconds / max(1, found.clips)
    return [
        part.part,
        f"{part.share:.0%}",
        f"{part.seconds:,.1f}",
        "-" if part.busy_share is None else f"{part.busy_share:.0%}",
        "-" if rate is None else f"{rate:,.1f}",
        "-" if rate is None else f"{rate * audio_per_clip:,.0f}",
    ]
