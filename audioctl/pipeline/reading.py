"""From an archive to the batches that need something, each already given to the converter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from audioctl.clips import ConvertedBatch, ConvertedClip, Member, MemberBatch, OpusFile
from audioctl.clock import utc_now
from audioctl.errors import ArchiveDamagedError
from audioctl.failpoints import failpoint
from audioctl.ledger.events import ArchiveRead, BatchExtracted
from audioctl.ledger.transcripts import BatchTranscripts
from audioctl.names import ClipNames
from audioctl.pipeline.convert import Converter, CopiedBatch, PendingBatch
from audioctl.pipeline.decompress import DecompressedFile, DecompressionLimits
from audioctl.pipeline.extract import read_archive
from audioctl.pipeline.job import ArchiveJob, Surroundings
from audioctl.pipeline.log import ProgressLog
from audioctl.pipeline.plan import Action, action_for, needs_reading
from audioctl.settings import Extract
from audioctl.states import ClipState


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A batch to be transcribed."""

    index: int
    converted: PendingBatch[ConvertedClip, ConvertedBatch]


@dataclass(frozen=True, slots=True)
class KnownBatch:
    """A batch whose transcripts are in the journal; ``copies`` of its clips are under way where its files are owed."""

    found: BatchTranscripts
    copies: PendingBatch[OpusFile, CopiedBatch] | None = None


@dataclass(frozen=True, slots=True)
class ArchiveReader:
    """Reads the archive of ``job``, as far as there is anything left to do in it, and journals what was read.

    ``owing`` holds the transcribed batches that owe something; those that are met are taken out. Large members are
    spooled to ``scratch``.
    """

    job: ArchiveJob
    extract: Extract
    around: Surroundings
    log: ProgressLog
    owing: dict[int, BatchTranscripts]
    converter: Converter
    scratch: Path

    def batches(self) -> Iterator[NewBatch | KnownBatch]:
        """In order. Raises Drained, ArchiveUnreadableError, ScratchError; damage ends the archive and is journalled."""
        counters = self.around.counters
        batch_count = members = 0
        damage: ArchiveDamagedError | None = None
        limits = DecompressionLimits(self.extract.max_archive_size, self.extract.max_compression_ratio)
        with DecompressedFile(self.job.path, limits) as archive:
            counters.set(compressed_size_bytes=archive.compressed_size_bytes)
            try:
                for batch in self._member_batches(archive):
                    self.around.drain.check()
                    batch_count, members = batch.index + 1, batch.first_ordinal + len(batch.members)
                    counters.set(compressed_bytes_read=archive.compressed_bytes_read, members_read=members)
                    failpoint("extract.batch")
                    yield from self._begin(batch)
                    if not needs_reading(self.log.progress, from_batch=batch_count):
                        return
            except ArchiveDamagedError as error:
                damage = error
                self.around.notify(error.message)
            counters.set(compressed_bytes_read=archive.compressed_size_bytes)
        self.log.append(
            ArchiveRead(
                at=utc_now(),
                batches=batch_count,
                members=members,
                damage=damage.damage if damage else None,
                detail=damage.message if damage else None,
            )
        )

    def _member_batches(self, archive: DecompressedFile) -> Iterator[MemberBatch]:
        assert self.log.progress.attempt is not None
        return read_archive(
            archive,
            names=ClipNames(self.job.day, self.job.slot),
            batch_size=self.log.progress.attempt.batch_size,
            max_member_size_bytes=self.extract.max_member_size,
            spool_above_bytes=self.extract.spool_above,
            spool_dir=self.scratch,
            max_members=self.extract.max_members,
        )

    def _begin(self, batch: MemberBatch) -> Iterator[NewBatch | KnownBatch]:
        found = self.owing.pop(batch.index, None)
        match action_for(batch, self.log.progress):
            case Action.TRANSCRIBE:
                self.log.append(
                    BatchExtracted(
                        at=utc_now(),
                        batch=batch.index,
                        first_ordinal=batch.first_ordinal,
                        members=len(batch.members),
                        digest=batch.digest,
                    )
                )
                self.around.counters.add(clips_ahead=len(batch.members))
                yield NewBatch(batch.index, self.converter.start(batch))
            case Action.COPY:
                assert found is not None
                stored = {clip.ordinal for clip in found.clips if clip.state is ClipState.STORED}
                _remove_spooled(member for member in batch.members if member.ordinal not in stored)
                members = [member for member in batch.members if member.ordinal in stored]
                yield KnownBatch(found, self.converter.start_copies(replace(batch, members=members)))
            case Action.NOTHING:
                _remove_spooled(batch.members)
                if found is not None:
                    yield KnownBatch(found)


def _remove_spooled(members: Iterable[Member]) -> None:
    for member in members:
        if isinstance(member.content, Path):
            member.content.unlink(missing_ok=True)
