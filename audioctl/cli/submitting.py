"""What ``submit-day``, ``submit-tar`` and ``resume`` share: from decisions to jobs, and what a person sees of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from audioctl.cli.ledger import fresh_ledger
from audioctl.cli.output import Column, counted, note, print_json, print_line, print_table, size
from audioctl.errors import AlreadySubmittedError, RecordError
from audioctl.permissions import check_readable
from audioctl.settings import Settings
from audioctl.states import ArchiveState, ExitCode

if TYPE_CHECKING:
    from rich.text import Text

    from audioctl.executors.base import Executor, Submitted
    from audioctl.ledger.events import ArchiveFile
    from audioctl.ledger.queries import ArchiveStatus
    from audioctl.submission import Decision, PreparedRun

JSON_SCHEMA = 1

_REASONS_OF_A_DAY = 3
"""How many are told of a day among others."""


@contextmanager
def deciding(settings: Settings, *, dry_run: bool) -> Iterator[None]:
    """Nobody else submits anything meanwhile; a dry run keeps nobody from it."""
    from audioctl.submission import one_at_a_time

    state_dir = Path(settings.paths.state_dir)
    check_readable(state_dir)
    with nullcontext() if dry_run else one_at_a_time(state_dir):
        yield


class KnownDay(NamedTuple):
    """What the ledger has of a day, by slot: how archives stand, and which files were read."""

    statuses: dict[str, ArchiveStatus]
    files: dict[str, ArchiveFile]


def known_days(settings: Settings, days: Sequence[str]) -> dict[str, KnownDay]:
    """From one look at all that may have changed."""
    from audioctl.ledger.queries import files_read, one_day

    known = {}
    with fresh_ledger(settings, days):
        for day in days:
            status = one_day(day)
            archives = (status.archives or []) if status else []
            known[day] = KnownDay({archive.slot: archive for archive in archives}, files_read(day))
    return known


def refuse_what_is_under_way(decisions: Sequence[Decision], days: str) -> None:
    """Raises AlreadySubmittedError where nothing is to be submitted and jobs are why."""
    jobs = sorted({job.partition("_")[0] for decision in decisions if (job := decision.live_job_id)})
    if jobs and not any(decision.submit for decision in decisions):
        count = sum(decision.live_job_id is not None for decision in decisions)
        raise AlreadySubmittedError(
            f"Nothing was submitted: {counted(count, 'archive')} of {days} {'is' if count == 1 else 'are'} under way "
            f"as {_jobs(jobs)}, and there is nothing else to do.",
            hint=f"`audioctl status {days}` shows them, `audioctl cancel {days}` ends them.",
        )


def submit(
    decisions: Sequence[Decision], settings: Settings, max_concurrent: int | None, *, dry_run: bool, as_json: bool
) -> list[PreparedRun]:
    """Submit what was decided, one run a day; the runs, which a dry run only prints."""
    from audioctl.executors.registry import executor_named
    from audioctl.models import check_model_is_there
    from audioctl.storage.destination import parse_destination
    from audioctl.submission import prepare_run

    executor = executor_named(settings.submit.executor)
    chosen = [decision for decision in decisions if decision.submit]
    if chosen:
        # What would stop every job before it begins is told here instead.
        parse_destination(settings.upload.destination)
        check_model_is_there(settings)
        if settings.database.enabled:
            _look_at_database(settings.database.service)
    concurrency: int = max_concurrent or getattr(settings, executor.name).max_concurrent
    runs = []
    for day in sorted({decision.archive.day for decision in chosen}):
        of_day = [decision for decision in chosen if decision.archive.day == day]
        attempts = {decision.archive.slot: decision.attempts for decision in of_day}
        archives = [decision.archive for decision in of_day]
        runs.append(prepare_run(day, archives, settings, executor, concurrency, attempts_before=attempts))
    if dry_run:
        _print_dry_run(decisions, runs, as_json=as_json)
        return runs
    jobs: dict[tuple[str, str], str] = {}
    try:
        for prepared, submitted in _submit_in_turn(runs, executor, settings.slurm.days_at_once):
            ids = submitted.job_ids
            jobs |= {(prepared.run.day, archive.slot): ids[archive.job] for archive in prepared.run.archives}
            for remark in submitted.remarks:
                note(remark, style="yellow")
    finally:
        # Also where a later day of several was refused: what was submitted by then runs.
        if as_json:
            print_json(_as_json(decisions, runs, jobs))
        elif jobs or not chosen:
            print_decisions(decisions, jobs)
            note(f"Submitted {len(jobs)} of {len(decisions)} archives." if jobs else "Nothing was submitted.")
    if executor.name == "slurm" and runs and not as_json:
        where = f"{runs[0].folder}{' and beside it' if runs[1:] else ''}"
        note(f"The scripts are in {where}, made from {_templates(settings)}.")
    return runs


def _look_at_database(service: str) -> None:
    """What is wrong with it stops no job: they keep the rows that they cannot send."""
    from audioctl.database.comparison import compare
    from audioctl.database.connection import connect

    try:
        with connect(service=service, application_name="audioctl/submit") as connection:
            differences = compare(connection)
    except RecordError as error:
        note(f"{error.message} Jobs that find it so keep their rows for a later `audioctl resume`.", style="yellow")
        return
    if differences:
        others = f" ({counted(len(differences), 'difference')})" if differences[1:] else ""
        note(
            f"PostgreSQL's tables are not what is needed: {differences[0]}{others} Run `audioctl db upgrade`, or jobs "
            "keep their rows for a later `audioctl resume`.",
            style="yellow",
        )


def _submit_in_turn(
    runs: Sequence[PreparedRun], executor: Executor, days_at_once: int
) -> Iterator[tuple[PreparedRun, Submitted]]:
    """Each day after the one that is ``days_at_once`` before it."""
    from audioctl.submission import submit_run

    numbers: list[Sequence[str]] = []
    for prepared in runs:
        after = numbers[-days_at_once] if len(numbers) >= days_at_once else ()
        submitted = submit_run(prepared, executor, after)
        numbers.append(submitted.numbers)
        yield prepared, submitted


def print_decisions(decisions: Sequence[Decision], jobs: Mapping[tuple[str, str], str]) -> None:
    """One row an archive, or, of several days, one row a day."""
    if len({decision.archive.day for decision in decisions}) > 1:
        _print_days(decisions, jobs)
    else:
        _print_archives(decisions, jobs)


def _print_archives(decisions: Sequence[Decision], jobs: Mapping[tuple[str, str], str]) -> None:
    from rich.text import Text

    columns = [Column("day"), Column("slot"), Column("size", "right"), Column("archive", fold=True), Column("job")]
    if not jobs:
        columns.pop()
    rows: list[list[str | Text]] = []
    for decision in decisions:
        archive = decision.archive
        row: list[str | Text] = [archive.day, archive.slot, size(archive.size_bytes), archive.path.name]
        if jobs:
            row.append(jobs.get((archive.day, archive.slot), "-"))
        rows.append([*row, decision.why if decision.submit else Text(f"left alone: {decision.why}", "dim")])
    print_table([*columns, Column("why", fold=True)], rows)


def _print_days(decisions: Sequence[Decision], jobs: Mapping[tuple[str, str], str]) -> None:
    columns = [Column("day"), Column("archives", "right"), Column("size", "right"), Column("to do", "right")]
    rows = []
    for day in sorted({decision.archive.day for decision in decisions}):
        of_day = [decision for decision in decisions if decision.archive.day == day]
        to_do = [decision for decision in of_day if decision.submit]
        numbers = dict.fromkeys(
            job.rpartition("_")[0] for decision in to_do if (job := jobs.get((day, decision.archive.slot)))
        )
        whys = Counter(decision.why if decision.submit else f"left alone: {decision.why}" for decision in of_day)
        rows.append(
            [
                day,
                str(len(of_day)),
                size(sum(decision.archive.size_bytes for decision in to_do)),
                str(len(to_do)),
                *([", ".join(numbers) or "-"] if jobs else []),
                ", ".join(f"{count} {why}" for why, count in whys.most_common(_REASONS_OF_A_DAY))
                + (", ..." if len(whys) > _REASONS_OF_A_DAY else ""),
            ]
        )
    print_table([*columns, *([Column("job")] if jobs else []), Column("why", fold=True)], rows)


def _print_dry_run(decisions: Sequence[Decision], runs: Sequence[PreparedRun], *, as_json: bool) -> None:
    if as_json:
        print_json(_as_json(decisions, runs, {}))
        return
    print_decisions(decisions, {})
    for prepared in runs:
        for name, content in prepared.files.items():
            print_line(f"\n# ---- {prepared.folder / name}")
            print_line(content.rstrip("\n"))


def _as_json(
    decisions: Sequence[Decision], runs: Sequence[PreparedRun], jobs: Mapping[tuple[str, str], str]
) -> dict[str, object]:
    return {
        "schema": JSON_SCHEMA,
        "runs": [
            {"run_id": prepared.run.run_id, "day": prepared.run.day, "folder": str(prepared.folder)}
            for prepared in runs
        ],
        "archives": [
            {
                "day": decision.archive.day,
                "slot": decision.archive.slot,
                "path": str(decision.archive.path),
                "submitted": decision.submit,
                "job_id": jobs.get((decision.archive.day, decision.archive.slot)) or decision.live_job_id,
                "why": decision.why,
            }
            for decision in decisions
        ],
    }


def wait_for(runs: Sequence[PreparedRun], settings: Settings) -> int:
    """Until every job has ended: 0, 1 if one failed, 3 if something needs a look."""
    from audioctl.executors.registry import executor_named

    poll_seconds = executor_named(settings.submit.executor).poll_seconds
    wanted = {(prepared.run.day, archive.slot) for prepared in runs for archive in prepared.run.archives}
    days = sorted({day for day, _ in wanted})
    while True:
        known = known_days(settings, days)
        archives = [
            archive for day in days for archive in known[day].statuses.values() if (day, archive.slot) in wanted
        ]
        if not any(archive.state in (ArchiveState.SUBMITTED, ArchiveState.RUNNING) for archive in archives):
            break
        time.sleep(poll_seconds)
    for archive in archives:
        if archive.state is not ArchiveState.DONE:
            note(f"{archive.slot}: {archive.state}: {archive.error or archive.reason}")
    note(f"{sum(archive.state is ArchiveState.DONE for archive in archives)} of {len(archives)} archives are done.")
    states = {(archive.state, archive.reason) for archive in archives}
    if any(state is ArchiveState.FAILED and reason != "owed" for state, reason in states):
        return ExitCode.FAILED
    if any(state is not ArchiveState.DONE for state, _ in states):
        return ExitCode.LOOK
    return ExitCode.DONE


def _jobs(numbers: Sequence[str]) -> str:
    shown = ", ".join(numbers[:3]) + (f" and {len(numbers) - 3} more" if len(numbers) > 3 else "")
    return f"job {shown}" if len(numbers) == 1 else f"jobs {shown}"


def _templates(settings: Settings) -> str:
    from audioctl.template_files import templates_path
    from audioctl.templates import templates_used

    own = [str(path) for path in templates_used(settings) if path.parent != templates_path()]
    return " and ".join(own) if own else "audioctl's own templates"
