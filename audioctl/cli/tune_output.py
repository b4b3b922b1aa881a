"""What ``audioctl tune`` has measured, in words or as JSON."""

from __future__ import annotations

import math
import os
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from audioctl.cli.output import Column, audio_hours, one_line, print_line, print_table
from audioctl.node import node_name
from audioctl.settings import Settings

if TYPE_CHECKING:
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


def print_tuned(archive: Path, settings: Settings, sample: Sample, tuned: Tuned, differences: bool) -> None:
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


def summary(archive: Path, settings: Settings, sample: Sample, tuned: Tuned, differences: bool) -> dict[str, object]:
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
