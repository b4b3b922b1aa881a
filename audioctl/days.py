"""Days (``YYYY-MM-DD``) and slots (``HH_MM``): checked text, so that they sort and join paths as they are."""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import date, timedelta

from audioctl.errors import UsageError

DAY_PATTERN = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
SLOT_PATTERN = re.compile(r"([01]\d|2[0-3])_([0-5]\d)")

# What people write for a day or a slot, besides what is asked for.
_YEAR_FIRST = re.compile(r"(\d{4})[\W_]?(\d{1,2})[\W_]?(\d{1,2})", re.ASCII)
_YEAR_LAST = re.compile(r"(\d{1,2})(?P<separator>[./ _-])(\d{1,2})(?P=separator)(\d{4})", re.ASCII)
_OTHER_SLOT = re.compile(r"(\d{1,2})[:._h -]?(\d{2})", re.ASCII)


def parse_day(text: str) -> str:
    """``text`` as a day; raises UsageError when no such day exists."""
    if not is_day(text):
        if SLOT_PATTERN.fullmatch(text):
            raise UsageError(f"{text!r} is not a day.", hint="It is a slot, and those come behind: DAY SLOT.")
        example = _did_you_mean(_days_meant(text)) or ", for example 2025-01-25."
        raise UsageError(f"{text!r} is not a day.", hint=f"Write days as YYYY-MM-DD{example}")
    return text


def is_day(text: str) -> bool:
    """Whether ``text`` is a day as we write it."""
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def parse_days(text: str) -> list[str]:
    """A day, or every day of a range ``A..B``, both ends included."""
    first, separator, last = text.partition("..")
    if not separator:
        return [parse_day(text)]
    start, end = date.fromisoformat(parse_day(first)), date.fromisoformat(parse_day(last))
    if end < start:
        raise UsageError(f"The range {text} ends before it begins.", hint=f"Did you mean {last}..{first}?")
    return [(start + timedelta(days=offset)).isoformat() for offset in range((end - start).days + 1)]


def parse_slot(text: str) -> str:
    """``text`` as a slot; raises UsageError when it is none."""
    if not SLOT_PATTERN.fullmatch(text):
        example = _did_you_mean(_slots_meant(text)) or ", for example 12_30."
        raise UsageError(f"{text!r} is not a slot.", hint=f"Write slots as HH_MM{example}")
    return text


def nearest_slot(slot: str, slots: Iterable[str]) -> str:
    """Of ``slots``, of which there is one, that which is nearest in time."""

    def minutes(text: str) -> int:
        return 60 * int(text[:2]) + int(text[3:])

    return min(slots, key=lambda other: abs(minutes(other) - minutes(slot)))


def nearest_days(day: str, days: Iterable[str], count: int = 2) -> list[str]:
    """Of ``days``, those that are nearest, in order."""
    here = date.fromisoformat(day)
    return sorted(sorted(days, key=lambda other: abs((date.fromisoformat(other) - here).days))[:count])


def _days_meant(text: str) -> Iterator[str]:
    """Every day that ``text`` is in some country's way of writing: 1/2/2025 is one of January or of February."""
    if match := _YEAR_FIRST.fullmatch(text):
        yield from _day(match[1], match[2], match[3])
    elif match := _YEAR_LAST.fullmatch(text):
        yield from _day(match[4], match[3], match[1])
        if match["separator"] == "/":
            yield from _day(match[4], match[1], match[3])


def _day(year: str, month: str, day: str) -> Iterator[str]:
    """None where there is no such day."""
    with suppress(ValueError):
        yield date(int(year), int(month), int(day)).isoformat()


def _slots_meant(text: str) -> Iterator[str]:
    match = _OTHER_SLOT.fullmatch(text)
    if match and SLOT_PATTERN.fullmatch(slot := f"{match[1]:0>2}_{match[2]}"):
        yield slot


def _did_you_mean(meant: Iterable[str]) -> str | None:
    return f": did you mean {words}?" if (words := " or ".join(dict.fromkeys(meant))) else None
