"""The progress of one archive: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from audioctl.cli.output import duration, note, one_line, size
from audioctl.clock import utc_now
from audioctl.pipeline.counters import Counters, Counts

LINE_SECONDS = 10.0


class ProgressDisplay(Protocol):
    """A context manager; ``tick`` is called several times a second, the other two from any thread.

    ``tell`` is for what may be known, ``notify`` for what goes wrong.
    """

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...
    def tick(self) -> None: ...
    def tell(self, message: str) -> None: ...
    def notify(self, message: str) -> None: ...


class Say(Protocol):
    """Prints a line, as ``audioctl.cli.output.note`` does."""

    def __call__(self, message: str, *, style: str = "") -> None: ...


def note_with_time(message: str, *, style: str = "") -> None:
    note(f"{utc_now()} {message}", style=style)


def progress_display(title: str, counters: Counters, *, database: bool, say: Say = note_with_time) -> ProgressDisplay:
    """``say`` is what prints the plain lines."""
    if sys.stderr.isatty():  # Rich would take the variable FORCE_COLOR for a terminal, which many jobs inherit
        return LiveDisplay(title, counters, Console(stderr=True, highlight=False), database)
    return LineDisplay(title, counters, say)


class LiveDisplay:
    def __init__(self, title: str, counters: Counters, console: Console, database: bool) -> None:
        self._title = one_line(title)
        self._counters = counters
        self._console = console
        self._database = database
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    def tick(self) -> None:
        self._live.update(render(self._title, self._counters.look(), database=self._database), refresh=True)

    def tell(self, message: str) -> None:
        self._console.print(Text(one_line(message)), soft_wrap=True)

    def notify(self, message: str) -> None:
        self._console.print(Text(one_line(message), "yellow"), soft_wrap=True)


class LineDisplay:
    def __init__(self, title: str, counters: Counters, say: Say = note_with_time) -> None:
        self._title = one_line(title)
        self._counters = counters
        self._say = say
        self._next_line = time.monotonic() + LINE_SECONDS

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._counters.look().members_read:
            self._print()

    def tick(self) -> None:
        if time.monotonic() >= self._next_line and _anything_happened(self._counters.look()):
            self._print()

    def tell(self, message: str) -> None:
        self._say(one_line(message))

    def notify(self, message: str) -> None:
        self._say(one_line(message), style="yellow")

    def _print(self) -> None:
        self._next_line = time.monotonic() + LINE_SECONDS
        self._say(f"{self._title}: {in_one_line(self._counters.look())}")


def _anything_happened(counts: Counts) -> bool:
    """Not while the job waits for an archive that another one holds."""
    return replace(counts, elapsed_seconds=0.0) != Counts()


def render(title: str, counts: Counts, *, database: bool) -> Group:
    """The display for one look: a bar of the archive, then a line for each stage."""
    head = Table.grid(padding=(0, 2), expand=False)
    share = counts.share_done
    head.add_row(
        Text(title, "bold", overflow="ellipsis", no_wrap=True),
        ProgressBar(total=1.0, completed=share or 0.0, width=24, pulse=share is None),
        Text("" if share is None else f"{share:4.0%}"),
        Text(_time_left(counts), "dim"),
    )
    stages = Table.grid(padding=(0, 2))
    stages.add_column(style="bold cyan")
    stages.add_column(justify="right")
    stages.add_column(style="dim", overflow="ellipsis", no_wrap=True)
    for name, done, more in stage_rows(counts, database=database):
        stages.add_row(name, done, more)
    return Group(head, stages)


def stage_rows(counts: Counts, *, database: bool) -> list[tuple[str, str, str]]:
    """(stage, what it has done, the rest of what there is to say) for each stage."""
    seconds = max(counts.elapsed_seconds, 1e-3)
    set_aside = [
        f"{count:,} {word}"
        for count, word in ((counts.clips_rejected, "rejected"), (counts.members_skipped, "skipped"))
        if count
    ]
    speed = [
        f"{counts.clips_stored / seconds:,.1f} clips/s",
        f"{counts.audio_seconds / seconds:,.0f} × real time",
        f"busy {min(1.0, counts.transcribe_busy_seconds / seconds):.0%}",
    ]
    read = f"{size(counts.compressed_bytes_read)} of {size(counts.compressed_size_bytes)}"
    rows = [
        ("extract", f"{counts.members_read:,} members", read if counts.compressed_size_bytes else ""),
        ("convert", f"{counts.clips_converted:,} clips", ", ".join(set_aside)),
        ("transcribe", f"{counts.clips_stored:,} clips", ", ".join(speed) if counts.clips_stored else "loading"),
        ("upload", f"{counts.clips_uploaded:,} files", _owed(counts.owed_upload, size(counts.bytes_uploaded))),
    ]
    if database:
        rows.insert(3, ("record", f"{counts.clips_recorded:,} rows", _owed(counts.owed_record, "")))
    if counts.clips_before:
        rows.insert(0, ("before", f"{counts.clips_before:,} clips", "kept from earlier attempts"))
    return rows


def in_one_line(counts: Counts) -> str:
    """For logs."""
    seconds = max(counts.elapsed_seconds, 1e-3)
    parts = [] if counts.share_read is None else [f"{counts.share_read:.0%} read"]
    if counts.clips_before:
        parts.append(f"{counts.clips_before:,} clips kept from earlier attempts")
    if counts.clips_stored or not counts.clips_before:
        parts += [
            f"{counts.clips_stored:,} clips transcribed",
            f"{counts.clips_rejected:,} rejected",
            f"{counts.clips_stored / seconds:,.1f} clips/s",
            f"{counts.audio_seconds / seconds:,.0f} x real time",
        ]
    parts.append(f"{counts.clips_uploaded:,} uploaded")
    if counts.owed_upload:
        parts.append(f"{counts.owed_upload:,} wait for upload")
    if counts.owed_record:
        parts.append(f"{counts.owed_record:,} wait for the database")
    if left := _time_left(counts):
        parts.append(left)
    return ", ".join(parts)


def _owed(count: int, done: str) -> str:
    return ", ".join(filter(None, (done, f"{count:,} waiting" if count else "")))


def _time_left(counts: Counts) -> str:
    remaining = counts.remaining_seconds
    return f"{duration(remaining)} left" if remaining else ""
