"""The stage that writes rows, beside the pipeline and never in its way.

Everything it is given is in the journal already, so nothing is lost when PostgreSQL is away for an hour: what could
not be sent stays owed, in memory, and is tried again.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

import backoff
import psycopg

from audioctl.clips import ClipRecord
from audioctl.database.connection import RecordRefusedError
from audioctl.database.rows import Confirmation, confirm_batch, store_batch
from audioctl.errors import AudioctlError, ConfigurationError, RecordError, SchemaError
from audioctl.failpoints import failpoint
from audioctl.pipeline.stopwatches import Stopwatch
from audioctl.states import Stage

LONGEST_DELAY_SECONDS = 60.0
"""Between two attempts to reach a server that is away; the delays double up to here, with full jitter."""

# How long ``stop`` waits for a statement that is under way. A batch takes hundredths of a second.
_STOP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Owed:
    """An effect that PostgreSQL does not have yet; ``refusal`` says why where trying again did not help."""

    batch_index: int
    stage: Stage
    refusal: str | None


@dataclass(slots=True, eq=False)
class _Work:
    batch_index: int
    stage: Stage
    perform: Callable[[psycopg.Connection], None]
    refusal: str | None = None


class Recorder:
    """Sends one archive's batches to PostgreSQL, in order, from a thread of its own over one connection.

    ``connect`` makes the connection, at first and after each loss. ``on_done(batch_index, stage)`` and
    ``on_trouble(message)`` are called from that thread: the first after a commit, the second once for each new
    trouble. A batch that is refused for good is set aside and the others go on; its confirmation waits with it.
    ``busy`` runs while PostgreSQL is spoken to.
    """

    def __init__(
        self,
        connect: Callable[[], psycopg.Connection],
        day: str,
        slot: str,
        *,
        on_done: Callable[[int, Stage], None],
        on_trouble: Callable[[str], None],
        busy: Stopwatch | None = None,
    ) -> None:
        self._connect = connect
        self._day = day
        self._slot = slot
        self._on_done = on_done
        self._on_trouble = on_trouble
        self._busy = busy or Stopwatch()
        self._connection: psycopg.Connection | None = None
        self._trouble: str | None = None
        # Guards what follows it; never held while PostgreSQL is spoken to or a callback runs.
        self._changed = threading.Condition()
        self._owed: list[_Work] = []
        self._stopping = False
        self._crash: BaseException | None = None
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"record {day} {slot}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        if error is None:
            self._raise_crash()

    def record(self, batch_index: int, clips: Sequence[ClipRecord]) -> None:
        """Returns at once."""
        self._add(_Work(batch_index, Stage.RECORD, partial(store_batch, day=self._day, slot=self._slot, clips=clips)))

    def confirm(self, batch_index: int, files: Sequence[Confirmation]) -> None:
        """Returns at once. Where the batch is recorded here too, that comes first."""
        self._add(
            _Work(batch_index, Stage.CONFIRM, partial(confirm_batch, day=self._day, slot=self._slot, files=files))
        )

    def owed(self) -> list[Owed]:
        with self._changed:
            return [Owed(work.batch_index, work.stage, work.refusal) for work in self._owed]

    def finish(self, give_up_after_seconds: float) -> list[Owed]:
        """Tries everything once more, at once, then what may still help until the time is up; returns the rest."""
        with self._changed:
            for work in self._owed:
                work.refusal = None
            self._hurry.set()
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._crash or not self._next(), give_up_after_seconds)
        self.stop()
        self._raise_crash()
        return self.owed()

    def stop(self) -> None:
        """Ends at once; no callback comes after it. What is under way may or may not be committed, and stays owed."""
        with self._changed:
            self._stopping = True
            self._hurry.set()
            self._changed.notify_all()
        self._thread.join(_STOP_SECONDS)

    def _add(self, work: _Work) -> None:
        self._raise_crash()
        with self._changed:
            self._owed.append(work)
            self._changed.notify_all()

    def _raise_crash(self) -> None:
        if self._crash:
            raise self._crash

    def _next(self) -> _Work | None:
        """The first that was not refused and does not wait behind a refusal of its own batch."""
        refused = {work.batch_index for work in self._owed if work.refusal}
        return next((work for work in self._owed if work.batch_index not in refused), None)

    def _wait_for_work(self) -> _Work | None:
        """``None`` when it is time to stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._next())
            return None if self._stopping else self._next()

    def _run(self) -> None:
        try:
            self._send_all()
        except BaseException as error:
            # A fault of ours or of a callback: whoever calls next gets it.
            with self._changed:
                self._crash = error
                self._changed.notify_all()
        finally:
            self._disconnect()

    def _send_all(self) -> None:
        delays = _delays()
        while work := self._wait_for_work():
            try:
                with self._busy.running():
                    work.perform(self._connected())
            except (SchemaError, RecordRefusedError, ConfigurationError) as error:
                self._refuse(work, error)
            except RecordError as error:
                self._disconnect()
                self._report(error)
                self._hurry.wait(next(delays))
                self._hurry.clear()
            else:
                delays = _delays()
                self._done(work)

    def _connected(self) -> psycopg.Connection:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _done(self, work: _Work) -> None:
        failpoint(f"{work.stage}.committed")
        self._trouble = None
        if self._stopping:
            return
        self._on_done(work.batch_index, work.stage)
        with self._changed:
            self._owed.remove(work)
            self._changed.notify_all()

    def _refuse(self, work: _Work, error: AudioctlError) -> None:
        with self._changed:
            work.refusal = _in_one_line(error)
            self._changed.notify_all()
        self._report(error)

    def _report(self, error: AudioctlError) -> None:
        message = _in_one_line(error)
        if not self._stopping and message != self._trouble:
            self._trouble = message
            self._on_trouble(message)


def _delays() -> Iterator[float]:
    """Seconds: 0-1, 0-2, 0-4, ... 0-60."""
    for longest in backoff.expo(max_value=LONGEST_DELAY_SECONDS):
        if longest is not None:  # the library's generators begin with one
            yield backoff.full_jitter(longest)


def _in_one_line(error: AudioctlError) -> str:
    return f"{error.message} {error.hint}" if error.hint else error.message
