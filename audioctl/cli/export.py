"""``audioctl export``: the transcripts of a day."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from audioctl.cli.arguments import DaysArgument, SlotsOption
from audioctl.cli.flags import settings_flags
from audioctl.cli.output import note
from audioctl.cli.unknown import check_known
from audioctl.days import parse_days, parse_slot
from audioctl.errors import UsageError
from audioctl.exporting import SUBTITLES, Format, exported_clips, render, write_subtitle_files
from audioctl.settings import Settings
from audioctl.whole_files import written_whole


def register(app: typer.Typer) -> None:
    app.command("export")(export)


@settings_flags("paths.state_dir")
def export(
    context: typer.Context,  # noqa: ARG001 - the flags are read from it
    days: DaysArgument,
    settings: Settings,
    wanted: Annotated[Format, typer.Option("--format", help="How to write them.")] = Format.JSONL,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="PATH",
            help="A file; for srt and vtt a folder that gets a file a clip, for parquet one that gets a file a day. "
            "Else standard output.",
            show_default=False,
        ),
    ] = None,
    slot: SlotsOption = None,
) -> None:
    """Write transcripts as JSON, text, subtitles or Parquet.

    Of a day that is being worked on, what is there so far.

    srt and vtt with --out: a tree as at the destination, DIR/HH_MM/MEMBER.vtt, of a range of days
    DIR/YYYY/MM/DD/HH_MM/MEMBER.vtt. Parquet: DIR/day=DAY/transcripts.parquet, which takes the place of the
    day's last one; it needs pip install 'audioctl[parquet]'.
    """
    state_dir = Path(settings.paths.state_dir)
    slots = [parse_slot(text) for text in slot or []]
    wanted_days = parse_days(days)
    check_known(settings, wanted_days, slots)
    known = {day: slots or _slots(state_dir, day) for day in wanted_days}
    if not any(known.values()):
        raise UsageError(f"No archive of {days} has been worked on yet.", hint=f"`audioctl status {days}` shows them.")
    clips = (clip for day, of_day in known.items() for clip in exported_clips(state_dir, day, of_day))
    if wanted is Format.PARQUET:
        if out is None or slots:
            raise UsageError(
                "Parquet is written as a file a day, with all its slots.",
                hint=f"audioctl export {days} --format parquet --out FOLDER; slot is one of the columns.",
            )
        _export_parquet(state_dir, known, out)
    elif out is None:
        for piece in render(clips, wanted):
            sys.stdout.write(piece)
    elif wanted in SUBTITLES:
        folders = {day: out / day.replace("-", "/") if len(known) > 1 else out for day in known}
        with _write_errors(out):
            count = write_subtitle_files(clips, wanted, folders)
        note(f"Wrote {count:,} files below {out}.")
    else:
        with _write_errors(out), written_whole(out) as unfinished, unfinished.open("w", encoding="utf-8") as file:
            file.writelines(render(clips, wanted))
        note(f"Wrote {out}.")


def _export_parquet(state_dir: Path, slots_of_days: Mapping[str, Sequence[str]], out: Path) -> None:
    from audioctl import parquet

    for day, slots in slots_of_days.items():
        if slots:
            path = parquet.day_file(out, day)
            with _write_errors(path):
                count = parquet.write_day(exported_clips(state_dir, day, slots), path)
            note(f"Wrote {path}: {count:,} clips.")


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    """Reading the journals raises errors of its own."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{error.filename or path} cannot be written: {error.strerror or error}.") from error


def _slots(state_dir: Path, day: str) -> list[str]:
    return sorted(path.stem for path in (state_dir / "journals" / day).glob("*.jsonl"))
