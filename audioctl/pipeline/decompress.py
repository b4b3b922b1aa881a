"""The bytes of a tar archive, whatever it is compressed with, read once from front to back.

The standard library's ``lzma.open`` and its kin are not used: they take a stream that ends early, or is followed by
rubbish, for a whole one. Here a stream has ended only when its own trailer and checksum say so.
"""

import bz2
import errno
import io
import lzma
import sys
import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import zstandard

from audioctl.errors import ArchiveUnreadableError
from audioctl.failpoints import failpoint
from audioctl.pipeline.parallel_xz import XzFailedError, XzProcess, is_parallel
from audioctl.states import Damage

_READ_AHEAD_BYTES = 1 << 20
"""Network file systems like few, large reads."""

_PLAIN_BLOCK_BYTES = 64 << 10

_COMPRESSED_BLOCK_BYTES = 4 << 10
# What a decompressor gets at once. It bounds what comes out of it at once: zstd, the extreme, makes 128 KiB from 4
# bytes, so at worst 128 MiB; recordings give about as much as goes in. Larger blocks are hardly faster
# (benchmarks/extract.py).

_LARGEST_ZSTD_WINDOW_BYTES = 1 << 31
"""What ``zstd --long=31`` needs; libzstd refuses more than 128 MiB unless told."""

_DECOMPRESSION_ERRORS = (lzma.LZMAError, zlib.error, zstandard.ZstdError, OSError)
# OSError is how bz2 speaks of bad data; no file is touched where these are caught.


class DamageFoundError(Exception):
    """The content of an archive is not what it was when it was made; ``read_archive`` adds which archive it is."""

    def __init__(self, damage: Damage, detail: str) -> None:
        super().__init__(detail)
        self.damage = damage
        self.detail = detail


@dataclass(frozen=True, slots=True)
class DecompressionLimits:
    """What an archive may become: decompressors make as many terabytes of some kilobytes as they are told to.

    ``ratio`` is that of decompressed to compressed bytes; it holds above ``allowance_bytes``, because an archive that
    is mostly silence may be tiny.
    """

    size_bytes: int = sys.maxsize
    ratio: int = sys.maxsize
    allowance_bytes: int = 1 << 30


NO_LIMITS = DecompressionLimits()


