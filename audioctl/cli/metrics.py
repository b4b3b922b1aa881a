"""``audioctl metrics``: how the work stands, as numbers for Prometheus."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from audioctl import __version__
from audioctl.cli.flags import settings_flags
from audioctl.cli.ledger import fresh_ledger
from audioctl.cli.status_tables import elapsed_seconds
from audioctl.errors import UsageError
from audioctl.settings import Settings
from audioctl.states import ArchiveState, ClipState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prometheus_client import CollectorRegistry, Gauge

    from audioctl.ledger.queries import DayStatus

RECENT_DAYS = 7


def register(app: typer.Typer) -> None:
    app.command("metrics")(metrics)


@settings_flags("paths.state_dir")
def metrics(
    context: typer.Context,  # noqa: ARG001 - the flags are read from it
    settings: Settings,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE.prom", help="Replace this file, all at once.", show_default=False),
    ] = None,
    days: Annotated[
        int,
        typer.Option("--days", min=0, max=366, metavar="N", help="How many of the newest days get series of theirs."),
    ] = RECENT_DAYS,
) -> None:
    """Print numbers for Prometheus, or write them to a file.

    The file is for the textfile collector of node_exporter, which reads what ends in .prom.
    """
    from prometheus_client import generate_latest, write_to_textfile

    from audioctl.ledger.queries import all_days

    if out is not None and out.suffix != ".prom":
        raise UsageError(f"{out} does not end in .prom.", hint="node_exporter passes over files with other names.")
    with fresh_ledger(settings):
        registry = registry_of(all_days(), days)
    if out is None:
        sys.stdout.write(generate_latest(registry).decode())
        return
    try:
        write_to_textfile(str(out), registry)
    except OSError as error:
        raise UsageError(
            f"{out} cannot be written: {error.strerror}.", hint="Is its folder there, and yours?"
        ) from error


def registry_of(days: Sequence[DayStatus], recent: int) -> CollectorRegistry:
    """Sums over all ``days``, which are in order, and for each of the ``recent`` newest ones the same of its own.

    Everything is a gauge: what is counted here can become less, as when an archive is replaced, and Prometheus would
    take that for a counter that began anew, and add the whole once more.
    """
    from prometheus_client import CollectorRegistry, Gauge, Info

    registry = CollectorRegistry()
    Info("audioctl_build", "The audioctl that wrote this.", registry=registry).info({"version": __version__})
    _add_sums(registry, "audioctl", [((), day) for day in days], [])
    newest = [((day.day,), day) for day in days[max(0, len(days) - recent) :]]
    _add_sums(registry, "audioctl_day", newest, ["day"])
    name = "audioctl_day_speed_ratio"
    speed = Gauge(name, "Audio done, as times real time, since work began on the day.", ["day"], registry=registry)
    for labels, day in newest:
        if elapsed := elapsed_seconds(day):
            speed.labels(*labels).set(day.totals.audio_seconds / elapsed)
    if ended := [day.finished_at for day in days if day.finished_at]:
        # A time, not an age: the file is read later than it is written.
        name = "audioctl_newest_archive_finished_timestamp_seconds"
        gauge = Gauge(name, "When the newest finished archive was finished.", registry=registry)
        gauge.set(datetime.fromisoformat(max(ended)).timestamp())
    return registry


def _add_sums(
    registry: CollectorRegistry,
    prefix: str,
    days: Sequence[tuple[tuple[str, ...], DayStatus]],
    names: list[str],
) -> None:
    """Days with the same labels, whose ``names`` are these, are summed."""
    from prometheus_client import Gauge

    def gauge(name: str, words: str, *more: str) -> Callable[..., Gauge]:
        made = Gauge(f"{prefix}_{name}", words, [*names, *more], registry=registry)
        return lambda *values: made.labels(*values) if values else made

    archives = gauge("archives", "Archives, by their state.", "state")
    clips = gauge(
        "clips", "Members of archives, by what became of them: stored and rejected clips, and skipped.", "state"
    )
    audio = gauge("audio_seconds", "Audio of the clips that were stored.")
    files = gauge("owed_files", "Files that wait to be uploaded.")
    rows = gauge("owed_rows", "Rows that wait to be recorded in PostgreSQL.")
    for labels, day in days:
        for archive_state in ArchiveState:
            archives(*labels, archive_state).inc(getattr(day.totals, archive_state))
        for clip_state in ClipState:
            clips(*labels, clip_state).inc(getattr(day.totals, clip_state))
        audio(*labels).inc(day.totals.audio_seconds)
        files(*labels).inc(day.totals.owed_upload)
        rows(*labels).inc(day.totals.owed_record)
