"""``audioctl verify``: do the journals, the files and the rows agree? And, with ``--repair``, make them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audioctl.cli.arguments import DaysArgument, JsonOption, SlotsOption
from audioctl.cli.flags import settings_flags
from audioctl.cli.ledger import fresh_ledger
from audioctl.cli.output import Column, counted, note, one_line, print_json, print_table
from audioctl.cli.unknown import check_known
from audioctl.days import parse_days, parse_slot
from audioctl.errors import UsageError
from audioctl.settings import Settings
from audioctl.states import ExitCode

if TYPE_CHECKING:
    from audioctl.proof import DayToProve, Proof
    from audioctl.repair import Answer
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
    repair: Annotated[
        bool, typer.Option("--repair", help="Put right what can be, look again, and say what is left.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --repair: say what would be done; do nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare journals, the ledger, remote files and rows.

    Each difference is named; the journals are what the others are compared with. With --repair, rows and the ledger
    are written again from the journals, and files that are not as they were sent are owed again, for `audioctl
    resume`. No file is deleted, and no row but the double of another.
    """
    if dry_run and not repair:
        raise UsageError("--dry-run is for --repair.", hint="Without it, verify changes nothing.")
    slots = [parse_slot(text) for text in slot or []]
    wanted = parse_days(days)
    check_known(settings, wanted, slots)
    proofs = [proof for day in wanted if (proof := prove(settings, day, slots, checksum=checksum))]
    if not proofs:
        raise UsageError(f"Nothing of {days} is there to verify.", hint="`audioctl status` shows what was worked on.")
    if repair:
        answers = [
            (proof.day, answer)
            for proof in proofs
            for answer in _repair(proof, settings, slots, checksum=checksum, dry_run=dry_run)
        ]
        _print_answers(answers, proofs, settings, dry_run=dry_run, as_json=as_json)
        is_right = not answers or not (dry_run or any(not answer.is_right for _, answer in answers))
    else:
        _print_differences(proofs, settings, days, as_json=as_json)
        is_right = not any(proof.differences for proof in proofs)
    if not is_right:
        raise typer.Exit(ExitCode.LOOK)


def prove(settings: Settings, day: str, slots: Sequence[str], *, checksum: bool) -> Proof | None:
    """What can be proved of the day now; ``None`` where there is nothing to look at."""
    from audioctl.proof import prove_day

    wanted = _day_to_prove(settings, day, slots)
    if wanted.at_work:
        note(f"Still being worked on and left out: {', '.join(wanted.at_work)}.")
    return prove_day(wanted, settings, checksum=checksum) if wanted.to_look_at else None


def _day_to_prove(settings: Settings, day: str, slots: Sequence[str]) -> DayToProve:
    from audioctl.ledger.comparison import day_content
    from audioctl.ledger.queries import one_day
    from audioctl.proof import DayToProve

    with fresh_ledger(settings):
        status = one_day(day)
        return DayToProve(day, (status.archives or []) if status else [], day_content(day), slots)


def _repair(proof: Proof, settings: Settings, slots: Sequence[str], *, checksum: bool, dry_run: bool) -> list[Answer]:
    """What became of each difference, after another look."""
    from audioctl.proof import prove_day
    from audioctl.repair import Fate, look_again, repair_day

    answers = repair_day(proof, settings, dry_run=dry_run)
    if dry_run or all(answer.fate is Fate.LEFT for answer in answers):
        return answers
    wanted = _day_to_prove(settings, proof.day, slots)
    return look_again(answers, prove_day(wanted, settings, checksum=checksum))


def _print_differences(proofs: Sequence[Proof], settings: Settings, days: str, *, as_json: bool) -> None:
    differences = [(proof.day, difference) for proof in proofs for difference in proof.differences]
    if as_json:
        print_json(_as_json(proofs, [_difference_as_json(day, difference) for day, difference in differences]))
    elif differences:
        print_table(_COLUMNS, [_cells(day, difference) for day, difference in differences])
    problems = Counter(difference.problem for _, difference in differences).most_common()
    told = ", ".join(f"{count:,} × {problem}" for problem, count in problems)
    note(_sentence(proofs, settings, len(differences)) + (f": {told}." if told else "."))
    if differences:
        note(f"`audioctl verify {days} --repair` puts right what can be; with --dry-run it says what.")


def _print_answers(
    answers: Sequence[tuple[str, Answer]],
    proofs: Sequence[Proof],
    settings: Settings,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    from audioctl.repair import Fate

    words = {
        Fate.RIGHT: "would be put right" if dry_run else "put right",
        Fate.OWED: "would be owed again" if dry_run else "owed",
        Fate.LEFT: "left",
    }
    if as_json:
        differences = [
            _difference_as_json(day, answer.difference) | {"repair": answer.fate, "next": answer.next or None}
            for day, answer in answers
        ]
        print_json(_as_json(proofs, differences) | {"dry_run": dry_run})
    elif answers:
        rows = [
            [*_cells(day, answer.difference), ": ".join(filter(None, (words[answer.fate], one_line(answer.next))))]
            for day, answer in answers
        ]
        print_table([*_COLUMNS, Column("repair", fold=True)], rows)
    counts = Counter(answer.fate for _, answer in answers)
    told = ", ".join(f"{counts[fate]:,} {words[fate]}" for fate in Fate if counts[fate])
    note(_sentence(proofs, settings, len(answers)) + (f": {told}." if told else "."))
    for day in sorted({day for day, answer in answers if answer.fate is Fate.OWED}):
        what = "would make" if dry_run else "makes"
        note(f"`audioctl resume {day}` {what} what is owed anew from the archives; no clip of it is transcribed again.")


_COLUMNS = [Column("day"), Column("slot"), Column("member", fold=True), Column("problem"), Column("", fold=True)]


def _cells(day: str, difference: Difference) -> list[str]:
    return [day, difference.slot, one_line(difference.member), difference.problem, one_line(difference.detail)]


def _as_json(proofs: Sequence[Proof], differences: list[dict[str, Any]]) -> dict[str, Any]:
    return {"schema": JSON_SCHEMA, "clips": _clips(proofs), "differences": differences}


def _difference_as_json(day: str, difference: Difference) -> dict[str, Any]:
    return {
        "day": day,
        "slot": difference.slot,
        "member": difference.member,
        "problem": difference.problem,
        "detail": difference.detail,
    }


def _sentence(proofs: Sequence[Proof], settings: Settings, differences: int) -> str:
    compared = "journals, ledger, files and rows" if settings.database.enabled else "journals, ledger and files"
    return f"{counted(_clips(proofs), 'clip')}, {counted(differences, 'difference')} between {compared}"


def _clips(proofs: Sequence[Proof]) -> int:
    return sum(proof.clips for proof in proofs)
