"""Checking what jobs on a Slurm cluster need, from where they are submitted, before one is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from audioctl.configuration import freeze
from audioctl.doctor.findings import Finding, Verdict, check
from audioctl.doctor.folders import shared
from audioctl.errors import SchedulerError
from audioctl.executors.slurm import SlurmExecutor
from audioctl.executors.slurm_commands import slurm
from audioctl.executors.slurm_jobs import NO_ACCOUNTING
from audioctl.executors.slurm_partitions import Partition, known_partitions, time_limit_seconds
from audioctl.mounts import read_mounts
from audioctl.settings import Settings
from audioctl.templates import ScriptRequest

_PROGRAMS = ("sbatch", "squeue", "scancel", "scontrol", "sinfo")

_ASK_FOR_GPUS = ("--gpus", "--gres", "-G")
"""What an option of ``slurm.extra`` begins with that does the same as slurm.gpus or slurm.gres."""

_SIGNAL_SECONDS = 30
"""By which Slurm may send the signal before the time limit too early: it looks only so often (PERIODIC_TIMEOUT)."""


def examine_cluster(settings: Settings) -> Iterator[Finding]:
    """One finding a check, the quick ones first. Nothing is submitted; ``sbatch --test-only`` uses up two job ids."""
    yield check("gpus", lambda: _gpus(settings))
    yield check("time", lambda: _time(settings))
    yield check("shared", lambda: shared(settings, read_mounts()))
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
    own, known = settings.slurm, known_partitions("--all")
    found = [_look_at_partition(known, "slurm.partition", own.partition, "slurm.time", own.time)]
    if own.finish_partition:
        finishing = ("slurm.finish_partition", own.finish_partition, "slurm.finish_time", own.finish_time)
        found.append(_look_at_partition(known, *finishing))
    return next((one for one in found if isinstance(one, Finding)), " ".join(map(str, found)))


def _look_at_partition(
    known: Mapping[str, Partition], setting: str, value: str, time_setting: str, time: str
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
