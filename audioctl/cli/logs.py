"""``audioctl logs``: what the jobs of an archive have printed."""

from __future__ import annotations

import codecs
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audioctl.cli.arguments import DayArgument, SlotArgument
from audioctl.cli.flags import settings_flags
from audioctl.cli.ledger import fresh_ledger
from audioctl.cli.output import note, printable
from audioctl.cli.unknown import check_slots, unknown_days
from audioctl.days import parse_day, parse_slot
from audioctl.errors import UsageError
from audioctl.settings import Settings
from audioctl.states import ArchiveState

if TYPE_CHECKING:
    from audioctl.ledger.events import AttemptStarted
    from audioctl.ledger.queries import ArchiveStatus
    from audioctl.logs import ArchiveLogs, GrowingFile

POLL_SECONDS = 1.0
"""How often a followed log is looked at. How often anybody asks about its job is the executor's to say."""

_LIVE = (ArchiveState.SUBMITTED, ArchiveState.RUNNING)


def register(app: typer.Typer) -> None:
    app.command("logs")(logs)


@settings_flags("paths.state_dir")
def logs(
    context: typer.Context,  # noqa: ARG001 - the flags are read from it
    day: DayArgument,
    slot: SlotArgument,
    settings: Settings,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print what comes, until the archive's jobs have ended.")
    ] = False,
    attempt: Annotated[
        int | None,
        typer.Option("--attempt", min=1, metavar="N", help="Of this attempt, not of the newest.", show_default=False),
    ] = None,
) -> None:
    """Print the log of the newest attempt at an archive.

    What Slurm said of its job comes after it.
    """
    from audioctl.logs import ArchiveLogs

    if follow and attempt is not None:
        raise UsageError("--follow is for the newest attempt.", hint="Leave out one of --follow and --attempt.")
    of_archive = ArchiveLogs(Path(settings.paths.state_dir).absolute(), parse_day(day), parse_slot(slot))
    archive = _look(settings, day, slot)
    if attempt is not None:
        _print_attempt(of_archive, attempt)
    elif follow:
        try:
            _follow(settings, of_archive, archive)
        except KeyboardInterrupt:
            from audioctl.cli.foreground import INTERRUPTED

            raise typer.Exit(INTERRUPTED) from None
    else:
        _end(archive, _begin(of_archive, archive))


def _look(settings: Settings, day: str, slot: str) -> ArchiveStatus:
    """How the archive stands now. Raises UsageError where there is none."""
    from audioctl.ledger.queries import one_day

    with fresh_ledger(settings, [day]):
        status = one_day(day)
    archives = {archive.slot: archive for archive in (status.archives or [])} if status else {}
    if not archives:
        raise unknown_days(settings, [day])
    check_slots([day], [slot], list(archives), hint=f"`audioctl status {day}` shows all.")
    return archives[slot]


def _print_attempt(of_archive: ArchiveLogs, number: int) -> None:
    from audioctl.logs import read_attempt

    attempts = of_archive.attempts()
    if number not in attempts:
        seen = f"attempts {min(attempts)} to {max(attempts)}" if attempts else "none so far"
        raise UsageError(
            f"{of_archive.slot} of {of_archive.day} has seen no attempt {number}.",
            hint=f"It has seen {seen}; without --attempt, the newest job's log is shown.",
        )
    begun = attempts[number]
    path = of_archive.of_run(begun.run_id) if begun.run_id else None
    note(_about(begun, path), style="dim")
    if path is not None:
        _print_or_say_so(read_attempt(path, number))
        _print_scheduler_log(path, begun.job_id)


