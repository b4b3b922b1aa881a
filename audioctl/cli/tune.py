"""``audioctl tune``: what the recogniser's settings gain on this machine, and what they cost in words, on clips of
one's own. It only tells; no file is changed."""

from __future__ import annotations

import math
import os
import sys
import textwrap
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Self

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from audioctl.cli.arguments import ArchiveArgument, JsonOption
from audioctl.cli.flags import settings_flags
from audioctl.cli.output import Column, audio_hours, duration, note, one_line, print_json, print_line, print_table
from audioctl.cli.progress import LINE_SECONDS
from audioctl.environment import limit_linear_algebra, secrets_taken
from audioctl.node import node_name
from audioctl.settings import Settings
from audioctl.states import ExitCode

if TYPE_CHECKING:
    from audioctl.pipeline.drain import DrainRequest
    from audioctl.sampling import Sample
    from audioctl.ways import Measured, Recommended, Tuned, Way

JSON_SCHEMA = 1

SHOWN_DIFFERENCES = 3

_COLUMNS = [
    Column("window"),
    Column("beams", "right"),
    Column("at once", "right"),
    Column("computes with"),
    Column("× real time", "right"),
    Column("words", "right"),
    Column("clips", "right"),
    Column("", fold=True),
]


def register(app: typer.Typer) -> None:
    app.command("tune")(tune)


@settings_flags(
    "paths.scratch",
    "convert.num_workers",
    "transcribe.model",
    "transcribe.device",
    "transcribe.compute_type",
    "transcribe.language",
    "transcribe.process_batch_size",
    "transcribe.window_batch_size",
    "transcribe.profile",
    "transcribe.beam_size",
    "transcribe.vad",
)
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
        print_json(_summary(archive, settings, sample, tuned, differences))
    else:
        _print(archive, settings, sample, tuned, differences)
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


def _print(archive: Path, settings: Settings, sample: Sample, tuned: Tuned, differences: bool) -> None:
    print_table(_COLUMNS, [_row(one, tuned) for one in tuned.measured])
    print_line()
    _say(
        f"Heard: {len(sample.clips):,} clips ({audio_hours(sample.audio_seconds)} of audio, {tuned.words:,} words), "
        f"drawn by chance from the first {sample.members_read:,} members of {one_line(archive.name)}; "
        f"{settings.transcribe.model} on {_machine(tuned.device)}."
    )
    _say(
        "words: the share that is as in the reference, the slowest and most careful way, with case and punctuation. "
        "clips: how many have another text."
    )
    if (itself := tuned.reference.agreement) < 1:
        _say(f"Heard again, the reference agrees with itself in {_percent(itself)}: some words it only guesses.")
    if tuned.left_out:
        print_line(f"Not measured ({'ended early' if tuned.ended_early else 'no time; --minutes gives more'}):")
        for way in tuned.left_out:
            print_line(f"  {way}")
    if differences:
        _print_differences(sample, tuned)
    _print_recommended(tuned)


def _row(one: Measured, tuned: Tuned) -> list[str]:
    way = one.way
    marks = [
        word for word, marked in (("reference", tuned.reference), ("configured", tuned.configured)) if marked.way == way
    ]
    at_once = f"{one.windows_at_once or way.window_batch_size or '-'}"
    head = [way.window, str(way.beam_size), at_once, one.computed_with or way.compute_type]
    if one.speed is None:
        return [*head, "-", "-", "-", one_line(", ".join([*marks, one.failed]))]
    return [*head, f"{one.speed:,.1f}", _percent(one.agreement), str(len(one.differing)), ", ".join(marks)]


def _percent(share: float) -> str:
    """Rounded down, because 100% is to say that no word differs."""
    return "100%" if share == 1 else f"{math.floor(share * 10_000) / 100:.2f}%"


def _print_differences(sample: Sample, tuned: Tuned) -> None:
    for one in tuned.measured:
        if one.differing:
            print_line(f"\n{one.way}:")
        for index in list(one.differing)[:SHOWN_DIFFERENCES]:
            print_line(f"  {one_line(sample.clips[index].member.name)}")
            print_line(f"    reference: {one_line(tuned.reference_texts[index])}")
            print_line(f"    here:      {one_line(one.differing[index])}")


