"""What a day cost: jobs' hours, and those of the nodes, GPUs and cores that they had."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from audioctl.configuration import load_settings
from audioctl.errors import ConfigurationError
from audioctl.reporting.history import Attempt, AttemptEnd
from audioctl.reporting.worktime import Stretch, merged
from audioctl.runs import CONFIG_FILE, Run, run_folder
from audioctl.settings import Settings, Slurm

_LOST = (AttemptEnd.FAILED, AttemptEnd.BROKEN_OFF)

_GPU_OPTION = re.compile(r"(?:--gpus(?:-per-node|-per-task)?|-G)[= ]?(?P<gpus>.+)|--gres[= ](?P<gres>.+)")
_COUNT = re.compile(r":(\d+)$|^(\d+)$")
_SOCKETS = re.compile(r"\(S:[^)]*\)$")


@dataclass(frozen=True, slots=True)
class Reserved:
    """What a job of a run had for itself."""

    gpus: int
    cores: int


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of jobs: from their first to their last word in the journals, without Slurm's queue.

    ``gpu_seconds`` and ``core_seconds`` are of the jobs of ``reserved_seconds``, of which it is known what they had.
    """

    attempts: int
    job_seconds: float
    lost_attempts: int
    lost_seconds: float
    """Of attempts that failed or broke off; what they had done by then counts all the same."""
    node_seconds: float
    """In which a node had a job of the day, whatever else it did."""
    nodes: int
    reserved_seconds: float
    gpu_seconds: float
    core_seconds: float


def day_costs(attempts: Sequence[Attempt], reserved: Mapping[str, Reserved]) -> Costs:
    """``reserved`` is by run id."""
    by_node: dict[str, list[Stretch]] = defaultdict(list)
    for attempt in attempts:
        by_node[attempt.node].append(Stretch(attempt.began, attempt.until))
    lost = [_seconds(attempt) for attempt in attempts if attempt.end in _LOST]
    known = [
        (_seconds(attempt), reserved[attempt.run_id])
        for attempt in attempts
        if attempt.run_id is not None and attempt.run_id in reserved
    ]
    return Costs(
        attempts=len(attempts),
        job_seconds=sum(map(_seconds, attempts)),
        lost_attempts=len(lost),
        lost_seconds=sum(lost),
        node_seconds=sum(stretch.seconds for stretches in by_node.values() for stretch in merged(stretches)),
        nodes=len(by_node),
        reserved_seconds=sum(seconds for seconds, _ in known),
        gpu_seconds=sum(seconds * had.gpus for seconds, had in known),
        core_seconds=sum(seconds * had.cores for seconds, had in known),
    )


def reserved_by_runs(state_dir: Path, runs: Sequence[Run]) -> dict[str, Reserved]:
    """By run id, what each job had, of runs of which that is known: those in Slurm whose settings can be read."""
    found = {}
    for run in runs:
        if run.executor == "slurm" and (settings := _settings(run_folder(state_dir, run))) is not None:
            found[run.run_id] = Reserved(gpus_asked_for(settings.slurm), settings.slurm.cpus_per_task)
    return found


def gpus_asked_for(slurm: Slurm) -> int:
    """How many GPUs a job of one node and one task gets, as far as its options tell."""
    asked = [_gpus(slurm.gpus), _gpus(_of_gpus(slurm.gres))]
    for option in slurm.extra:
        if (found := _GPU_OPTION.fullmatch(option.strip())) is not None:
            asked.append(_gpus(found["gpus"] or _of_gpus(found["gres"])))
    return max(asked)


def _of_gpus(gres: str) -> str:
    return ",".join(resource for resource in gres.split(",") if re.match(r"gpu\b", resource))


def _gpus(text: str) -> int:
    """``2``, ``h100:2``, ``gpu:h100:1(S:0),gpu:a100:1``; a resource without a number is one."""
    total = 0
    for resource in filter(None, text.strip().split(",")):
        count = _COUNT.search(_SOCKETS.sub("", resource))
        total += int(count[1] or count[2]) if count else 1
    return total


def _settings(folder: Path) -> Settings | None:
    try:
        return load_settings(config_file=folder / CONFIG_FILE, environ={}, cwd=Path()).settings
    except ConfigurationError:
        return None  # another version wrote it, or it is gone: then what the jobs had is not known


def _seconds(attempt: Attempt) -> float:
    return attempt.until - attempt.began
