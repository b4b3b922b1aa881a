"""Fuzzing an archive: whatever its bytes are, members come out and perhaps a damage, within the limits."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import random
import tarfile
from collections.abc import Sequence
from pathlib import Path

import zstandard

import audioctl.names
import audioctl.pipeline.decompress
import audioctl.pipeline.extract
import audioctl.pipeline.tar_stream
from audioctl.clips import Member
from audioctl.errors import ArchiveDamagedError
from audioctl.names import ClipNames
from audioctl.pipeline.decompress import DecompressedFile, DecompressionLimits
from audioctl.pipeline.extract import read_archive
from tools.fuzz.mutations import NUMBERS, Mutation, inserting
from tools.fuzz.names import check_path

_LIMITS = DecompressionLimits(size_bytes=16 << 20, ratio=100, allowance_bytes=1 << 20)
_MOST_MEMBERS = 300
_LARGEST_MEMBER_BYTES = 256 << 10
_SPOOLED_BYTES = 2_000

_BLOCK = tarfile.BLOCKSIZE
_CHECKSUM = slice(148, 156)
_SIZE_AT, _TYPE_AT = 124, 156
_NUMBER_FIELDS = ((100, 8), (_SIZE_AT, 12), (136, 12), (386, 12), (398, 12), (410, 12), (422, 12), (483, 12))
"""Offset and length; from 386 on those of GNU's sparse files, of which 482 says whether there are more."""
_TYPES = b"01234567ABDKLMNSVXxg\0"
_KEYS = (
    *(b"path", b"linkpath", b"size", b"mtime", b"hdrcharset", b"comment"),
    *(b"GNU.sparse." + key for key in (b"map", b"size", b"realsize", b"name", b"numblocks", b"offset", b"numbytes")),
    *(b"GNU.sparse.major", b"GNU.sparse.minor"),
)
_VALUES = (b"1", b"0", b"0,512", b"0,1,512,512,1024,0", b"BINARY", b"../../x", b"a\0b", b"\xff", b"x" * 600, b"1" * 300)


class ArchiveTarget:
    """``folder`` is where the archive of each input is written, and its large members."""

    files = frozenset(
        {
            audioctl.names.__file__,
            audioctl.pipeline.decompress.__file__,
            audioctl.pipeline.extract.__file__,
            audioctl.pipeline.tar_stream.__file__,
            tarfile.__file__,
        }
    )

    def __init__(self, folder: Path) -> None:
        self._archive = folder / "archive"
        self._scratch = folder / "scratch"
        self._scratch.mkdir(exist_ok=True)
        self.seeds: Sequence[bytes] = _seeds()
        self.mutations: Sequence[Mutation] = tuple(
            _with_right_checksums(mutation)
            for mutation in (_change_number, _change_number, _change_type, _write_records, inserting((bytes(_BLOCK),)))
        )

    def run(self, content: bytes) -> None:
        self._archive.write_bytes(content)
        members: list[Member] = []
        try:
            with DecompressedFile(self._archive, _LIMITS) as archive:
                for batch in read_archive(
                    archive,
                    names=ClipNames("2025-01-25", "12_30"),
                    batch_size=3,
                    max_member_size_bytes=_LARGEST_MEMBER_BYTES,
                    spool_above_bytes=_SPOOLED_BYTES,
                    spool_dir=self._scratch,
                    max_members=_MOST_MEMBERS,
                ):
                    members += batch.members
        except ArchiveDamagedError:
            pass
        finally:
            on_scratch = {path: path.read_bytes() for path in self._scratch.iterdir()}
            for path in on_scratch:
                path.unlink()
        _check(members, on_scratch)


def _check(members: Sequence[Member], on_scratch: dict[Path, bytes]) -> None:
    assert len(members) <= _MOST_MEMBERS
    assert [member.ordinal for member in members] == list(range(len(members)))
    spooled = {member.content for member in members if isinstance(member.content, Path)}
    assert spooled == on_scratch.keys(), "something else is on scratch than what was handed out"
    for member in members:
        if member.reason is not None:
            assert member.content is None
            continue
        assert member.content is not None
        content = on_scratch[member.content] if isinstance(member.content, Path) else member.content
        assert len(content) == member.size_bytes <= _LARGEST_MEMBER_BYTES
        assert hashlib.sha256(content).hexdigest() == member.sha256
        check_path(member.name, member.storage_path)


