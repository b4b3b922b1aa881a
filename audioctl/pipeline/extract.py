"""The extract stage: the members of an archive in batches, from one pass over a stream.

The archive is never listed first, never unpacked, and no member is ever written under its own name.

Python's tarfile takes a bad header, or a missing end, for the end of an archive. What is here does not: an
archive is complete when its compressed stream is (see ``decompress``), every header has its checksum, the end
marker (two blocks of zeros) is there, and nothing but padding follows.
"""

import hashlib
import shlex
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import cast

from audioctl.clips import Member, MemberBatch
from audioctl.errors import ArchiveDamagedError, ScratchError
from audioctl.failpoints import failpoint
from audioctl.names import ClipNames, UnsafeNameError, readable
from audioctl.pipeline.decompress import DamageFoundError, DecompressedFile
from audioctl.pipeline.tar_stream import open_tar, stream_of
from audioctl.states import Damage, Reason

_BLOCK_BYTES = 256 << 10

_MOST_IN_MEMORY_BYTES = 512 << 20
"""Of the members of one batch; those behind it are spooled, or a batch of large ones would fill the memory."""

_MOST_SPARSE_PIECES = 10_000
"""tarfile puts a sparse file together in time that grows with the square of their number."""

_END_MARKER_BYTES = 2 * tarfile.BLOCKSIZE

_MOST_PADDING_BYTES = 4 << 20
"""tar fills its last record with zeros: 10 KiB by default, 1 MiB with ``-b 2048``. A long tail of zeros is what a
transfer that reserved the space and then stopped leaves behind."""

_KINDS = {
    tarfile.DIRTYPE: "a directory",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a fifo",
}


def read_archive(
    archive: DecompressedFile,
    *,
    names: ClipNames,
    batch_size: int,
    max_member_size_bytes: int,
    spool_above_bytes: int,
    spool_dir: Path,
    max_members: int = sys.maxsize,
) -> Iterator[MemberBatch]:
    """Every member of ``archive`` in order, ``batch_size`` at a time; more than ``max_members`` are damage.

    Each entry of the tar is a member and has an ordinal, whatever it is. Regular files take their names from
    ``names``; their content is in memory, or, when larger than ``spool_above_bytes`` or where the batch has much in
    memory already, in ``spool_dir/<ordinal>.member``. Whoever takes a batch owns its spooled files.

    Raises ArchiveDamagedError, after the last whole member was handed out; ArchiveUnreadableError; ScratchError.
    """
    reader = _MemberReader(names, max_member_size_bytes, spool_above_bytes, spool_dir)
    waiting: list[Member] = []
    index = members_read = 0
    damage: DamageFoundError | None = None
    try:
        try:
            for member in _members(archive, reader, max_members):
                members_read += 1
                waiting.append(member)
                if len(waiting) == batch_size:
                    batch, waiting = _batch(index, waiting), []
                    reader.in_memory_bytes = 0
                    yield batch
                    index += 1
        except DamageFoundError as found:
            damage = found
        if waiting:
            batch, waiting = _batch(index, waiting), []
            yield batch
    finally:
        for member in waiting:
            if isinstance(member.content, Path):
                member.content.unlink(missing_ok=True)
    if damage is not None:
        raise _archive_damaged(archive.path, damage, members_read) from damage


def _batch(index: int, members: list[Member]) -> MemberBatch:
    digest = hashlib.sha256()
    for member in members:
        digest.update(f"{member.name}\0{member.size_bytes}\0{member.sha256}\0".encode())
    return MemberBatch(index, members, digest.hexdigest())


def _archive_damaged(path: Path, found: DamageFoundError, members_read: int) -> ArchiveDamagedError:
    hint = "Copy the archive again from its source, then `audioctl resume`."
    match found.damage:
        case Damage.EMPTY:
            message = f"{path} is empty."
        case Damage.NOT_AN_ARCHIVE:
            message = f"{path} is not a tar archive: {found.detail}."
        case Damage.CUT_OFF:
            members = "1 whole member" if members_read == 1 else f"{members_read} whole members"
            message = f"{path} is cut off after {members}: {found.detail}."
        case Damage.CORRUPT:
            message = f"{path} is corrupt; {members_read} members could be read: {found.detail}."
        case Damage.TOO_LARGE:
            message = f"{path} is larger inside than allowed; {members_read} members were read: {found.detail}."
            hint = (
                "It may have been made to fill this machine. If it is none of that, raise the limit in [extract], then "
                f"`touch {shlex.quote(str(path))}` and `audioctl resume`: what is done stays done."
            )
    return ArchiveDamagedError(message, damage=found.damage, hint=hint)


def _members(archive: DecompressedFile, reader: "_MemberReader", max_members: int) -> Iterator[Member]:
    """Raises DamageFoundError at the first damage, after the last whole member."""
    with open_tar(archive) as tar:
        try:
            for ordinal, entry in enumerate(tar):
                if ordinal == max_members:
                    raise DamageFoundError(Damage.TOO_LARGE, f"it has more than max_members, {max_members} members")
                yield reader.read(tar, entry, ordinal)
                tar.members.clear()  # type: ignore[attr-defined]  # or memory grows with the archive
        except tarfile.TarError as error:
            damage = Damage.CORRUPT if _remaining(tar) else Damage.CUT_OFF
            raise DamageFoundError(damage, str(error)) from error
        _check_end(tar)


