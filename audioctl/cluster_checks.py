"""Checking what jobs on a Slurm cluster need, from where they are submitted, before one is."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from audioctl.configuration import freeze, is_remote
from audioctl.errors import SchedulerError
from audioctl.executors.slurm import SlurmExecutor
from audioctl.executors.slurm_commands import slurm, table
from audioctl.executors.slurm_jobs import NO_ACCOUNTING
from audioctl.findings import Finding, Verdict, check
from audioctl.settings import Settings
from audioctl.templates import ScriptRequest

_PROGRAMS = ("sbatch", "squeue", "scancel", "scontrol", "sinfo")

_ASK_FOR_GPUS = ("--gpus", "--gres", "-G")
"""What an option of ``slurm.extra`` begins with that does the same as slurm.gpus or slurm.gres."""

_OF_ONE_MACHINE = {"btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "ramfs", "tmpfs", "xfs", "zfs"}
"""File systems that are not shared by themselves, as the kernel names them."""

_SIGNAL_SECONDS = 30
"""By which Slurm may send the signal before the time limit too early: it looks only so often (PERIODIC_TIMEOUT)."""

_COLUMNS = {"PARTITION": "%P", "AVAIL": "%a", "TIMELIMIT": "%l", "NODES(A/I/O/T)": "%F"}
"""Of sinfo."""

_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<clock>\d+(?::\d+){0,2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Partition:
    name: str
    state: str
    """``up``, ``down`` (jobs wait), or another in which it takes none."""
    limit_seconds: float
    busy_nodes: str
    idle_nodes: str

    @property
    def works(self) -> bool:
        return self.state == "up" and (self.busy_nodes, self.idle_nodes) != ("0", "0")

    def __str__(self) -> str:
        if self.works:
            return f"{self.name} is up, with {self.idle_nodes} idle and {self.busy_nodes} busy nodes"
        return f"{self.name} is {self.state}" if self.state != "up" else f"{self.name} has no node that works"


def examine_cluster(settings: Settings) -> Iterator[Finding]:
    """One finding a check, the quick ones first. Nothing is submitted; ``sbatch --test-only`` uses up two job ids."""
    yield check("gpus", lambda: _gpus(settings))
    yield check("time", lambda: _time(settings))
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape")
    yield check("shared", lambda: shared(settings, mounts))
    try:
        config = _controller()
    except SchedulerError as error:
        yield Finding("slurm", Verdict.BAD, error.message, error.hint)
        return
    yield Finding(
        "slurm", Verdict.GOOD, f"Slurm {config.get('SLURM_VERSION', '?')} of {config.get('ClusterName', '?')} answers."
    )
    partition = check("partition", lambda: _partitions(settings))
    yield partition
    if partition.verdict is Verdict.GOOD:  # or Slurm's words would be about nothing else
        yield check("submission", lambda: _submission(settings))
    yield check("accounting", lambda: _accounting(config))


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


def file_system(folder: Path, mounts: str) -> str | None:
    """The kind of file system that holds ``folder``, an absolute path, where ``mounts`` is as /proc/self/mounts."""
    fields = (line.split(" ") for line in mounts.splitlines())
    # Of several mounts at one place, the last hides the others.
    kinds = {_unescape(place): kind for _, place, kind, *_ in fields}
    return next((kinds[f"{place}"] for place in (folder, *folder.parents) if f"{place}" in kinds), None)


def shared(settings: Settings, mounts: str) -> Finding | str:
    """Whether the folders that submitting and working machines both use may be seen by both."""
    folders = {
        "paths.state_dir": settings.paths.state_dir,
        "paths.archives": settings.paths.archives.partition("{")[0],
        "paths.models": settings.paths.models,
        "upload.destination": settings.upload.destination,
    }
    local = []
    for setting, folder in folders.items():
        if folder and not is_remote(folder):
            kind = file_system(Path(folder).expanduser().resolve(), mounts)
            if kind in _OF_ONE_MACHINE:
                local.append(f"{setting} ({kind})")
    if not local:
        return "The folders of the settings are not on file systems of this machine alone."
    return Finding(
        "shared",
        Verdict.LOOK,
        f"The nodes may not have what is on a file system of this machine: {', '.join(local)}.",
        "Jobs need these folders under the same names: choose ones on a shared disk, unless this machine exports them.",
    )


def _gpus(settings: Settings) -> Finding | str:
    own = settings.slurm
    options = [f"--gpus={own.gpus}" if own.gpus else "", f"--gres={own.gres}" if own.gres else "", *own.extra]
    asks = [option for option in options if option.startswith(_ASK_FOR_GPUS)]
    if asks:
        return f"Jobs ask for GPUs: {' '.join(asks)}."
    if settings.transcribe.device == "cpu":
        return "Jobs ask for no GPU, and need none."
    return Finding(
        "gpus",
        Verdict.LOOK,
        "Jobs ask for no GPU: slurm.gpus and slurm.gres are not set.",
        'Set slurm.gpus = "1", or slurm.gres = "gpu:1" where the site wants that (`sinfo -o \'%P %G\'` lists what the '
        'nodes have), or transcribe.device = "cpu".',
    )


def _time(settings: Settings) -> Finding | str:
    drain = settings.slurm.drain_seconds
    for setting, text in (("slurm.time", settings.slurm.time), ("slurm.finish_time", settings.slurm.finish_time)):
        limit = time_limit_seconds(text)
        if limit is not None and limit <= drain + _SIGNAL_SECONDS:
            return Finding(
                "time",
                Verdict.BAD,
                f'Jobs would have no time to work: {setting} is "{text}", and they take on nothing in the last '
                f"{drain} s (slurm.drain_seconds).",
                f"Raise {setting}, or lower slurm.drain_seconds.",
            )
    return f"Jobs have {settings.slurm.time or 'the time of the partition'}, of which the last {drain} s are to drain."


def _controller() -> dict[str, str]:
    """Slurm's configuration, from its controller. Raises SchedulerError where one or a command is missing."""
    for program in _PROGRAMS:
        slurm(program, "--version")
    lines = (line.partition("=") for line in slurm("scontrol", "show", "config").splitlines())
    return {name.strip(): value.strip() for name, separator, value in lines if separator}


