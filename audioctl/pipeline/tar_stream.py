"""What stands between an archive's bytes and tarfile, which believes every number that a header holds.

A name of 8 GB is read into memory, a header that belongs to a header to any depth, the records of an extended header
in time that grows with their square. Here the headers of one member have a largest size and depth, and records are
checked before tarfile sees them.
"""

import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Self, cast

from audioctl.pipeline.decompress import DamageFoundError, DecompressedFile
from audioctl.states import Damage

_SKIP_BYTES = 1 << 20

_LARGEST_HEADERS_BYTES = 1 << 20
"""Of all headers of one member. Linux has no name of more than 4 KiB, and no extended attribute of more than 64 KiB."""

_MOST_HEADERS = 16
"""Of one member: its own, and the long name, link target and extended headers before it."""

_LARGEST_GLOBAL_HEADERS_BYTES = 64 << 10
"""tarfile copies what holds for all members for each of them."""

_EXTENDED = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_RECORD = re.compile(rb"([0-9]{1,7}) [^=]+=")
_SHORTEST_RECORD_BYTES = 5
"""``5 a=`` and a newline."""

_MANY_DIGITS = re.compile(rb"[0-9]{128}")
"""Python before 3.11.10 looks for records from each of them to the last one: CVE-2024-6232."""


class TarStream:
    """``archive`` as tarfile reads it: forward only. Its errors are those of ``archive``, and tarfile.TarError."""

    def __init__(self, archive: DecompressedFile) -> None:
        self.archive = archive
        self._position = 0
        self._ahead = b""
        self._headers = 0
        self._headers_end: int | None = None

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> int:
        if position < self._position:
            raise tarfile.StreamError("a member begins before the end of the one before it")
        while self._position < position and self.read(min(position - self._position, _SKIP_BYTES)):
            pass
        return self._position

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes; fewer only at the end."""
        content = self.peek(size)
        self._ahead = self._ahead[size:]
        self._position += len(content)
        return content

    def peek(self, size: int) -> bytes:
        """What ``read`` will give."""
        if size < 0:
            raise tarfile.ReadError("a header has a size below zero")
        if self._headers_end is not None and self._position + size > self._headers_end:
            raise tarfile.ReadError(f"the headers of a member have more than {_LARGEST_HEADERS_BYTES} bytes")
        missing = size - len(self._ahead)
        if missing > 0:
            parts = [self._ahead]
            while missing > 0 and (chunk := self.archive.read(missing)):
                parts.append(chunk)
                missing -= len(chunk)
            self._ahead = b"".join(parts)
        return self._ahead[:size]

    @contextmanager
    def header(self) -> Iterator[None]:
        """Around what follows the first block of a header; headers inside it belong to the same member."""
        if self._headers == 0:
            self._headers_end = self._position + _LARGEST_HEADERS_BYTES
        if self._headers == _MOST_HEADERS:
            raise tarfile.ReadError(f"a member has more than {_MOST_HEADERS} headers")
        self._headers += 1
        try:
            yield
        finally:
            self._headers -= 1
            if self._headers == 0:
                self._headers_end = None


def open_tar(archive: DecompressedFile) -> tarfile.TarFile:
    """Its ``fileobj`` is a TarStream. Raises DamageFoundError when ``archive`` does not begin as a tar does."""
    try:
        return tarfile.TarFile(
            fileobj=cast(IO[bytes], TarStream(archive)),  # it asks for no more than there is
            tarinfo=_StrictTarInfo,
            encoding="utf-8",
            errors="surrogateescape",
        )
    except tarfile.ReadError as error:
        damage = Damage.NOT_AN_ARCHIVE if archive.compressed_bytes_read else Damage.EMPTY
        raise DamageFoundError(damage, str(error)) from error


def stream_of(tar: tarfile.TarFile) -> TarStream:
    return cast(TarStream, tar.fileobj)


class _StrictTarInfo(tarfile.TarInfo):
    """Tells the end of an archive from a header that is bad or missing; tarfile ends quietly at either."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # a block of zeros; typeshed lacks it
            raise
        # Beside its own errors: numbers that are none, and blocks that end before what is looked for in them.
        except (tarfile.HeaderError, ValueError, IndexError) as error:
            raise tarfile.ReadError(str(error)) from error

    def _proc_member(self, tarfile_: tarfile.TarFile) -> tarfile.TarInfo:
        # What tarfile's source names for overriding. Every header comes here; not all come to fromtarfile, since a
        # change of Python's that distributions have brought to older ones, too.
        stream, parent = stream_of(tarfile_), cast(Any, super())
        with stream.header():
            if self.type in _EXTENDED:
                _check_records(stream.peek(self.size))
            found: tarfile.TarInfo = parent._proc_member(tarfile_)
        lasting = tarfile_.pax_headers
        if sum(len(key) + len(value) for key, value in lasting.items()) > _LARGEST_GLOBAL_HEADERS_BYTES:
            raise tarfile.ReadError(f"the global headers have more than {_LARGEST_GLOBAL_HEADERS_BYTES} bytes")
        return found


def _check_records(records: bytes) -> None:
    """Raises tarfile.ReadError unless ``records`` is a row of ``<length> <key>=<value>\\n``, as newer Pythons do."""
    if _MANY_DIGITS.search(records):
        raise tarfile.ReadError("an extended header holds a number of too many digits")
    start = 0
    while start < len(records) and records[start]:
        match = _RECORD.match(records, start)
        length = int(match[1]) if match else 0
        end = start + length
        if match is None or length < _SHORTEST_RECORD_BYTES or match.end() >= end or records[end - 1 : end] != b"\n":
            raise tarfile.ReadError("an extended header is no row of records")
        start = end
