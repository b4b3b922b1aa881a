"""``audioctl tune``: what the recogniser's settings gain on this machine, and what they cost in words, on clips of
one's own. It only tells; no file is changed."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Self

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from audioctl.cli.arguments import ArchiveArgument, JsonOption
from audioctl.cli.flags import RECOGNISER_KEYS, settings_flags
from audioctl.cli.output import duration, note, one_line, print_json
from audioctl.cli.progress import LINE_SECONDS
from audioctl.cli.tune_output import print_tuned, summary
from audioctl.environment import limit_linear_algebra, secrets_taken
from audioctl.settings import Settings
from audioctl.states import ExitCode

if TYPE_CHECKING:
    from audioctl.pipeline.drain import DrainRequest
    from audioctl.sampling import Sample
    from audioctl.ways import Tuned


def register(app: typer.Typer) -> None:
    app.command("tune")(tune)


@settings_flags("paths.scratch", "convert.num_workers", *RECOGNISER_KEYS)
def tune(
    context: typer.Context,  # noqa: ARG001 - the settings are read from it
    archive: ArchiveArgument,
    settings: Settings,
    clips: Annotated[int, typer.Option("--clips", min=1, metavar="N", help="Clips in the sample.")] = 40,
    minutes: Annotated[
        float, typer.Option("--minutes", min=0, metavar="N", help="How long to measure; then nothing more is begun.")
    ] = 5,
    differences: Annotated[
        bool, typer.Option("--differences", help="Show transcripts: some of the clips that were heard otherwise.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure which settings of the recogniser pay here.

    A sample of the archive's clips is heard in many ways: windows, beams, batch sizes and compute types. Their words
    are compared with those of the slowest and most careful way. Nothing is changed or stored; the best settings are
    printed. Ctrl-C ends it with what was measured.
    """
    from audioctl.cli.worker import require_worker
    from audioctl.pipeline.drain import DrainRequest
    from audioctl.temporary import temporary_files_together

    require_worker()
    limit_linear_algebra(os.environ)
    drain = DrainRequest(settings.slurm.drain_seconds)
    with temporary_files_together(), secrets_taken(os.environ):
        sample, tuned = _measure(archive.absolute(), settings, clips, minutes, drain)
    if tuned is None:
        note("Nothing was measured yet.")
        raise typer.Exit(ExitCode.DRAINED)
    if as_json:
        print_json(summary(archive, settings, sample, tuned, differences))
    else:
        print_tuned(archive, settings, sample, tuned, differences)
    if tuned.ended_early:
        raise typer.Exit(ExitCode.DRAINED)


def _measure(
    archive: Path, settings: Settings, clips: int, minutes: float, drain: DrainRequest
) -> tuple[Sample, Tuned | None]:
    from audioctl.cli.foreground import run_in_foreground
    from audioctl.models import find_model

    find_model(settings.transcribe.model, settings.paths.models)  # before anything is read in vain

    def work() -> tuple[Sample, Tuned | None]:
        # Only now, when signals are heard already: these take a second to import.
        from audioctl.engines.loading import LoadedModel, load_model
        from audioctl.pipeline.scratch import scratch_folder, scratch_root
        from audioctl.sampling import draw_sample
        from audioctl.settings import Transcribe
        from audioctl.tuning import Tuning

        def load(wanted: Transcribe) -> LoadedModel:
            return load_model(wanted, settings.paths.models)

        display.say("drawing a sample")
        with scratch_folder(scratch_root(settings.paths.scratch, os.environ)) as scratch:
            sample = draw_sample(archive, settings, clips, scratch)
        if sample.damage is not None:
            display.notify(f"{sample.damage} The sample is from what could be read.")
        tuning = Tuning(sample, settings.transcribe, load, minutes * 60, drain.is_requested, display.say)
        return sample, tuning.run()

    with _Display() as display:
        return run_in_foreground(work, drain, display, tick_seconds=0.2)


class _Display:
    """What is heard now: in place on a terminal, and elsewhere in a line every now and then."""

    def __init__(self) -> None:
        self._live: Live | None = None
        if sys.stderr.isatty():
            self._live = Live(console=Console(stderr=True, highlight=False), auto_refresh=False, transient=True)
        self._now = ""
        self._began = time.monotonic()
        self._next_line = self._began + LINE_SECONDS

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, what: str) -> None:
        self._now = what

    def tell(self, message: str) -> None:
        note(one_line(message))

    def notify(self, message: str) -> None:
        note(one_line(message), style="yellow")

    def tick(self) -> None:
        if self._live is not None:
            self._live.update(Text(self._line(), no_wrap=True, overflow="ellipsis"), refresh=True)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LINE_SECONDS
            note(self._line())

    def _line(self) -> str:
        return f"{duration(time.monotonic() - self._began)} {one_line(self._now)}"
