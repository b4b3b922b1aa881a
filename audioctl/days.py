"""Days (``YYYY-MM-DD``) and slots (``HH_MM``): checked text, so that they sort and join paths as they are."""

import re
from datetime import date, timedelta

from audioctl.errors import UsageError

SLOT_PATTERN = re.compile(r"([01]\d|2[0-3])_([0-5]\d)")


def parse_day(text: str) -> str:
    """``text`` as a day; raises UsageError when no such day exists."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or day.isoformat() != text:
        raise UsageError(f"{text!r} is not a day.", hint="Write days as YYYY-MM-DD, for example 2025-01-25.")
    return text


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
        raise UsageError(f"{text!r} is not a slot.", hint="Write slots as HH_MM, for example 12_30.")
    return text
