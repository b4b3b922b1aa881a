"""What names a clip in the database, and what text it can hold."""

import hashlib

from audioctl.names import base_name

LONGEST_FILENAME = 255
"""Characters: ``audio_files.filename varchar(255)``."""

LONGEST_MEMBER_BYTES = 2000
"""An entry of a PostgreSQL B-tree holds 2704 bytes, and the clip key has four more columns."""

_HASH_DIGITS = 16


def day_key(day: str) -> dict[str, object]:
    """``date`` is the day of the month, as the old tables have it."""
    year, month, date = map(int, day.split("-"))
    return {"year": year, "month": month, "date": date}


def member_key(member: str) -> str:
    """``member`` as the database holds it: itself, unless it is too long for an index, when it ends in a hash."""
    encoded = member.encode()
    if len(encoded) <= LONGEST_MEMBER_BYTES:
        return member
    ending = f"-{_digest(member)}"
    return encoded[: LONGEST_MEMBER_BYTES - len(ending)].decode(errors="ignore") + ending


def filename_candidates(day: str, slot: str, member: str) -> list[str]:
    """The names a clip may have in ``audio_files.filename``, best first; the last always fits."""
    path_name = f"{day}_{slot}_{member.replace('/', '_')}"
    ending = f"-{_digest(f'{day}/{slot}/{member}')}"
    names = [base_name(member), path_name, path_name[: LONGEST_FILENAME - len(ending)] + ending]
    return [name for name in names if len(name) <= LONGEST_FILENAME]


def storable(text: str) -> str:
    """Without U+0000, which no PostgreSQL text or jsonb can hold; a recogniser means nothing by it."""
    return text.replace("\0", "")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS]
