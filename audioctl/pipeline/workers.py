"""Processes for work that may crash or hang: whatever happens to one of them costs the call that it was given.

Each worker has a pipe and a thread of its own. Where workers share a queue, as in the pools of other libraries, one
that is killed while it sends its result takes the queue's lock with it, and everybody waits for ever.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from typing import Any, TypeVar, cast

from audioctl.errors import AudioctlError
from audioctl.pipeline.signals import SIGNALS_OF_THE_JOB, held_back
from audioctl.pipeline.stopwatches import Stopwatch

Argument = TypeVar("Argument")
Result = TypeVar("Result")

_ATTEMPTS = 3
"""How often a call is given to a worker that then dies. Once or twice it may not have been the call's fault: the kernel
may have wanted the memory."""


class WorkerDiedError(Exception):
    """The process died while it worked; ``exit_code`` is minus the number of the signal if one ended it."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


class WorkerPool:
    """Calls functions in ``count`` processes, which live as long as the pool.

    A call may take ``timeout_seconds``. ``begin`` is called in each new process, ``preload`` names modules that are
    imported once, so that the workers share their memory. Workers end with this process, whatever ends it. ``busy``
    runs for each that has a call.
    """

    def __init__(
        self,
        count: int,
        timeout_seconds: float,
        begin: Callable[[], None],
        preload: list[str],
        busy: Stopwatch | None = None,
    ) -> None:
        self._busy = busy or Stopwatch()
        self._timeout_seconds = timeout_seconds
        self._begin = begin
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(preload)
        self._lifeline, self._own_end = self._context.Pipe(duplex=False)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="worker")
        self._of_thread = threading.local()
        self._lock = threading.Lock()
        self._workers: set[_Worker] = set()
        self._killed = False

    def submit(self, function: Callable[[Argument], Result], argument: Argument) -> Future[Result]:
        """What the function returns or raises; WorkerDiedError, TimeoutError, and CancelledError after ``kill``.

        AudioctlError when no process can be started.
        """
        with self._lock:
            if self._killed:
                raise CancelledError
            return self._threads.submit(self._call, function, argument)

    def close(self) -> None:
        """Ends the workers once they have done what was submitted."""
        self._threads.shutdown()
        for worker in self._workers:
            worker.dismiss()
        self._cut_lifeline()

    def kill(self) -> None:
        """Ends the workers now."""
        with self._lock:
            self._killed = True
            for worker in self._workers:
                worker.kill()  # its thread, if it waits for it, hears of it
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.bury()
        self._cut_lifeline()

    def _cut_lifeline(self) -> None:
        self._workers.clear()
        self._lifeline.close()
        self._own_end.close()

    def _call(self, function: Callable[[Argument], Result], argument: Argument) -> Result:
        for attempt in range(_ATTEMPTS):
            worker = self._worker()
            try:
                with self._busy.running():
                    return worker.call(function, argument, self._timeout_seconds)
            except _LostError as lost:
                exit_code = self._bury(worker)
                if attempt == _ATTEMPTS - 1:
                    raise WorkerDiedError(exit_code) from lost
            except TimeoutError:
                self._bury(worker)
                raise
        raise AssertionError

    def _worker(self) -> _Worker:
        """That of this thread: the one it has, if it lives, or a new one."""
        worker: _Worker | None = getattr(self._of_thread, "worker", None)
        if worker is not None and not worker.has_gone():
            return worker
        if worker is not None:
            self._bury(worker)
        self._of_thread.worker = worker = self._new_worker()
        return worker

    def _new_worker(self) -> _Worker:
        for _ in range(_ATTEMPTS):
            worker = self._start_worker()
            if worker is not None and worker.is_ready():
                return worker
            if worker is not None:
                self._bury(worker)
        raise AudioctlError(
            "The processes that decode the clips cannot be started.",
            hint="Look for out-of-memory kills on this machine, and lower convert.num_workers.",
        )

    def _start_worker(self) -> _Worker | None:
        # One at a time: multiprocessing looks after all of its processes whenever it starts one.
        with self._lock:
            if self._killed:
                raise CancelledError
            try:
                worker = _Worker(self._context, self._begin, self._lifeline)
            except (OSError, EOFError):
                return None
            self._workers.add(worker)
            return worker

    def _bury(self, worker: _Worker) -> int:
        self._of_thread.worker = None
        with self._lock:
            self._workers.discard(worker)
            return worker.bury()


class _LostError(Exception):
    """The worker does not answer any more."""


class _Worker:
    def __init__(self, context: ForkServerContext, begin: Callable[[], None], lifeline: Connection) -> None:
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, lifeline, begin), daemon=True)
        resource_tracker.ensure_running()  # when it starts, it lets signals through again
        with held_back():  # the fork server and the workers inherit it
            self._process.start()
        theirs.close()

    def is_ready(self) -> bool:
        """Waits until the process has begun, or has failed to."""
        try:
            return self._connection.recv() is True
        except (EOFError, OSError):
            return False

    def has_gone(self) -> bool:
        """Whether it died when it had nothing to do: it would not have said a word otherwise."""
        return self._connection.poll()

    def call(self, function: Callable[[Argument], Result], argument: Argument, timeout_seconds: float) -> Result:
        answer: tuple[bool, Any] | None = None
        try:
            self._connection.send((function, argument))
            if self._connection.poll(timeout_seconds):
                answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise _LostError from error
        if answer is None:
            raise TimeoutError
        succeeded, result = answer
        if not succeeded:
            raise result
        return cast(Result, result)

    def dismiss(self) -> None:
        """To be called when it has nothing to do: it ends by itself."""
        self._connection.close()
        self._process.join()

    def kill(self) -> None:
        self._process.kill()

    def bury(self) -> int:
        """Its exit code: that of its own death, if it died before."""
        self._process.kill()
        self._process.join()
        self._connection.close()
        assert self._process.exitcode is not None
        return self._process.exitcode


def _serve(connection: Connection, lifeline: Connection, begin: Callable[[], None]) -> None:
    """The worker process."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS_OF_THE_JOB)
    threading.Thread(target=_end_with, args=[lifeline], daemon=True).start()
    begin()
    with suppress(EOFError, OSError):  # the job's process has gone, perhaps in the middle of a call
        connection.send(True)
        while True:
            connection.send(_answer(connection.recv_bytes()))


def _answer(request: bytes) -> tuple[bool, Any]:
    """Whether the call went well, and what it returned or raised."""
    try:
        function, argument = pickle.loads(request)
        return True, function(argument)
    except Exception as error:
        error.add_note(traceback.format_exc())
        return False, error


def _end_with(lifeline: Connection) -> None:
    """Nothing is ever sent on ``lifeline``: it ends when the job's own process does, by whatever cause.

    The kernel's PR_SET_PDEATHSIG would not do: the parent of a worker is the fork server, which outlives the job for
    as long as it has children.
    """
    with suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(1)
