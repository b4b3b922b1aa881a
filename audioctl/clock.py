"""Times as the journal and ``--json`` write them."""

from datetime import UTC, datetime


def utc_now() -> str:
    """Now, as ``2025-01-26T08:00:00Z``."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_between(start: str, end: str) -> float:
    """Seconds from one such time to another."""
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def seconds_since_1970(time: str) -> float:
    """Such a time as a number."""
    return datetime.fromisoformat(time).timestamp()
