"""``audioctl submit-day``, ``submit-tar`` and ``resume``: starting jobs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audioctl.cli.arguments import (
    ArchiveArgument,
    DayArgument,
    DaysArgument,
    DryRunOption,
    JsonOption,
    OptionalDayArgument,
    SlotArgument,
    SlotsOption,
)
from audioctl.cli.flags import PIPELINE_KEYS, settings_flags
from audioctl.cli.ledger import fresh_ledger
from audioctl.cli.output import Column, note, print_json, print_line, print_table, size
from audioctl.configuration import freeze
from audioctl.days import parse_day, parse_days, parse_slot
from audioctl.errors import UsageError
from audioctl.settings import Settings
from audioctl.states import ArchiveState, ExitCode

if TYPE_CHECKING:
    from audioctl.ledger.events import ArchiveFile
    from audioctl.ledger.queries import ArchiveStatus
    from audioctl.submission import Decision, PreparedRun

JSON_SCHEMA = 1
POLL_SECONDS = 1.0

SUBMIT_KEYS = ("submit.executor", *PIPELINE_KEYS)

MaxConcurrentOption = Annotated[
    int | None,
    typer.Option(
        "--max-concurrent", min=1, metavar="N", help="Archives worked on at the same time.", show_default=False
    ),
]
WaitOption = Annotated[bool, typer.Option("--wait", help="Return when the jobs have ended, with their exit code.")]


def register(app: typer.Typer) -> None:
    app.command("submit-day")(submit_day)
    app.command("submit-tar")(submit_tar)
    app.command("resume")(resume)


@settings_flags("paths.archives", *SUBMIT_KEYS)
def submit_day(
    context: typer.Context,  # noqa: ARG001 - the flags are read from it
    days: DaysArgument,
    settings: Settings,
    slot: SlotsOption = None,
    max_concurrent: MaxConcurrentOption = None,
    dry_run: DryRunOption = False,
    wait: WaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Submit every archive of a day that is not done yet."""
    from audioctl.archives import archive_folder, find_archives
    from audioctl.submission import choose_slots, decide_submission

    settings = freeze(settings, Path.cwd())
    slots = [parse_slot(text) for text in slot or []]
    decisions: list[Decision] = []
    for day in parse_days(days):
        folder = archive_folder(settings.paths.archives, day)
        archives = choose_slots(find_archives(folder, day, settings.paths.pattern), slots)
        if not archives:
            note(f"{folder} holds no archive of {day}{' in these slots' if slots else ''}.")
        statuses, files = _known(settings, day)
        decisions += [
            decide_submission(archive, statuses.get(archive.slot), files.get(archive.slot)) for archive in archives
        ]
    if not decisions:
        raise UsageError(
            f"No archive of {days} was found.",
            hint="`audioctl config show` says where paths.archives and paths.pattern look.",
        )
    _submit(decisions, settings, max_concurrent, dry_run=dry_run, wait=wait, as_json=as_json)