class _Decompressor(Protocol):
    """One compressed stream; what ``lzma``, ``bz2``, ``zlib`` and ``zstandard`` have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


def _xz() -> _Decompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ)


def _gzip() -> _Decompressor:
    return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)  # 16: expect a gzip header and check its trailer


def _zstd() -> _Decompressor:
    return zstandard.ZstdDecompressor(max_window_size=_LARGEST_ZSTD_WINDOW_BYTES).decompressobj()


_FORMATS: dict[bytes, Callable[[], _Decompressor]] = {
    b"\xfd7zXZ\x00": _xz,
    b"\x1f\x8b": _gzip,
    b"BZh": bz2.BZ2Decompressor,
    b"\x28\xb5\x2f\xfd": _zstd,
    # pzstd begins with a skippable frame.
    **{bytes([0x50 + number]) + b"\x2a\x4d\x18": _zstd for number in range(16)},
}


_BEGINNING_BYTES = 32
"""More than any format needs to be told."""


class DecompressedFile:
    """An open archive file. The format is told by its first bytes, never by its name.

    ``compressed_bytes_read`` of ``compressed_size_bytes`` tells how far the reading is. More than ``limits`` is damage.
    Opening and reading raise ArchiveUnreadableError; reading raises DamageFoundError as well, after everything before
    the damage was handed out.
    """

    def __init__(self, path: Path, limits: DecompressionLimits = NO_LIMITS) -> None:
        self.path = path
        self.compressed_bytes_read = 0
        self._limits = limits
        self._decompressed_bytes = 0
        try:
            self.compressed_size_bytes = path.stat().st_size
            self._file = io.BufferedReader(io.FileIO(path), _READ_AHEAD_BYTES)
        except OSError as error:
            raise unreadable(path, error) from error
        self._chunks = self._decompressed()
        self._pending = memoryview(b"")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._chunks.close()
        self._file.close()

    def read(self, size: int) -> bytes:
        """The next bytes, at most ``size`` of them; none only at the end of a whole file."""
        if not self._pending:
            self.account_for(0)
            self._pending = memoryview(b"")  # of a chunk that is used up nothing is kept
            chunk = memoryview(next(self._chunks, b""))
            self._pending = chunk[: self._most_bytes - self._decompressed_bytes]
            self._decompressed_bytes += len(chunk)
            if chunk and not self._pending:
                self.account_for(0)
        wanted, self._pending = self._pending[:size], self._pending[size:]
        return bytes(wanted)

    def account_for(self, size_bytes: int) -> None:
        """Adds to what the archive has become; also for bytes that it only speaks of, the holes of sparse files.

        Raises DamageFoundError where that is more than the limits allow.
        """
        self._decompressed_bytes += size_bytes
        if self._decompressed_bytes <= self._most_bytes:
            return
        limit = f"max_compression_ratio, {self._limits.ratio} times its {self._compressed_bytes} bytes"
        if self._most_bytes == self._limits.size_bytes:
            limit = f"max_archive_size, {self._limits.size_bytes} bytes"
        raise DamageFoundError(Damage.TOO_LARGE, f"it decompresses to more than {limit}")

    @property
    def _most_bytes(self) -> int:
        limits = self._limits
        return min(limits.size_bytes, max(limits.allowance_bytes, self._compressed_bytes * limits.ratio))

    @property
    def _compressed_bytes(self) -> int:
        return max(self.compressed_size_bytes, self.compressed_bytes_read)  # of a pipe the first is 0

    def _decompressed(self) -> Generator[bytes, None, None]:
        """What is in the file, in chunks that are not empty."""
        new_stream = self._format()
        if new_stream is _xz and self._file.seekable() and is_parallel(self._file.peek(_BEGINNING_BYTES)):
            yield from self._decompressed_by_xz()
            return
        if new_stream is None:
            yield from self._blocks(_PLAIN_BLOCK_BYTES)
            return
        stream = new_stream()
        for block in self._blocks(_COMPRESSED_BLOCK_BYTES):
            rest = block
            while rest:
                if stream.eof:
                    # Another stream may follow, as `cat` and parallel compressors write them, or zeros that fill
                    # the last block of a tape or disk.
                    rest = rest.lstrip(b"\0")
                    if not rest:
                        break
                    stream = new_stream()
                try:
                    chunk = stream.decompress(rest)
                except _DECOMPRESSION_ERRORS as error:
                    raise DamageFoundError(Damage.CORRUPT, f"it cannot be decompressed: {error}") from error
                if chunk:
                    yield chunk
                del chunk  # it may be large, and the next one is made before it would be forgotten
                rest = stream.unused_data if stream.eof else b""
        if not stream.eof:
            raise DamageFoundError(Damage.CUT_OFF, "the compressed data ends before its end marker")

    def _decompressed_by_xz(self) -> Iterator[bytes]:
        try:
            with XzProcess(self.path) as xz:
                for chunk in xz.chunks():
                    self.compressed_bytes_read = xz.compressed_bytes_read
                    yield chunk
        except XzFailedError as error:
            if "Unexpected end of input" in str(error):
                raise DamageFoundError(Damage.CUT_OFF, "the compressed data ends before its end marker") from error
            raise DamageFoundError(Damage.CORRUPT, f"it cannot be decompressed: {error}") from error
        except OSError as error:
            raise unreadable(self.path, error) from error

    def _format(self) -> Callable[[], _Decompressor] | None:
        """How to decompress the file; None where it is not compressed."""
        try:
            beginning = self._file.peek(_BEGINNING_BYTES)
        except OSError as error:
            raise unreadable(self.path, error) from error
        return next((start for magic, start in _FORMATS.items() if beginning.startswith(magic)), None)

    def _blocks(self, size: int) -> Iterator[bytes]:
        while True:
            try:
                failpoint("extract.read")
                block = self._file.read(size)
            except OSError as error:
                raise unreadable(self.path, error) from error
            if not block:
                return
            self.compressed_bytes_read += len(block)
            yield block


def unreadable(path: Path, error: OSError) -> ArchiveUnreadableError:
    """What to tell a person when the operating system does not let us read ``path``."""
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            hint = "Check the path, and whether the transfer of the archive has finished."
        case errno.EACCES | errno.EPERM:
            hint = "Ask the owner of the file for permission to read it and to enter its folders."
        case errno.EISDIR:
            hint = "Name one archive; to process a folder of them, use `audioctl submit-day DAY --archives DIR`."
        case _:
            hint = "Try again later with `audioctl resume`; if it stays, ask who looks after this file system."
    return ArchiveUnreadableError(f"Cannot read {path}: {error.strerror or error}.", hint=hint)
