"""``audioctl verify``: do the journals, the files and the rows agree?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from audioctl.cli.arguments import DaysArgument, JsonOption, SlotsOption
from audioctl.cli.flags import settings_flags
from audioctl.cli.ledger import fresh_ledger
from audioctl.cli.output import Column, note, one_line, print_json, print_table
from audioctl.days import parse_days, parse_slot
from audioctl.errors import UsageError
from audioctl.settings import Settings
from audioctl.states import ExitCode

if TYPE_CHECKING:
    from audioctl.proof import Proof

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
    """Compare journals, the ledger, remote files and rows.

    Each difference is named; the journals are what the others are compared with.
    """
    slots = [parse_slot(text) for text in slot or []]
    proofs = [proof for day in parse_days(days) if (proof := prove(settings, day, slots, checksum=checksum))]
    if not proofs:
        raise UsageError(f"Nothing of {days} is there to verify.", hint="`audioctl status` shows what was worked on.")
    clips = sum(proof.clips for proof in proofs)
    differences = [(proof.day, difference) for proof in proofs for difference in proof.differences]
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
    compared = "journals, ledger, files and rows" if settings.database.enabled else "journals, ledger and files"
    note(f"{clips:,} clips, {len(differences):,} differences between {compared}.")
    if differences:
        raise typer.Exit(ExitCode.LOOK)


def prove(settings: Settings, day: str, slots: Sequence[str], *, checksum: bool) -> Proof | None:
    """What can be proved of the day now; ``None`` where there is nothing to look at."""
    from audioctl.ledger.comparison import day_content
    from audioctl.ledger.queries import one_day
    from audioctl.proof import DayToProve, prove_day

    with fresh_ledger(settings):
        status = one_day(day)
        wanted = DayToProve(day, (status.archives or []) if status else [], day_content(day), slots)
    if wanted.at_work:
        note(f"Still being worked on and left out: {', '.join(wanted.at_work)}.")
    return prove_day(wanted, settings, checksum=checksum) if wanted.to_look_at else None
