"""Keeps the jobs of one local run going, ``max_concurrent`` at a time. Run as ``python -m``, in the background."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from audioctl.clock import utc_now
from audioctl.executors.local import JOBS_FILE, SUPERVISOR_LEASE, JobEnded
from audioctl.ledger.lease import Lease
from audioctl.runs import JOB_SCRIPT, Run, read_run


class Supervisor:
    def __init__(self, folder: Path, run: Run) -> None:
        self._folder = folder
        self._run = run
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopping = False

    def supervise(self) -> None:
        """Returns when every job has ended, or, after ``stop``, those that ran."""
        with ThreadPoolExecutor(self._run.max_concurrent) as pool:
            for index in range(len(self._run.archives)):
                pool.submit(self._run_job, index)

    def stop(self) -> None:
        """Drain: hand the signal on to the jobs and start no more."""
        self._stopping = True
        for process in list(self._running):
            process.terminate()

    def _run_job(self, index: int) -> None:
        job_id = self._run.archives[index].job_id
        with self._lock:
            if self._stopping:
                return
            process = subprocess.Popen(
                ["bash", str(self._folder / JOB_SCRIPT), str(index), job_id],
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr,
                cwd=self._folder,
            )
            self._running.add(process)
        exit_code = process.wait()
        line = msgspec.json.encode(JobEnded(job_id, exit_code, utc_now())) + b"\n"
        with self._lock:
            self._running.discard(process)
            with (self._folder / JOBS_FILE).open("ab") as jobs:
                jobs.write(line)


def main(folder: Path) -> None:
    run = read_run(folder)
    supervisor = Supervisor(folder, run)
    with Lease.acquire(folder / SUPERVISOR_LEASE, run_id=run.run_id, job_id=None):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, lambda *_: threading.Thread(target=supervisor.stop).start())
        print("ready", flush=True)
        sys.stdout.close()
        supervisor.supervise()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
