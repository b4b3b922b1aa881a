"""The report of a day as one HTML page that asks nobody for anything."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup

from audioctl import __version__
from audioctl.bounds import IN_WORDS
from audioctl.data import report_templates_path
from audioctl.reporting import charts, views
from audioctl.reporting.figures import DayFigures
from audioctl.reporting.history import AttemptEnd
from audioctl.reporting.plain import one_line, plain
from audioctl.words import audio_hours, duration


def render_page(figures: DayFigures, state_dir: Path) -> str:
    """The whole document."""
    work, series = figures.work, figures.series
    present = {attempt.end for attempt in figures.attempts}
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            figures=figures,
            day=figures.status.day,
            totals=figures.status.totals,
            version=__version__,
            state_dir=str(state_dir),
            headline=views.headline(figures),
            costs=views.cost_facts(figures),
            lengths=views.lengths(figures.clips),
            languages=views.languages(figures.clips),
            rejected=views.reasons(figures.clips.rejected),
            skipped=views.reasons(figures.clips.skipped),
            flags=views.reasons(figures.clips.flags, of=figures.clips.stored),
            part_names=IN_WORDS,
            ends=[end for end in AttemptEnd if end in present],
            frame=charts.frame(work) if work else None,
            timeline=charts.timeline(figures.attempts, work) if work else None,
            speed=charts.speed_chart(series, work) if work and series else None,
            rate=charts.rate_chart(series, work) if work and series else None,
            stages=charts.stages_chart(series, work) if work and series else None,
            waiting=charts.waiting_chart(series, work) if work and series else None,
        )
    )


@cache
def _environment() -> jinja2.Environment:
    """Everything that the templates print is escaped, and shown as ``plain`` has it; nothing has to ask for it."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(report_templates_path()),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "audio_hours": audio_hours,
        "clock": _clock,
        "count": lambda number: f"{number:,}",
        "duration": duration,
        "moment": _moment,
        "name": one_line,
        "number": lambda number: f"{number:,.3g}" if number < 1000 else f"{number:,.0f}",
        "percent": lambda share: f"{share:.0%}" if share >= 0.1 or not share else f"{share:.1%}",
        "seconds": lambda seconds: f"{int(seconds // 60)}:{seconds % 60:04.1f}",
    }
    return environment


def _finalize(value: object) -> object:
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _clock(time: float) -> str:
    """Of seconds since 1970."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _moment(time: str | None) -> str:
    """Of a time as journals have it."""
    return time.replace("T", " ").removesuffix("Z") if time else "-"
