"""What ``audioctl doctor`` says of one thing that it has looked at."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import msgspec

from audioctl.errors import AudioctlError


class Verdict(StrEnum):
    GOOD = "good"
    LOOK = "look"
    BAD = "bad"


class Finding(msgspec.Struct, frozen=True):
    """What one check found, and what to do about it."""

    check: str
    verdict: Verdict
    message: str
    hint: str | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that was found on one machine, as ``doctor --json`` prints it.

    ``clock_ahead_seconds`` is how far its clock is ahead of the file server's of the state folder, where that is known.
    """

    schema: int = 1
    machine: str
    findings: list[Finding]
    clock_ahead_seconds: float | None = None


def check(name: str, look: Callable[[], Finding | str]) -> Finding:
    """What ``look`` finds: an error is bad, and words alone are good."""
    try:
        found = look()
    except AudioctlError as error:
        return Finding(name, Verdict.BAD, error.message, error.hint)
    return found if isinstance(found, Finding) else Finding(name, Verdict.GOOD, found)
