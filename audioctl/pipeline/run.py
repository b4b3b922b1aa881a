"""One archive from its first byte to its last confirmed file: the stages, all at once, joined by bounded queues.

One thread reads the archive and gives its batches to the converting processes; the caller's takes them in order
through the recogniser into the journal. Recorder, uploader and the effects that join them have threads of their own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from audioctl.archives import archive_identity
from audioctl.clips import ClipRecord, ConvertedBatch, OpusFile
from audioctl.clock import utc_now
from audioctl.database.connection import connect
from audioctl.engines.base import Engine
from audioctl.errors import AudioctlError, JournalError, LeaseLostError
from audioctl.failpoints import failpoint
from audioctl.ledger.events import RecognitionBegun
from audioctl.ledger.journal import JournalWriter, journal_path
from audioctl.ledger.lease import Lease, lease_path
from audioctl.ledger.progress import ArchiveProgress, read_progress
from audioctl.ledger.transcripts import BatchTranscripts, read_transcripts
from audioctl.models import find_model
from audioctl.pipeline.attempt import attempt
from audioctl.pipeline.channel import made_ahead
from audioctl.pipeline.convert import Converter
from audioctl.pipeline.crash_report import crash_path, crash_report
from audioctl.pipeline.day_queue import told_queue
from audioctl.pipeline.effects import Effects
from audioctl.pipeline.job import ArchiveJob, Surroundings
from audioctl.pipeline.log import ProgressLog, transcription_events
from audioctl.pipeline.plan import needs_reading
from audioctl.pipeline.reading import ArchiveReader, KnownBatch, NewBatch
from audioctl.pipeline.record import Recorder
from audioctl.pipeline.scratch import scratch_folder, scratch_root
from audioctl.pipeline.stopwatches import AttemptTimes, timed
from audioctl.pipeline.transcribe import transcribe, transcribe_one_by_one
from audioctl.pipeline.upload import Uploader
from audioctl.pipeline.waiting import acquire_patiently
from audioctl.settings import Settings
from audioctl.states import ClipState
from audioctl.storage.destination import Destination, parse_destination
from audioctl.storage.ssh import all_ssh_options

__all__ = ["ArchiveJob", "Surroundings", "process_archive"]

CONVERTED_BATCHES = 1
"""Batches that wait between reading and transcribing; with the one on each side three are in memory at most."""


def process_archive(job: ArchiveJob, settings: Settings, around: Surroundings) -> ArchiveProgress:
    """Do whatever is left to do for the archive; what its journal adds up to afterwards.

    A job of a run waits for the archive where another may still hold it; without a run, a person waits, and is told at
    once. Raises Drained when a signal asked for an early end, and AudioctlError when the work cannot go on; what was
    done by then is in the journal either way.
    """
    destination = parse_destination(settings.upload.destination)
    journal = journal_path(Path(settings.paths.state_dir), job.day, job.slot)
    if not journal.exists():
        archive_identity(job.path)  # a mistyped name is to leave no trace
    with (
        _acquire(lease_path(journal), job, around) as lease,
        JournalWriter(journal, lease) as writer,
        crash_report(crash_path(journal)) as after_crash,
    ):
        log = ProgressLog(writer, read_progress(journal))
        times = AttemptTimes(around.counters, _num_workers(settings), settings.upload.max_concurrent_uploads)
        with (
            told_queue(job, settings, around.notify, around.secrets),
            attempt(log, job, settings, after_crash, times) as started,
        ):
            around.attempt_began(started.attempt)
            owing = {
                index: found
                for index, found in read_transcripts(journal).items()
                if not log.progress.batch_is_done(index)
            }
            _ArchiveRun(job, settings, around, log, destination, owing, times).work()
        return log.progress


def _acquire(path: Path, job: ArchiveJob, around: Surroundings) -> Lease:
    if job.run_id is not None:
        return acquire_patiently(path, job, around)
    return Lease.acquire(path, run_id=None, job_id=job.job_id)


@dataclass
class _ArchiveRun:
    """The stages of one attempt and what they share. ``owing`` are transcribed batches that still owe something."""

    job: ArchiveJob
    settings: Settings
    around: Surroundings
    log: ProgressLog
    destination: Destination
    owing: dict[int, BatchTranscripts]
    times: AttemptTimes
    engine: Engine | None = field(default=None, init=False)

    def work(self) -> None:
        progress = self.log.progress
        if _needs_model(progress):
            find_model(self.settings.transcribe.model, self.settings.paths.models)  # or hours are spent in vain
        self.around.counters.set(clips_before=sum(batch.stored for batch in progress.batches.values()))
        with (
            # Outermost: what is on scratch has to stay for as long as anybody may still read it.
            scratch_folder(scratch_root(self.settings.paths.scratch, os.environ)) as scratch,
            self._uploader() as uploader,
            self._effects(uploader) as effects,
        ):
            try:
                if needs_reading(progress):
                    self._read_and_transcribe(scratch, effects)
                self._take_up_unread(effects)
            except (LeaseLostError, JournalError):
                raise  # what is in flight could not be journalled any more
            except AudioctlError:
                self._finish(effects)  # what is transcribed still gets to where it belongs
                raise
            self._finish(effects)
        if not progress.is_complete:
            self.around.drain.check()

    def _uploader(self) -> Uploader:
        upload = self.settings.upload
        return Uploader(
            self.destination,
            max_concurrent_uploads=upload.max_concurrent_uploads,
            upload_timeout_seconds=upload.upload_timeout,
            attempts=upload.attempts,
            files_per_call=upload.files_per_call,
            ssh_key=Path(upload.ssh_key) if upload.ssh_key else None,
            ssh_options=all_ssh_options(upload),
            secrets=self.around.secrets,
            busy=self.times.upload,
        )

    def _effects(self, uploader: Uploader) -> Effects:
        around, job = self.around, self.job
        new_recorder: partial[Recorder] | None = None
        if self.settings.database.enabled:
            connection = partial(
                connect,
                service=self.settings.database.service,
                application_name=f"audioctl/{job.day}/{job.slot}",
                secrets=around.secrets,
            )
            new_recorder = partial(
                Recorder, connection, job.day, job.slot, on_trouble=around.notify, busy=self.times.record
            )
        return Effects(self.log, uploader, new_recorder, self.destination, around.counters, around.drain, around.notify)

    def _read_and_transcribe(self, scratch: Path, effects: Effects) -> None:
        convert = self.settings.convert
        vad = self.settings.transcribe.vad
        with Converter(
            self.times.num_workers,
            scratch,
            convert.bitrate,
            vad,
            convert.clip_timeout,
            max_clip_duration_seconds=convert.max_clip_duration,
            busy=self.times.convert,
        ) as converter:
            reader = ArchiveReader(
                self.job, self.settings.extract, self.around, self.log, self.owing, converter, scratch
            )
            read = timed(reader.batches(), self.times.extract)
            with made_ahead(read, CONVERTED_BATCHES, thread_name="extract") as batches:
                for batch in timed(batches, self.times.wait_extract):
                    self.around.drain.check()
                    match batch:
                        case NewBatch():
                            self._transcribe(batch, effects)
                        case KnownBatch():
                            _send_known(batch, effects, self.times)
                    del batch  # it is large, and the wait for the next one may be long

    def _transcribe(self, batch: NewBatch, effects: Effects) -> None:
        """The recogniser has the first clips of the batch while the last ones are still being converted."""
        if self.engine is None:
            with self.times.load.running():
                self.engine = self.around.load_engine()
        records: list[ClipRecord] = []
        copies: list[OpusFile] = []
        parts = batch.converted.parts(self.settings.transcribe.process_batch_size)
        for part in timed(parts, self.times.wait_convert):
            clips = len(part.clips)
            self.around.counters.add(clips_converted=clips, clips_ahead=-clips - len(part.set_aside))
            if not records:
                self._begin_recognition(batch.index)
            records += self._recognise(batch.index, part, self.engine)
            copies += [clip.opus for clip in part.clips]
            del part  # it is large, and the wait for the next one may be long
        failpoint("transcribe.end")
        self.times.transcribed(records)
        with self.times.journal.running():
            self.log.append(*transcription_events(batch.index, records, self.times.look()))
        self._count(batch.index, self.engine.busy_seconds)
        effects.record(batch.index, records)
        members = {record.ordinal: record.member for record in records if record.state is ClipState.STORED}
        with self.times.wait_upload.running():
            effects.send(batch.index, [copy for copy in copies if copy.ordinal in members], members)

    def _begin_recognition(self, index: int) -> None:
        self.times.first_batch()
        failpoint("transcribe.begin")
        if index in self.log.progress.crashes:
            self.around.notify(
                f"The process crashed before while the recogniser had batch {index}; now it hears its clips one by one."
            )
        else:
            self._say_who_is_heard(index, clip=None)

    def _recognise(self, index: int, part: ConvertedBatch, engine: Engine) -> list[ClipRecord]:
        crashes = self.log.progress.crashes.get(index)
        with self.times.transcribe.running():
            if crashes is None:
                return transcribe(part, engine)
            return transcribe_one_by_one(part, engine, crashes.by_clip, partial(self._say_who_is_heard, index))

    def _say_who_is_heard(self, index: int, clip: int | None) -> None:
        """In the journal, and before it is: the recogniser may take the whole process with it."""
        with self.times.journal.running():
            self.log.append(RecognitionBegun(at=utc_now(), batch=index, clip=clip))

    def _count(self, index: int, busy_seconds: float) -> None:
        counters = self.around.counters
        done = self.log.progress.batches[index]
        if counters.look().first_transcript_seconds is None and done.stored:
            counters.set(first_transcript_seconds=counters.look().elapsed_seconds)
        counters.add(
            clips_stored=done.stored,
            clips_rejected=done.rejected,
            members_skipped=done.skipped,
            audio_seconds=done.audio_seconds,
        )
        counters.set(transcribe_busy_seconds=busy_seconds)

    def _take_up_unread(self, effects: Effects) -> None:
        """What batches owe that did not have to be read; a replaced archive may not have them any more."""
        for index, found in self.owing.items():
            if index in self.log.progress.batches:
                effects.take_up(found)

    def _finish(self, effects: Effects) -> None:
        effects.finish_uploads()
        with self.times.record_finish.running():
            effects.finish_rows(self.settings.database.give_up_after)


def _num_workers(settings: Settings) -> int:
    return min(settings.convert.num_workers, len(os.sched_getaffinity(0)))


def _needs_model(progress: ArchiveProgress) -> bool:
    return progress.read is None or any(
        (batch := progress.batches.get(index)) is None or not batch.is_transcribed
        for index in range(progress.read.batches)
    )


def _send_known(batch: KnownBatch, effects: Effects, times: AttemptTimes) -> None:
    effects.take_up(batch.found)
    if batch.copies is None:
        return
    with times.wait_convert.running():
        copied = batch.copies.whole()
    if copied.set_aside:
        names = ", ".join(f"{clip.member.name} ({clip.detail or clip.reason})" for clip in copied.set_aside)
        effects.upload_failed(copied.index, f"These clips could be converted before, but not again: {names}")
    else:
        with times.wait_upload.running():
            effects.send(copied.index, copied.copies, {clip.ordinal: clip.member for clip in batch.found.clips})
