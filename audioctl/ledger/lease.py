"""Who works on an archive: at most one job, wherever it runs.

The lease is a file made with O_EXCL, which NFS and Lustre keep atomic; no file lock is relied on. Whether its holder
is alive is judged in one of two ways:

- The holder is a process of this machine (and of this boot of it): it is alive as long as the process exists. One that
  is merely stopped (SIGSTOP, a job that Slurm suspended) is alive, however old its heartbeat.
- Otherwise by its heartbeat, which is the file's modification time, by the clock of the file server: of a file touched
  beside it, never ours. The same goes for a file whose writer has not said yet, or never will, who it is.

A job that was taken for dead and comes back finds another's token in the file and stops before its next journal line.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import msgspec

from audioctl.clock import utc_now
from audioctl.errors import ArchiveBusyError, JournalError, LeaseLostError
from audioctl.failpoints import failpoint
from audioctl.node import node_name
from audioctl.permissions import make_folder, open_private
from audioctl.processes import boot_id, is_running, process_started

HEARTBEAT_SECONDS = 15.0
STALE_AFTER_SECONDS = 180.0
"""Twelve heartbeats: longer than any stall of a busy file server that is worth surviving."""

_OUT_OF_SIGHT_SECONDS = 0.5
"""How long a lease may be gone while another job looks at it under another name, see _remove_stale."""


class LeaseHolder(msgspec.Struct, frozen=True):
    """What a lease file says of the job that holds it. ``node`` is for people; liveness goes by boot and process."""

    token: str
    node: str
    boot_id: str
    pid: int
    process_started: str
    run_id: str | None
    job_id: str | None
    since: str

    @property
    def description(self) -> str:
        job = f"job {self.job_id}" if self.job_id else f"process {self.pid}"
        return f"{job} on {self.node} since {self.since}"


_UNNAMED = LeaseHolder("", "a node that has not said its name yet", "", 0, "", None, None, "?")
"""Of a file that is still empty: it is being written, or a power cut took what was."""


def lease_path(journal: Path) -> Path:
    return journal.with_suffix(".lease")


def live_holder(path: Path, *, stale_after_seconds: float = STALE_AFTER_SECONDS) -> LeaseHolder | None:
    """Who holds the lease now; ``None`` when nobody does, or nobody alive. Raises JournalError."""
    holder = _read(path)
    if holder is None or _is_stale(path, holder, stale_after_seconds):
        return None
    return holder


class Lease:
    """A held lease, with a thread that keeps its heartbeat. ``acquire`` makes one."""

    def __init__(self, path: Path, holder: LeaseHolder, descriptor: int, heartbeat_seconds: float) -> None:
        self._path = path
        self._holder = holder
        self._descriptor = descriptor
        self._heartbeat_seconds = heartbeat_seconds
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._keep_alive, name="lease-heartbeat", daemon=True)
        self._thread.start()

    @classmethod
    def acquire(
        cls,
        path: Path,
        *,
        run_id: str | None,
        job_id: str | None,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        stale_after_seconds: float = STALE_AFTER_SECONDS,
    ) -> Lease:
        """Take the lease, over from a dead job if need be.

        Raises ArchiveBusyError when a living job holds it, and JournalError when the file cannot be made.
        """
        mine = LeaseHolder(
            token=secrets.token_hex(8),
            node=node_name(),
            boot_id=boot_id(),
            pid=os.getpid(),
            process_started=process_started(os.getpid()) or "",
            run_id=run_id,
            job_id=job_id,
            since=utc_now(),
        )
        while (descriptor := _create(path, mine)) is None:
            other = _read(path)
            if other is None:
                continue  # released between our two looks
            if not _is_stale(path, other, stale_after_seconds):
                raise ArchiveBusyError(
                    f"{path.stem} of {path.parent.name} is being worked on by {other.description}.",
                    hint="Wait for it, or end that job; a dead job's hold ends by itself after "
                    f"{stale_after_seconds:.0f} s.",
                )
            _remove_stale(path, other)
        failpoint(f"lease.taken.{path.stem}")
        return cls(path, mine, descriptor, heartbeat_seconds)

    def check(self) -> None:
        """Raises LeaseLostError when this job does not hold the lease any more."""
        holder = _read(self._path)
        if holder is None:
            time.sleep(_OUT_OF_SIGHT_SECONDS)
            holder = _read(self._path)
        if holder is None or holder.token != self._holder.token:
            taker = holder.description if holder else "nobody: the lease file is gone"
            raise LeaseLostError(
                f"Another job has taken {self._path.name} over ({taker}); this one stops.",
                hint="Nothing is lost: `audioctl status` shows the job that goes on.",
            )

    def release(self) -> None:
        """Give the lease back, unless another job has it by now."""
        failpoint(f"lease.given_back.{self._path.stem}")
        self._released.set()
        self._thread.join()
        os.close(self._descriptor)
        holder = _read(self._path)
        if holder is not None and holder.token == self._holder.token:
            with _trouble_told(self._path, "given back"):
                self._path.unlink(missing_ok=True)

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()

    def _keep_alive(self) -> None:
        while not self._released.wait(self._heartbeat_seconds):
            # By descriptor: once another job has taken over, its file must not get heartbeats from us. A beat that the
            # file server does not take is what the twelve are for.
            with contextlib.suppress(OSError):
                os.utime(self._descriptor)


@contextlib.contextmanager
def _trouble_told(path: Path, doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise JournalError(
            f"The lease {path} cannot be {doing}: {error.strerror}.",
            hint="Look at the permissions and the free space of paths.state_dir.",
        ) from error


def _create(path: Path, holder: LeaseHolder) -> int | None:
    """An open lease of ours; ``None`` when there is one already."""
    with _trouble_told(path, "made"):
        make_folder(path.parent)
        try:
            descriptor = open_private(str(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            return None
        try:
            os.write(descriptor, msgspec.json.encode(holder))
            os.fsync(descriptor)  # or other nodes might not see it before it is closed
        except OSError:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
    return descriptor


def _read(path: Path) -> LeaseHolder | None:
    with _trouble_told(path, "read"):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
    try:
        return msgspec.json.decode(content, type=LeaseHolder)
    except msgspec.DecodeError:
        return _UNNAMED


def _is_stale(path: Path, holder: LeaseHolder, stale_after_seconds: float) -> bool:
    if holder.boot_id == boot_id():
        running = is_running(holder.pid, holder.process_started)
        if running is not None:
            return not running
    age = _heartbeat_age_seconds(path)
    return age is not None and age > stale_after_seconds


def _heartbeat_age_seconds(path: Path) -> float | None:
    """Age by the clock of the file server; ours when we may not write there. ``None`` when the lease is gone."""
    try:
        beat = path.stat().st_mtime
    except FileNotFoundError:
        return None
    probe = path.with_suffix(f".clock-{secrets.token_hex(4)}")
    try:
        probe.touch(exist_ok=False)
        now = probe.stat().st_mtime
        probe.unlink()
    except OSError:
        now = time.time()
    return now - beat


def _remove_stale(path: Path, stale: LeaseHolder) -> None:
    """Remove the lease only if it is still the stale one.

    Two jobs may see the same stale lease. Renaming it first makes the loser of the race notice that what it moved is
    the winner's new lease, which it then puts back. Should a third job have taken its place meanwhile, the winner
    finds out before its first journal line.
    """
    aside = path.with_suffix(f".stale-{secrets.token_hex(4)}")
    with _trouble_told(path, "taken over"):
        try:
            path.rename(aside)
        except FileNotFoundError:
            return
        moved = _read(aside)
        if moved is not None and moved.token != stale.token:
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink(missing_ok=True)
