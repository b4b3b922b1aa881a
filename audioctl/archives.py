"""Finding a day's archives: which file holds which slot."""

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from audioctl.days import DAY_PATTERN, SLOT_PATTERN, is_day
from audioctl.errors import ArchiveUnreadableError, ConfigurationError, UsageError

ENDINGS = (".tar", ".tar.xz", ".txz", ".tar.gz", ".tgz", ".tar.bz2", ".tar.zst")
"""What an archive may be called; what it is compressed with is told by its content."""

# A brace behind a dollar sign belongs to an environment variable.
_PLACEHOLDER = re.compile(r"(?<!\$)\{([^{}]*)\}")
_PATTERN_TOKEN = re.compile(rf"{_PLACEHOLDER.pattern}|\*|\?")
_ENVIRONMENT_VARIABLE = re.compile(r"\$(?:(\w+)|\{([^{}]*)\})")


class ArchiveIdentity(NamedTuple):
    """Tells whether a file is still the one that was read: another copy differs in one of these."""

    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True)
class Archive:
    """The archive of one day and slot."""

    day: str
    slot: str
    path: Path
    size_bytes: int
    mtime_ns: int


def archive_folder(template: str, day: str) -> Path:
    """The folder of a day's archives: ``template`` with ``{day}``, ``~`` and environment variables filled in.

    Raises ConfigurationError for any other placeholder, and for a variable or a user that does not exist.
    """
    filled = _fill(template, {"day": day}, setting="[paths] archives")
    for match in _ENVIRONMENT_VARIABLE.finditer(filled):
        variable = match[1] or match[2]
        if variable not in os.environ:
            raise ConfigurationError(
                f"[paths] archives = {template!r} uses the environment variable {variable}, which is not set.",
                hint=f"Set {variable}, or write the folder out in audioctl.toml.",
            )
    try:
        return Path(os.path.expandvars(filled)).expanduser()
    except RuntimeError as error:
        raise ConfigurationError(
            f"[paths] archives = {template!r} names a home folder that does not exist.",
            hint="Write the folder out in audioctl.toml.",
        ) from error


def find_archives(folder: Path, day: str, pattern: str) -> list[Archive]:
    """The archives of ``day`` in ``folder``, sorted by slot; an empty list when there are none.

    ``pattern`` is that of their names: ``{day}`` and ``{slot}`` stand for themselves, ``*`` and ``?`` for anything, as
    in the shell. Names without one of ``ENDINGS`` (checksums, partial downloads) and hidden ones are passed over.

    Raises UsageError when the folder cannot be listed or a slot has two archives; ConfigurationError for a pattern that
    cannot work; ArchiveUnreadableError for a file that cannot be looked at.
    """
    expression = _name_expression(pattern, day)
    archives: dict[str, Archive] = {}
    for path in _list_folder(folder):
        slot = _slot_of(path.name, expression)
        if slot is None:
            continue
        status = _status(path)
        if not stat.S_ISREG(status.st_mode):
            continue
        archive = Archive(day, slot, path, status.st_size, status.st_mtime_ns)
        other = archives.setdefault(archive.slot, archive)
        if other is not archive:
            raise UsageError(
                f"Slot {archive.slot} of {day} has two archives: {other.path} and {path}.",
                hint="Move one of them away, or process the right one with "
                f"`audioctl submit-tar {day} ARCHIVE {archive.slot}`.",
            )
    return [archives[slot] for slot in sorted(archives)]


def days_with_archives(template: str, pattern: str) -> list[str]:
    """Days that have a folder of archives, or, where all days share one, an archive in it; in order.

    Raises ConfigurationError for settings that cannot work; what cannot be listed has no days.
    """
    parts = Path(template).parts
    place = next((place for place, part in enumerate(parts) if "{day}" in part), len(parts))
    names = _names_in(archive_folder(str(Path(*parts[:place])), ""))
    if place == len(parts):
        expression = _name_expression(pattern, None)
    else:
        expression = re.compile(f"(?P<day>{DAY_PATTERN.pattern})".join(map(re.escape, parts[place].split("{day}", 1))))
    matches = filter(None, map(expression.fullmatch, names))
    return sorted({match["day"] for match in matches if "day" in match.groupdict() and is_day(match["day"])})


