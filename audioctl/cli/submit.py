"""``audioctl submit-day``, ``submit-tar`` and ``resume``: starting jobs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audioctl.cli.arguments import (
    ArchiveArgument,
    DayArgument,
    DaysToSubmitArgument,
    DryRunOption,
    JsonOption,
    OptionalDayArgument,
    SlotArgument,
    SlotsOption,
)
from audioctl.cli.flags import PIPELINE_KEYS, settings_flags
from audioctl.cli.ledger import fresh_ledger
from audioctl.cli.output import counted, note, print_json
from audioctl.cli.submitting import (
    JSON_SCHEMA,
    deciding,
    known_days,
    print_decisions,
    refuse_what_is_under_way,
    submit,
    wait_for,
)
from audioctl.cli.unknown import check_known, check_slots
from audioctl.configuration import freeze
from audioctl.days import parse_day, parse_days, parse_slot
from audioctl.settings import Settings
from audioctl.states import ArchiveState, ExitCode

if TYPE_CHECKING:
    from audioctl.archives import Archive
    from audioctl.submission import Decision

SUBMIT_KEYS = ("submit.executor", *PIPELINE_KEYS, "logging.format")

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
    days: DaysToSubmitArgument,
    settings: Settings,
    slot: SlotsOption = None,
    max_concurrent: MaxConcurrentOption = None,
    dry_run: DryRunOption = False,
    wait: WaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Submit every archive of a day that is not done yet."""
    from audioctl.submission import choose_slots, decide_submission

    settings = freeze(settings, Path.cwd())
    slots = [parse_slot(text) for text in slot or []]
    found = _find_archives(settings, parse_days(days))
    if slots:
        there = sorted({archive.slot for archives in found.values() for archive in archives})
        check_slots(list(found), slots, there, hint=f"{settings.paths.archives} is where archives were looked for.")
        found = {day: choose_slots(archives, slots) for day, archives in found.items()}
    with deciding(settings, dry_run=dry_run):
        known = known_days(settings, list(found))
        decisions = [
            decide_submission(archive, known[day].statuses.get(archive.slot), known[day].files.get(archive.slot))
            for day, archives in found.items()
            for archive in archives
        ]
        refuse_what_is_under_way(decisions, days)
        runs = submit(decisions, settings, max_concurrent, dry_run=dry_run, as_json=as_json)
    if wait and runs and not dry_run:
        raise typer.Exit(wait_for(runs, settings))


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
    from audioctl.archives import Archive, archive_identity, named_otherwise
    from audioctl.submission import decide_submission

    settings = freeze(settings, Path.cwd())
    parse_day(day)
    parse_slot(slot)
    found = Archive(day, slot, archive.absolute(), *archive_identity(archive))
    if odd := named_otherwise(archive.name, day, slot, settings.paths.pattern):
        note(odd, style="yellow")
    with deciding(settings, dry_run=dry_run):
        known = known_days(settings, [day])[day]
        decision = decide_submission(found, known.statuses.get(slot), known.files.get(slot))
        refuse_what_is_under_way([decision], day)
        runs = submit([decision], settings, None, dry_run=dry_run, as_json=as_json)
    if wait and runs and not dry_run:
        raise typer.Exit(wait_for(runs, settings))


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
    settings = freeze(settings, Path.cwd())
    slots = [parse_slot(text) for text in slot or []]
    wanted = parse_days(days) if days else None
    if wanted:
        check_known(settings, wanted, slots)
    with deciding(settings, dry_run=dry_run):
        to_look_at, cancelled = (wanted, []) if wanted else _days_to_look_at(settings)
        decisions = _resumptions(settings, to_look_at, slots)
        to_do = [decision for decision in decisions if decision.submit]
        to_tell = [decision for decision in decisions if not decision.submit and "damaged" in decision.why]
        if to_do:
            runs = submit(to_do + to_tell, settings, max_concurrent, dry_run=dry_run, as_json=as_json)
    cancelled += [decision.archive.day for decision in decisions if decision.why.startswith("cancelled")]
    if not to_do:
        note("Nothing can be done now:" if to_tell else _nothing_to_do(decisions))
        if as_json:
            print_json({"schema": JSON_SCHEMA, "runs": [], "archives": []})
        elif to_tell:
            print_decisions(to_tell, {})
    if cancelled:
        note(_left_cancelled(sorted(set(cancelled))))
    if to_tell and not to_do:
        raise typer.Exit(ExitCode.LOOK)
    if to_do and wait and not dry_run:
        raise typer.Exit(wait_for(runs, settings))


def _left_cancelled(days: Sequence[str]) -> str:
    which = days[0] if len(days) == 1 else f"{len(days)} days, {days[0]} to {days[-1]}"
    command = f"`audioctl submit-day {days[0] if len(days) == 1 else 'DAY'}`"
    return f"What was cancelled stays so (archives of {which}); {command} submits it again."


def _nothing_to_do(decisions: Sequence[Decision]) -> str:
    under_way = sum(decision.live_job_id is not None for decision in decisions)
    if not under_way:
        return "Nothing is left to do."
    return f"Nothing to submit: {counted(under_way, 'archive')} {'is' if under_way == 1 else 'are'} under way."


def _find_archives(settings: Settings, days: Sequence[str]) -> dict[str, list[Archive]]:
    """Of each day. Raises UsageError where there is none at all; a day without any among others is told."""
    from audioctl.archives import archive_folder, find_archives
    from audioctl.missing_archives import no_archive_of

    folders = {day: archive_folder(settings.paths.archives, day) for day in days}
    found = {
        day: find_archives(folder, day, settings.paths.pattern) if folder.exists() else []
        for day, folder in folders.items()
    }
    missing = [no_archive_of(day, folders[day], settings.paths) for day in days if not found[day]]
    if len(missing) == len(days):
        raise missing[0]
    for error in missing:
        note(error.message)
    return found


def _days_to_look_at(settings: Settings) -> tuple[list[str], list[str]]:
    """Days with something that may be done, and days of which something was cancelled."""
    from audioctl.ledger.queries import days_with

    with fresh_ledger(settings):
        return days_with((ArchiveState.FAILED, ArchiveState.DAMAGED)), days_with((ArchiveState.CANCELLED,))


def _resumptions(settings: Settings, days: Sequence[str], slots: Sequence[str]) -> list[Decision]:
    from audioctl.submission import choose_slots, decide_resumption, known_archive

    decisions = []
    for day, (statuses, files) in known_days(settings, days).items():
        archives = [known_archive(day, status, files.get(slot)) for slot, status in statuses.items()]
        decisions += [
            decide_resumption(archive, statuses[archive.slot], files.get(archive.slot))
            for archive in choose_slots(archives, slots)
        ]
    return decisions