def _check_end(tar: tarfile.TarFile) -> None:
    """To be called after the first block of zeros. To the end of the stream, which makes it check its trailer."""
    zeros = tarfile.BLOCKSIZE
    while chunk := _remaining(tar):
        if chunk.count(0) != len(chunk):
            raise DamageFoundError(Damage.CORRUPT, "there is more data behind its end marker")
        zeros += len(chunk)
    if zeros < _END_MARKER_BYTES:
        raise DamageFoundError(Damage.CUT_OFF, "its end marker is incomplete")
    if zeros > _MOST_PADDING_BYTES:
        raise DamageFoundError(Damage.CORRUPT, f"it ends in {zeros} bytes of zeros, as after a transfer that stopped")


def _remaining(tar: tarfile.TarFile) -> bytes:
    """The next bytes that tarfile has not looked at; none at the end of the stream."""
    return stream_of(tar).read(_BLOCK_BYTES)


@dataclass
class _MemberReader:
    names: ClipNames
    max_member_size_bytes: int
    spool_above_bytes: int
    spool_dir: Path
    in_memory_bytes: int = 0
    """Of the members read since somebody set it to 0."""

    def read(self, tar: tarfile.TarFile, entry: tarfile.TarInfo, ordinal: int) -> Member:
        """The member, and ``tar`` at its end. Raises tarfile.TarError when the content is cut off."""
        if not entry.isreg():
            return Member(
                ordinal,
                name=_label(entry.name),
                storage_path="",
                size_bytes=0,
                sha256="",
                content=None,
                reason=Reason.NOT_A_FILE,
                detail=_KINDS.get(entry.type, f"a tar entry of type {entry.type!r}"),
            )
        reason: Reason | None = None
        detail: str | None = None
        try:
            name, storage_path = self.names.assign(entry.name)
        except UnsafeNameError as error:
            name, storage_path = _label(entry.name), ""
            reason, detail = Reason.UNSAFE_NAME, str(error)
        if reason is None and entry.size == 0:
            reason = Reason.EMPTY
        if reason is None and entry.size > self.max_member_size_bytes:
            reason = Reason.TOO_LARGE
            detail = f"{entry.size} bytes; the limit is {self.max_member_size_bytes}"
        if reason is None and len(entry.sparse or ()) > _MOST_SPARSE_PIECES:
            reason = Reason.TOO_LARGE
            detail = f"a sparse file of more than {_MOST_SPARSE_PIECES} pieces"
        content: bytes | Path | None = None
        if reason is not None and entry.sparse is not None:
            sha256 = ""  # its holes may be without end
        else:
            with _open_content(tar, entry) as stream:
                if reason is not None:
                    sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
                elif self._belongs_on_disk(entry):
                    content = self.spool_dir / f"{ordinal:06d}.member"
                    sha256 = _spool(stream, content)
                else:
                    content = b"".join(_blocks(stream))
                    sha256 = hashlib.sha256(content).hexdigest()
                    self.in_memory_bytes += entry.size
        return Member(ordinal, name, storage_path, entry.size, sha256, content, reason, detail)

    def _belongs_on_disk(self, entry: tarfile.TarInfo) -> bool:
        return entry.size > self.spool_above_bytes or self.in_memory_bytes + entry.size > _MOST_IN_MEMORY_BYTES


def _open_content(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> BufferedReader:
    """Raises tarfile.ReadError for a sparse file whose map makes no sense; tarfile could read it for ever."""
    position = stored = 0
    sparse_map = cast("list[tuple[int, int]] | None", entry.sparse)  # typeshed has it wrong
    for offset, length in sparse_map or ():
        if length == 0:  # an unused place in the map
            continue
        if offset < position or length < 0:
            raise tarfile.ReadError("the map of a sparse file is out of order")
        position = offset + length
        stored += length
    if entry.size < position:
        raise tarfile.ReadError("the map of a sparse file reaches beyond its end")
    if sparse_map is not None:
        stream_of(tar).archive.account_for(entry.size - stored)
    stream = tar.extractfile(entry)
    assert stream is not None  # as it is for whatever `isreg`
    return cast(BufferedReader, stream)


def _spool(stream: BufferedReader, path: Path) -> str:
    """Copies ``stream`` to ``path`` in blocks and returns its SHA-256; leaves nothing there when that fails."""
    try:
        try:
            failpoint("extract.spool")
            return _copy(stream, path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    except OSError as error:  # of scratch: those of the archive have become other errors
        raise ScratchError(
            f"Cannot write {path}: {error.strerror or error}.",
            hint="Make room there, or point [paths] scratch at a disk that you may write to and that has some.",
        ) from error


def _copy(stream: BufferedReader, path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for block in _blocks(stream):
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def _blocks(stream: BufferedReader) -> Iterator[bytes]:
    while block := stream.read(_BLOCK_BYTES):
        yield block


def _label(raw_name: str) -> str:
    """How a member is called that has no clip."""
    return readable(raw_name).replace("\0", r"\x00")