def _seeds() -> list[bytes]:
    gnu, pax = _tar(tarfile.GNU_FORMAT), _tar(tarfile.PAX_FORMAT)
    sparse = {"GNU.sparse.map": "0,100,4096,400", "GNU.sparse.size": "8192", "GNU.sparse.name": "holes.wav"}
    version_1 = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "8192"}
    return [
        gnu,
        pax,
        _tar(tarfile.PAX_FORMAT, sparse),
        _tar(tarfile.PAX_FORMAT, version_1, b"2\n0\n100\n4096\n400\n".ljust(_BLOCK, b"\0") + bytes(500)),
        _gnu_sparse(),
        gzip.compress(gnu, mtime=0),
        bz2.compress(gnu),
        lzma.compress(gnu),
        zstandard.ZstdCompressor(write_checksum=True).compress(gnu),
    ]


def _tar(tar_format: int, pax_headers: dict[str, str] | None = None, content: bytes = bytes(500)) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tar_format) as tar:
        for name in ("a.mp3", "é" * 120 + ".mp3", "/etc/../x", "large.wav"):
            entry = tarfile.TarInfo(name)
            entry.size = len(content) * (8 if name == "large.wav" else 1)
            entry.pax_headers = (pax_headers or {}) if name == "a.mp3" else {}
            tar.addfile(entry, io.BytesIO(content * 8))
        for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE):
            entry = tarfile.TarInfo("../outside")
            entry.type, entry.linkname = kind, "/etc/passwd" * 15
            tar.addfile(entry)
    return stream.getvalue()


def _gnu_sparse() -> bytes:
    """In GNU's own format, with one block more of its map."""
    header = bytearray(tarfile.TarInfo("holes.wav").tobuf(tarfile.GNU_FORMAT))
    header[_TYPE_AT : _TYPE_AT + 1] = tarfile.GNUTYPE_SPARSE
    for at, number in ((_SIZE_AT, 1000), (386, 0), (398, 500), (483, 8192)):
        header[at : at + 12] = b"%011o\0" % number
    header[482] = 1
    more = b"%011o\0%011o\0" % (4096, 500)
    return _checksummed(bytes(header) + more.ljust(_BLOCK, b"\0") + bytes(2 * _BLOCK) + _tar(tarfile.GNU_FORMAT))


def _headers(content: bytes) -> list[int]:
    """Where a header seems to be."""
    return [at for at in range(0, len(content), _BLOCK) if content[at + 257 : at + 262] == b"ustar"]


def _checksummed(content: bytes) -> bytes:
    changed = bytearray(content)
    for at in _headers(content):
        header = changed[at : at + _BLOCK].ljust(_BLOCK, b"\0")
        header[_CHECKSUM] = b" " * 8
        changed[at + 148 : at + 156] = b"%06o\0 " % sum(header)
    return bytes(changed)


def _with_right_checksums(mutation: Mutation) -> Mutation:
    """Or nearly nothing would get any further than to the checksum of a header."""

    def mutate(content: bytes, choices: random.Random) -> bytes:
        return _checksummed(mutation(content, choices))

    return mutate


def _change_number(content: bytes, choices: random.Random) -> bytes:
    headers = _headers(content)
    if not headers:
        return content
    changed = bytearray(content)
    at, length = choices.choice(_NUMBER_FIELDS)
    at += choices.choice(headers)
    number = choices.choice(NUMBERS)
    if number >= 0 and choices.random() < 0.5:
        field = b"%0*o\0" % (length - 1, number % 8 ** (length - 1))
    else:  # base 256
        field = (number % 256 ** (length - 1)).to_bytes(length - 1, "big")
        field = (b"\xff" if number < 0 else b"\x80") + field
    changed[at : at + length] = field
    return bytes(changed)


def _change_type(content: bytes, choices: random.Random) -> bytes:
    headers = _headers(content)
    if not headers:
        return content
    changed = bytearray(content)
    changed[choices.choice(headers) + _TYPE_AT] = choices.choice(_TYPES)
    return bytes(changed)


def _write_records(content: bytes, choices: random.Random) -> bytes:
    """An extended header with records of all kinds, before some member."""
    records = b"".join(_record(choices) for _ in range(choices.randint(1, 6)))
    header = tarfile.TarInfo("records")
    header.type, header.size = choices.choice((tarfile.XHDTYPE, tarfile.XGLTYPE)), len(records)
    at = choices.choice(_headers(content) or [0])
    padding = bytes(-len(records) % _BLOCK)
    return content[:at] + header.tobuf(tarfile.USTAR_FORMAT) + records + padding + content[at:]


def _record(choices: random.Random) -> bytes:
    number = str(choices.choice(NUMBERS)).encode()
    body = b" %s=%s\n" % (choices.choice(_KEYS), choices.choice((*_VALUES, number, number)))
    length = len(body) + 1
    while len(str(length)) + len(body) != length:
        length += 1
    return b"%d%s" % (length if choices.random() < 0.95 else choices.choice((0, 1, 5, length - 1, 9999)), body)