def why_not_of_day(name: str, day: str, pattern: str) -> str | None:
    """What keeps a file of this name from being an archive of ``day``, in words; ``None`` where nothing does."""
    match = _name_expression(pattern, None).fullmatch(name)
    if match is None:
        return does_not_match(pattern)
    if match.groupdict().get("day", day) != day:
        return f"is of another day, {match['day']}"
    return None if _may_be_archive(name) else f"has none of the endings {' '.join(ENDINGS)}"


def does_not_match(pattern: str) -> str:
    """In words."""
    return f"does not match paths.pattern = {pattern!r}"


def is_archive_name(name: str, day: str, slot: str, pattern: str) -> bool:
    """Whether ``find_archives`` takes a file of this name for the archive of the slot."""
    return _slot_of(name, _name_expression(pattern, day)) == slot


def named_otherwise(name: str, day: str, slot: str, pattern: str) -> str | None:
    """In words, where by ``pattern`` the name is that of another day or slot than these; else ``None``.

    Raises ConfigurationError for a pattern that cannot work.
    """
    match = _name_expression(pattern, None).fullmatch(name)
    if match is None:
        return None
    named_day, named_slot = match.groupdict().get("day", day), match["slot"]
    if (named_day, named_slot) == (day, slot):
        return None
    return f"By its name {name} is {named_slot} of {named_day}; it is taken for {slot} of {day}."


def archive_identity(path: Path) -> ArchiveIdentity:
    """What to compare to see whether the archive has changed; raises ArchiveUnreadableError."""
    status = _status(path)
    return ArchiveIdentity(status.st_size, status.st_mtime_ns)


def _slot_of(name: str, expression: re.Pattern[str]) -> str | None:
    match = expression.fullmatch(name)
    return match["slot"] if match and _may_be_archive(name) else None


def _may_be_archive(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(ENDINGS)


def _names_in(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(folder)]
    except OSError:
        return []


def _list_folder(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError as error:
        message = f"The folder {folder} does not exist."
        cause: OSError = error
    except OSError as error:
        message = f"Cannot list {folder}: {error.strerror}."
        cause = error
    raise UsageError(
        message, hint="Name the folder that holds the day's archives with --archives DIR, or as [paths] archives."
    ) from cause


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise ArchiveUnreadableError(
            f"Cannot look at {path}: {error.strerror}.",
            hint="Check that it is there and that you may enter its folder; "
            "a link whose target is gone has to be removed.",
        ) from error


def _name_expression(pattern: str, day: str | None) -> re.Pattern[str]:
    """``pattern`` as a regular expression with a group ``slot``; without ``day``, of any day, in a group ``day``."""
    _fill(pattern, {"day": "", "slot": ""}, setting="[paths] pattern")
    if "{slot}" not in pattern or "/" in pattern:
        raise ConfigurationError(
            f"[paths] pattern = {pattern!r} cannot tell the slot of an archive.",
            hint="Write the pattern of a file's name, without folders, with {slot} in it: *_{day}_{slot}.tar*",
        )
    groups = {"day": DAY_PATTERN.pattern if day is None else re.escape(day), "slot": SLOT_PATTERN.pattern}
    expression, position = "", 0
    seen: set[str] = set()
    for token in _PATTERN_TOKEN.finditer(pattern):
        expression += re.escape(pattern[position : token.start()])
        position = token.end()
        match token[0]:
            case "*":
                expression += ".*"
            case "?":
                expression += "."
            case placeholder:
                name = placeholder.strip("{}")
                expression += f"(?P={name})" if name in seen else f"(?P<{name}>{groups[name]})"
                seen.add(name)
    return re.compile(expression + re.escape(pattern[position:]), re.DOTALL)


def _fill(template: str, values: Mapping[str, str], *, setting: str) -> str:
    """``template`` with its placeholders replaced; raises ConfigurationError for one that has no value."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            known = " and ".join(f"{{{name}}}" for name in values)
            raise ConfigurationError(
                f"{setting} = {template!r} holds the unknown placeholder {match[0]}.",
                hint=f"Use {known}.",
            )
        return values[match[1]]

    return _PLACEHOLDER.sub(value, template)
