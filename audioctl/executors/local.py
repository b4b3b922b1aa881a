"""Jobs on this machine: a supervisor in the background keeps several of them going until the run is through.

The supervisor holds a lease in the run's folder, so that any machine that sees the folder can tell whether it lives,
and writes how each job ended to ``jobs.jsonl``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from audioctl.errors import AudioctlError, LedgerError
from audioctl.ledger.lease import live_holder
from audioctl.ledger.lines import whole_lines
from audioctl.runs import JOB_SCRIPT, Run

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

    def scripts(self, request: ScriptRequest) -> Mapping[str, str]:
        # Every command imports the executors; only submitting needs the templates.
        from audioctl.templates import render_job

        return {JOB_SCRIPT: render_job(request)}

    def job_ids(self, run_id: str, archives: int) -> list[str]:
        return [f"{run_id}_{index}" for index in range(archives)]

    def submit(self, folder: Path, run: Run) -> None:  # noqa: ARG002 - the supervisor reads the run itself
        if shutil.which("bash") is None:
            raise AudioctlError("The jobs cannot be started: there is no bash.", hint="Install it, or mend your PATH.")
        log = folder / SUPERVISOR_LOG
        try:
            with log.open("ab") as output:
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
                hint="Is this installation of Python whole, and paths.state_dir writable?",
            ) from error
        # The supervisor says one line when it holds its lease: from then on anybody can see that it lives. The process
        # that we started has ended by then.
        with starter:
            assert starter.stdout is not None
            ready = starter.stdout.readline()
        if not ready:
            raise AudioctlError("The supervisor of the jobs did not start.", hint=f"It says why in {log}.")

    def living_jobs(self, folder: Path, run: Run) -> Collection[str]:
        if live_holder(folder / SUPERVISOR_LEASE) is None:
            return []
        return {archive.job_id for archive in run.archives} - {ended.job_id for ended in read_ended(folder)}


def read_ended(folder: Path) -> list[JobEnded]:
    """The jobs of a run that have ended, as far as their supervisor wrote. Raises LedgerError."""
    path = folder / JOBS_FILE
    try:
        return [msgspec.json.decode(line, type=JobEnded) for line, _ in whole_lines(path)]
    except FileNotFoundError:
        return []
    except (OSError, msgspec.DecodeError) as error:
        raise LedgerError(f"{path} cannot be read: {error}", hint="If it is damaged, move it away.") from error
