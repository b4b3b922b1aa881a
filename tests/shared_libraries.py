"""Shared libraries without any code, written byte by byte: no compiler is needed, and every name in them is ours."""

import struct
import sys
from collections.abc import Sequence
from pathlib import Path

_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NULL, _DT_NEEDED, _DT_STRTAB, _DT_SYMTAB, _DT_STRSZ, _DT_SYMENT, _DT_SONAME = 0, 1, 5, 6, 10, 11, 14
_ET_DYN = 3
_READABLE, _PAGE = 4, 0x10000
_HEADER_SIZE, _SEGMENT_SIZE, _ENTRY_SIZE, _SYMBOL_SIZE = 64, 56, 16, 24


def write_library(path: Path, *, needs: Sequence[str] = ()) -> Path:
    """A 64-bit ELF library that is known by the name of its file, and cannot be loaded without those that it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = b"\0" + b"".join(name.encode() + b"\0" for name in (path.name, *needs))
    places = {name: names.index(b"\0" + name.encode() + b"\0") + 1 for name in (path.name, *needs)}
    dynamic_start = _HEADER_SIZE + 2 * _SEGMENT_SIZE
    entry_count = len(needs) + 6
    symbols_start = dynamic_start + entry_count * _ENTRY_SIZE
    names_start = symbols_start + _SYMBOL_SIZE  # the one symbol that every table begins with
    entries = [
        *((_DT_NEEDED, places[name]) for name in needs),
        (_DT_SONAME, places[path.name]),
        (_DT_STRTAB, names_start),
        (_DT_STRSZ, len(names)),
        (_DT_SYMTAB, symbols_start),
        (_DT_SYMENT, _SYMBOL_SIZE),
        (_DT_NULL, 0),
    ]
    size = names_start + len(names)
    dynamic = b"".join(struct.pack("<QQ", *entry) for entry in entries)
    segments = _segment(_PT_LOAD, 0, size, _PAGE) + _segment(_PT_DYNAMIC, dynamic_start, len(dynamic), 8)
    path.write_bytes(_header() + segments + dynamic + bytes(_SYMBOL_SIZE) + names)
    return path


def _header() -> bytes:
    # Made for the machine that Python itself is made for.
    identity_and_machine = Path(sys.executable).resolve().read_bytes()[:20]
    machine = struct.unpack_from("<H", identity_and_machine, 18)[0]
    return identity_and_machine[:16] + struct.pack(
        "<HHIQQQIHHHHHH", _ET_DYN, machine, 1, 0, _HEADER_SIZE, 0, 0, _HEADER_SIZE, _SEGMENT_SIZE, 2, 0, 0, 0
    )


def _segment(kind: int, start: int, size: int, alignment: int) -> bytes:
    return struct.pack("<IIQQQQQQ", kind, _READABLE, start, start, start, size, size, alignment)
