"""What Slurm says of the jobs of several runs, from one squeue, and one sacct where jobs have gone without a word.

squeue knows what may still begin or go on, and for some minutes what has ended. sacct knows how jobs ended, later and
sometimes late. Neither says that work is done. An answer that fails or is empty means that nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from audioctl.errors import SchedulerError
from audioctl.executors.slurm_commands import slurm, table
from audioctl.executors.slurm_words import ENDS, parse_tasks, phase_of, why_waiting
from audioctl.jobs import JobPhase, JobStatus
from audioctl.states import ExitCode

_SQUEUE = {"JOBID": "%i", "ARRAY_JOB_ID": "%F", "ARRAY_TASK_ID": "%K", "STATE": "%T", "NODELIST": "%N", "NAME": "%j",
           "REASON": "%r"}  # fmt: skip
_SACCT = ("JobID", "JobName", "State", "ExitCode", "NodeList")

_KILLED = {"0:9", "9:0", "137:0"}
"""Exit codes of what SIGKILL ended, as Slurm writes them for a job, a step and a shell whose child it was."""

NO_ACCOUNTING = "accounting storage is disabled"
_NO_TRACE = "Its job has gone, and Slurm has no word for its end"

LATE_SECONDS = 600.0
"""A row of sacct's that is not there this long after the submission will not come: start records take some seconds."""

IN_DOUBT_SECONDS = 300.0
"""A submission of which no answer is known, and that squeue does not have after this time, was not taken: sbatch has
given up by then (``SUBMISSION_TIMEOUT_SECONDS``)."""

_NO_TASK = "N/A"
"""Stands for a task in the row of a whole array."""

_HALF_A_NAME = "allocation"
"""The name of a job in sacct until its record is whole."""

_ENDED = (JobPhase.GONE, JobPhase.CANCELLED)


@dataclass(frozen=True, slots=True)
class ArrayOfRun:
    """One job array as its submission left it."""

    name: str
    """Its name in Slurm, which no other array has."""
    number: str | None
    """Its id, where sbatch has told it."""
    tasks: frozenset[int]
    """Those that somebody wants to know of."""
    age_seconds: float
    """Since the run was written."""
    user: str


@dataclass(frozen=True, slots=True)
class Tasks:
    """What is known of one array."""

    number: str | None
    statuses: Mapping[int, JobStatus]


def look(arrays: Sequence[ArrayOfRun], on_trouble: Callable[[str], None], *, me: str) -> dict[str, Tasks]:
    """By the names of the arrays. Of tasks that are missing in an answer nothing is known."""
    try:
        queued = _ask_squeue(arrays, me=me)
    except SchedulerError as error:
        on_trouble(f"What Slurm's jobs do is not known now, only what they have written. {error.message}")
        return {}
    found = {array.name: _merge(array, queued.get(array.name), me=me) for array in arrays}
    unexplained = [array for array in arrays if _wants_a_word(found[array.name])]
    if unexplained:
        try:
            accounts = _ask_sacct({found[array.name].number or "": array.name for array in unexplained})
        except SchedulerError as error:
            on_trouble(f"How jobs ended is not known yet. {error.message}")
            return found
        found |= {array.name: _explain(array, found[array.name], accounts) for array in unexplained}
    return found


@dataclass(slots=True)
class _Queued:
    """The rows of squeue about one name."""

    number: str
    statuses: dict[int, JobStatus]
    rest: JobStatus | None = None
    """Of the tasks without a row: the array's own row, which stays where `scancel --user` cancelled them one by one."""
    is_whole: bool = True
    """No row of it was unreadable."""


def _ask_squeue(arrays: Sequence[ArrayOfRun], *, me: str) -> dict[str, _Queued]:
    # Only spares the controller work. Of a user that this machine does not know, squeue has no jobs, and no error.
    only_mine = [f"--user={me}"] if {array.user for array in arrays} == {me} and not me.isdigit() else []
    names = ",".join(array.name for array in arrays)
    output = slurm(
        *("squeue", "--array", "--states=all", f"--name={names}", *only_mine, f"--format={'|'.join(_SQUEUE.values())}")
    )
    found: dict[str, _Queued] = {}
    for row in table(output, list(_SQUEUE)):
        queued = found.setdefault(row["NAME"], _Queued(row["ARRAY_JOB_ID"], {}))
        if row["ARRAY_TASK_ID"] == _NO_TASK and phase_of(row["STATE"]) in _ENDED:
            queued.rest = _from_squeue(row, queued.number)
            continue
        tasks = parse_tasks(row["ARRAY_TASK_ID"])
        if tasks is None:
            queued.is_whole = False
            continue
        for task in tasks:
            # A task's own row counts more than that of the range that it was part of a moment ago.
            if len(tasks) == 1 or task not in queued.statuses:
                queued.statuses[task] = _from_squeue(row, f"{queued.number}_{task}")
    return found


def _from_squeue(row: Mapping[str, str], job_id: str) -> JobStatus:
    word, node = row["STATE"], row["NODELIST"] or None
    match phase_of(word):
        case JobPhase.WAITING:
            return JobStatus(JobPhase.WAITING, job_id, word, why_waiting(row["REASON"]))
        case JobPhase.GONE | JobPhase.CANCELLED as phase:
            # What failed has an exit code, which only sacct tells.
            return replace(_ended(phase, job_id, word, node), is_final=word != "FAILED")
        case phase:
            return JobStatus(phase, job_id, word, node=node)


