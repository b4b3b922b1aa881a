"""What a person is told who has no archives where they were looked for: it is the day, the folder, or the pattern."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from audioctl.archives import days_with_archives, does_not_match, why_not_of_day
from audioctl.days import nearest_days
from audioctl.errors import UsageError
from audioctl.settings import Paths


def no_archive_of(day: str, folder: Path, paths: Paths) -> UsageError:
    """``folder`` holds no archive of ``day``, or is not there."""
    return UsageError(
        f"No archive of {day} was found: {_what_is_there(folder, day, paths.pattern)}.", hint=_hint(day, paths)
    )


def _what_is_there(folder: Path, day: str, pattern: str) -> str:
    if not folder.exists():
        return f"{folder} does not exist"
    names = [path.name for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    if not names:
        return f"{folder} is empty"
    name = _nearest_name(names, day, pattern)
    why = why_not_of_day(name, day, pattern) or "is no file"
    return f"the nearest name in {folder} is {name}, which {why}"


def _nearest_name(names: Sequence[str], day: str, pattern: str) -> str:
    """Where a name is as the pattern has it, for another day or with another ending, one of those."""
    alike = [name for name in names if why_not_of_day(name, day, pattern) not in (None, does_not_match(pattern))]
    example = pattern.replace("{day}", day).replace("{slot}", "12_30")
    return get_close_matches(example, alike or names, n=1, cutoff=0)[0]


def _hint(day: str, paths: Paths) -> str:
    if others := set(days_with_archives(paths.archives, paths.pattern)) - {day}:
        nearest = nearest_days(day, others)
        return f"The nearest {'days' if nearest[1:] else 'day'} in {paths.archives}: {' and '.join(nearest)}."
    return "Name the folder with --archives DIR; `audioctl config show --origin` says where paths.archives comes from."
