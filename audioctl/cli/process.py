"""``audioctl process-tar``: the work on one archive, here and now. It is what the jobs run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audioctl.cli.arguments import ArchiveArgument, DayArgument, JsonOption, SlotArgument
from audioctl.cli.flags import PIPELINE_KEYS, settings_flags
from audioctl.cli.output import audio_hours, duration, one_line, print_json, print_line
from audioctl.days import parse_day, parse_slot
from audioctl.settings import Settings
from audioctl.states import ExitCode, Stage

if TYPE_CHECKING:
    from audioctl.ledger.progress import ArchiveProgress
    from audioctl.pipeline.counters import Counts

JSON_SCHEMA = 1


def register(app: typer.Typer) -> None:
    app.command("process-tar")(process_tar)


@settings_flags(*PIPELINE_KEYS)
def process_tar(
    context: typer.Context,  # noqa: ARG001 - the flags are read from it
    day: DayArgument,
    archive: ArchiveArgument,
    slot: SlotArgument,
    settings: Settings,
    as_json: JsonOption = False,
    run_id: Annotated[str | None, typer.Option("--run-id", hidden=True)] = None,
    job_id: Annotated[str | None, typer.Option("--job-id", hidden=True)] = None,
) -> None:
    """Work on one archive here, in the foreground.

    If it was worked on before, only what is missing is done. Ctrl-C finishes what is in flight; a second one ends at
    once. Either way nothing is lost.
    """
    parse_day(day)
    parse_slot(slot)
    progress, counts = run_archive(
        day, archive.absolute(), slot, settings, run_id=run_id, job_id=job_id or os.environ.get("SLURM_JOB_ID")
    )
    if as_json:
        print_json(summary(day, slot, progress, counts))
    else:
        print_line(summary_line(archive.name, progress, counts))
    if exit_code := exit_code_for(progress):
        raise typer.Exit(exit_code)


def run_archive(
    day: str, archive: Path, slot: str, settings: Settings, *, run_id: str | None = None, job_id: str | None = None
) -> tuple[ArchiveProgress, Counts]:
    """Process one archive with a progress display and signal handling."""
    from audioctl.cli.foreground import run_in_foreground
    from audioctl.cli.progress import progress_display
    from audioctl.cli.worker import require_worker
    from audioctl.pipeline.counters import Counters
    from audioctl.pipeline.drain import DrainRequest

    require_worker()
    counters = Counters()
    drain = DrainRequest(settings.slurm.drain_seconds)
    with progress_display(archive.name, counters, database=settings.database.enabled) as display:

        def work() -> ArchiveProgress:
            # Only now, when signals are heard already: these bring in what takes a second to import.
            from audioctl.engines.loading import load_engine
            from audioctl.pipeline.run import ArchiveJob, Surroundings, process_archive

            job = ArchiveJob(day, slot, archive, run_id, job_id)
            around = Surroundings(lambda: load_engine(settings.transcribe), counters, drain, display.notify)
            return process_archive(job, settings, around)

        progress = run_in_foreground(work, drain, display, tick_seconds=0.2)
    return progress, counters.look()


def exit_code_for(progress: ArchiveProgress) -> int:
    """0, or 3 where the archive is damaged or something is still owed."""
    damaged = progress.read is not None and progress.read.damage is not None
    return ExitCode.LOOK if damaged or not progress.is_complete else ExitCode.DONE


def summary(day: str, slot: str, progress: ArchiveProgress, counts: Counts) -> dict[str, object]:
    from audioctl.ledger.rows import archive_values

    values = archive_values(progress, lease_is_held=False)
    kept = ("state", "reason", "error", "attempt", "clips", "stored", "rejected", "skipped", "audio_seconds")
    return {
        "schema": JSON_SCHEMA,
        "day": day,
        "slot": slot,
        **{name: values[name] for name in (*kept, "owed_record", "owed_upload")},
        "elapsed_seconds": round(counts.elapsed_seconds, 3),
        "first_transcript_seconds": counts.first_transcript_seconds,
        "transcribe_busy_seconds": round(counts.transcribe_busy_seconds, 3),
    }


def summary_line(name: str, progress: ArchiveProgress, counts: Counts) -> str:
    """What was done, in one sentence, and what is left."""
    batches = progress.batches.values()
    stored, rejected = sum(batch.stored for batch in batches), sum(batch.rejected for batch in batches)
    audio_seconds = sum(batch.audio_seconds for batch in batches)
    state, reason = progress.state(lease_is_held=False)
    parts = [f"{one_line(name)}: {state}" + (f" ({reason})" if reason else "")]
    parts.append(f"{stored:,} clips stored ({audio_hours(audio_seconds)}), {rejected:,} rejected")
    if counts.clips_stored:
        speed = counts.audio_seconds / max(counts.elapsed_seconds, 1e-3)
        parts.append(f"in {duration(counts.elapsed_seconds)}, {speed:,.0f} × real time")
    elif progress.is_complete:
        parts.append("nothing was left to transcribe")
    owed = [
        f"{count:,} {what}"
        for count, what in (
            (progress.owed(Stage.UPLOAD), "files to upload"),
            (progress.owed(Stage.RECORD, Stage.CONFIRM), "rows to record"),
        )
        if count
    ]
    if owed:
        parts.append(f"owed: {', '.join(owed)}; `audioctl resume` sends them")
    return "; ".join(parts) + "."
