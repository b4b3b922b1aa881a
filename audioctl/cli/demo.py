"""``audioctl demo``: a sample day of spoken clips, processed here with nothing configured."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audioctl.cli.output import Column, note, one_line, print_line, print_table
from audioctl.cli.process import run_archive
from audioctl.names import base_name
from audioctl.settings import Convert, Extract, Paths, Settings, Transcribe, Upload

if TYPE_CHECKING:
    from audioctl.demo import Said
    from audioctl.exporting import ExportedClip

DAY = "2025-01-25"
SLOTS = ("12_00", "12_10", "12_20")
SHOWN_CLIPS = 12


def register(app: typer.Typer) -> None:
    app.command("demo")(demo)


def demo(
    folder: Annotated[
        Path, typer.Option("--folder", metavar="FOLDER", help="Where the sample day and all that is made of it go.")
    ] = Path("audioctl-demo"),
    clips: Annotated[
        int, typer.Option("--clips", min=1, metavar="N", help="Clips in each of the three archives.")
    ] = 40,
) -> None:
    """Process a sample day here, with nothing set up.

    It needs no settings, no Slurm, no database, no server and no download. The clips are spoken by a speech
    synthesizer and heard by a small model that knows 72 words; --model of the other commands takes any faster-whisper
    model.
    """
    from audioctl.cli.worker import require_worker
    from audioctl.demo import make_demo_day
    from audioctl.exporting import exported_clips

    require_worker()
    folder = folder.absolute()
    settings = demo_settings(folder)
    archives = folder / "archives" / DAY
    said = make_demo_day(archives, DAY, SLOTS, clips)
    note(f"A sample day of {len(SLOTS)} archives is in {_as_typed(archives)}.")
    for slot in SLOTS:
        # A damaged archive or the like would show in the table below; the day goes on.
        with contextlib.suppress(typer.Exit):
            run_archive(DAY, archives / f"0_{DAY}_{slot}.tar.xz", slot, settings)
    heard = list(exported_clips(Path(settings.paths.state_dir), DAY, SLOTS))
    _print_transcripts(heard, said)
    config = _as_typed(_write_config(folder, settings))
    program = "audioctl" if shutil.which("audioctl") else _as_typed(Path(sys.argv[0]).absolute())
    note(
        "\nLook further:\n"
        f"  {program} --config {config} status {DAY}\n"
        f"  {program} --config {config} export {DAY} --format vtt\n"
        f"  {program} --config {config} verify {DAY} --checksum\n"
        f"The Opus copies are below {_as_typed(Path(settings.upload.destination))}."
    )


def demo_settings(folder: Path) -> Settings:
    """Everything below one folder, whatever else is configured on this machine."""
    return Settings(
        paths=Paths(archives=str(folder / "archives" / "{day}"), state_dir=str(folder / "state")),
        extract=Extract(stream_batch_size=20),
        convert=Convert(num_workers=4),
        transcribe=Transcribe(model="bundled", device="cpu"),
        upload=Upload(destination=str(folder / "storage")),
    )


def _write_config(folder: Path, settings: Settings) -> Path:
    from audioctl.configuration import dump_toml

    path = folder / "audioctl.toml"
    path.write_text(dump_toml(settings, frozen=False), encoding="utf-8")
    return path


def _as_typed(path: Path) -> str:
    """The path as somebody in this folder would type it."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


def _print_transcripts(heard: list[ExportedClip], said: dict[tuple[str, str], Said]) -> None:
    from audioctl.demo import word_errors
    from audioctl.states import ClipState

    columns = [
        Column("slot"),
        Column("member", fold=True),
        Column("s", "right"),
        Column("heard", fold=True),
        Column("was said", fold=True),
    ]
    rows = []
    errors = words = 0
    for exported in heard:
        clip, truth = exported.clip, said.get((exported.slot, exported.clip.member))
        seconds = f"{clip.duration_seconds:.1f}" if clip.duration_seconds is not None else "-"
        if clip.state is not ClipState.STORED:
            rows.append(
                [exported.slot, one_line(base_name(clip.member)), seconds, f"({clip.state}: {clip.reason})", "-"]
            )
            continue
        text = clip.text or f"({clip.reason})"
        truth_text = "?" if truth is None else truth.text or "(silence)"
        if truth is not None and not truth.cut_off:
            errors += word_errors(truth.text, clip.text or "")
            words += len(truth.text.split())
        rows.append(
            [
                exported.slot,
                one_line(base_name(clip.member)),
                seconds,
                text,
                truth_text + (" (cut off)" if truth and truth.cut_off else ""),
            ]
        )
    # The first ones, and every unusual one: those are at the end.
    shown = rows if len(rows) <= SHOWN_CLIPS else [*rows[: SHOWN_CLIPS - 6], *rows[-6:]]
    print_table(columns, shown)
    if len(shown) < len(rows):
        print_line(f"... {len(rows) - len(shown)} more; see them with `export`.")
    share = f", {errors / words:.2%} of the words" if words else ""
    print_line(f"{len(rows):,} members, {words:,} words spoken, {errors} heard wrong{share}.")
