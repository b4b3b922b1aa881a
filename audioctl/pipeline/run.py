"""One archive from its first byte to its last confirmed file: the stages, all at once, joined by bounded queues.

Three threads: one reads the archive and gives its batches to the converting processes, one takes them in order
through the recogniser into the journal, one waits for uploads (in ``effects``). The recorder and the uploader
have theirs.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from audioctl import __version__
from audioctl.archives import archive_identity
from audioctl.clips import ConvertedBatch, Member, MemberBatch
from audioctl.clock import utc_now
from audioctl.database.connection import connect
from audioctl.engines.base import Engine
from audioctl.errors import (
    ArchiveDamagedError,
    ArchiveUnreadableError,
    AudioctlError,
    Drained,
    JournalError,
    LeaseLostError,
)
from audioctl.ledger.events import ArchiveFile, ArchiveRead, AttemptEnded, AttemptStarted, BatchExtracted
from audioctl.ledger.journal import JournalWriter, journal_path
from audioctl.ledger.lease import Lease, lease_path
from audioctl.ledger.progress import ArchiveProgress, read_progress
from audioctl.ledger.transcripts import BatchTranscripts, read_transcripts
from audioctl.names import ClipNames
from audioctl.pipeline.channel import AbandonedError, Channel
from audioctl.pipeline.convert import Converter, CopiedBatch, PendingBatch
from audioctl.pipeline.counters import Counters
from audioctl.pipeline.decompress import DecompressedFile
from audioctl.pipeline.drain import DrainRequest
from audioctl.pipeline.effects import Effects
from audioctl.pipeline.extract import read_archive
from audioctl.pipeline.log import ProgressLog, transcription_events
from audioctl.pipeline.plan import Action, action_for, needs_reading, needs_recogniser
from audioctl.pipeline.record import Recorder
from audioctl.pipeline.scratch import scratch_folder, scratch_root
from audioctl.pipeline.transcribe import transcribe
from audioctl.pipeline.upload import Uploader
from audioctl.settings import Settings
from audioctl.states import ClipState, Outcome, Stage
from audioctl.storage.destination import Destination, parse_destination

CONVERTED_BATCHES = 1
"""Batches that wait between reading and transcribing; with the one on each side three are in memory at most."""


@dataclass(frozen=True, slots=True)
class ArchiveJob:
    """Which archive, and on whose behalf."""

    day: str
    slot: str
    path: Path
    run_id: str | None = None
    job_id: str | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a run is given by whoever starts it. ``load_engine`` is called only if something has to be transcribed."""

    load_engine: Callable[[], Engine]
    counters: Counters
    drain: DrainRequest
    notify: Callable[[str], None]


def process_archive(job: ArchiveJob, settings: Settings, around: Surroundings) -> ArchiveProgress:
    """Do whatever is left to do for the archive; what its journal adds up to afterwards.

    Raises Drained when a signal asked for an early end, and AudioctlError when the work cannot go on; what was done
    by then is in the journal either way.
    """
    destination = parse_destination(settings.upload.destination)
    journal = journal_path(Path(settings.paths.state_dir), job.day, job.slot)
    if not journal.exists():
        archive_identity(job.path)  # a mistyped name is to leave no trace
    with (
        Lease.acquire(lease_path(journal), run_id=job.run_id, job_id=job.job_id) as lease,
        JournalWriter(journal, lease) as writer,
    ):
        log = ProgressLog(writer, read_progress(journal))
        started = _attempt(job, settings, log.progress)
        log.append(started)
        with _ended(log, started.attempt):
            archive_run = _ArchiveRun(job, settings, around, log, destination, started.batch_size)
            archive_run.work(read_transcripts(journal))
        return log.progress


@contextmanager
def _ended(log: ProgressLog, attempt: int) -> Iterator[None]:
    """Journals how the attempt ended, whichever way that is."""

    def end(outcome: Outcome, error: str | None = None) -> None:
        log.append(AttemptEnded(at=utc_now(), attempt=attempt, outcome=outcome, error=error))

    try:
        yield
    except LeaseLostError:
        raise  # the journal is another job's now
    except Drained:
        end(Outcome.DRAINED)
        raise
    except AudioctlError as error:
        end(Outcome.FAILED, error.message)
        raise
    except Exception as error:
        end(Outcome.FAILED, f"{type(error).__name__}: {error}")
        raise
    end(Outcome.DONE if log.progress.is_complete else Outcome.OWED)


