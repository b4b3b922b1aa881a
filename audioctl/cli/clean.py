"""``audioctl clean``: scratch that dead jobs left behind, and archives that nobody needs any more."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audioctl.cli import completion
from audioctl.cli.arguments import DryRunOption, JsonOption, SlotsOption
from audioctl.cli.flags import settings_flags
from audioctl.cli.output import Column, note, print_json, print_line, print_table, size
from audioctl.cli.unknown import check_known
from audioctl.cli.verify import prove
from audioctl.days import parse_days, parse_slot
from audioctl.errors import UsageError
from audioctl.settings import Settings
from audioctl.states import ExitCode

if TYPE_CHECKING:
    from rich.text import Text

    from audioctl.cleaning import Input
    from audioctl.proof import Proof

JSON_SCHEMA = 1


def register(app: typer.Typer) -> None:
    app.command("clean")(clean)


@settings_flags("paths.state_dir", "paths.scratch", "upload.ssh_key", "database.enabled")
def clean(
    context: typer.Context,  # noqa: ARG001 - the flags are read from it
    settings: Settings,
    days: Annotated[
        str | None,
        typer.Argument(
            metavar="DAY",
            help="YYYY-MM-DD, or a range A..B, of --archives.",
            show_default=False,
            autocompletion=completion.known_days,
        ),
    ] = None,
    archives: Annotated[
        bool, typer.Option("--archives", help="Delete archives, too, once all that came of them has been verified.")
    ] = False,
    slot: SlotsOption = None,
    checksum: Annotated[
        bool, typer.Option("--checksum", help="Verify the contents of files, not only their sizes.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask on a terminal.")] = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Delete what dead jobs left on the scratch of this machine.

    With --archives, also a day's archives: only those that are done, of which verify, which runs first, finds no
    difference, and which are the files that were read. What is deleted is told before.
    """
    if archives and days is None:
        raise UsageError("The day is missing.", hint="Name it: `audioctl clean 2025-01-25 --archives`.")
    wanted = parse_days(days) if days else []
    if (slot or checksum) and not archives:
        raise UsageError("--slot and --checksum are for --archives.", hint="Nothing was deleted.")
    slots = [parse_slot(text) for text in slot or []]
    if archives:
        check_known(settings, wanted, slots)
    scratch = _clean_scratch(settings, dry_run=dry_run, as_json=as_json)
    inputs: list[tuple[Input, str | None]] = []
    if archives:
        proofs = [_decide(settings, day, slots, checksum) for day in wanted]
        found = [one for proof, of_day in proofs for one in of_day]
        if not found:
            raise UsageError(f"Nothing of {days} is there.", hint="`audioctl status` shows what was worked on.")
        if not as_json:
            _print_inputs(found)
        inputs = _delete(settings, proofs, ask=not (yes or as_json or dry_run), dry_run=dry_run)
    if as_json:
        answers = [_as_json(one, kept, dry_run=dry_run) for one, kept in inputs]
        print_json({"schema": JSON_SCHEMA, "scratch": scratch, "archives": answers})
    if any(_needs_a_look(kept) for _, kept in inputs):
        raise typer.Exit(ExitCode.LOOK)


def _clean_scratch(settings: Settings, *, dry_run: bool, as_json: bool) -> list[dict[str, Any]]:
    from audioctl.pipeline.scratch import leftovers, remove_leftover, scratch_root

    root = scratch_root(settings.paths.scratch, os.environ)
    found = [(folder, _size_bytes(folder)) for folder in leftovers(root)]
    for folder, size_bytes in found:
        if not as_json:
            print_line(f"{folder}  {size(size_bytes)}")
        if not dry_run:
            remove_leftover(folder)
    word = "would be deleted" if dry_run else "deleted"
    note(f"{len(found)} folders that dead jobs left in {root} {word}, {size(sum(one for _, one in found))}.")
    return [{"path": str(folder), "size_bytes": size_bytes} for folder, size_bytes in found]


def _decide(settings: Settings, day: str, slots: Sequence[str], checksum: bool) -> tuple[Proof, list[Input]]:
    from audioctl.cleaning import decide
    from audioctl.ledger.models import open_ledger
    from audioctl.ledger.queries import one_day
    from audioctl.proof import Proof

    proof = prove(settings, day, slots, checksum=checksum) or Proof(day)
    with open_ledger(Path(settings.paths.state_dir)):
        status = one_day(day)
    archives = [one for one in ((status.archives or []) if status else []) if not slots or one.slot in slots]
    return proof, decide(archives, proof, settings)


def _delete(
    settings: Settings, proofs: Sequence[tuple[Proof, Sequence[Input]]], *, ask: bool, dry_run: bool
) -> list[tuple[Input, str | None]]:
    """What became of each: why it was kept, ``None`` for what was deleted."""
    from audioctl.cleaning import delete, to_delete

    found = [one for _, of_day in proofs for one in of_day]
    chosen = to_delete(found)
    total = f"{len(chosen)} of {len(found)} archives, {size(sum(one.size_bytes for one in chosen))}"
    if dry_run:
        note(f"Would delete {total}.")
        return [(one, one.kept) for one in found]
    if chosen and ask and sys.stdin.isatty():
        typer.confirm(f"Delete {total}?", err=True, abort=True)
    state_dir = Path(settings.paths.state_dir)
    done = [(one, one.kept or delete(one, proof, state_dir)) for proof, of_day in proofs for one in of_day]
    for one, kept in done:
        if one.kept is None and kept is not None:
            note(f"{one.path} {kept}.", style="yellow")
    deleted = [one for one, kept in done if kept is None]
    note(f"Deleted {len(deleted)} of {len(found)} archives, {size(sum(one.size_bytes for one in deleted))}.")
    return done


def _print_inputs(inputs: Sequence[Input]) -> None:
    from rich.text import Text

    columns = [Column("day"), Column("slot"), Column("size", "right"), Column("rejected", "right")]
    columns += [Column("archive", fold=True), Column("", fold=True)]
    rows: list[list[str | Text]] = []
    for one in inputs:
        what = "to be deleted" if one.kept is None else Text(f"kept: {one.kept}", "dim")
        shown = size(one.size_bytes) if one.size_bytes else "-"
        rows.append([one.day, one.slot, shown, str(one.rejected), str(one.path), what])
    print_table(columns, rows)


def _as_json(one: Input, kept: str | None, *, dry_run: bool) -> dict[str, Any]:
    return {
        "day": one.day,
        "slot": one.slot,
        "path": str(one.path),
        "size_bytes": one.size_bytes,
        "rejected": one.rejected,
        "deleted": kept is None and not dry_run,
        "kept": kept,
    }


def _needs_a_look(kept: str | None) -> bool:
    from audioctl.cleaning import GONE

    return kept not in (None, GONE)


def _size_bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