def _follow(settings: Settings, of_archive: ArchiveLogs, archive: ArchiveStatus) -> None:
    """Print what comes until no job is under way; the logs of newer runs, too."""
    file = _begin(of_archive, archive)
    told = None
    while archive.state in _LIVE:
        if told != (told := _standing(archive)):
            note(told, style="dim")
        _print_for(_seconds_between_looks(of_archive, archive), file)
        before, archive = archive, _look(settings, of_archive.day, of_archive.slot)
        if archive.run_id != before.run_id:
            _print_rest(before, file)
            file = _begin(of_archive, archive)
        elif archive.state not in _LIVE:
            _print_for(POLL_SECONDS, file)  # a job has a last word after it has let go of its archive
    _end(archive, file)


def _begin(of_archive: ArchiveLogs, archive: ArchiveStatus) -> GrowingFile | None:
    """Print the log of the newest run, from the newest attempt on; ``None`` where that was by hand, in no run."""
    from audioctl.logs import GrowingFile, attempt_offset

    attempts = of_archive.attempts()
    newest = attempts.get(max(attempts, default=0))
    # Of a damaged journal the ledger may know nothing.
    run_id = archive.run_id or (newest.run_id if newest else None)
    begun = newest if newest is not None and newest.run_id == run_id else None
    path = of_archive.of_run(run_id) if run_id else None
    if begun is not None:
        note(_about(begun, path), style="dim")
    else:
        before = f"; --attempt {newest.attempt} shows the one before" if newest else ""
        note(f"Not begun by {_job(archive.job_id)}{before}: {path}", style="dim")
    if path is None:
        return None
    file = GrowingFile(path, attempt_offset(path, begun.attempt) if begun else 0)
    _print_or_say_so(file.read())
    return file


def _end(archive: ArchiveStatus, file: GrowingFile | None) -> None:
    _print_rest(archive, file)
    note(_standing(archive), style="bold")


def _print_rest(archive: ArchiveStatus, file: GrowingFile | None) -> None:
    if file is not None:
        _print(file.read())
        _print_scheduler_log(file.path, archive.job_id)


def _seconds_between_looks(of_archive: ArchiveLogs, archive: ArchiveStatus) -> float:
    from audioctl.executors.registry import executor_named
    from audioctl.runs import read_run, runs_folder

    if archive.run_id is None:
        return POLL_SECONDS
    run = read_run(runs_folder(of_archive.state_dir, of_archive.day) / archive.run_id)
    return executor_named(run.executor).poll_seconds


def _print_for(seconds: float, file: GrowingFile | None) -> None:
    """Print what comes meanwhile."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, POLL_SECONDS))
        if file is not None:
            _print(file.read())


def _print_scheduler_log(log: Path, job_id: str | None) -> None:
    from audioctl.logs import GrowingFile, scheduler_log

    if (path := scheduler_log(log, job_id)) is not None:
        note(f"What Slurm and its shell said of {_job(job_id)}: {path}", style="dim")
        _print(GrowingFile(path).read())


def _print_or_say_so(pieces: Iterable[bytes]) -> None:
    if not _print(pieces):
        note("It has printed nothing.")


def _print(pieces: Iterable[bytes]) -> bool:
    """For people, and, where a terminal would act on them, with control characters as escapes; whether any came."""
    from audioctl.logs import readable

    any_came = False
    pieces = map(readable, pieces)
    if sys.stdout.isatty():
        for text in codecs.iterdecode(pieces, "utf-8", "backslashreplace"):
            any_came = True
            sys.stdout.write(printable(text.expandtabs()))
    else:
        for piece in pieces:
            any_came = True
            sys.stdout.buffer.write(piece)
    sys.stdout.flush()
    return any_came


def _about(attempt: AttemptStarted, path: Path | None) -> str:
    where = path or "by hand, and printed where it was started"
    return f"Attempt {attempt.attempt}, {_job(attempt.job_id)} on {attempt.node}: {where}"


def _job(job_id: str | None) -> str:
    return f"job {job_id}" if job_id else "its job"


def _standing(archive: ArchiveStatus) -> str:
    reason = f" ({archive.reason})" if archive.reason else ""
    error = f": {archive.error}" if archive.error and archive.state not in _LIVE else ""
    return f"{archive.slot} is {archive.state}{reason}{error}"
