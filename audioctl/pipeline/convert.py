"""The convert stage: from the members of a batch to windows of speech and Opus copies.

The work on a clip is done in worker processes, because decoders crash and hang on hostile files, and that must cost
the one clip. The workers live as long as the job, so that no clip costs a program start.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from pebble import ProcessExpired, ProcessPool

from audioctl.audio.decode import UnusableClipError
from audioctl.audio.opus import DEFAULT_BITRATE, part_of
from audioctl.audio.speech import SpeechFinder, WindowCutter
from audioctl.clips import ConvertedBatch, ConvertedClip, Member, MemberBatch, OpusFile, SetAside
from audioctl.errors import AudioctlError, Drained
from audioctl.pipeline.clip_tasks import ClipTask, convert_clip, copy_clip
from audioctl.states import ClipState, Reason

_SKIPPED = frozenset({Reason.NOT_AUDIO, Reason.NOT_A_FILE})

_ATTEMPTS = 2
"""How often a clip is given to a worker that then dies. The first time it may not have been the clip's fault: the
kernel may have wanted the memory, or Slurm has sent SIGTERM to all processes of the job."""

_LOOK_AFTER_POOL_SECONDS = 1.0

Made = TypeVar("Made")
Batch = TypeVar("Batch")


@dataclass(frozen=True, slots=True)
class CopiedBatch:
    """The Opus copies of clips that were transcribed before."""

    index: int
    copies: list[OpusFile] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PendingBatch(Generic[Batch]):
    """A batch that the workers have been given. ``collect`` waits for it; its errors are those of ``Converter``."""

    collect: Callable[[], Batch]


class Converter:
    """Converts batches in ``num_workers`` processes. Use it as a context manager.

    Opus copies are written to ``scratch`` as ``<ordinal>.opus``, with ``bitrate`` bits per second. ``vad`` finds the
    speech of each clip; without it the whole clip is cut into windows. A clip whose decoder dies, or takes longer than
    ``clip_timeout_seconds``, is rejected. ``work`` is what a worker does with one clip.

    ``start`` and ``collect`` may be called from different threads. ``collect`` raises ScratchError where scratch is
    full or not writable, and Drained after ``kill``.
    """

    def __init__(
        self,
        num_workers: int,
        scratch: Path,
        bitrate: int = DEFAULT_BITRATE,
        vad: bool = True,
        clip_timeout_seconds: float = 600,
        work: Callable[[ClipTask], ConvertedClip] = convert_clip,
    ) -> None:
        self._num_workers = num_workers
        self._scratch = scratch
        self._bitrate = bitrate
        self._finder = SpeechFinder if vad else WindowCutter
        self._clip_timeout_seconds = clip_timeout_seconds
        self._work = work
        self._context = multiprocessing.get_context("forkserver")
        self._lifeline, self._own_end = self._context.Pipe(duplex=False)
        self._lock = threading.Lock()
        self._futures: set[Future[Any]] = set()
        self._killed = False
        self._pool = self._new_pool()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.kill()

    def start(self, batch: MemberBatch) -> PendingBatch[ConvertedBatch]:
        """Gives the clips of ``batch`` to the workers and returns at once."""
        return self._start(batch, self._work, ConvertedBatch)

    def convert(self, batch: MemberBatch) -> ConvertedBatch:
        return self.start(batch).collect()

    def start_copies(self, batch: MemberBatch) -> PendingBatch[CopiedBatch]:
        """The same for clips whose transcripts are known: only their Opus copies are made, as they were before."""
        return self._start(batch, copy_clip, CopiedBatch)

    def close(self) -> None:
        """Ends the workers once they have done what was started."""
        self._pool.close()  # type: ignore[no-untyped-call]
        self._join()

    def kill(self) -> None:
        """Ends the workers now; whoever waits for a batch gets Drained."""
        with self._lock:
            self._killed = True
            unfinished = list(self._futures)
        for future in unfinished:
            future.cancel()
        self._pool.stop()  # type: ignore[no-untyped-call]
        self._join()

    def _new_pool(self) -> ProcessPool:
        # The libraries are loaded once, by the server, and the workers share that memory.
        self._context.set_forkserver_preload(["__main__", __name__])
        return ProcessPool(
            max_workers=self._num_workers,
            initializer=_begin_worker,
            initargs=[self._lifeline],
            context=self._context,
        )

    def _join(self) -> None:
        self._pool.join()
        self._lifeline.close()
        self._own_end.close()

    def _start(
        self,
        batch: MemberBatch,
        work: Callable[[ClipTask], Made],
        gather: Callable[[int, list[Made], list[SetAside]], Batch],
    ) -> PendingBatch[Batch]:
        def begin(member: Member) -> Callable[[], Made | SetAside]:
            if member.reason is not None:
                aside = _set_aside(member, member.reason, member.detail)
                return lambda: aside
            task = ClipTask(member, self._scratch / f"{member.ordinal:06d}.opus", self._bitrate, self._finder)
            future = self._schedule(work, task)
            return lambda: self._outcome(work, task, future)

        outcomes = [begin(member) for member in batch.members]

        def collect() -> Batch:
            made: list[Made] = []
            set_aside: list[SetAside] = []
            for outcome in outcomes:
                result = outcome()
                if isinstance(result, SetAside):
                    set_aside.append(result)
                else:
                    made.append(result)
            return gather(batch.index, made, set_aside)

        return PendingBatch(collect)

    def _schedule(self, work: Callable[[ClipTask], Made], task: ClipTask) -> Future[Made]:
        self._mend()
        with self._lock:
            if self._killed:
                raise _drained()
            future: Future[Made] = self._pool.schedule(work, args=[task], timeout=self._clip_timeout_seconds)
            self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        return future

    def _mend(self) -> None:
        """The pool gives up when a worker dies that had nothing to do, and forgets some of its futures."""
        with self._lock:
            if self._killed or self._pool.active:
                return
            self._pool.join()
            self._pool = self._new_pool()
            forgotten = [future for future in self._futures if not future.done()]
        for future in forgotten:
            future.set_exception(BrokenProcessPool())

    def _outcome(self, work: Callable[[ClipTask], Made], task: ClipTask, future: Future[Made]) -> Made | SetAside:
        try:
            return self._result(work, task, future)
        except UnusableClipError as error:
            return _set_aside(task.member, error.reason, error.detail)
        except ProcessExpired as error:
            return _crashed(task, f"the decoder died: {_exit_words(error.exitcode)}")
        except TimeoutError:
            return _crashed(task, f"not decoded after {self._clip_timeout_seconds:g} s")
        except CancelledError as error:
            raise _drained() from error
        except BrokenProcessPool as error:
            raise AudioctlError(
                "The processes that decode the clips keep dying.",
                hint="Look for out-of-memory kills on this machine, and lower convert.num_workers.",
            ) from error
        finally:
            if isinstance(task.member.content, Path):
                task.member.content.unlink(missing_ok=True)

    def _result(self, work: Callable[[ClipTask], Made], task: ClipTask, future: Future[Made]) -> Made:
        for _ in range(_ATTEMPTS - 1):
            try:
                return self._wait(future)
            except (ProcessExpired, BrokenProcessPool):
                future = self._schedule(work, task)
        return self._wait(future)

    def _wait(self, future: Future[Made]) -> Made:
        while True:
            try:
                return future.result(timeout=_LOOK_AFTER_POOL_SECONDS)
            except TimeoutError:
                if future.done():  # then it is the clip's own timeout, or it has ended just now
                    return future.result()
                self._mend()


def _begin_worker(lifeline: Connection) -> None:
    threading.Thread(target=_end_with, args=[lifeline], daemon=True).start()
    # C decoders write their complaints about damaged clips to file 2; Python's own messages keep the old one.
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)


def _end_with(lifeline: Connection) -> None:
    """Nothing is ever sent on ``lifeline``: it ends when the job's own process does, by whatever cause.

    The kernel's PR_SET_PDEATHSIG would not do: the parent of a worker is the fork server, which outlives the job for
    as long as it has children.
    """
    with suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(1)


def _set_aside(member: Member, reason: Reason, detail: str | None) -> SetAside:
    state = ClipState.SKIPPED if reason in _SKIPPED else ClipState.REJECTED
    return SetAside(replace(member, content=None), state, reason, detail)


def _crashed(task: ClipTask, detail: str) -> SetAside:
    for leftover in (part_of(task.opus_path), task.opus_path):
        leftover.unlink(missing_ok=True)
    return _set_aside(task.member, Reason.CRASHED_DECODER, detail)


def _exit_words(exit_code: int) -> str:
    return signal.Signals(-exit_code).name if exit_code < 0 else f"exit code {exit_code}"


def _drained() -> Drained:
    return Drained("The conversion was ended before all clips were converted.")
