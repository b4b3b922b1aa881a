"""The upload stage: Opus files to the storage server, many in one rsync and several rsyncs side by side.

A file counts as arrived when rsync has said 0 for a call that held it, never before. Nothing here deletes a file.
"""

import os
import random
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from audioctl.clips import OpusFile
from audioctl.failpoints import failpoint
from audioctl.pipeline.stopwatches import Stopwatch
from audioctl.storage.destination import Destination
from audioctl.storage.failures import PartialTransferError, TransferError
from audioctl.storage.rsync import RsyncClient

LONGEST_PAUSE_SECONDS = 60.0


@dataclass(slots=True)
class UploadResult:
    """What became of files that were submitted: each is in one of the two lists, in the order of submission.

    The text beside a failed file says why.
    """

    arrived: list[OpusFile] = field(default_factory=list)
    failed: list[tuple[OpusFile, str]] = field(default_factory=list)


class Uploader:
    """A context manager: leaving it waits for what was submitted, leaving it by an exception ends that.

    A call that fails in a way that may pass is made again, up to ``attempts`` times in all, with random pauses
    that grow from ``first_pause_seconds`` (exponential backoff, full jitter). Once all attempts of a call have failed,
    the destination counts as down, and later calls get one attempt until one succeeds: an outage must not hold
    the pipeline back for longer than it lasts.

    ``upload_timeout_seconds`` is for one attempt at one call of up to ``files_per_call`` files; ``ssh_options`` are as
    after ``ssh -o``. ``busy`` runs for each of the calls side by side, between its attempts as well. Raises
    ConfigurationError when rsync or ssh is missing here.
    """

    def __init__(
        self,
        destination: Destination,
        *,
        max_concurrent_uploads: int = 8,
        upload_timeout_seconds: float = 120,
        attempts: int = 5,
        files_per_call: int = 200,
        ssh_key: Path | None = None,
        ssh_options: Sequence[str] = (),
        secrets: Mapping[str, str] = os.environ,
        first_pause_seconds: float = 1.0,
        busy: Stopwatch | None = None,
    ) -> None:
        self._busy = busy or Stopwatch()
        self._client = RsyncClient(destination, ssh_key=ssh_key, ssh_options=ssh_options, secrets=secrets)
        self._timeout_seconds = upload_timeout_seconds
        self._attempts = attempts
        self._files_per_call = files_per_call
        self._first_pause_seconds = first_pause_seconds
        self._pool = ThreadPoolExecutor(max_concurrent_uploads, thread_name_prefix="upload")
        self._stopping = threading.Event()
        self._destination_is_down = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.stop()
        self._pool.shutdown()
        self._client.close()

    def submit(self, files: Sequence[OpusFile]) -> Future[UploadResult]:
        """Queues ``files``, in calls of ``files_per_call``; the future is done when all of them are.

        Their storage paths must differ. The future never holds an AudioctlError: what went wrong is in its result.
        """
        step = self._files_per_call
        return _joined([self._pool.submit(self._deliver, files[i : i + step]) for i in range(0, len(files), step)])

    def stop(self) -> None:
        """Ends running calls; everything that has not arrived comes back as failed, with the reason "stopped"."""
        self._stopping.set()
        self._client.stop()

    def _deliver(self, files: Sequence[OpusFile]) -> UploadResult:
        try:
            with self._busy.running():
                return self._send_with_retries(files)
        except OSError as error:
            return UploadResult(failed=[(file, f"The upload could not be prepared: {error}.") for file in files])

    def _send_with_retries(self, files: Sequence[OpusFile]) -> UploadResult:
        result = UploadResult()
        waiting = list(files)
        attempt = 1
        while waiting:
            try:
                failpoint("upload.begin")
                self._client.send(waiting, timeout_seconds=self._timeout_seconds)
                failpoint("upload.sent")
            except PartialTransferError as error:
                # What rsync took one by one goes into a call of its own, to hear its 0; that moves no data.
                result.failed += error.left_behind
                waiting = error.others
            except TransferError as error:
                if error.retryable and attempt < self._attempts and not self._destination_is_down:
                    self._pause(attempt)
                    attempt += 1
                    continue
                self._destination_is_down = error.retryable
                result.failed += [(file, error.message) for file in waiting]
                return result
            else:
                self._destination_is_down = False
                result.arrived = waiting
                return result
        return result

    def _pause(self, attempt: int) -> None:
        longest = min(LONGEST_PAUSE_SECONDS, self._first_pause_seconds * 2.0 ** (attempt - 1))
        self._stopping.wait(random.uniform(0, longest))


def _joined(calls: Sequence[Future[UploadResult]]) -> Future[UploadResult]:
    """A future of all results as one, in order; no thread waits for it."""
    joined: Future[UploadResult] = Future()
    lock = threading.Lock()
    waiting = len(calls)

    def finish() -> None:
        try:
            results = [call.result() for call in calls]
        except Exception as error:
            joined.set_exception(error)
        else:
            joined.set_result(
                UploadResult(
                    [file for result in results for file in result.arrived],
                    [failure for result in results for failure in result.failed],
                )
            )

    def call_is_done(_: Future[UploadResult]) -> None:
        nonlocal waiting
        with lock:
            waiting -= 1
            is_last = waiting == 0
        if is_last:
            finish()

    for call in calls:
        call.add_done_callback(call_is_done)
    if not calls:
        finish()
    return joined
