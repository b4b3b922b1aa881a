"""Jobs on this machine: a supervisor in the background keeps several of them going until the run is through.

The supervisor holds a lease in the run's folder, so that any machine that sees the folder can tell whether it lives,
and writes how each job ended to ``jobs.jsonl``.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from audioctl.errors import AudioctlError, LedgerError
from audioctl.executors.base import Submitted
from audioctl.jobs import JobKey, JobPhase, JobStatus
from audioctl.ledger.lease import live_holder
from audioctl.ledger.lines import whole_lines
from audioctl.permissions import open_private
from audioctl.processes import boot_id
from audioctl.runs import JOB_SCRIPT, Run, RunArchive, run_folder
from audioctl.settings import Settings

if TYPE_CHECKING:
    from audioctl.templates import ScriptRequest

JOBS_FILE = "jobs.jsonl"
SUPERVISOR_LEASE = "supervisor.lease"
SUPERVISOR_LOG = "logs/supervisor.log"


class JobEnded(msgspec.Struct, frozen=True):
    """A line of jobs.jsonl."""

    job_id: str
    exit_code: int
    at: str


class LocalExecutor:
    name = "local"
    poll_seconds = 1.0

    def plan(self, archives: int, settings: Settings) -> list[str]:  # noqa: ARG002 - a job for each archive
        return [str(index) for index in range(archives)]

    def scripts(self, request: ScriptRequest) -> Mapping[str, str]:
        # Every command imports the executors; only submitting needs the templates.
        from audioctl.templates import render_job

        return {JOB_SCRIPT: render_job(request)}

    def submit(self, folder: Path, run: Run, after: Sequence[str]) -> Submitted:  # noqa: ARG002 - there is no queue
        if shutil.which("bash") is None:
            raise AudioctlError("The jobs cannot be started: there is no bash.", hint="Install it, or mend your PATH.")
        log = folder / SUPERVISOR_LOG
        try:
            with open(log, "ab", opener=open_private) as output:
                starter = subprocess.Popen(
                    [sys.executable, "-P", "-m", "audioctl.executors.supervisor", str(folder)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=output,
                    start_new_session=True,
                    cwd=folder,
                )
        except OSError as error:
            raise AudioctlError(
                f"The jobs cannot be started with {sys.executable}: {error.strerror}.",
                hint="Look at the permissions and the free space of paths.state_dir, "
                "and whether this Python is still there.",
            ) from error
        # The supervisor says one line when it holds its lease: from then on anybody can see that it lives. The process
        # that we started has ended by then.
        with starter:
            assert starter.stdout is not None
            ready = starter.stdout.readline()
        if not ready:
            raise AudioctlError("The supervisor of the jobs did not start.", hint=f"It says why in {log}.")

        return Submitted({archive.job: job_id(run, archive) for archive in run.archives})

    def look(
        self,
        state_dir: Path,
        runs: Sequence[Run],
        on_trouble: Callable[[str], None],  # noqa: ARG002 - everything is in the run's folder
    ) -> Mapping[JobKey, JobStatus]:
        statuses: dict[JobKey, JobStatus] = {}
        for run in runs:
            folder = run_folder(state_dir, run)
            is_supervised = live_holder(folder / SUPERVISOR_LEASE) is not None
            ended = {job.job_id: job.exit_code for job in read_ended(folder)}
            for archive in run.archives:
                status = _status(job_id(run, archive), ended, is_supervised=is_supervised)
                statuses[run.run_id, archive.slot] = status
        return statuses

    def cancel(self, state_dir: Path, runs: Sequence[Run]) -> None:
        for run in runs:
            holder = live_holder(run_folder(state_dir, run) / SUPERVISOR_LEASE)
            if holder is None:
                continue
            if holder.boot_id != boot_id():
                raise AudioctlError(
                    f"The jobs of {run.day} run on {holder.node}, and can be ended only from there.",
                    hint=f"ssh {holder.node}, then the same command.",
                )
            with suppress(ProcessLookupError):
                os.kill(holder.pid, signal.SIGTERM)


def job_id(run: Run, archive: RunArchive) -> str:
    return f"{run.run_id}_{archive.job}"


def _status(job: str, ended: Mapping[str, int], *, is_supervised: bool) -> JobStatus:
    if job in ended:
        detail = f"Its job ended with exit code {ended[job]}"
        return JobStatus(JobPhase.GONE, job, detail=detail, is_final=True)
    if is_supervised:
        return JobStatus(JobPhase.RUNNING, job)
    return JobStatus(JobPhase.GONE, job, detail="The supervisor of its job went away", is_final=True)


def read_ended(folder: Path) -> list[JobEnded]:
    """The jobs of a run that have ended, as far as their supervisor wrote. Raises LedgerError."""
    path = folder / JOBS_FILE
    try:
        return [msgspec.json.decode(line, type=JobEnded) for line, _ in whole_lines(path)]
    except FileNotFoundError:
        return []
    except (OSError, msgspec.DecodeError) as error:
        raise LedgerError(
            f"{path} cannot be read: {error}",
            hint="If it is damaged, move it away: what its jobs did is in the journals.",
        ) from error