def _attempt(job: ArchiveJob, settings: Settings, progress: ArchiveProgress) -> AttemptStarted:
    before = progress.attempt
    try:
        identity = archive_identity(job.path)
        file = ArchiveFile(str(job.path), identity.size_bytes, identity.mtime_ns)
    except ArchiveUnreadableError:
        # Somebody may have cleaned it up; what is owed to the database does not need it.
        if before is None or needs_reading(progress):
            raise
        file = before.archive
    database_stages = (Stage.RECORD, Stage.CONFIRM) if settings.database.enabled else ()
    return AttemptStarted(
        at=utc_now(),
        attempt=before.attempt + 1 if before else 1,
        run_id=job.run_id,
        job_id=job.job_id,
        node=socket.gethostname(),
        version=__version__,
        archive=file,
        # Batches keep their bounds, or what was done could not be told from what was not.
        batch_size=before.batch_size if before and progress.batches else settings.extract.stream_batch_size,
        model=settings.transcribe.model,
        stages=[stage for stage in Stage if stage in (Stage.EXTRACT, Stage.TRANSCRIBE, Stage.UPLOAD, *database_stages)],
    )


class _ArchiveRun:
    """The threads of one attempt and what they share."""

    def __init__(
        self,
        job: ArchiveJob,
        settings: Settings,
        around: Surroundings,
        log: ProgressLog,
        destination: Destination,
        batch_size: int,
    ) -> None:
        self._job = job
        self._settings = settings
        self._around = around
        self._log = log
        self._destination = destination
        self._batch_size = batch_size
        self._pending: Channel[tuple[int, PendingBatch[ConvertedBatch] | PendingBatch[CopiedBatch]]] = Channel(
            CONVERTED_BATCHES
        )
        self._reading_error: BaseException | None = None

    def work(self, transcripts: Mapping[int, BatchTranscripts]) -> None:
        self._around.counters.set(clips_before=sum(batch.stored for batch in self._log.progress.batches.values()))
        with ExitStack() as stack:
            effects = self._start_effects(stack)
            effects.take_up(transcripts)
            if needs_reading(self._log.progress):
                self._read_and_transcribe(stack, effects, transcripts)
            self._finish(effects)
        if self._around.drain.is_requested() and not self._log.progress.is_complete:
            raise Drained(
                f"{self._job.path.name} was ended early by a signal; what is done is kept.",
                hint="Run the same command again, or `audioctl resume`.",
            )

    def _start_effects(self, stack: ExitStack) -> Effects:
        upload = self._settings.upload
        uploader = stack.enter_context(
            Uploader(
                self._destination,
                max_concurrent_uploads=upload.max_concurrent_uploads,
                upload_timeout_seconds=upload.upload_timeout,
                attempts=upload.attempts,
                files_per_call=upload.files_per_call,
                ssh_key=Path(upload.ssh_key) if upload.ssh_key else None,
                ssh_options=upload.ssh_options,
            )
        )
        recorder = None
        if self._settings.database.enabled:
            recorder = Recorder(
                partial(
                    connect,
                    service=self._settings.database.service,
                    application_name=f"audioctl/{self._job.day}/{self._job.slot}",
                ),
                self._job.day,
                self._job.slot,
                on_done=lambda batch, stage: effects.recorder_done(batch, stage),
                on_trouble=self._around.notify,
            )
        effects = Effects(self._log, uploader, recorder, self._destination, self._around.counters, self._around.notify)
        stack.callback(effects.stop)
        if recorder is not None:
            stack.enter_context(recorder)
        return effects

    def _read_and_transcribe(
        self, stack: ExitStack, effects: Effects, transcripts: Mapping[int, BatchTranscripts]
    ) -> None:
        root = scratch_root(self._settings.paths.scratch, os.environ)
        scratch = stack.enter_context(scratch_folder(root))
        convert = self._settings.convert
        converter = stack.enter_context(
            Converter(
                min(convert.num_workers, len(os.sched_getaffinity(0))),
                scratch,
                convert.bitrate,
                self._settings.transcribe.vad,
                convert.clip_timeout,
            )
        )
        reading = threading.Thread(target=self._read, args=(scratch, converter, transcripts), name="extract")
        reading.start()
        error: BaseException | None = None
        try:
            self._transcribe(effects)
        except (LeaseLostError, JournalError):
            raise  # what is in flight could not be journalled any more
        except AudioctlError as stopped:
            error = stopped
        finally:
            self._pending.abandon()
            reading.join()
        error = error or self._reading_error
        if error or self._around.drain.is_requested():
            converter.kill()
        if error:
            # What is transcribed still gets to where it belongs.
            self._finish(effects)
            raise error

    def _finish(self, effects: Effects) -> None:
        remaining = self._around.drain.remaining_seconds()
        effects.finish(remaining, min(self._settings.database.give_up_after, remaining))

    def _read(self, scratch: Path, converter: Converter, transcripts: Mapping[int, BatchTranscripts]) -> None:
        """The extract thread."""
        try:
            with DecompressedFile(self._job.path) as archive:
                self._around.counters.set(compressed_size_bytes=archive.compressed_size_bytes)
                self._read_batches(archive, scratch, converter, transcripts)
        except AbandonedError:
            pass  # the transcribing side has its own error to tell
        except BaseException as error:
            self._reading_error = error
        finally:
            self._pending.close()

    def _read_batches(
        self,
        archive: DecompressedFile,
        scratch: Path,
        converter: Converter,
        transcripts: Mapping[int, BatchTranscripts],
    ) -> None:
        batches = read_archive(
            archive,
            names=ClipNames(self._job.day, self._job.slot),
            batch_size=self._batch_size,
            max_member_size_bytes=self._settings.extract.max_member_size,
            spool_above_bytes=self._settings.extract.spool_above,
            spool_dir=scratch,
        )
        batch_count = members = 0
        damage: ArchiveDamagedError | None = None
        try:
            for batch in batches:
                batch_count, members = batch.index + 1, batch.first_ordinal + len(batch.members)
                self._around.counters.set(compressed_bytes_read=archive.compressed_bytes_read, members_read=members)
                self._start_batch(batch, converter, transcripts)
                if self._around.drain.is_requested() or not needs_reading(self._log.progress, from_batch=batch_count):
                    return
        except ArchiveDamagedError as error:
            damage = error
            self._around.notify(error.message)
        self._around.counters.set(compressed_bytes_read=archive.compressed_size_bytes)
        self._log.append(
            ArchiveRead(
                at=utc_now(),
                batches=batch_count,
                members=members,
                damage=damage.damage if damage else None,
                detail=damage.message if damage else None,
            )
        )

    def _start_batch(
        self, batch: MemberBatch, converter: Converter, transcripts: Mapping[int, BatchTranscripts]
    ) -> None:
        match action_for(batch, self._log.progress):
            case Action.TRANSCRIBE:
                self._log.append(
                    BatchExtracted(
                        at=utc_now(),
                        batch=batch.index,
                        first_ordinal=batch.first_ordinal,
                        members=len(batch.members),
                        digest=batch.digest,
                    )
                )
                self._pending.put((batch.index, converter.start(batch)))
            case Action.COPY:
                stored = {clip.ordinal for clip in transcripts[batch.index].clips if clip.state is ClipState.STORED}
                members = [member for member in batch.members if member.ordinal in stored]
                _remove_spooled(member for member in batch.members if member.ordinal not in stored)
                self._pending.put((batch.index, converter.start_copies(replace(batch, members=members))))
            case Action.NOTHING:
                _remove_spooled(batch.members)

    def _transcribe(self, effects: Effects) -> None:
        """The transcribing thread: batches in order through the recogniser into the journal, and on."""
        engine = self._around.load_engine() if needs_recogniser(self._log.progress) else None
        for index, pending in self._pending:
            if self._around.drain.is_requested():
                return
            batch = pending.collect()
            if isinstance(batch, CopiedBatch):
                effects.send(index, batch.copies)
                continue
            self._around.counters.add(clips_converted=len(batch.clips))
            if engine is None:
                engine = self._around.load_engine()
            self._transcribe_batch(batch, engine, effects)

    def _transcribe_batch(self, batch: ConvertedBatch, engine: Engine, effects: Effects) -> None:
        records = transcribe(batch, engine, self._settings.transcribe.process_batch_size)
        self._log.append(*transcription_events(batch.index, records))
        counters = self._around.counters
        if counters.look().first_transcript_seconds is None and batch.clips:
            counters.set(first_transcript_seconds=counters.look().elapsed_seconds)
        progress = self._log.progress.batches[batch.index]
        counters.add(
            clips_stored=progress.stored,
            clips_rejected=progress.rejected,
            members_skipped=progress.skipped,
            audio_seconds=progress.audio_seconds,
        )
        counters.set(transcribe_busy_seconds=engine.busy_seconds)
        effects.record(batch.index, records)
        effects.send(batch.index, [clip.opus for clip in batch.clips])


def _remove_spooled(members: Iterable[Member]) -> None:
    for member in members:
        if isinstance(member.content, Path):
            member.content.unlink(missing_ok=True)
