"""Calling Slurm's commands, and what it means when they say no.

Their text output is read, never JSON: it has stayed the same from 22.05 to 25.x.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence

from audioctl.environment import SLURM_TOKEN, without_secrets
from audioctl.errors import SchedulerError, SchedulerSilentError

QUESTION_TIMEOUT_SECONDS = 45.0
"""Longer than the 10 to 20 s after which Slurm's own commands give up on a controller that is down."""

SUBMISSION_TIMEOUT_SECONDS = 200.0
"""sbatch itself tries for two minutes where the cluster has as many jobs as it takes."""

_KEPT = {"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", SLURM_TOKEN}
"""Which cluster is meant, and who we are. Every other SLURM_ variable is about a job that we may be part of."""

_OURS = {
    *("SBATCH_ARRAY_INX", "SBATCH_JOB_NAME", "SBATCH_OPEN_MODE", "SBATCH_OUTPUT", "SBATCH_ERROR", "SBATCH_SIGNAL"),
    *("SBATCH_REQUEUE", "SBATCH_NO_REQUEUE", "SBATCH_WAIT"),
}
"""Variables that would overrule what our scripts rely on; all the others are the user's to set."""

_SILENCE = re.compile(r"timed out|Zero Bytes were transmitted|Unexpected message received|Message receive failure")
"""After these the controller may have taken what it was sent."""

# Searched for in Slurm's words; the first that is found tells what to do.
_HINTS = (
    (r"[Ii]nvalid partition|this partition", "Correct slurm.partition; `sinfo -s` lists the partitions."),
    (r"Invalid account", "Correct slurm.account (and slurm.partition); `sacctmgr show associations user=$USER` helps."),
    (r"Invalid qos", "Correct slurm.qos; `sacctmgr show associations user=$USER format=account,partition,qos` helps."),
    (r"generic resource", "Correct slurm.gpus or slurm.gres; `sinfo -o '%P %G'` lists what the nodes have."),
    (r"Memory specification", "Lower slurm.mem; `sinfo -o '%P %m'` lists the memory of the nodes in MB."),
    (r"CPU count", "Lower slurm.cpus_per_task; `sinfo -o '%P %c'` lists the cores of the nodes."),
    (r"WallDuration|time limit is invalid|Invalid --time", "Correct slurm.time; `sinfo -o '%P %l'` lists the limits."),
    (
        r"node configuration",
        "No node of the partition has all of slurm.cpus_per_task, mem, gpus, gres and extra; "
        "`sinfo -N -o '%N %P %c %m %G'` lists what they have.",
    ),
    (
        r"Limit|limit",
        "A limit on your jobs is reached. Wait until some have ended, submit less (--slot, a shorter range), or put "
        "more archives into a job with slurm.archives_per_job.",
    ),
    (r"temporarily un", "The cluster has as many jobs as it takes; try again later."),
    (r"job array specification", "The site allows shorter arrays than it says; raise slurm.archives_per_job."),
    (r"dependency", "Take --dependency out of slurm.extra: audioctl sets its own."),
    (r"[Ii]nvalid feature", "Correct slurm.constraint; `sinfo -o '%P %f'` lists the features of the nodes."),
    (r"[Rr]eservation", "Correct slurm.reservation; `scontrol show reservations` lists them."),
    (r"[Ii]nvalid node", "Correct slurm.exclude; `sinfo -N` lists the nodes."),
    (r"[Ii]nvalid --(\w|-)+ specification", "Correct the setting of [slurm] of that name, or slurm.extra."),
    (r"[Mm]unge|authentication", "This machine cannot prove to Slurm who you are: tell the cluster's administrators."),
    (
        r"configuration source|stat file",
        "Run this on a login node of the cluster; if it is one, SLURM_CONF has to name its slurm.conf.",
    ),
    (r"[Cc]onnect|contact|not respond", "Slurm's controller is down, or restarting: try again in a few minutes."),
    (r"timed out", "Slurm's controller is very busy, or hangs: try again in a few minutes."),
    (r"Access/permission", "Only the one who submitted the jobs may do that."),
    (r"option|[Ii]nvalid", "Correct slurm.extra."),
)


def slurm(*command: str, timeout_seconds: float = QUESTION_TIMEOUT_SECONDS) -> str:
    """What a command of Slurm's prints.

    Raises SchedulerError with Slurm's own words and what to do about them, as SchedulerSilentError where it may have
    done all the same what it was asked for.
    """
    program = command[0]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=timeout_seconds,
            # sbatch hands all of it on to the job, which has to reach the database and the storage server.
            env=environment(os.environ if program == "sbatch" else without_secrets(os.environ, SLURM_TOKEN)),
        )
    except FileNotFoundError:
        raise SchedulerError(
            f"There is no {program} here.",
            hint="Run this on a login node of the cluster; some need `module load slurm` first. `--executor local` "
            "needs no Slurm.",
        ) from None
    except OSError as error:
        raise SchedulerError(
            f"{program} cannot be run: {error.strerror}.",
            hint=f"`command -v {program}` tells which one is meant; mend PATH.",
        ) from error
    except subprocess.TimeoutExpired as error:
        # Bytes, whatever the encoding.
        said = (error.stderr or b"").decode(errors="replace")
        words = "".join(f" It said: {sentence}." for sentence in _sentences(program, said))
        raise SchedulerSilentError(
            f"{program} did not answer within {timeout_seconds:.0f} s.{words}",
            hint=_hint(said) or "Slurm is very busy, or down.",
        ) from error
    if done.returncode != 0:
        raise refusal(program, done.stderr)
    return done.stdout


def refusal(program: str, said: str) -> SchedulerError:
    """The error for what a command of Slurm's has said before it failed."""
    words = "; ".join(_sentences(program, said)) or "it did not say why"
    kind = SchedulerSilentError if _SILENCE.search(said) else SchedulerError
    return kind(f"Slurm says ({program}): {words}.", hint=_hint(said))


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables for Slurm's commands, from those that we have.

    Lists are asked for whole: Slurm cuts long ones at 64 characters unless it is told not to.
    """
    kept = {
        name: value
        for name, value in environ.items()
        if name not in _OURS
        and not name.startswith(("SQUEUE_", "SACCT_", "SCANCEL_", "SINFO_"))
        and (not name.startswith("SLURM_") or name in _KEPT)
    }
    return kept | {"SLURM_BITSTR_LEN": "0"}


def table(output: str, columns: Sequence[str]) -> Iterator[dict[str, str]]:
    """The rows of a table with ``|`` between its columns, by the names of the columns.

    Its header has to be there: without one, an empty answer could not be told from no answer. Raises
    SchedulerSilentError. The last column may hold a ``|`` itself. With SLURM_CLUSTERS, there is a line before it.
    """
    header, *lines = [line for line in output.splitlines() if not line.startswith("CLUSTER: ")] or [""]
    if header.count("|") + 1 < len(columns):
        raise SchedulerSilentError("Slurm's answer was empty.", hint="Try again in a minute.")
    for line in lines:
        cells = line.split("|", len(columns) - 1)
        if len(cells) == len(columns):
            yield dict(zip(columns, cells, strict=True))


def _hint(said: str) -> str | None:
    return next((hint for pattern, hint in _HINTS if re.search(pattern, said)), None)


def _sentences(program: str, said: str) -> Iterator[str]:
    for line in said.splitlines():
        words = line.strip().removeprefix(f"{program}: ").removeprefix("error: ").removeprefix("fatal: ")
        if words:
            yield words.rstrip(".")