def _partitions(settings: Settings) -> Finding | str:
    own, known = settings.slurm, _known_partitions()
    found = [_look_at_partition(known, "slurm.partition", own.partition, "slurm.time", own.time)]
    if own.finish_partition:
        finishing = ("slurm.finish_partition", own.finish_partition, "slurm.finish_time", own.finish_time)
        found.append(_look_at_partition(known, *finishing))
    return next((one for one in found if isinstance(one, Finding)), " ".join(map(str, found)))


def _known_partitions() -> dict[str, _Partition]:
    """By name; under the empty one is that which Slurm takes where none is named."""
    known = {}
    for row in table(slurm("sinfo", "--all", f"--format={'|'.join(_COLUMNS.values())}"), list(_COLUMNS)):
        name = row["PARTITION"].removesuffix("*")
        busy, idle, *_ = row["NODES(A/I/O/T)"].split("/")
        limit = time_limit_seconds(row["TIMELIMIT"])
        known[name] = _Partition(name, row["AVAIL"], math.inf if limit is None else limit, busy, idle)
        if name != row["PARTITION"]:
            known[""] = known[name]
    return known


def _look_at_partition(
    known: Mapping[str, _Partition], setting: str, value: str, time_setting: str, time: str
) -> Finding | str:
    """``value`` may name several: a job begins in the first that can take it."""
    missing = [name for name in value.split(",") if name not in known]
    if missing:
        message = f"{setting}: there is no partition {', '.join(missing)}."
        if not value:
            message = f"{setting} is not set, and Slurm has no default."
        return Finding("partition", Verdict.BAD, message, f"Choose from {', '.join(filter(None, known))}.")
    chosen = [known[name] for name in value.split(",")]
    state = f"{setting}: {', '.join(map(str, chosen))}."
    if not any(partition.works for partition in chosen):
        waits = any(partition.state in ("up", "down") for partition in chosen)
        return Finding(
            "partition",
            Verdict.LOOK if waits else Verdict.BAD,
            state,
            f"Jobs will {'wait until that changes' if waits else 'be refused'}; `sinfo -s` lists the partitions.",
        )
    longest = max(partition.limit_seconds for partition in chosen)
    if (time_limit_seconds(time) or 0) > longest:
        return Finding(
            "partition",
            Verdict.LOOK,
            f'{setting} allows less than {time_setting} = "{time}": jobs may wait for ever, or be refused.',
            f"Lower {time_setting}; `sinfo -o '%P %l'` lists the limits.",
        )
    return state


def _submission(settings: Settings) -> str:
    """Account, qos, memory and all the rest, by Slurm's own word: it is asked about scripts as of a day."""
    frozen = freeze(settings, Path.cwd())
    state_dir = Path(frozen.paths.state_dir)
    request = ScriptRequest(
        folder=state_dir,
        run_id="doctor",
        day="2025-01-25",
        archives=[("00_00", state_dir / "archive.tar", "0_0")],
        settings=frozen,
        max_concurrent=1,
    )
    with TemporaryDirectory(prefix="audioctl-doctor-") as folder:
        for name, script in SlurmExecutor().scripts(request).items():
            path = Path(folder, name)
            path.write_text(script, encoding="utf-8")
            try:
                slurm("sbatch", "--test-only", f"{path}")
            except SchedulerError as error:
                raise SchedulerError(f"{name}: {error.message}", hint=error.hint) from error
    return "Slurm would take the jobs of a day."


def _accounting(config: Mapping[str, str]) -> Finding | str:
    try:
        slurm("sacct", "--allocations", "--parsable2", "--format=JobID", "--starttime=now")
    except SchedulerError as error:
        if NO_ACCOUNTING in error.message:
            return Finding(
                "accounting",
                Verdict.LOOK,
                f"Slurm keeps no accounts: it forgets why a job ended after {config.get('MinJobAge', 'some minutes')}.",
                "What is done is known all the same: jobs write it down. `audioctl logs` has the words of the others.",
            )
        return Finding("accounting", Verdict.LOOK, f"Why jobs ended may stay unknown. {error.message}", error.hint)
    return "sacct tells why jobs ended."


def _unescape(place: str) -> str:
    """As the kernel writes blanks and backslashes in /proc/self/mounts."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), place)
