"""What happens to a batch once its transcripts are in the journal: its rows, its files, and the proof of both.

Rows and files go their ways side by side. Only when rsync has said 0 for every file of a batch is that journalled,
are the files removed from scratch, and is their path written to the database.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from audioctl.clips import ClipRecord, OpusFile, StoredFile
from audioctl.clock import utc_now
from audioctl.database.rows import Confirmation
from audioctl.errors import AudioctlError
from audioctl.ledger.events import BatchConfirmed, BatchRecorded, BatchUploaded, StageFailed
from audioctl.ledger.transcripts import BatchTranscripts
from audioctl.pipeline.channel import AbandonedError, Channel
from audioctl.pipeline.counters import Counters
from audioctl.pipeline.log import ProgressLog
from audioctl.pipeline.record import Recorder
from audioctl.pipeline.upload import Uploader, UploadResult
from audioctl.states import ClipState, Stage, StageState
from audioctl.storage.destination import Destination

WAITING_BATCHES = 16
"""Batches that may wait for their upload before they hold the recogniser back."""


@dataclass(frozen=True, slots=True)
class _Sending:
    batch: int
    files: Sequence[OpusFile]
    result: Future[UploadResult]


class Effects:
    """Uploads and records the batches of one archive; ``recorder`` is ``None`` where there is no database.

    ``send`` and ``record`` are called by the transcribing thread; a thread of its own waits for the uploads. An error
    there (the journal's disk, a lost lease) is raised by the next call.
    """

    def __init__(
        self,
        log: ProgressLog,
        uploader: Uploader,
        recorder: Recorder | None,
        destination: Destination,
        counters: Counters,
        notify: Callable[[str], None],
    ) -> None:
        self._log = log
        self._uploader = uploader
        self._recorder = recorder
        self._destination = destination
        self._counters = counters
        self._notify = notify
        self._members: dict[int, Mapping[int, str]] = {}
        self._owed: dict[int, Sequence[OpusFile]] = {}
        self._stopping = False
        self._error: BaseException | None = None
        self._sending: Channel[_Sending] = Channel(WAITING_BATCHES)
        self._thread = threading.Thread(target=self._confirm_uploads, name="confirm", daemon=True)
        self._thread.start()

    def record(self, batch: int, clips: Sequence[ClipRecord]) -> None:
        """Bring the rows of a batch to the database. Returns at once."""
        self._raise_error()
        stored = [clip for clip in clips if clip.state is ClipState.STORED]
        self._members[batch] = {clip.ordinal: clip.member for clip in stored}
        if self._recorder is not None:
            self._counters.add(owed_record=len(stored))
            self._recorder.record(batch, stored)

    def send(self, batch: int, files: Sequence[OpusFile]) -> None:
        """Bring the files of a batch to the destination. Waits while too many batches wait already."""
        self._raise_error()
        self._counters.add(owed_upload=len(files))
        try:
            self._sending.put(_Sending(batch, files, self._uploader.submit(files)))
        except AbandonedError:
            self._raise_error()
            raise

    def take_up(self, transcripts: Mapping[int, BatchTranscripts]) -> None:
        """Send the rows that an earlier attempt still owes; files it owes come by ``send`` when they are made anew."""
        for batch, found in transcripts.items():
            stages = self._log.progress.batches[batch]
            if self._recorder is not None and stages.owes(Stage.RECORD):
                self.record(batch, found.clips)
            else:
                self._members[batch] = {clip.ordinal: clip.member for clip in found.clips}
            if stages.owes(Stage.CONFIRM) and not stages.owes(Stage.UPLOAD):
                self._confirm(batch, found.files)

    def recorder_done(self, batch: int, stage: Stage) -> None:
        """To be called by the recorder when the database has committed."""
        event = BatchRecorded if stage is Stage.RECORD else BatchConfirmed
        self._log.append(event(at=utc_now(), batch=batch))
        if stage is Stage.RECORD:
            clips = len(self._members[batch])
            self._counters.add(clips_recorded=clips, owed_record=-clips)

    def finish(self, upload_seconds: float, record_seconds: float) -> None:
        """Wait for what was sent, try what failed once more, and flush the database; what is left stays owed."""
        self._sending.close()
        self._thread.join(None if upload_seconds == float("inf") else upload_seconds)
        self._raise_error()
        if self._owed and not self._thread.is_alive():
            self._retry_owed()
        if self._recorder is not None:
            for owed in self._recorder.finish(record_seconds):
                error = owed.refusal or "the database could not be reached"
                self._log.append(StageFailed(at=utc_now(), batch=owed.batch_index, stage=owed.stage, error=error))

    def stop(self) -> None:
        """End what is in flight; it stays owed."""
        self._stopping = True
        self._uploader.stop()
        self._sending.abandon()
        if self._recorder is not None:
            self._recorder.stop()
        self._thread.join()

    def _retry_owed(self) -> None:
        owed, self._owed = self._owed, {}
        self._notify(f"Trying {len(owed)} failed uploads once more.")
        sending = [_Sending(batch, files, self._uploader.submit(files)) for batch, files in owed.items()]
        for upload in sending:
            self._uploaded(upload, upload.result.result())

    def _confirm_uploads(self) -> None:
        try:
            for upload in self._sending:
                self._uploaded(upload, upload.result.result())
        except BaseException as error:
            self._error = error
            self._sending.abandon()

    def _uploaded(self, upload: _Sending, result: UploadResult) -> None:
        if self._stopping:
            return
        if result.failed:
            self._upload_failed(upload, result)
            return
        stored = [StoredFile(file.ordinal, file.storage_path, file.size_bytes, file.sha256) for file in upload.files]
        self._log.append(
            BatchUploaded(at=utc_now(), batch=upload.batch, destination=str(self._destination), files=stored)
        )
        for file in upload.files:
            file.local_path.unlink(missing_ok=True)
        self._counters.add(
            clips_uploaded=len(stored),
            bytes_uploaded=sum(file.size_bytes for file in stored),
            owed_upload=-len(stored),
        )
        self._confirm(upload.batch, stored)

    def _upload_failed(self, upload: _Sending, result: UploadResult) -> None:
        reason = result.failed[0][1]
        error = f"{len(result.failed)} of {len(upload.files)} files did not arrive: {reason}"
        if self._log.progress.batches[upload.batch].state(Stage.UPLOAD) is not StageState.FAILED:
            self._log.append(StageFailed(at=utc_now(), batch=upload.batch, stage=Stage.UPLOAD, error=error))
            self._notify(f"Batch {upload.batch}: {error}")
        self._owed[upload.batch] = upload.files

    def _confirm(self, batch: int, files: Sequence[StoredFile]) -> None:
        if self._recorder is None:
            return
        members = self._members[batch]
        self._recorder.confirm(
            batch,
            [
                Confirmation(members[file.ordinal], self._destination.file_path(file.path), file.size_bytes)
                for file in files
            ],
        )

    def _raise_error(self) -> None:
        if self._error is not None:
            if isinstance(self._error, AudioctlError):
                raise self._error
            raise RuntimeError("the thread that confirms uploads died") from self._error
