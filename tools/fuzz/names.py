"""Fuzzing the names of members. Names are separated by byte 0x1E; each comes as tarfile would give it."""

from __future__ import annotations

import os.path
from collections.abc import Sequence
from pathlib import PurePosixPath

import audioctl.names
import audioctl.storage.destination
from audioctl.names import LONGEST_COMPONENT_BYTES, LONGEST_PATH_BYTES, ClipNames, UnsafeNameError
from audioctl.storage.destination import LONGEST_FILE_PATH, parse_destination
from tools.fuzz.mutations import Mutation, inserting

_SEPARATOR = b"\x1e"
_FOLDER = "audio/2025/01/25/12_30/"
_ROOT = "/storage"
_DESTINATION = parse_destination(f"keeper@storage:{_ROOT}")
_TOKENS = (
    *(b"../", b"/", b"./", b"\0", b".mp3", b".opus", b"~2", b"\\xff", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\n"),
    *(b"$(id)", b"`id`", b"x" * 255, b"\xf0\x9f\x8e\xa7" * 60, _SEPARATOR),
)


class NameTarget:
    seeds: Sequence[bytes] = (_SEPARATOR.join((b"a.mp3", b"b/c.mp3")),)
    mutations: Sequence[Mutation] = (inserting(_TOKENS),)
    files = frozenset({audioctl.names.__file__, audioctl.storage.destination.__file__})

    def run(self, content: bytes) -> None:
        raw_names = [raw.decode(errors="surrogateescape") for raw in content.split(_SEPARATOR)]
        assigned = _assign(raw_names)
        assert assigned == _assign(raw_names), "another reading gives other names"
        assert len({name for name, _ in assigned}) == len(assigned), "two clips have one name"
        assert len({path for _, path in assigned}) == len(assigned), "two clips have one file"
        for name, path in assigned:
            check_path(name, path)


def check_path(name: str, path: str) -> None:
    """Raises AssertionError unless ``path`` is a file of its slot at the destination, and fits there."""
    name.encode()
    whole = _DESTINATION.file_path(path)
    assert os.path.normpath(whole) == whole == f"{_ROOT}/{path}", f"{path!r} is not what it seems"
    assert path.startswith(_FOLDER), f"{path!r} lies outside its folder"
    assert "\0" not in path
    assert len(path.encode()) <= LONGEST_PATH_BYTES
    assert len(whole) <= LONGEST_FILE_PATH
    assert all(len(part.encode()) < LONGEST_COMPONENT_BYTES for part in PurePosixPath(path).parts)


def _assign(raw_names: Sequence[str]) -> list[tuple[str, str]]:
    names = ClipNames("2025-01-25", "12_30")
    assigned = []
    for raw in raw_names:
        try:
            assigned.append(names.assign(raw))
        except UnsafeNameError:
            continue
    return assigned
