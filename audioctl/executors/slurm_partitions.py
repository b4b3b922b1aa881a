"""The partitions of a cluster, and the accounts that a user may charge, as sinfo, sacctmgr and sacct know them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from audioctl.errors import SchedulerError
from audioctl.executors.slurm_commands import slurm, table

_SINFO = {
    **{"PARTITION": "%P", "AVAIL": "%a", "TIMELIMIT": "%l", "NODES(A/I/O/T)": "%F"},
    **{"CPUS": "%c", "MEMORY": "%m", "GRES": "%G"},
}

_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<clock>\d+(?::\d+){0,2})", re.ASCII)

_GPU = re.compile(r"gpu(?::(?P<type>[^:(,]+))??(?::(?P<count>\d+))?(?=[(,]|$)")
"""One of the generic resources of a node: ``gpu:2``, ``gpu:h100:4(S:0-1)``."""

_LATELY = "now-60days"


@dataclass(frozen=True, slots=True)
class Gpus:
    """GPUs of a node. Of a site that tells no type it is empty."""

    type: str
    per_node: int

    @property
    def gres(self) -> str:
        """One of them, as ``sbatch --gres`` takes it; without ``gpu:``, as ``--gpus`` does."""
        return f"gpu:{self.type}:1" if self.type else "gpu:1"


@dataclass(slots=True)
class Partition:
    """``cpus`` and ``memory_mb`` are of its smallest node."""

    name: str
    is_default: bool
    state: str
    """``up``, ``down`` (jobs wait), or another in which it takes none."""
    time_limit: str
    busy_nodes: int = 0
    idle_nodes: int = 0
    nodes: int = 0
    cpus: int = 0
    memory_mb: int = 0
    gpus: set[Gpus] = field(default_factory=set)

    @property
    def limit_seconds(self) -> float:
        limit = time_limit_seconds(self.time_limit)
        return math.inf if limit is None else limit

    @property
    def works(self) -> bool:
        return self.state == "up" and self.busy_nodes + self.idle_nodes > 0

    def __str__(self) -> str:
        if self.works:
            return f"{self.name} is up, with {self.idle_nodes} idle and {self.busy_nodes} busy nodes"
        return f"{self.name} is {self.state}" if self.state != "up" else f"{self.name} has no node that works"


@dataclass(frozen=True, slots=True)
class Accounts:
    """What a user may charge; empty where Slurm does not tell, or does not care."""

    accounts: list[str]
    """The default first, or the one that was used most."""
    qos: list[str]


def known_partitions(*options: str) -> dict[str, Partition]:
    """By name; under the empty one is that which Slurm takes where none is named. Raises SchedulerError.

    ``options`` of sinfo: ``--all`` has those that are hidden, or not for this user, too.
    """
    known: dict[str, Partition] = {}
    # A partition has a row for each kind of node in it.
    for row in table(slurm("sinfo", *options, f"--format={'|'.join(_SINFO.values())}"), list(_SINFO)):
        name = row["PARTITION"].removesuffix("*")
        is_default = name != row["PARTITION"]
        partition = known.setdefault(name, Partition(name, is_default, row["AVAIL"], row["TIMELIMIT"]))
        busy, idle, _, total = map(_number, row["NODES(A/I/O/T)"].split("/"))
        cpus, memory_mb = _number(row["CPUS"]), _number(row["MEMORY"])
        partition.busy_nodes += busy
        partition.idle_nodes += idle
        partition.nodes += total
        partition.cpus = min(partition.cpus or cpus, cpus)
        partition.memory_mb = min(partition.memory_mb or memory_mb, memory_mb)
        partition.gpus |= set(gpus_in(row["GRES"]))
        if is_default:
            known[""] = partition
    return known


def gpus_in(gres: str) -> Iterator[Gpus]:
    """Those of a node, from its generic resources as sinfo prints them."""
    for match in re.finditer(rf"(?:^|,){_GPU.pattern}", gres):
        yield Gpus(match["type"] or "", int(match["count"] or 1))


def known_accounts(user: str) -> Accounts:
    """From sacctmgr, or, where that tells an ordinary user nothing, from the jobs of the last two months."""
    with suppress(SchedulerError):
        columns = ("User", "Def Acct")
        printed = slurm("sacctmgr", "--parsable2", "show", "user", f"name={user}", "format=user,defaultaccount")
        default = [row["Def Acct"] for row in table(printed, columns)]
        columns = ("Account", "QOS")
        printed = slurm("sacctmgr", "--parsable2", "show", "associations", f"user={user}", "format=account,qos")
        rows = list(table(printed, columns))
        accounts = dict.fromkeys(filter(None, [*default, *(row["Account"] for row in rows)]))
        if accounts:
            return Accounts(
                list(accounts), list(dict.fromkeys(qos for row in rows for qos in row["QOS"].split(",") if qos))
            )
    with suppress(SchedulerError):
        options = ("--allocations", "--parsable2", f"--user={user}", f"--starttime={_LATELY}")
        rows = list(table(slurm("sacct", *options, "--format=Account,QOS"), ("Account", "QOS")))
        used = {column: Counter(filter(None, (row[column] for row in rows))) for column in ("Account", "QOS")}
        return Accounts(*([name for name, _ in used[column].most_common()] for column in ("Account", "QOS")))
    return Accounts([], [])


def time_limit_seconds(text: str) -> float | None:
    """A time limit as sbatch takes it and sinfo prints it: ``90``, ``02:00:00``, ``1-12``, ``infinite``...

    ``None`` for anything else.
    """
    if text.lower() in ("infinite", "unlimited"):
        return math.inf
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    fields = [int(field) for field in match["clock"].split(":")]
    # One or two fields are minutes and seconds, but behind days they begin with hours.
    hours_first = match["days"] is not None or len(fields) == 3
    hours, minutes, seconds = ([*fields, 0, 0] if hours_first else [0, *fields, 0])[:3]
    total = ((int(match["days"] or 0) * 24 + hours) * 60 + minutes) * 60 + seconds
    return total or math.inf


def _number(text: str) -> int:
    """Of nodes, cores or MB; Slurm writes ``8+`` where nodes differ, and ``1.5K`` of thousands."""
    match = re.match(r"(\d+(?:\.\d+)?)(K?)", text)
    return round(float(match[1]) * (1000 if match[2] else 1)) if match else 0
