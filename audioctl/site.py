"""What this site has, as Slurm and the environment tell it, and which settings follow from that."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from audioctl.executors.slurm_partitions import (
    Accounts,
    Partition,
    known_accounts,
    known_partitions,
    time_limit_seconds,
)
from audioctl.mounts import OF_ONE_MACHINE, mount_of
from audioctl.settings import KEYS, parse_size
from audioctl.settings_reference import Found

_SCRATCH_VARIABLES = ("SLURM_TMPDIR", "TMPDIR", "LOCAL_SCRATCH")
"""Taken by themselves. What else a site calls its scratch may be shared, slow, or not there in a job."""

_OTHER_SCRATCH_VARIABLES = ("LOCALSCRATCH", "JOBSCRATCH", "SCRATCH_LOCAL", "SCRATCH")


@dataclass(frozen=True, slots=True)
class Cluster:
    """Partitions of a Slurm cluster, the one to suggest first, and what a user may charge."""

    partitions: list[Partition]
    accounts: Accounts


def look_at_cluster(user: str) -> Cluster:
    """Raises SchedulerError."""
    partitions = {partition.name: partition for partition in known_partitions().values()}
    return Cluster(sorted(partitions.values(), key=_merit, reverse=True), known_accounts(user))


def describe(partition: Partition) -> str:
    """In words: its GPUs, its length, its nodes."""
    gpus = ", ".join(sorted(f"{each.per_node} {each.type or 'GPUs'} each" for each in partition.gpus))
    state = "" if partition.works else f", {partition.state if partition.state != 'up' else 'no node works'}"
    limit = "no time limit" if partition.limit_seconds == math.inf else f"up to {partition.time_limit}"
    plural = "" if partition.nodes == 1 else "s"
    return f"{partition.name} ({partition.nodes} node{plural} with {gpus or 'no GPU'}, {limit}{state})"


def settings_for(cluster: Cluster, partition: Partition | None, account: str | None) -> dict[str, Found]:
    """By dotted key, for jobs in this partition on this account; None leaves them to the site."""
    found = {"submit.executor": Found("slurm", "Slurm answers here.")}
    if cluster.partitions:
        known = "; ".join(map(describe, cluster.partitions))
        found["slurm.partition"] = Found(partition.name if partition else None, f"Found: {known}.")
    names = cluster.accounts.accounts
    if names:
        found["slurm.account"] = Found(account, f"Yours: {', '.join(names)}.")
    if cluster.accounts.qos:
        found["slurm.qos"] = Found(None, f"Yours: {', '.join(cluster.accounts.qos)}; empty takes the site's choice.")
    if partition:
        found |= dict(_for_jobs(partition))
        found |= dict(_for_finishing(cluster.partitions, partition))
    return found


def settings_for_folders(
    environ: Mapping[str, str], folder: Path, mounts: str, *, is_cluster: bool
) -> dict[str, Found]:
    """By dotted key. ``folder`` is where the state is by default, ``mounts`` as /proc/self/mounts."""
    taken = [f"${name} ({environ[name]})" for name in _SCRATCH_VARIABLES if environ.get(name)]
    others = [f"${name} ({environ[name]})" for name in _OTHER_SCRATCH_VARIABLES if environ.get(name)]
    remarks = [f"Set here: {', '.join(taken)}."] if taken else []
    remarks += [f"Also set, and not taken by itself: {', '.join(others)}."] if others else []
    found = {"paths.scratch": Found(None, " ".join(remarks))} if remarks else {}
    mount = mount_of(folder.resolve(), mounts)
    if is_cluster and mount and mount.kind in OF_ONE_MACHINE:
        remark = f"{folder} is on a file system of this machine ({mount.kind}): choose one that the nodes see."
        found["paths.state_dir"] = Found(None, remark)
    return found


def _merit(partition: Partition) -> tuple[bool, bool, bool, int]:
    """The better, the greater: one that works, with GPUs, the default one, of many nodes."""
    return partition.works, bool(partition.gpus), partition.is_default, partition.nodes


def _for_jobs(partition: Partition) -> Iterator[tuple[str, Found]]:
    """A job gets one GPU and its share of the node, where that is less than the defaults."""
    per_node = max((gpus.per_node for gpus in partition.gpus), default=0)
    if partition.gpus:
        kinds = sorted(partition.gpus, key=lambda gpus: gpus.type)
        same = " or ".join(f'"{gpus.gres}"' for gpus in kinds)
        typed = [f'"{gpus.type}:1"' for gpus in kinds if gpus.type]
        choice = f" {' or '.join(typed)} asks for that kind." if typed else ""
        yield "slurm.gpus", Found("1", f"Any one GPU of the partition.{choice} Some sites want slurm.gres = {same}.")
    else:
        yield "transcribe.device", Found("cpu", f"No GPU was found in {partition.name}.")
    jobs = per_node or max(1, partition.cpus // _default_number("slurm.cpus_per_task"))
    cores = partition.cpus // jobs
    if 0 < cores < _default_number("slurm.cpus_per_task"):
        share = f"Of {partition.cpus} cores of a node, for {jobs} job{'s' if jobs > 1 else ''} on it."
        yield "slurm.cpus_per_task", Found(cores, share)
    memory_mb = partition.memory_mb // jobs
    if 0 < memory_mb < parse_size(str(KEYS["slurm.mem"].default)) // 1024**2:
        yield "slurm.mem", Found(_memory(memory_mb), f"Of {partition.memory_mb} MB of a node, for as many.")
    yield from _time_limit("slurm.time", partition)


def _for_finishing(partitions: Sequence[Partition], jobs: Partition) -> Iterator[tuple[str, Found]]:
    """The job that finishes a day needs no GPU, and should not take a place where there is one."""
    without = [partition for partition in partitions if partition.works and not partition.gpus]
    if jobs.gpus and without:
        yield "slurm.finish_partition", Found(without[0].name, "It has no GPU.")
    yield from _time_limit("slurm.finish_time", without[0] if jobs.gpus and without else jobs)


def _time_limit(dotted: str, partition: Partition) -> Iterator[tuple[str, Found]]:
    if (time_limit_seconds(str(KEYS[dotted].default)) or 0) > partition.limit_seconds:
        yield dotted, Found(partition.time_limit, f"As long as {partition.name} allows.")


def _memory(megabytes: int) -> str:
    return f"{megabytes // 1024}G" if megabytes >= 8 * 1024 else f"{megabytes}M"


def _default_number(dotted: str) -> int:
    return int(str(KEYS[dotted].default))
