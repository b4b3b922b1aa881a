"""What is said of days and slots that nobody knows: where they were looked for, and what is nearest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from audioctl.days import nearest_days, nearest_slot
from audioctl.errors import UsageError
from audioctl.permissions import check_readable
from audioctl.settings import Settings
from audioctl.state_listing import days_in, slots_in

_SETTING = "Is paths.state_dir right? `audioctl config show --origin` says where it comes from."


def check_known(settings: Settings, days: Sequence[str], slots: Sequence[str] = ()) -> None:
    """Raises UsageError where none of ``days``, or in none of them one of ``slots``, was submitted or worked on.

    LedgerError where you may not look.
    """
    state_dir = Path(settings.paths.state_dir)
    check_readable(state_dir)
    if not set(days) & set(days_in(state_dir)):
        raise unknown_days(settings, days)
    if slots:
        of_days = sorted({slot for day in days for slot in slots_in(state_dir, day)})
        check_slots(days, slots, of_days, hint=f"`audioctl status {_told(days)}` shows all.")


def check_slots(days: Sequence[str], slots: Sequence[str], known: Sequence[str], *, hint: str) -> None:
    """Raises UsageError for the first of ``slots`` that is not among ``known``, and names the nearest there."""
    for slot in slots:
        if slot not in known:
            nearest = f"The nearest is {nearest_slot(slot, known)}; " if known else ""
            raise UsageError(f"{_told(days)} has no archive {slot}.", hint=nearest + hint)


def nothing_known(settings: Settings, days: Sequence[str]) -> str:
    """In a sentence."""
    where = Path(settings.paths.state_dir).absolute()
    return f"Nothing is known of {_told(days)} in {where} (paths.state_dir): it was not submitted."


def unknown_days(settings: Settings, days: Sequence[str]) -> UsageError:
    state_dir = Path(settings.paths.state_dir)
    if not state_dir.is_dir():
        hint = f"There is no such folder. {_SETTING}"
    elif known := days_in(state_dir):
        nearest = nearest_days(days[0], known)
        hint = f"The nearest {'are' if nearest[1:] else 'is'} {' and '.join(nearest)}; `audioctl status` shows all."
    else:
        hint = f"No other day is known there either. {_SETTING}"
    return UsageError(nothing_known(settings, days), hint=hint)


def _told(days: Sequence[str]) -> str:
    return days[0] if len(days) == 1 else f"{days[0]}..{days[-1]}"
