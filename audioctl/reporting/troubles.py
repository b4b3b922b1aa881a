"""What a person has to see to, and what to type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from audioctl.ledger import progress
from audioctl.ledger.queries import ArchiveStatus
from audioctl.states import ArchiveState, Damage, Outcome

_SHOWN_MESSAGES = 3


@dataclass(frozen=True, slots=True)
class Trouble:
    """Archives that stand in the same way for the same reason. ``messages`` are the first different ones of them."""

    state: ArchiveState
    reason: str
    slots: list[str]
    messages: list[str]
    more_messages: int
    advice: str
    commands: list[str]


def troubles(day: str, archives: Sequence[ArchiveStatus], *, needs_a_person: set[str]) -> list[Trouble]:
    """Failures first, then damage, then what was cancelled. ``needs_a_person`` are slots whose settings are wrong."""
    groups: dict[tuple[ArchiveState, str], list[ArchiveStatus]] = {}
    for archive in archives:
        if archive.state in _ADVISERS:
            reason = progress.NEEDS_A_PERSON if archive.slot in needs_a_person else archive.reason or ""
            groups.setdefault((archive.state, reason), []).append(archive)
    order = list(_ADVISERS)
    return [_trouble(day, *key, groups[key]) for key in sorted(groups, key=lambda key: (order.index(key[0]), key[1]))]


def _trouble(day: str, state: ArchiveState, reason: str, archives: Sequence[ArchiveStatus]) -> Trouble:
    slots = [archive.slot for archive in archives]
    messages = list(dict.fromkeys(archive.error for archive in archives if archive.error))
    advice, commands = _ADVISERS[state](day, reason, slots)
    return Trouble(
        state,
        reason,
        slots,
        messages[:_SHOWN_MESSAGES],
        max(0, len(messages) - _SHOWN_MESSAGES),
        advice,
        commands,
    )


def _failed(day: str, reason: str, slots: Sequence[str]) -> tuple[str, list[str]]:
    resume = f"audioctl resume {day}"
    match reason:
        case progress.NEEDS_A_PERSON:
            return "Another attempt would meet this again: mend what the message names first.", [resume]
        case progress.DAMAGED_JOURNAL | progress.NEWER_JOURNAL:
            return "First do what the message says.", [resume]
        case Outcome.OWED:
            return "All is transcribed. What could not be sent is sent by another job.", [resume]
        case Outcome.DRAINED:
            return "Ended early by a signal. Another job goes on where this one stopped.", [resume]
        case _:
            advice = "What was done is kept, and another job goes on from there. The log tells more."
            return advice, [f"audioctl logs {day} {slots[0]}", resume]


def _damaged(day: str, reason: str, slots: Sequence[str]) -> tuple[str, list[str]]:  # noqa: ARG001 - as _failed
    kept = "What could be read is done."
    if reason == Damage.TOO_LARGE:
        advice = f"{kept} Where the archive is as it should be, raise the limit that the message names and `touch` it."
    else:
        advice = f"{kept} Copy the archive from its source again; then only what differs is done."
    return advice, [f"audioctl resume {day}"]


def _cancelled(day: str, reason: str, slots: Sequence[str]) -> tuple[str, list[str]]:  # noqa: ARG001 - as _failed
    some = "".join(f" --slot {slot}" for slot in slots)
    return "It stays so until it is submitted again.", [f"audioctl submit-day {day}{some}"]


_ADVISERS = {ArchiveState.FAILED: _failed, ArchiveState.DAMAGED: _damaged, ArchiveState.CANCELLED: _cancelled}
"""In the order in which they are told."""
