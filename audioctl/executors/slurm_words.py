"""Slurm's words for the states of a job, and what each means here. docs/operations.md has the same table."""

from __future__ import annotations

import re
from collections.abc import Iterator

from audioctl.jobs import JobPhase

JOB_NAME_PREFIX = "audioctl-"
"""What the names of all our jobs begin with. Another name under our number is of a job of long ago."""

_WAITING = {"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
_RUNNING = {
    *("CONFIGURING", "POWER_UP_NODE", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING"),
    *("STAGE_OUT", "RESIZING"),
}

ENDS = {
    "COMPLETED": "Its job ended, and did not finish the archive",
    "FAILED": "Its job failed",
    "TIMEOUT": "Its job reached its time limit (slurm.time) before it had drained (slurm.drain_seconds)",
    "OUT_OF_MEMORY": "Its job needed more memory than slurm.mem",
    "NODE_FAIL": "The node of its job failed",
    "PREEMPTED": "Its job had to make way for another",
    "BOOT_FAIL": "The node of its job did not start",
    "DEADLINE": "Its job could not have ended by its deadline",
    "LAUNCH_FAILED": "Its job could not be started on its node",
    "RECONFIG_FAIL": "The node of its job could not be set up",
    "REVOKED": "Its job was taken over by another cluster",
}
"""What the words of jobs that have gone mean, cancelled ones aside."""

STUCK = {
    "DependencyNeverSatisfied": "it waits for a job that failed, and will never begin: cancel and submit again",
    "JobHeldUser": "it is held: `scontrol release` lets it go",
    "JobHeldAdmin": "an administrator holds it",
    "PartitionConfig": "no node of slurm.partition will ever do for it",
    "BadConstraints": "no node will ever do for slurm.extra",
    "launch failed requeued held": "its node could not set it up; `scontrol release` tries again",
    "PartitionDown": "slurm.partition is down",
    "PartitionTimeLimit": "slurm.time is more than slurm.partition allows",
    "AssocGrpCpuLimit": "your account's share of cores is in use",
    "QOSMaxJobsPerUserLimit": "you have as many jobs running as your qos allows",
}
"""Reasons of waiting jobs that a person should know more of than Slurm's word."""


def phase_of(word: str) -> JobPhase:
    """A word of a newer Slurm's that is not known here means that nothing is known."""
    plain = word.split(" ")[0].rstrip("+")
    if plain == "CANCELLED":
        return JobPhase.CANCELLED
    if plain in ENDS:
        return JobPhase.GONE
    if plain in _WAITING:
        return JobPhase.WAITING
    return JobPhase.RUNNING if plain in _RUNNING else JobPhase.UNKNOWN


def why_waiting(reason: str) -> str | None:
    """A reason as squeue gives it, with what it means where that is not plain."""
    if reason in ("", "None", "(null)"):
        return None
    return f"{reason}: {STUCK[reason]}" if reason in STUCK else reason


_RANGE = r"\d+(?:-\d+(?::\d+)?)?"
_RANGES = rf"{_RANGE}(?:,{_RANGE})*"
# A bracket that is not closed is of a list that was cut, and may have been cut in the middle of a number.
_TASKS = re.compile(
    rf"(?P<ranges>{_RANGES})(?:%\d+)?|\[(?P<bracketed>{_RANGES})(?:%\d+)?\]|(?P<bitmap>0x[0-9A-Fa-f]+)", re.ASCII
)


def parse_tasks(text: str) -> frozenset[int] | None:
    """The tasks that ``3``, ``[3-5,9-15:2%2]`` or ``0x3FC`` stands for, as Slurm prints them behind the id of an array.

    ``None`` for anything else, such as a list that Slurm cut off.
    """
    match = _TASKS.fullmatch(text)
    if match is None:
        return None
    if match["bitmap"]:
        bits = int(match["bitmap"], 16)
        return frozenset(bit for bit in range(bits.bit_length()) if bits >> bit & 1)
    return frozenset(_expand(match["ranges"] or match["bracketed"]))


def _expand(ranges: str) -> Iterator[int]:
    for part in ranges.split(","):
        bounds, _, step = part.partition(":")
        first, _, last = bounds.partition("-")
        yield from range(int(first), int(last or first) + 1, int(step or 1))