@settings_flags(*SUBMIT_KEYS)
def submit_tar(
    context: typer.Context,  # noqa: ARG001 - the flags are read from it
    day: DayArgument,
    archive: ArchiveArgument,
    slot: SlotArgument,
    settings: Settings,
    dry_run: DryRunOption = False,
    wait: WaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Submit one archive, whatever it is called."""
    from audioctl.archives import Archive, archive_identity
    from audioctl.submission import decide_submission

    settings = freeze(settings, Path.cwd())
    identity = archive_identity(archive)
    found = Archive(parse_day(day), parse_slot(slot), archive.absolute(), identity.size_bytes, identity.mtime_ns)
    statuses, files = _known(settings, day)
    decision = decide_submission(found, statuses.get(slot), files.get(slot))
    _submit([decision], settings, None, dry_run=dry_run, wait=wait, as_json=as_json)


@settings_flags(*SUBMIT_KEYS)
def resume(
    context: typer.Context,  # noqa: ARG001 - the flags are read from it
    settings: Settings,
    days: OptionalDayArgument = None,
    slot: SlotsOption = None,
    max_concurrent: MaxConcurrentOption = None,
    dry_run: DryRunOption = False,
    wait: WaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Submit again what is missing, and nothing else.

    That is: what failed, was lost or ended early, or is owed; and damaged archives that were replaced.
    """
    from audioctl.ledger.queries import days_with
    from audioctl.submission import choose_slots, decide_resumption, known_archive

    settings = freeze(settings, Path.cwd())
    slots = [parse_slot(text) for text in slot or []]
    if days is None:
        with fresh_ledger(settings):
            wanted = days_with((ArchiveState.FAILED, ArchiveState.DAMAGED))
    else:
        wanted = parse_days(days)
    decisions = []
    for day in wanted:
        statuses, files = _known(settings, day)
        archives = choose_slots(
            [known_archive(day, status, files.get(slot)) for slot, status in statuses.items()], slots
        )
        decisions += [decide_resumption(found, statuses[found.slot], files.get(found.slot)) for found in archives]
    to_do = [decision for decision in decisions if decision.submit]
    to_tell = [decision for decision in decisions if not decision.submit and "damaged" in decision.why]
    if not to_do:
        note("Nothing is left to do." if not to_tell else "Nothing can be done now:")
        if to_tell:
            _print_decisions(to_tell, {})
            raise typer.Exit(ExitCode.LOOK)
        if as_json:
            print_json({"schema": JSON_SCHEMA, "runs": [], "archives": []})
        return
    _submit(to_do + to_tell, settings, max_concurrent, dry_run=dry_run, wait=wait, as_json=as_json)


def _known(settings: Settings, day: str) -> tuple[dict[str, ArchiveStatus], dict[str, ArchiveFile]]:
    from audioctl.ledger.queries import files_read, one_day

    with fresh_ledger(settings, [day]):
        status = one_day(day)
        archives = (status.archives or []) if status else []
        return {archive.slot: archive for archive in archives}, files_read(day)


def _submit(
    decisions: Sequence[Decision],
    settings: Settings,
    max_concurrent: int | None,
    *,
    dry_run: bool,
    wait: bool,
    as_json: bool,
) -> None:
    from audioctl.executors.registry import executor_named
    from audioctl.submission import prepare_run, submit_run

    executor = executor_named(settings.submit.executor)
    chosen = [decision.archive for decision in decisions if decision.submit]
    by_day = {day: [archive for archive in chosen if archive.day == day] for day in sorted({a.day for a in chosen})}
    concurrency = max_concurrent or settings.local.max_concurrent
    runs = [prepare_run(day, archives, settings, executor, concurrency) for day, archives in by_day.items()]
    if dry_run and not as_json:
        _print_decisions(decisions, {})
        _print_scripts(runs)
        return
    if not dry_run:
        for prepared in runs:
            submit_run(prepared, executor)
    if as_json:
        print_json(_as_json(decisions, runs))
    else:
        jobs = {(run.run.day, archive.slot): archive.job_id for run in runs for archive in run.run.archives}
        _print_decisions(decisions, jobs)
        note(f"Submitted {len(chosen)} of {len(decisions)} archives." if chosen else "Nothing was submitted.")
    if wait and runs and not dry_run:
        raise typer.Exit(_wait_for(runs, settings))


def _print_decisions(decisions: Sequence[Decision], jobs: dict[tuple[str, str], str]) -> None:
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


def _print_scripts(runs: Sequence[PreparedRun]) -> None:
    for prepared in runs:
        for name, content in prepared.files.items():
            print_line(f"\n# ---- {prepared.folder / name}")
            print_line(content.rstrip("\n"))


def _as_json(decisions: Sequence[Decision], runs: Sequence[PreparedRun]) -> dict[str, object]:
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
                "why": decision.why,
            }
            for decision in decisions
        ],
    }


def _wait_for(runs: Sequence[PreparedRun], settings: Settings) -> int:
    """Until every job has ended: 0, 1 if one failed, 3 if something needs a look."""
    wanted = {(prepared.run.day, archive.slot) for prepared in runs for archive in prepared.run.archives}
    days = sorted({day for day, _ in wanted})
    while True:
        archives = [
            archive for day in days for slot, archive in _known(settings, day)[0].items() if (day, slot) in wanted
        ]
        if not any(archive.state in (ArchiveState.SUBMITTED, ArchiveState.RUNNING) for archive in archives):
            break
        time.sleep(POLL_SECONDS)
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
