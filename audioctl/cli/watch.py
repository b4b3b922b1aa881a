"""``audioctl status --watch``: looks every few seconds, and shows what it finds as the place for it allows.

A look only reads: journals, runs, and what the scheduler says. So anybody may watch who may read the state folder.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.text import Text

from audioctl.cli.blocks import wrapped
from audioctl.cli.live_screen import LiveScreen, live_screen
from audioctl.cli.output import print_json_line, print_line
from audioctl.cli.watch_views import Page, View
from audioctl.clock import utc_now
from audioctl.errors import LedgerError
from audioctl.executors.registry import look_at_jobs, poll_seconds
from audioctl.jobs import JobKey, JobStatus
from audioctl.ledger.absorb import refresh
from audioctl.ledger.models import open_ledger
from audioctl.ledger.queries import DayStatus
from audioctl.runs import Run

LOOK_SECONDS = 2.0
"""How often journals are looked at; after a question to a scheduler its executor says how long to wait."""

JSON_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Look:
    """What was found at one time."""

    at: str
    days: list[DayStatus]
    page: Page
    troubles: tuple[str, ...]
    next_in_seconds: float

    def lines(self, width: int, height: int | None) -> list[Text]:
        """The page, with what could not be found out below its first line."""
        told = [line for trouble in self.troubles for line in wrapped(trouble, width, "yellow", most=2)]
        first, *others = self.page(self.at[11:], width, height and max(1, height - len(told)))
        return [first, *told, *others]


def watch(state_dir: Path, view: View, *, as_json: bool) -> None:
    """Until Ctrl-C. Raises LedgerError where not even a first look succeeds."""
    looks = _looks(state_dir, view)
    console = Console(highlight=False)
    with suppress(KeyboardInterrupt):
        if as_json:
            _print_json_lines(looks)
        # Rich would take the variable FORCE_COLOR for a terminal, which many jobs inherit.
        elif sys.stdout.isatty() and not console.is_dumb_terminal:
            with live_screen(console) as screen:
                _show(looks, screen)
        else:
            _print_pages(looks, console.width)


def _looks(state_dir: Path, view: View) -> Iterator[Look]:
    """Without end. The ledger stays open: a copy in memory, where it may not be written, is made only once."""
    look: Look | None = None
    while True:
        try:
            with open_ledger(state_dir) as database:
                while True:
                    jobs = _Jobs(state_dir)
                    at = utc_now()
                    refresh(database, state_dir, jobs.look, view.days)
                    days, page = view.look(at)
                    look = Look(at, days, page, tuple(jobs.troubles), jobs.next_in_seconds)
                    yield look
        except LedgerError as error:  # another command keeps it locked, or the file server does not answer
            if look is None:
                raise
            look = replace(look, at=utc_now(), troubles=(error.message,))
        yield look


class _Jobs:
    """Asks about jobs for one look."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self.troubles: list[str] = []
        self.next_in_seconds = LOOK_SECONDS

    def look(self, runs: Sequence[Run]) -> Mapping[JobKey, JobStatus]:
        statuses = look_at_jobs(self._state_dir, self.troubles.append, runs)
        self.next_in_seconds = max(LOOK_SECONDS, poll_seconds(runs))
        return statuses


def _show(looks: Iterator[Look], screen: LiveScreen) -> None:
    screen.show([Text("Looking ...", "dim")])
    for look in looks:
        until = time.monotonic() + look.next_in_seconds
        screen.show(look.lines(screen.width, screen.height))
        while screen.wait(max(0.0, until - time.monotonic())):
            screen.show(look.lines(screen.width, screen.height))


def _print_pages(looks: Iterator[Look], width: int) -> None:
    """For a pipe, or a terminal that cannot move its cursor."""
    for look in _changes(looks):
        print_line("\n".join(line.plain for line in look.lines(width, None)) + "\n")
        sys.stdout.flush()


def _print_json_lines(looks: Iterator[Look]) -> None:
    for look in _changes(looks):
        print_json_line({"schema": JSON_SCHEMA, "generated_at": look.at, "days": look.days})


def _changes(looks: Iterator[Look]) -> Iterator[Look]:
    """Those looks that found something else than the one before."""
    before: Look | None = None
    for look in looks:
        if before is None or (look.days, look.troubles) != (before.days, before.troubles):
            yield look
        before = look
        time.sleep(look.next_in_seconds)
