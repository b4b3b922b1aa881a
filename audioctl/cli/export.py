"""``audioctl export``: the transcripts of a day."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from audioctl.cli.arguments import DaysArgument, SlotsOption
from audioctl.cli.flags import settings_flags
from audioctl.cli.output import note
from audioctl.days import parse_days, parse_slot
from audioctl.errors import UsageError
from audioctl.exporting import SUBTITLES, Format, exported_clips, render, write_subtitle_files
from audioctl.settings import Settings


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
            help="A file; for srt and vtt a folder that gets a file a clip. Else standard output.",
            show_default=False,
        ),
    ] = None,
    slot: SlotsOption = None,
) -> None:
    """Write transcripts as JSON, text or subtitles."""
    state_dir = Path(settings.paths.state_dir)
    slots = [parse_slot(text) for text in slot or []]
    known = {day: slots or _slots(state_dir, day) for day in parse_days(days)}
    if not any(known.values()):
        raise UsageError(f"Nothing is known of {days}.", hint="`audioctl status` lists the days that were worked on.")
    clips = (clip for day, of_day in known.items() for clip in exported_clips(state_dir, day, of_day))
    if out is None:
        for piece in render(clips, wanted):
            sys.stdout.write(piece)
    elif wanted in SUBTITLES:
        note(f"Wrote {write_subtitle_files(clips, wanted, out):,} files below {out}.")
    else:
        try:
            with out.open("w", encoding="utf-8") as file:
                file.writelines(render(clips, wanted))
        except OSError as error:
            raise UsageError(f"{out} cannot be written: {error.strerror}.") from error
        note(f"Wrote {out}.")


def _slots(state_dir: Path, day: str) -> list[str]:
    return sorted(path.stem for path in (state_dir / "journals" / day).glob("*.jsonl"))
