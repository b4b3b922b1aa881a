"""``audioctl report``: a day as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audioctl.cli.arguments import DaysArgument, JsonOption
from audioctl.cli.flags import settings_flags
from audioctl.cli.ledger import fresh_ledger
from audioctl.cli.output import note, print_json, print_line
from audioctl.cli.unknown import check_known
from audioctl.clock import utc_now
from audioctl.days import parse_days
from audioctl.errors import UsageError
from audioctl.settings import Settings
from audioctl.whole_files import written_whole

if TYPE_CHECKING:
    from audioctl.reporting.figures import DayFigures

JSON_SCHEMA = 1


def register(app: typer.Typer) -> None:
    app.command("report")(report)


@settings_flags("paths.state_dir")
def report(
    context: typer.Context,  # noqa: ARG001 - the flags are read from it
    days: DaysArgument,
    settings: Settings,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="PATH",
            help="The page, or the folder for it. Else report-DAY.html in this folder.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a day as one HTML page.

    It needs no network; its path is printed. Jobs and stages over time, speed, what bounds it, costs, lengths and
    languages, transcripts worth a check, what was rejected, what failed and what to type. While jobs are at work it is
    an interim report. --json prints its figures instead.
    """
    wanted = parse_days(days)
    check_known(settings, wanted)
    if as_json and out is not None:
        raise UsageError("--json prints figures and writes no page.", hint="Leave out --out, or --json.")
    if out is not None and len(wanted) > 1 and not out.is_dir():
        raise UsageError(f"The pages of several days need a folder, and {out} is none.", hint=f"`mkdir -p {out}`")
    known = [figures for day in wanted if (figures := _figures(settings, day)) is not None]
    if as_json:
        from audioctl.reporting.objects import as_object

        print_json({"schema": JSON_SCHEMA, "generated_at": utc_now(), "days": list(map(as_object, known))})
        return
    for figures in known:
        print_line(str(_write(figures, Path(settings.paths.state_dir), out)))


def _figures(settings: Settings, day: str) -> DayFigures | None:
    """``None`` where nothing is known of the day."""
    from audioctl.ledger.queries import one_day, slots_that_need_a_person
    from audioctl.reporting.figures import gather

    with fresh_ledger(settings, [day]):
        status, needs_a_person = one_day(day), slots_that_need_a_person(day)
    return gather(Path(settings.paths.state_dir), status, needs_a_person, utc_now()) if status else None


def _write(figures: DayFigures, state_dir: Path, out: Path | None) -> Path:
    from audioctl.reporting.page import render_page

    path = out or Path()
    if path.is_dir():
        path /= f"report-{figures.status.day}.html"
    page = render_page(figures, state_dir)
    try:
        with written_whole(path) as unfinished:
            unfinished.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from error
    if figures.is_interim:
        note(f"{figures.status.day} is still being worked on: the page tells how far it is.")
    return path
