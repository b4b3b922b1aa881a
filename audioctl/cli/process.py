"""``audioctl process-tar``: the work on one archive, here and now. It is what the jobs run.

A job is told by its ``--run-id``. It may be run again and again, on any node: what it prints is a log of all its
attempts, it waits for a predecessor that may still be alive, and it leaves alone what was finished in its run.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audioctl.cli.arguments import ArchiveArgument, DayArgument, JsonOption, SlotArgument
from audioctl.cli.flags import PIPELINE_KEYS, settings_flags
from audioctl.cli.output import audio_hours, duration, note, one_line, print_json, print_line
from audioctl.days import parse_day, parse_slot
from audioctl.environment import limit_linear_algebra, secrets_taken
from audioctl.joblog import JobContext, JobLog
from audioctl.node import node_name
from audioctl.settings import Settings
from audioctl.states import ExitCode, Stage

if TYPE_CHECKING:
    from audioctl.ledger.progress import ArchiveProgress
    from audioctl.pipeline.counters import Counts
    from audioctl.pipeline.job import ArchiveJob

JSON_SCHEMA = 1

_JOB_LOG = f"{__name__}.job_log"
"""Where the click context keeps the job's log."""


def register(app: typer.Typer) -> None:
    app.command("process-tar")(process_tar)


def _begin_log(context: typer.Context, run_id: str | None) -> str | None:
    """Called while the command line is read, so that all errors are lines of the log."""
    if run_id is not None:
        context.meta[_JOB_LOG] = JobLog()
    return run_id


@settings_flags(*PIPELINE_KEYS)
def process_tar(
    context: typer.Context,
    day: DayArgument,
    archive: ArchiveArgument,
    slot: SlotArgument,
    settings: Settings,
    as_json: JsonOption = False,
    run_id: Annotated[str | None, typer.Option("--run-id", hidden=True, is_eager=True, callback=_begin_log)] = None,
    job_id: Annotated[str | None, typer.Option("--job-id", hidden=True)] = None,
) -> None:
    """Work on one archive here, in the foreground.

    If it was worked on before, only what is missing is done. Ctrl-C finishes what is in flight; a second one ends at
    once. Either way nothing is lost.
    """
    from audioctl.archives import named_otherwise
    from audioctl.pipeline.counters import Counts
    from audioctl.pipeline.job import ArchiveJob
    from audioctl.temporary import temporary_files_together

    parse_day(day)
    parse_slot(slot)
    log: JobLog | None = context.meta.get(_JOB_LOG)
    if log is None and (odd := named_otherwise(archive.name, day, slot, settings.paths.pattern)):
        note(odd, style="yellow")
    job = ArchiveJob(day, slot, archive.absolute(), run_id, job_id or os.environ.get("SLURM_JOB_ID"))
    if log is not None and run_id is not None and settings.logging.format == "json":
        log.context = JobContext(day, slot, run_id, job.job_id, node_name())
    done_before = None if log is None else _done_before(job, settings, log)
    if done_before:
        progress, counts = done_before, Counts()
    else:
        with temporary_files_together():
            progress, counts = _run_job(job, settings, log)
    if as_json:
        print_json(summary(day, slot, progress, counts))
    elif done_before:
        print_line(f"{one_line(archive.name)}: already done in this run.")
    else:
        print_line(summary_line(archive.name, progress, counts))
    if exit_code := exit_code_for(progress):
        raise typer.Exit(exit_code)


def _done_before(job: ArchiveJob, settings: Settings, log: JobLog) -> ArchiveProgress | None:
    """What the journal says of an archive that an earlier attempt of this job's run has finished; tells the log which
    attempt this one is."""
    from audioctl.ledger.journal import journal_path
    from audioctl.ledger.progress import read_progress
    from audioctl.pipeline.attempt import is_done_in_run

    progress = read_progress(journal_path(Path(settings.paths.state_dir), job.day, job.slot))
    newest = progress.attempt.attempt if progress.attempt else 0
    if is_done_in_run(job, progress):
        log.attempt = newest
        return progress
    log.attempt = newest + 1  # unless another job comes in between
    return None


def run_archive(day: str, archive: Path, slot: str, settings: Settings) -> tuple[ArchiveProgress, Counts]:
    """Process one archive, of no run, with a progress display and signal handling."""
    from audioctl.pipeline.job import ArchiveJob

    return _run_job(ArchiveJob(day, slot, archive), settings, None)


def _run_job(job: ArchiveJob, settings: Settings, log: JobLog | None) -> tuple[ArchiveProgress, Counts]:
    """``log`` is told which attempt this is."""
    from audioctl.cli.foreground import run_in_foreground
    from audioctl.cli.progress import note_with_time, progress_display
    from audioctl.cli.worker import require_worker
    from audioctl.pipeline.counters import Counters
    from audioctl.pipeline.drain import DrainRequest

    require_worker()
    limit_linear_algebra(os.environ)
    counters = Counters()
    drain = DrainRequest(settings.slurm.drain_seconds)
    say = note_with_time if log is None else note

    def attempt_began(attempt: int) -> None:
        if log is not None:
            log.attempt = attempt

    with (
        secrets_taken(os.environ) as secrets,
        progress_display(job.path.name, counters, database=settings.database.enabled, say=say) as display,
    ):

        def work() -> ArchiveProgress:
            # Only now, when signals are heard already: these bring in what takes a second to import.
            from audioctl.engines.loading import load_engine
            from audioctl.engines.whisper import WhisperEngine
            from audioctl.pipeline.run import Surroundings, process_archive

            def load() -> WhisperEngine:
                engine = load_engine(settings.transcribe, settings.paths.models)
                display.tell(engine.description)
                return engine

            around = Surroundings(
                load,
                counters,
                drain,
                display.notify,
                attempt_began,
                secrets,
            )
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
    parts.append(f"{stored:,} clips transcribed ({audio_hours(audio_seconds)}), {rejected:,} rejected")
    if counts.clips_stored:
        speed = counts.audio_seconds / max(counts.elapsed_seconds, 1e-3)
        parts.append(f"in {duration(counts.elapsed_seconds)}, {speed:,.0f} × real time{_bound_by(progress)}")
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


def _bound_by(progress: ArchiveProgress) -> str:
    """In a few words; `audioctl status --why-slow` has more of them."""
    from audioctl.bounds import IN_WORDS, find_slowness

    timing = progress.ended.timing if progress.ended else None
    return f", bound by {IN_WORDS[find_slowness([timing]).bound.part]}" if timing and timing.batches else ""