def _print_recommended(tuned: Tuned) -> None:
    from audioctl.ways import recommend

    print_line()
    if not tuned.words:
        _say("Nobody says a word in the sample, so nothing can be said of the settings. Try another archive.")
        return
    recommended = recommend(tuned)
    same = recommended.same_words
    if same.way == tuned.configured.way:
        _say("The same words on this sample: what is configured has them, and nothing with them is notably faster.")
    else:
        _say(f"The same words on this sample{_faster(same, tuned.configured)}:")
    print_line(same.way.toml)
    if (nearly := recommended.nearly) is not None:
        print_line()
        _say(
            f"Nearly the same words, {_percent(nearly.agreement)}, with another text of {len(nearly.differing):,} "
            f"clips{_faster(nearly, same, 'those above')}:"
        )
        print_line(nearly.way.toml)


def _say(line: str) -> None:
    console = Console()
    # A terminal would break words.
    print_line(textwrap.fill(line, console.width, break_on_hyphens=False) if console.is_terminal else line)


def _faster(one: Measured, than: Measured, name: str = "what is configured") -> str:
    if not one.speed or not than.speed:
        return ""
    return f", at {one.speed / than.speed:.2g} times the speed of {name}"


def _machine(device: str) -> str:
    what = f"{len(os.sched_getaffinity(0))} CPU cores" if device == "cpu" else _gpu_name()
    return f"{what} of {node_name()}"


def _gpu_name() -> str:
    """By PyTorch, where it is; CTranslate2 does not tell."""
    try:
        import torch
    except ImportError:
        return "a GPU"
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "a GPU"


def _summary(archive: Path, settings: Settings, sample: Sample, tuned: Tuned, differences: bool) -> dict[str, object]:
    from audioctl.ways import recommend

    recommended: Recommended | None = recommend(tuned) if tuned.words else None
    return {
        "schema": JSON_SCHEMA,
        "archive": str(archive),
        "model": settings.transcribe.model,
        "device": tuned.device,
        "machine": _machine(tuned.device),
        "ended_early": tuned.ended_early,
        "sample": {
            "clips": len(sample.clips),
            "drawn_from_members": sample.members_read,
            "audio_seconds": round(sample.audio_seconds, 3),
            "speech_seconds": round(sample.speech_seconds, 3),
            "words": tuned.words,
            "damage": sample.damage,
        },
        "measured": [_measured_values(one, sample, tuned, differences) for one in tuned.measured],
        "left_out": [_settings_values(way) for way in tuned.left_out],
        "recommended": _recommended_values(recommended),
    }


def _settings_values(way: Way) -> dict[str, object]:
    return {
        "window": way.window,
        "beam_size": way.beam_size,
        "window_batch_size": way.window_batch_size,
        "compute_type": way.compute_type,
    }


def _measured_values(one: Measured, sample: Sample, tuned: Tuned, differences: bool) -> dict[str, object]:
    measured = one.speed is not None
    values: dict[str, object] = {
        "settings": _settings_values(one.way),
        "is_reference": one.way == tuned.reference.way,
        "is_configured": one.way == tuned.configured.way,
        "computed_with": one.computed_with or None,
        "windows_at_once": one.windows_at_once or None,
        "failed": one.failed or None,
        "seconds": [round(seconds, 4) for seconds in one.seconds],
        "times_real_time": None if one.speed is None else round(one.speed, 2),
        "agreement": one.agreement if measured else None,
        "clips_differing": len(one.differing) if measured else None,
    }
    if differences:
        values["differences"] = [
            {"member": sample.clips[index].member.name, "reference": tuned.reference_texts[index], "here": text}
            for index, text in list(one.differing.items())[:SHOWN_DIFFERENCES]
        ]
    return values


def _recommended_values(recommended: Recommended | None) -> dict[str, object] | None:
    if recommended is None:
        return None
    nearly = recommended.nearly
    return {
        "same_words": _settings_values(recommended.same_words.way),
        "nearly_the_same_words": None if nearly is None else _settings_values(nearly.way),
    }
