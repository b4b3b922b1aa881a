"""What happens to a batch once its transcripts are in the journal: its rows, its files, and the proof of both.

Rows and files go their ways side by side. Only when rsync has said 0 for every file of a batch is that journalled,
are the files removed from scratch, and is their path written to the database.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from threading import Thread
from types import TracebackType
from typing import Protocol, Self

from audioctl.clips import ClipRecord, OpusFile, StoredFile
from audioctl.clock import utc_now
from audioctl.database.rows import Confirmation
from audioctl.failpoints import failpoint
from audioctl.ledger.events import BatchConfirmed, BatchRecorded, BatchUploaded, StageFailed
from audioctl.ledger.transcripts import BatchTranscripts
from audioctl.pipeline.channel import AbandonedError, Channel
from audioctl.pipeline.counters import Counters
from audioctl.pipeline.drain import DrainRequest
from audioctl.pipeline.log import ProgressLog
from audioctl.pipeline.record import Recorder
from audioctl.pipeline.upload import Uploader, UploadResult
from audioctl.states import ClipState, Stage
from audioctl.storage.destination import Destination, parse_destination

WAITING_BATCHES = 16
"""Batches that may wait for their upload before they hold the recogniser back."""

KEPT_BATCHES = 64
"""Batches whose upload failed that stay on scratch for another try at the end; the files of more are made again by
the next job. So an outage fills no disk: 64 batches of 200 clips of 15 s are 0.8 GB."""

_LOOK_AFTER_DRAIN_SECONDS = 0.2


class NewRecorder(Protocol):
    def __call__(self, *, on_done: Callable[[int, Stage], None]) -> Recorder:
        """``on_done`` is what the recorder has to call when the database has committed."""
        ...


@dataclass(frozen=True, slots=True)
class _Sending:
    """``members`` are the names of the clips by ordinal."""

    batch: int
    files: Sequence[OpusFile]
    members: Mapping[int, str]
    result: Future[UploadResult]


class Effects:
    """Uploads and records the batches of one archive; without ``new_recorder`` there is no database.

    A context manager, to be used by one thread; a thread of its own waits for the uploads. An error there (the
    journal's disk, a lost lease) is raised by the next ``send`` or ``finish_uploads``. Leaving it ends what is in
    flight, which then stays owed.
    """

    def __init__(
        self,
        log: ProgressLog,
        uploader: Uploader,
        new_recorder: NewRecorder | None,
        destination: Destination,
        counters: Counters,
        drain: DrainRequest,
        notify: Callable[[str], None],
    ) -> None:
        self._log = log
        self._uploader = uploader
        self._recorder = new_recorder(on_done=self._recorder_done) if new_recorder else None
        self._destination = destination
        self._counters = counters
        self._drain = drain
        self._notify = notify
        self._kept: list[_Sending] = []
        self._trouble: str | None = None
        self._stopping = False
        self._error: BaseException | None = None
        self._sending: Channel[_Sending] = Channel(WAITING_BATCHES)
        self._thread = Thread(target=self._confirm_uploads, name="confirm", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if self._recorder is not None:
            self._recorder.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopping = True
        self._uploader.stop()
        self._sending.abandon()
        self._thread.join()
        if self._recorder is not None:
            self._recorder.__exit__(kind, error, at)

    def record(self, batch: int, clips: Sequence[ClipRecord]) -> None:
        """Bring the rows of a batch to the database. Returns at once."""
        if self._recorder is not None:
            stored = [clip for clip in clips if clip.state is ClipState.STORED]
            self._counters.add(owed_record=len(stored))
            self._recorder.record(batch, stored)

    def send(self, batch: int, files: Sequence[OpusFile], members: Mapping[int, str]) -> None:
        """Bring the files of a batch to the destination. Waits while too many batches wait already."""
        self._counters.add(owed_upload=len(files))
        try:
            self._sending.put(_Sending(batch, files, members, self._uploader.submit(files)))
        except AbandonedError as abandoned:
            raise self._error or abandoned from None

    def take_up(self, found: BatchTranscripts) -> None:
        """Send what an earlier attempt owes of a batch; files come by ``send`` when they are made anew."""
        batch = self._log.progress.batches[found.index]
        if self._recorder is not None and batch.owes(Stage.RECORD):
            self.record(found.index, found.clips)
        if found.destination is not None and batch.owes(Stage.CONFIRM) and not batch.owes(Stage.UPLOAD):
            members = {clip.ordinal: clip.member for clip in found.clips}
            # They lie where they were sent to then, wherever files go now.
            self._confirm(found.index, found.files, members, parse_destination(found.destination))

    def upload_failed(self, batch: int, error: str) -> None:
        """The files of a batch stay owed."""
        if self._log.progress.batches[batch].error != error:
            self._log.append(StageFailed(at=utc_now(), batch=batch, stage=Stage.UPLOAD, error=error))

    def finish_uploads(self) -> None:
        """Wait for what was sent, trying once more what failed, until a drain ends; what is left stays owed."""
        self._sending.close()
        while self._thread.is_alive() and (remaining := self._drain.remaining_seconds()):
            self._thread.join(min(_LOOK_AFTER_DRAIN_SECONDS, remaining))
        if self._error is not None:
            raise self._error

    def finish_rows(self, give_up_after_seconds: float) -> None:
        """Then wait for the database, for so long if it is away, or until a drain ends; what is left stays owed."""
        if self._recorder is not None:
            for owed in self._recorder.finish(min(give_up_after_seconds, self._drain.remaining_seconds())):
                error = owed.refusal or "the database could not be reached"
                self._log.append(StageFailed(at=utc_now(), batch=owed.batch_index, stage=owed.stage, error=error))

    def _recorder_done(self, batch: int, stage: Stage) -> None:
        """Called by the recorder's thread."""
        event = BatchRecorded if stage is Stage.RECORD else BatchConfirmed
        self._log.append(event(at=utc_now(), batch=batch))
        if stage is Stage.RECORD:
            clips = self._log.progress.batches[batch].stored
            self._counters.add(clips_recorded=clips, owed_record=-clips)

    def _confirm_uploads(self) -> None:
        try:
            for sending in self._sending:
                self._wait_for(sending)
            if self._kept and not self._stopping and not self._drain.is_requested():
                self._try_again()
        except BaseException as error:
            self._error = error
            self._sending.abandon()

    def _try_again(self) -> None:
        self._notify("Trying once more what did not arrive.")
        kept, self._kept = self._kept, []
        for sending in [replace(sending, result=self._uploader.submit(sending.files)) for sending in kept]:
            self._wait_for(sending)

    def _wait_for(self, sending: _Sending) -> None:
        result = sending.result.result()
        if not result.failed:
            self._arrived(sending)
        elif not self._stopping:
            self._did_not_arrive(sending, result)

    def _arrived(self, sending: _Sending) -> None:
        self._trouble = None
        stored = [StoredFile(file.ordinal, file.storage_path, file.size_bytes, file.sha256) for file in sending.files]
        self._log.append(
            BatchUploaded(at=utc_now(), batch=sending.batch, destination=str(self._destination), files=stored)
        )
        failpoint("scratch.remove")
        _remove(sending.files)
        self._counters.add(
            clips_uploaded=len(stored),
            bytes_uploaded=sum(file.size_bytes for file in stored),
            owed_upload=-len(stored),
        )
        self._confirm(sending.batch, stored, sending.members, self._destination)

    def _did_not_arrive(self, sending: _Sending, result: UploadResult) -> None:
        reason = result.failed[0][1]
        error = f"{len(result.failed)} of {len(sending.files)} files did not arrive: {reason}"
        self.upload_failed(sending.batch, error)
        if reason != self._trouble:
            self._trouble = reason
            self._notify(f"Batch {sending.batch}: {error}")
        if len(self._kept) < KEPT_BATCHES:
            self._kept.append(sending)
        else:
            _remove(sending.files)

    def _confirm(
        self, batch: int, files: Sequence[StoredFile], members: Mapping[int, str], destination: Destination
    ) -> None:
        if self._recorder is not None:
            self._recorder.confirm(
                batch,
                [
                    Confirmation(members[file.ordinal], destination.file_path(file.path), file.size_bytes)
                    for file in files
                ],
            )


def _remove(files: Sequence[OpusFile]) -> None:
    for file in files:
        file.local_path.unlink(missing_ok=True)
