"""From the name of a member to the name of its clip and of its file on the storage server.

Names in an archive are data, and hostile until proved otherwise: bytes in any encoding, absolute paths, ``..``,
the same name twice. Everything here is a pure function of the names in archive order, so that every reading of an
archive gives the same result.
"""

import hashlib
import re
from pathlib import PurePosixPath

LONGEST_COMPONENT_BYTES = 255
"""NAME_MAX of every common Linux file system."""

LONGEST_PATH_BYTES = 400
"""Leaves room for a destination folder within ``audio_files.file_path varchar(500)``."""

_HASH_DIGITS = 16
# rsync writes ``.NAME.`` and six characters beside NAME before it renames; the temporary name must fit as well.
_ROOM_FOR_TEMPORARY_NAME = 8
_LITERAL_ESCAPE = re.compile(r"\\(?=x[0-9a-f]{2})")


class UnsafeNameError(ValueError):
    """The name would lead out of its folder, or cannot be written down at all."""


def readable(raw_name: str) -> str:
    r"""A tar name, as tarfile gives it (surrogate escapes for bytes that are not UTF-8), as valid Unicode.

    Bytes that are not UTF-8 become ``\xNN``; a backslash that would read as such an escape becomes ``\x5c``. So two
    different names stay different.
    """
    escaped = _LITERAL_ESCAPE.sub(r"\\x5c", raw_name)
    return "".join(
        f"\\x{ord(character) - 0xDC00:02x}" if 0xDC80 <= ord(character) <= 0xDCFF else character
        for character in escaped
    )


def clip_path(raw_name: str) -> str:
    """The member path without a leading ``/`` or ``./``, without empty and ``.`` parts, with ``..`` resolved.

    Raises UnsafeNameError for a name that leads out, holds a NUL character, or names nothing.
    """
    text = readable(raw_name)
    if "\0" in text:
        raise UnsafeNameError("the name holds a NUL character")
    parts: list[str] = []
    for part in text.split("/"):
        if part in ("", "."):
            continue
        if part == "..":
            if not parts:
                raise UnsafeNameError("the name leads out of the archive's folder")
            parts.pop()
        else:
            parts.append(part)
    if not parts:
        raise UnsafeNameError("the name is empty")
    return "/".join(parts)


def storage_folder(day: str, slot: str) -> str:
    """The folder of a slot below the destination, with its ``/`` at the end."""
    return f"{day_folder(day)}{slot}/"


def day_folder(day: str) -> str:
    """That of all slots of a day."""
    year, month, date = day.split("-")
    return f"audio/{year}/{month}/{date}/"


def slot_of(storage_path: str) -> str:
    """The slot in whose folder a file lies; empty for one beside those folders."""
    *folders, _ = storage_path.split("/")
    return folders[4] if len(folders) > 4 else ""


def storage_path(day: str, slot: str, name: str) -> str:
    """Where a clip's Opus copy goes below the destination: ``audio/YYYY/MM/DD/HH_MM/<name without .mp3>.opus``.

    A part too long for a file system, or a path too long for the database, is cut and ends in a hash of the whole,
    so that different names stay different.
    """
    folder = storage_folder(day, slot)
    relative = name.removesuffix(".mp3") + ".opus"
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_DIGITS]
    *folders, file = relative.split("/")
    # Every file ends in .opus and no folder does, or a.mp3 and a.opus/b.mp3 would want the same name.
    folders = [f"{part}~" if part.endswith(".opus") else part for part in folders]
    limit = LONGEST_COMPONENT_BYTES - _ROOM_FOR_TEMPORARY_NAME
    parts = [part if _byte_length(part) <= limit else _cut(part, limit, digest) for part in (*folders, file)]
    path = folder + "/".join(parts)
    if _byte_length(path) > LONGEST_PATH_BYTES:
        path = folder + _cut("_".join(parts), limit, digest)
    return path


class ClipNames:
    """Gives each member of one archive, in order, a name and a storage path that no other member has.

    The second of two equal names becomes ``<member>~2``; so does a name whose file would be another clip's file.
    """

    def __init__(self, day: str, slot: str) -> None:
        self._day = day
        self._slot = slot
        # Hashes, not names: an archive of a million members costs some 100 MB less this way.
        self._taken: set[bytes] = set()
        # Where to go on counting, or a million members of one name would take time that grows with their square.
        self._next_counts: dict[bytes, int] = {}

    def assign(self, raw_name: str) -> tuple[str, str]:
        """The clip's name and its storage path; raises UnsafeNameError."""
        wanted = clip_path(raw_name)
        key = _key("wanted", wanted)
        count = self._next_counts.get(key, 1)
        while True:
            name = wanted if count == 1 else f"{wanted}~{count}"
            path = storage_path(self._day, self._slot, name)
            keys = (_key("name", name), _key("path", path))
            count += 1
            if self._taken.isdisjoint(keys):
                self._taken.update(keys)
                if name != wanted:
                    self._next_counts[key] = count
                return name, path


def base_name(name: str) -> str:
    """The last part of a clip's name."""
    return PurePosixPath(name).name


def _key(kind: str, text: str) -> bytes:
    return hashlib.blake2b(f"{kind}\0{text}".encode(), digest_size=16).digest()


def _byte_length(text: str) -> int:
    return len(text.encode())


def _cut(text: str, limit_bytes: int, digest: str) -> str:
    ending = f"-{digest}.opus" if text.endswith(".opus") else f"-{digest}"
    return text.encode()[: limit_bytes - len(ending)].decode(errors="ignore") + ending
