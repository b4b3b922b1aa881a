"""``audioctl verify``: do the journals, the files and the rows agree?"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audioctl.cli.arguments import DaysArgument, JsonOption, SlotsOption
from audioctl.cli.flags import settings_flags
from audioctl.cli.ledger import fresh_ledger
from audioctl.cli.output import Column, note, one_line, print_json, print_table
from audioctl.days import parse_days, parse_slot
from audioctl.errors import UsageError
from audioctl.settings import Settings
from audioctl.states import ArchiveState, ExitCode

if TYPE_CHECKING:
    from audioctl.verification import Difference

JSON_SCHEMA = 1


def register(app: typer.Typer) -> None:
    app.command("verify")(verify)


@settings_flags("paths.state_dir", "upload.ssh_key", "database.enabled")
def verify(
    context: typer.Context,  # noqa: ARG001 - the flags are read from it
    days: DaysArgument,
    settings: Settings,
    slot: SlotsOption = None,
    checksum: Annotated[
        bool, typer.Option("--checksum", help="Fetch every file and compare its contents, not only its size.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare journals, remote files and rows.

    Each difference is named; the journals are what the others are compared with.
    """
    slots = [parse_slot(text) for text in slot or []]
    found: dict[str, list[Difference]] = {}
    clips = 0
    for day in parse_days(days):
        of_day = _finished_slots(settings, day, slots)
        if of_day:
            checked, found[day] = _verify_day(settings, day, of_day, checksum)
            clips += checked
    if not found:
        raise UsageError(f"Nothing of {days} is there to verify.", hint="`audioctl status` shows what was worked on.")
    differences = [(day, difference) for day, of_day in found.items() for difference in of_day]
    if as_json:
        print_json(
            {
                "schema": JSON_SCHEMA,
                "clips": clips,
                "differences": [
                    {"day": day, "slot": d.slot, "member": d.member, "problem": d.problem, "detail": d.detail}
                    for day, d in differences
                ],
            }
        )
    elif differences:
        columns = [Column("day"), Column("slot"), Column("member", fold=True), Column("problem"), Column("", fold=True)]
        print_table(
            columns, [[day, d.slot, one_line(d.member), d.problem, one_line(d.detail)] for day, d in differences]
        )
    compared = "journals, files and rows" if settings.database.enabled else "journals and files"
    note(f"{clips:,} clips, {len(differences):,} differences between {compared}.")
    if differences:
        raise typer.Exit(ExitCode.LOOK)


def _finished_slots(settings: Settings, day: str, slots: list[str]) -> list[str]:
    """Archives that are being worked on are left out: they change while we look."""
    from audioctl.ledger.queries import one_day

    with fresh_ledger(settings):
        status = one_day(day)
    archives = [archive for archive in (status.archives or [] if status else []) if archive.attempt]
    chosen = [archive for archive in archives if not slots or archive.slot in slots]
    if running := [archive.slot for archive in chosen if archive.state is ArchiveState.RUNNING]:
        note(f"Still being worked on and left out: {', '.join(running)}.")
    return [archive.slot for archive in chosen if archive.state is not ArchiveState.RUNNING]


def _verify_day(settings: Settings, day: str, slots: list[str], checksum: bool) -> tuple[int, list[Difference]]:
    from audioctl.database.connection import connect
    from audioctl.database.rows import read_day
    from audioctl.names import storage_folder
    from audioctl.storage.listing import fetch, list_remote
    from audioctl.verification import compare_contents, compare_files, compare_rows, expected_clips

    upload = settings.upload
    ssh: dict[str, Any] = {
        "ssh_key": Path(upload.ssh_key) if upload.ssh_key else None,
        "ssh_options": upload.ssh_options,
    }
    expected = expected_clips(Path(settings.paths.state_dir), day, slots)
    folders = [storage_folder(day, slot) for slot in slots]
    differences = list(compare_files(expected, folders, partial(list_remote, **ssh)))
    if checksum:
        differences += compare_contents(expected, partial(fetch, **ssh))
    if settings.database.enabled:
        with connect(service=settings.database.service, application_name="audioctl/verify") as connection:
            differences += compare_rows(expected, read_day(connection, day), slots)
    return len(expected), differences
