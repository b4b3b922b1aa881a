"""Reading archives as the extract stage does, with small limits."""

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archives import COMPRESSORS

from audioctl.clips import Member, MemberBatch
from audioctl.errors import ArchiveDamagedError
from audioctl.names import ClipNames
from audioctl.pipeline.decompress import NO_LIMITS, DecompressedFile, DecompressionLimits
from audioctl.pipeline.extract import read_archive
from audioctl.states import Damage

ENDINGS = list(COMPRESSORS)
CHECKSUMMED = [ending for ending in ENDINGS if ending != ".tar"]


def batches(
    path: Path,
    *,
    batch_size: int = 4,
    max_member_size: int = 1 << 20,
    spool_above: int = 1 << 20,
    max_members: int = 1_000_000,
    limits: DecompressionLimits = NO_LIMITS,
) -> Generator[MemberBatch]:
    """Reads ``path`` with its own folder as scratch."""
    with DecompressedFile(path, limits) as archive:
        yield from read_archive(
            archive,
            names=ClipNames("2025-01-25", "12_30"),
            batch_size=batch_size,
            max_member_size_bytes=max_member_size,
            spool_above_bytes=spool_above,
            spool_dir=path.parent,
            max_members=max_members,
        )


def members(path: Path, **settings: Any) -> list[Member]:
    return [member for batch in batches(path, **settings) for member in batch.members]


@dataclass
class Reading:
    """What came out of an archive, and the damage that ended it."""

    members: list[Member] = field(default_factory=list)
    error: ArchiveDamagedError | None = None

    @property
    def damage(self) -> Damage | None:
        return None if self.error is None else self.error.damage


def read_damaged(path: Path, *, max_members: int = 1_000_000, limits: DecompressionLimits = NO_LIMITS) -> Reading:
    reading = Reading()
    try:
        for batch in batches(path, max_members=max_members, limits=limits):
            reading.members += batch.members
    except ArchiveDamagedError as error:
        reading.error = error
    return reading


@contextmanager
def as_ordinary_user() -> Iterator[None]:
    """Root may read everything; tests of permissions need someone who may not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
