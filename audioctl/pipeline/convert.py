"""The convert stage: from the members of a batch to windows of speech and Opus copies.

The work on a clip is done in worker processes, because decoders crash and hang on hostile files, and that must cost
the one clip. The workers live as long as the job, so that no clip costs a program start.
"""

from __future__ import annotations

import math
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

from audioctl.audio.decode import UnusableClipError
from audioctl.audio.opus import DEFAULT_BITRATE, part_of
from audioctl.audio.speech import SpeechFinder, WindowCutter
from audioctl.clips import ConvertedBatch, ConvertedClip, Member, MemberBatch, OpusFile, SetAside
from audioctl.errors import Drained
from audioctl.pipeline.clip_tasks import ClipTask, convert_clip, copy_clip
from audioctl.pipeline.stopwatches import Stopwatch
from audioctl.pipeline.workers import WorkerDiedError, WorkerPool
from audioctl.states import ClipState, Reason

_SKIPPED = frozenset({Reason.NOT_AUDIO, Reason.NOT_A_FILE})

Made = TypeVar("Made")
Batch = TypeVar("Batch")


@dataclass(frozen=True, slots=True)
class CopiedBatch:
    """The Opus copies of clips that were transcribed before."""

    index: int
    copies: list[OpusFile] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PendingBatch(Generic[Made, Batch]):
    """A batch that the workers have been given. Somebody can wait for it once, as a whole or for part after part.

    Waiting raises ScratchError where scratch is full or not writable, and Drained after ``Converter.kill``.
    """

    _outcomes: Iterator[Made | SetAside]
    _gather: Callable[[list[Made], list[SetAside]], Batch]

    def whole(self) -> Batch:
        return self._gathered(self._outcomes)

    def parts(self, members: int) -> Iterator[Batch]:
        """What became of so many members at a time, each part as soon as it is there."""
        while outcomes := list(islice(self._outcomes, members)):
            part = [self._gathered(outcomes)]
            outcomes.clear()
            yield part.pop()  # it is large, and must not live on here

    def _gathered(self, outcomes: Iterable[Made | SetAside]) -> Batch:
        made: list[Made] = []
        set_aside: list[SetAside] = []
        for outcome in outcomes:
            if isinstance(outcome, SetAside):
                set_aside.append(outcome)
            else:
                made.append(outcome)
        return self._gather(made, set_aside)


class Converter:
    """Converts batches in ``num_workers`` processes. Use it as a context manager.

    Opus copies are written to ``scratch`` as ``<ordinal>.opus``, with ``bitrate`` bits per second. ``vad`` finds the
    speech of each clip; without it the whole clip is cut into windows. A clip whose decoder dies, or takes longer than
    ``clip_timeout_seconds``, or that lasts longer than ``max_clip_duration_seconds``, is rejected. ``work`` is what a
    worker does with one clip; ``busy`` runs for each worker that has one.

    What is started may be waited for in another thread.
    """

    def __init__(
        self,
        num_workers: int,
        scratch: Path,
        bitrate: int = DEFAULT_BITRATE,
        vad: bool = True,
        clip_timeout_seconds: float = 600,
        work: Callable[[ClipTask], ConvertedClip] = convert_clip,
        max_clip_duration_seconds: float = math.inf,
        busy: Stopwatch | None = None,
    ) -> None:
        self._scratch = scratch
        self._bitrate = bitrate
        self._finder = SpeechFinder if vad else WindowCutter
        self._clip_timeout_seconds = clip_timeout_seconds
        self._max_clip_duration_seconds = max_clip_duration_seconds
        self._work = work
        self._pool = WorkerPool(num_workers, clip_timeout_seconds, _begin_worker, ["__main__", __name__], busy)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.kill()

    def start(self, batch: MemberBatch) -> PendingBatch[ConvertedClip, ConvertedBatch]:
        """Gives the clips of ``batch`` to the workers and returns at once."""
        return self._start(batch, self._work, ConvertedBatch)

    def convert(self, batch: MemberBatch) -> ConvertedBatch:
        return self.start(batch).whole()

    def start_copies(self, batch: MemberBatch) -> PendingBatch[OpusFile, CopiedBatch]:
        """The same for clips whose transcripts are known: only their Opus copies are made, as they were before."""
        return self._start(batch, copy_clip, CopiedBatch)

    def close(self) -> None:
        """Ends the workers once they have done what was started."""
        self._pool.close()

    def kill(self) -> None:
        """Ends the workers now; whoever waits for a batch gets Drained."""
        self._pool.kill()

    def _start(
        self,
        batch: MemberBatch,
        work: Callable[[ClipTask], Made],
        gather: Callable[[int, list[Made], list[SetAside]], Batch],
    ) -> PendingBatch[Made, Batch]:
        def begin(member: Member) -> Callable[[], Made | SetAside]:
            if member.reason is not None:
                aside = _set_aside(member, member.reason, member.detail)
                return lambda: aside
            opus_path = self._scratch / f"{member.ordinal:06d}.opus"
            task = ClipTask(member, opus_path, self._bitrate, self._finder, self._max_clip_duration_seconds)
            future = self._submit(work, task)
            return lambda: self._outcome(task, future)

        outcomes = deque(begin(member) for member in batch.members)
        return PendingBatch(_in_turn(outcomes), partial(gather, batch.index))

    def _submit(self, work: Callable[[ClipTask], Made], task: ClipTask) -> Future[Made]:
        try:
            return self._pool.submit(work, task)
        except CancelledError as error:
            raise _drained() from error

    def _outcome(self, task: ClipTask, future: Future[Made]) -> Made | SetAside:
        try:
            return future.result()
        except UnusableClipError as error:
            return _set_aside(task.member, error.reason, error.detail)
        except WorkerDiedError as error:
            return _crashed(task, f"the decoder died: {_exit_words(error.exit_code)}")
        except TimeoutError:
            return _crashed(task, f"not decoded after {self._clip_timeout_seconds:g} s")
        except CancelledError as error:
            raise _drained() from error
        finally:
            if isinstance(task.member.content, Path):
                task.member.content.unlink(missing_ok=True)


def _in_turn(outcomes: deque[Callable[[], Made]]) -> Iterator[Made]:
    while outcomes:
        yield outcomes.popleft()()  # what was given is large, and must not live on here


def _begin_worker() -> None:
    # C decoders write their complaints about damaged clips to file 2; Python's own messages keep the old one.
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)


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
    return Drained(
        "The conversion was ended before all clips were converted.",
        hint="Run the same command again, or `audioctl resume`.",
    )
