"""Builds the tar archives that tests read: good, hostile and compressed in every way."""

import bz2
import gzip
import io
import lzma
import random
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import zstandard

Entry = tuple[tarfile.TarInfo, bytes]

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    ".tar": bytes,
    ".tar.gz": gzip.compress,
    ".tar.xz": lzma.compress,
    ".tar.bz2": bz2.compress,
    ".tar.zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}


def file_entry(name: str | bytes, content: bytes) -> Entry:
    """A regular file; a name in bytes may be in any encoding."""
    entry = tarfile.TarInfo(name if isinstance(name, str) else name.decode(errors="surrogateescape"))
    entry.size = len(content)
    return entry, content


def special_entry(name: str, kind: bytes, target: str = "") -> Entry:
    """A directory, link, device or fifo: ``kind`` is one of tarfile's ``*TYPE``."""
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.linkname = target
    return entry, b""


def clip_entries(count: int, size: int = 2_000) -> list[Entry]:
    """Files ``0000.mp3`` and on, each with other bytes that compress as badly as MP3 does; the same at every call."""
    return [file_entry(f"{number:04d}.mp3", random.Random(number).randbytes(size)) for number in range(count)]


def tar_bytes(entries: Iterable[Entry], tar_format: int = tarfile.GNU_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tar_format, encoding="utf-8", errors="surrogateescape") as tar:
        for entry, content in entries:
            tar.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def write_archive(path: Path, entries: Iterable[Entry]) -> Path:
    """A whole archive, compressed as the ending of ``path`` says."""
    ending = next(ending for ending in reversed(COMPRESSORS) if path.name.endswith(ending))
    path.write_bytes(COMPRESSORS[ending](tar_bytes(entries)))
    return path
