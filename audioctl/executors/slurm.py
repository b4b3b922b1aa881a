"""Jobs in Slurm: the archives of a run as a job array, and a job behind it that finishes the day.

Beside its scripts the run's folder has a file for each job that Slurm has taken, ``array-0.job`` and ``finish.job``,
with its number. The name of a job in Slurm holds the run's id, so that it can be found where sbatch got no answer.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from audioctl.clock import seconds_between, utc_now
from audioctl.errors import ConfigurationError, LedgerError, SchedulerError, SchedulerSilentError
from audioctl.executors.base import Submitted
from audioctl.executors.slurm_commands import SUBMISSION_TIMEOUT_SECONDS, slurm, table
from audioctl.executors.slurm_jobs import ArrayOfRun, Tasks
from audioctl.executors.slurm_jobs import look as look_at_arrays
from audioctl.executors.slurm_words import JOB_NAME_PREFIX
from audioctl.jobs import UNKNOWN, JobKey, JobStatus
from audioctl.processes import user_name
from audioctl.runs import Run, run_folder, write_whole_file
from audioctl.settings import Settings

if TYPE_CHECKING:
    from audioctl.templates import ScriptRequest

FINISH = "finish"
_LOOKS_FOR_A_LOST_JOB = 4
_SECONDS_BETWEEN_LOOKS = 2.0
"""A controller that was frozen takes what waits at its door in any order, so its first answers may be too early."""


def script_name(part: str) -> str:
    """The script of a part of a run: ``0``, ``1``... for its arrays, or ``finish``."""
    return f"{FINISH}.sbatch" if part == FINISH else f"array-{part}.sbatch"


def job_name(run_id: str, part: str) -> str:
    """The name by which Slurm knows a part of a run."""
    return f"{JOB_NAME_PREFIX}{run_id}-{part}"


def part_and_task(job: str) -> tuple[str, int]:
    """Of a job as ``SlurmExecutor.plan`` names it."""
    part, _, task = job.partition("_")
    return part, int(task)


class SlurmExecutor:
    name = "slurm"
    poll_seconds = 10.0

    def plan(self, archives: int, settings: Settings) -> list[str]:
        """``0_17`` is task 17 of the first array; there are more only where the site's arrays are too short."""
        longest, per_job = _max_array_size(), settings.slurm.archives_per_job
        tasks = (index // per_job for index in range(archives))
        return [f"{task // longest}_{task % longest}" for task in tasks]

    def scripts(self, request: ScriptRequest) -> Mapping[str, str]:
        # Every command imports the executors; only submitting needs the templates.
        from audioctl.templates import render_array, render_finish

        parts = dict.fromkeys(part_and_task(job)[0] for _, _, job in request.archives)
        arrays = {script_name(part): render_array(request, part) for part in parts}
        return arrays | {script_name(FINISH): render_finish(request)}

    def submit(self, folder: Path, run: Run, after: Sequence[str]) -> Submitted:
        numbers: dict[str, str] = {}
        try:
            for part in _parts(run):
                # One array after the other, so that together they keep to slurm.max_concurrent.
                waits_for = list(numbers.values())[-1:] or after
                numbers[part] = _submit(folder, run, part, waits_for)
        except SchedulerSilentError:
            raise
        except SchedulerError as refused:
            if numbers:
                _take_back(run, numbers.values(), refused)
            raise
        remarks = []
        try:
            _submit(folder, run, FINISH, list(numbers.values()))
        except SchedulerError as error:
            then = f"When its jobs have ended, run `audioctl resume {run.day}`."
            remarks.append(f"No job will finish {run.day}: {error.message} {then}")
        tasks = {job: part_and_task(job) for job in (archive.job for archive in run.archives)}
        job_ids = {job: f"{numbers[part]}_{task}" for job, (part, task) in tasks.items()}
        return Submitted(job_ids, tuple(numbers.values()), tuple(remarks))

    def look(
        self, state_dir: Path, runs: Sequence[Run], on_trouble: Callable[[str], None]
    ) -> Mapping[JobKey, JobStatus]:
        arrays = {(run.run_id, part): _array(state_dir, run, part) for run in runs for part in _parts(run)}
        found = look_at_arrays(list(arrays.values()), on_trouble, me=user_name())
        statuses: dict[JobKey, JobStatus] = {}
        for run in runs:
            for part in _parts(run):
                array = arrays[run.run_id, part]
                if array.number is None and array.name in found and found[array.name].number is not None:
                    with suppress(LedgerError):  # somebody else's run: next time it is found the same way
                        _write_number(run_folder(state_dir, run), part, found[array.name].number or "")
            for archive in run.archives:
                part, task = part_and_task(archive.job)
                tasks = found.get(arrays[run.run_id, part].name, Tasks(None, {}))
                statuses[run.run_id, archive.slot] = tasks.statuses.get(task, UNKNOWN)
        return statuses

    def cancel(self, state_dir: Path, runs: Sequence[Run]) -> None:
        numbers = [
            number
            for run in runs
            for part in (*_parts(run), FINISH)
            if (number := _read_number(run_folder(state_dir, run), part)) is not None
        ]
        if numbers:
            slurm("scancel", *numbers)


def _parts(run: Run) -> list[str]:
    return list(dict.fromkeys(part_and_task(archive.job)[0] for archive in run.archives))


def _array(state_dir: Path, run: Run, part: str) -> ArrayOfRun:
    tasks = frozenset(task for archive in run.archives for own, task in [part_and_task(archive.job)] if own == part)
    return ArrayOfRun(
        name=job_name(run.run_id, part),
        number=_read_number(run_folder(state_dir, run), part),
        tasks=tasks,
        age_seconds=seconds_between(run.created_at, utc_now()),
        user=run.user,
    )


def _max_array_size() -> int:
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", slurm("scontrol", "show", "config"), re.MULTILINE)
    if found is None:
        raise SchedulerError(
            "`scontrol show config` does not tell MaxArraySize.",
            hint="Run it by hand and look at what it says; the cluster's administrators may have to mend it.",
        )
    if int(found[1]) < 2:
        raise ConfigurationError("This cluster allows no job arrays (MaxArraySize).", hint="Ask its administrators.")
    return int(found[1])


def _submit(folder: Path, run: Run, part: str, after: Sequence[str]) -> str:
    """The number of the job, which is also in the run's folder then. Raises SchedulerError."""
    dependency = [f"--dependency=afterany:{':'.join(after)}"] if after else []
    try:
        printed = slurm(
            *("sbatch", "--parsable", *dependency, str(folder / script_name(part))),
            timeout_seconds=SUBMISSION_TIMEOUT_SECONDS,
        )
        number = printed.partition(";")[0].strip()
    except SchedulerSilentError as error:
        found = _look_for(job_name(run.run_id, part), error)
        if found is None:
            # It answers, and knows no such job: it was not submitted.
            raise SchedulerError(error.message, hint=error.hint) from error
        number = found
    if not number.isdigit():
        raise SchedulerSilentError(
            f"sbatch printed {number!r} where the number of the job should be.",
            hint=f"`squeue --me --name={job_name(run.run_id, part)}` tells whether the job is there; "
            "`command -v sbatch`, whether it is Slurm's own.",
        )
    _write_number(folder, part, number)
    return number


def _take_back(run: Run, numbers: Iterable[str], refused: SchedulerError) -> None:
    """End the first jobs of a run of which a later one was refused. Raises SchedulerSilentError where they live on."""
    try:
        slurm("scancel", *numbers)
    except SchedulerError as error:
        raise SchedulerSilentError(
            f"{refused.message} The jobs before it are submitted, and could not be cancelled: {error.message}",
            hint=f"`audioctl cancel {run.day}` ends them.",
        ) from refused


def _look_for(name: str, silence: SchedulerSilentError) -> str | None:
    """The number of the job of this name, which sbatch has not told; ``None`` where there is no such job.

    Raises SchedulerSilentError while nobody answers.
    """
    empty_answers = 0
    for _ in range(_LOOKS_FOR_A_LOST_JOB):
        with suppress(SchedulerError):
            rows = list(table(slurm("squeue", "--states=all", f"--name={name}", "--format=%F|%j"), ("%F", "%j")))
            if rows:
                return rows[0]["%F"]
            empty_answers += 1
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    if empty_answers > 1:
        return None
    raise SchedulerSilentError(
        f"{silence.message} Whether it has taken the job is not known.",
        hint="`audioctl status` finds out as soon as Slurm answers again; until then the day counts as submitted. No "
        "job will finish it: when its jobs have ended, run `audioctl resume`.",
    ) from silence


def _number_path(folder: Path, part: str) -> Path:
    return (folder / script_name(part)).with_suffix(".job")


def _read_number(folder: Path, part: str) -> str | None:
    try:
        return _number_path(folder, part).read_text(encoding="ascii").strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise LedgerError(
            f"{_number_path(folder, part)} cannot be read: {error}",
            hint="It belongs to whoever submitted the run; if it is damaged, remove it: the job "
            "is also found by its name.",
        ) from error


def _write_number(folder: Path, part: str, number: str) -> None:
    write_whole_file(_number_path(folder, part), f"{number}\n".encode())
