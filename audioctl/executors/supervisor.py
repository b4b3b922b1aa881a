"""Keeps the jobs of one local run going, ``max_concurrent`` at a time. Run as ``python -m``, it goes to the background.

SIGTERM, SIGINT or SIGUSR1 drains: no more jobs are begun, and those that run are told to end well.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import msgspec

from audioctl.clock import utc_now
from audioctl.errors import AudioctlError
from audioctl.executors.local import JOBS_FILE, SUPERVISOR_LEASE, JobEnded, job_id
from audioctl.failpoints import failpoint
from audioctl.ledger.lease import Lease
from audioctl.ledger.lines import append_lines, open_for_lines
from audioctl.runs import JOB_SCRIPT, Run, read_run

CANNOT_START = 127
"""The exit code by which a shell says so."""

_WAKE_SECONDS = 1.0


class Supervisor:
    def __init__(self, folder: Path, run: Run) -> None:
        self._folder = folder
        self._run = run
        self._running: set[subprocess.Popen[bytes]] = set()
        self._draining = False
        self._jobs_file = open_for_lines(folder / JOBS_FILE)
        self._lock = threading.Lock()

    def supervise(self) -> None:
        """Returns when every job has ended, or, after ``drain``, those that ran."""
        with ThreadPoolExecutor(self._run.max_concurrent) as pool:
            jobs = [pool.submit(self._run_job, index) for index in range(len(self._run.archives))]
            # Python handles a signal in this thread, and one that came just before it began to wait when it wakes.
            while wait(jobs, timeout=_WAKE_SECONDS).not_done:
                pass
        for job in jobs:
            job.result()

    def drain(self) -> None:
        """Begin no more jobs, and hand the signal on to those that run. Safe in a signal handler."""
        self._draining = True
        for process in tuple(self._running):
            process.terminate()

    def _run_job(self, index: int) -> None:
        if self._draining:
            return
        job = job_id(self._run, self._run.archives[index])
        failpoint("supervisor.job_begins")
        exit_code = self._work(index, job)
        failpoint("supervisor.job_ended")
        line = msgspec.json.encode(JobEnded(job, exit_code, utc_now())) + b"\n"
        with self._lock:
            append_lines(self._jobs_file, line)

    def _work(self, index: int, job: str) -> int:
        try:
            process = subprocess.Popen(
                ["bash", str(self._folder / JOB_SCRIPT), str(index), job],
                stdin=subprocess.DEVNULL,
                cwd=self._folder,
            )
        except OSError as error:
            print(f"{utc_now()} The job {job} cannot be started: {error}", file=sys.stderr, flush=True)
            return CANNOT_START
        self._running.add(process)
        if self._draining:
            process.terminate()  # the signal came while this one was started
        exit_code = process.wait()
        self._running.discard(process)
        return exit_code


def main(folder: Path) -> None:
    if os.fork():
        os._exit(0)  # whoever submitted the run waits for this process, and need not wait for the jobs
    run = read_run(folder)
    with Lease.acquire(folder / SUPERVISOR_LEASE, run_id=run.run_id, job_id=None):
        supervisor = Supervisor(folder, run)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, lambda *_: supervisor.drain())
        print("ready", flush=True)
        # What jobs print outside of their logs goes to ours; nobody reads the pipe any more.
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        supervisor.supervise()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except AudioctlError as failure:
        print(f"{utc_now()} {failure.message} {failure.hint or ''}", file=sys.stderr, flush=True)
        sys.exit(failure.exit_code)
