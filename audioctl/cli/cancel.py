"""``audioctl cancel``: ending the jobs of a day."""

from __future__ import annotations

from pathlib import Path

import typer

from audioctl.cli.arguments import DaysArgument, DryRunOption
from audioctl.cli.flags import settings_flags
from audioctl.cli.output import counted, note
from audioctl.cli.submitting import deciding, known_days
from audioctl.cli.unknown import check_known
from audioctl.days import parse_days
from audioctl.settings import Settings
from audioctl.states import ArchiveState


def register(app: typer.Typer) -> None:
    app.command("cancel")(cancel)


@settings_flags("paths.state_dir")
def cancel(
    context: typer.Context,  # noqa: ARG001 - the flags are read from it
    days: DaysArgument,
    settings: Settings,
    dry_run: DryRunOption = False,
) -> None:
    """End the jobs of a day.

    What is done stays done, and what is in flight is finished if the site gives it the time (Slurm's KillWait). A
    cancelled archive stays cancelled until it is submitted again.
    """
    from audioctl.executors.registry import executor_named
    from audioctl.runs import mark_cancelled, run_folder, runs_of_day, unmark_cancelled

    state_dir = Path(settings.paths.state_dir)
    wanted = parse_days(days)
    check_known(settings, wanted)
    with deciding(settings, dry_run=dry_run):
        known = known_days(settings, wanted)
        live = {
            (day, archive.run_id)
            for day in wanted
            for archive in known[day].statuses.values()
            if archive.state in (ArchiveState.SUBMITTED, ArchiveState.RUNNING)
        }
        runs = [run for day in wanted for run in runs_of_day(state_dir, day) if (day, run.run_id) in live]
        if not runs:
            note(f"No job of {days} is under way.")
            return
        archives = sum(len(run.archives) for run in runs)
        if dry_run:
            ids = ", ".join(run.run_id for run in runs)
            note(f"Would end the jobs of {counted(len(runs), 'run')} with {counted(archives, 'archive')}: {ids}.")
            return
        for name in sorted({run.executor for run in runs}):
            mine = [run for run in runs if run.executor == name]
            folders = [run_folder(state_dir, run) for run in mine]
            # First the mark, which keeps jobs from asking for another go.
            for folder in folders:
                mark_cancelled(folder)
            try:
                executor_named(name).cancel(state_dir, mine)
            except BaseException:
                for folder in folders:
                    unmark_cancelled(folder)
                raise
    note(f"Asked the jobs of {counted(archives, 'archive')} to end. `audioctl status {days}` shows what they had done.")
