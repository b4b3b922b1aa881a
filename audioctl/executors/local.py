"""Jobs on this machine: a supervisor in the background keeps several of them going until the run is through.

The supervisor holds a lease in the run's folder, so that any machine that sees the folder can tell whether it lives,
and writes how each job ended to ``jobs.jsonl``.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from audioctl.errors import AudioctlError
from audioctl.ledger.lease import live_holder
from audioctl.runs import JOB_SCRIPT, Run
from audioctl.templates import ScriptRequest, render_job

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

    def scripts(self, request: ScriptRequest) -> Mapping[str, str]:
        return {JOB_SCRIPT: render_job(request)}

    def job_ids(self, run_id: str, archives: int) -> list[str]:
        return [f"{run_id}_{index}" for index in range(archives)]

    def submit(self, folder: Path, run: Run) -> None:  # noqa: ARG002 - the supervisor reads the run itself
        log = folder / SUPERVISOR_LOG
        try:
            with log.open("ab") as output:
                supervisor = subprocess.Popen(
                    [sys.executable, "-P", "-m", "audioctl.executors.supervisor", str(folder)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=output,
                    start_new_session=True,
                    cwd=folder,
                )
        except OSError as error:
            raise AudioctlError(f"The jobs cannot be started: {error.strerror}.") from error
        # It says one line when it holds its lease: from then on anybody can see that it lives.
        assert supervisor.stdout is not None
        with supervisor.stdout:
            ready = supervisor.stdout.readline()
        if not ready:
            raise AudioctlError("The supervisor of the jobs did not start.", hint=f"It says why in {log}.")

    def may_still_run(self, folder: Path, run: Run, job_id: str) -> bool:  # noqa: ARG002 - the folder says it all
        if any(ended.job_id == job_id for ended in read_ended(folder)):
            return False
        return live_holder(folder / SUPERVISOR_LEASE) is not None


def read_ended(folder: Path) -> list[JobEnded]:
    """The jobs of a run that have ended, as far as their supervisor wrote."""
    try:
        content = (folder / JOBS_FILE).read_bytes()
    except FileNotFoundError:
        return []
    whole_lines = content[: content.rfind(b"\n") + 1]
    return msgspec.json.Decoder(JobEnded).decode_lines(whole_lines)
