"""``audioctl list-owed`` and ``finish-day``: what the job behind a day's jobs calls. People need neither."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audioctl.cli.arguments import DayArgument
from audioctl.cli.flags import settings_in_force
from audioctl.cli.output import note, print_line
from audioctl.errors import AudioctlError, UsageError
from audioctl.settings import Settings

if TYPE_CHECKING:
    from audioctl.finishing import Repairs
    from audioctl.ledger.queries import DayStatus
    from audioctl.runs import Run

RunOption = Annotated[str, typer.Option("--run-id")]


def register(app: typer.Typer) -> None:
    app.command("list-owed", hidden=True)(list_owed)
    app.command("finish-day", hidden=True)(finish_day)


def list_owed(context: typer.Context, day: DayArgument, run_id: RunOption) -> None:
    """Wait until the jobs of a run have let go of their archives; then print the slots of those that owe something."""
    from audioctl.finishing import owed, wait_until_settled

    settings = settings_in_force(context)
    run = _run(settings, day, run_id)
    with _private_ledger(settings, day) as look:
        for slot in owed(wait_until_settled(look, run)):
            print_line(slot)


def finish_day(context: typer.Context, day: DayArgument, run_id: RunOption) -> None:
    """Submit again what can be repaired, tell the database, and write what became of the day."""
    from audioctl.cli.status_tables import totals_line
    from audioctl.finishing import exit_code_of, summarize, wait_until_settled, write_summary
    from audioctl.runs import is_cancelled, run_folder
    from audioctl.submission import one_at_a_time

    settings = settings_in_force(context)
    state_dir = Path(settings.paths.state_dir)
    run = _run(settings, day, run_id)
    folder = run_folder(state_dir, run)
    if is_cancelled(folder):
        note(f"The run was cancelled: nothing is submitted again. `audioctl status {day}` shows what was done.")
        return
    with _private_ledger(settings, day) as look:
        wait_until_settled(look, run)
        with one_at_a_time(state_dir):
            repairs = _repairs(settings, run, look())
            next_run_id = _submit_again(settings, run, repairs)
        status = look()
        _tell_queue(settings, status)
    summary = summarize(run, status, repairs, next_run_id)
    note(totals_line(status))
    for left in summary.left:
        note(f"{left.slot}: {left.why}")
    if summary.next_run_id:
        note(f"Submitted again as {summary.next_run_id}: {', '.join(summary.submitted_again)}.")
    note(f"The day's summary is in {write_summary(folder, summary)}.")
    if code := exit_code_of(summary):
        raise typer.Exit(code)


def _run(settings: Settings, day: str, run_id: str) -> Run:
    from audioctl.runs import read_run, runs_folder

    return read_run(runs_folder(Path(settings.paths.state_dir), day) / run_id)


@contextmanager
def _private_ledger(settings: Settings, day: str) -> Iterator[Callable[[], DayStatus]]:
    """A look at the day as its journals tell it, as often as one likes.

    The ledger on disk is for login nodes: this is a node like any other.
    """
    from audioctl.executors.registry import look_at_jobs
    from audioctl.ledger.absorb import refresh
    from audioctl.ledger.models import open_private_ledger
    from audioctl.ledger.queries import one_day

    state_dir = Path(settings.paths.state_dir)
    with open_private_ledger() as database:

        def look() -> DayStatus:
            refresh(database, state_dir, partial(look_at_jobs, state_dir, note), [day])
            status = one_day(day)
            if status is None:
                raise UsageError(
                    f"Nothing is known of {day}.", hint="`audioctl status` shows the days that were submitted."
                )
            return status

        yield look


def _repairs(settings: Settings, run: Run, status: DayStatus) -> Repairs:
    from audioctl.finishing import archives_of, choose_repairs
    from audioctl.ledger.queries import files_read, slots_that_need_a_person
    from audioctl.submission import decide_resumption, known_archive

    mine, files = archives_of(run, status), files_read(run.day)
    decisions = [
        decide_resumption(known_archive(run.day, known, files.get(slot)), known, files.get(slot))
        for slot, known in mine.items()
    ]
    return choose_repairs(run, mine, decisions, slots_that_need_a_person(run.day), settings.slurm.max_attempts)


def _submit_again(settings: Settings, run: Run, repairs: Repairs) -> str | None:
    """The id of the new run. Where nothing can be submitted from here, it says so, and a person resumes the day."""
    from audioctl.executors.registry import executor_named
    from audioctl.submission import prepare_run, submit_run

    if not repairs.again:
        return None
    executor = executor_named(run.executor)
    before = {archive.slot: archive.attempts_before for archive in run.archives}
    try:
        prepared = prepare_run(
            run.day,
            [decision.archive for decision in repairs.again],
            settings,
            executor,
            run.max_concurrent,
            attempts_before=before,
            submission=run.submission + 1,
        )
        for remark in submit_run(prepared, executor).remarks:
            note(remark)
    except AudioctlError as error:
        note(f"What can be repaired was not submitted again: {error.message} Run `audioctl resume {run.day}`.")
        return None
    return prepared.run.run_id


def _tell_queue(settings: Settings, day: DayStatus) -> None:
    from audioctl.database.connection import connect
    from audioctl.database.queue import update_queue
    from audioctl.pipeline.day_queue import status_of

    if not settings.database.enabled:
        return
    status, error = status_of(day)
    try:
        with connect(service=settings.database.service, application_name=f"audioctl/{day.day}") as connection:
            update_queue(connection, day.day, status, slurm_job_id=None, error_message=error)
    except AudioctlError as trouble:
        note(f"processing_queue was not told that {day.day} is {status}: {trouble.message}")