def _ended(phase: JobPhase, job_id: str, word: str, node: str | None, exit_code: str = "0:0") -> JobStatus:
    detail = ENDS.get(word.split(" ")[0])
    needs_a_person = exit_code == f"{ExitCode.CONFIGURATION:d}:0"
    if exit_code == "0:53":
        detail = "Its job could not write its log: is paths.state_dir there on the nodes?"
    elif exit_code in _KILLED:
        detail = f"Its job was killed, often for using more memory than slurm.mem (exit code {exit_code})"
    elif needs_a_person:
        detail = f"Its job met a mistake in the configuration (exit code {exit_code})"
    elif exit_code not in ("", "0:0"):
        detail = f"{detail or 'Its job was cancelled'} (exit code {exit_code})"
    # What ended well without finishing its archive is lost; Slurm's COMPLETED would say the opposite.
    word_told = None if word == "COMPLETED" else word
    return JobStatus(phase, job_id, word_told, detail, node, is_final=True, needs_a_person=needs_a_person)


def _merge(array: ArrayOfRun, queued: _Queued | None, *, me: str) -> Tasks:
    """Every task of the array: those that squeue has, and what it means that it has not the others."""
    if queued is None and array.number is None:
        # sbatch was asked, or was about to be, and nobody knows its answer.
        if array.age_seconds < IN_DOUBT_SECONDS or array.user != me:
            return Tasks(None, {})
        not_taken = JobStatus(
            JobPhase.GONE, detail="Slurm has not taken its job", is_final=array.age_seconds > LATE_SECONDS
        )
        return Tasks(None, dict.fromkeys(array.tasks, not_taken))
    number = queued.number if queued else array.number
    seen = queued.statuses if queued else {}
    statuses = {task: seen[task] for task in array.tasks & seen.keys()}
    # A site may hide jobs of other users; then squeue has no row for what is well alive.
    if queued.is_whole if queued else array.user == me:
        rest = (queued and queued.rest) or JobStatus(JobPhase.GONE, detail=_NO_TRACE)
        for task in array.tasks:
            statuses.setdefault(task, replace(rest, job_id=f"{number}_{task}", is_final=False))
    return Tasks(number, statuses)


def _wants_a_word(tasks: Tasks) -> bool:
    """Whether something of a known number has ended, and more may be known of how."""
    return tasks.number is not None and any(map(_is_open, tasks.statuses.values()))


def _is_open(status: JobStatus) -> bool:
    return status.phase in _ENDED and not status.is_final


@dataclass(slots=True)
class _Accounted:
    """The rows of sacct about one array: ``None`` stands for a row that is late or came half."""

    statuses: dict[int, JobStatus | None]
    rest: JobStatus | None = None
    """As in ``_Queued``."""


def _ask_sacct(names: Mapping[str, str]) -> dict[str, _Accounted] | None:
    """By the numbers of the arrays, whose names are given; ``None`` where the site keeps no accounts.

    Raises SchedulerError.
    """
    numbers = ",".join(names)
    try:
        output = slurm("sacct", "--allocations", "--parsable2", f"--jobs={numbers}", f"--format={','.join(_SACCT)}")
    except SchedulerError as error:
        if NO_ACCOUNTING in error.message:
            return None
        raise
    found: dict[str, _Accounted] = {}
    for row in table(output, _SACCT):
        number, _, rest = row["JobID"].partition("_")
        # Another name is of another job, which had this number before us or has it by now.
        if row["JobName"] not in (names.get(number), _HALF_A_NAME):
            continue
        accounted = found.setdefault(number, _Accounted({}))
        if not rest:
            accounted.rest = _from_sacct(row, number)
            continue
        tasks = parse_tasks(rest) or frozenset()
        for task in tasks:
            if len(tasks) == 1 or task not in accounted.statuses:
                accounted.statuses[task] = _from_sacct(row, f"{number}_{task}")
    return found


def _from_sacct(row: Mapping[str, str], job_id: str) -> JobStatus | None:
    phase = phase_of(row["State"])
    if phase not in _ENDED or row["JobName"] == _HALF_A_NAME:
        return None
    node = None if row["NodeList"] in ("", "None assigned") else row["NodeList"]
    return _ended(phase, job_id, row["State"], node, row["ExitCode"])


def _explain(array: ArrayOfRun, known: Tasks, accounts: Mapping[str, _Accounted] | None) -> Tasks:
    """Give the tasks that have ended the words that sacct has for them."""
    accounted = (accounts or {}).get(known.number or "", _Accounted({}))
    statuses = dict(known.statuses)
    for task, status in known.statuses.items():
        if not _is_open(status):
            continue
        if task in accounted.statuses:
            statuses[task] = accounted.statuses[task] or status
        elif accounted.rest and status.word != "FAILED":
            statuses[task] = replace(accounted.rest, job_id=status.job_id)
        else:
            # A pending task that was cancelled alone leaves no row anywhere.
            statuses[task] = replace(status, is_final=accounts is None or array.age_seconds > LATE_SECONDS)
    return Tasks(known.number, statuses)
