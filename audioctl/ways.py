"""Ways to hear the same clips, and which of them is worth having by its speed and by the words that it changes."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from audioctl.demo import word_errors
from audioctl.engines.loading import beams
from audioctl.settings import Transcribe

NOTABLY = 1.1
"""So many times as fast a way has to be to be worth a change; less is the noise of a machine that others use."""

NEARLY = 0.99


@dataclass(frozen=True, slots=True)
class Way:
    """The settings that are varied, as they would be written."""

    window: str
    beam_size: int
    window_batch_size: int
    compute_type: str

    @classmethod
    def of(cls, settings: Transcribe) -> Way:
        return cls(settings.window, beams(settings), settings.window_batch_size, settings.compute_type)

    def within(self, settings: Transcribe) -> Transcribe:
        return msgspec.structs.replace(
            settings,
            window=self.window,
            beam_size=self.beam_size,
            window_batch_size=self.window_batch_size,
            compute_type=self.compute_type,
        )

    @property
    def toml(self) -> str:
        """To be pasted."""
        return (
            f'[transcribe]\nwindow = "{self.window}"\nbeam_size = {self.beam_size}\n'
            f'window_batch_size = {self.window_batch_size}\ncompute_type = "{self.compute_type}"'
        )

    def __str__(self) -> str:
        return (
            f"window = {self.window}, beam_size = {self.beam_size}, window_batch_size = {self.window_batch_size}, "
            f"compute_type = {self.compute_type}"
        )


@dataclass
class Heard:
    """What one way gave: of each hearing its ``texts``, in the order of the sample, and its ``seconds``. Where it
    ``failed`` these words tell how."""

    texts: list[list[str]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    computed_with: str = ""
    windows_at_once: int = 0
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of one way. ``speed`` (times real time, by the clips' length) is ``None`` where it ``failed``.

    ``agreement`` is the share of the reference's words that are not changed, added or dropped, in the worst of all
    hearings; ``differing`` holds, by the clip's place in the sample, another text than the reference's. What it was
    ``computed_with`` and the ``windows_at_once`` are what came of the settings on this machine.
    """

    way: Way
    seconds: tuple[float, ...] = ()
    speed: float | None = None
    agreement: float = 0.0
    differing: Mapping[int, str] = field(default_factory=dict)
    computed_with: str = ""
    windows_at_once: int = 0
    failed: str = ""


def judge(way: Way, heard: Heard, reference_texts: Sequence[str], audio_seconds: float) -> Measured:
    if heard.failed:
        return Measured(way, computed_with=heard.computed_with, failed=heard.failed)
    errors = max(sum(map(word_errors, reference_texts, texts)) for texts in heard.texts)
    differing = {
        index: text
        for texts in reversed(heard.texts)
        for index, text in enumerate(texts)
        if text != reference_texts[index]
    }
    return Measured(
        way,
        tuple(heard.seconds),
        audio_seconds / max(statistics.median(heard.seconds), 1e-9),
        max(0.0, 1 - errors / max(1, _words(reference_texts))),
        dict(sorted(differing.items())),
        heard.computed_with,
        heard.windows_at_once,
    )


@dataclass(frozen=True, slots=True)
class Tuned:
    """``measured`` in the order of its beginning; ``left_out`` had no time. ``reference`` and ``configured`` may be the
    same."""

    reference: Measured
    configured: Measured
    measured: list[Measured]
    reference_texts: list[str]
    left_out: list[Way]
    device: str
    ended_early: bool

    @property
    def words(self) -> int:
        return _words(self.reference_texts)


@dataclass(frozen=True, slots=True)
class Recommended:
    """The fastest way without another word on this sample, and, where that is notably faster, the fastest with at most
    one in a hundred."""

    same_words: Measured
    nearly: Measured | None


def recommend(tuned: Tuned) -> Recommended:
    """What is configured stays where nothing with the same words is notably faster."""
    # The reference is itself, even where what it is unsure of was drawn by chance, and differs when heard again.
    same = _usable(one for one in tuned.measured if one.agreement == 1 or one.way == tuned.reference.way)
    nearly = _usable(one for one in tuned.measured if one.agreement >= NEARLY)
    if tuned.configured in same:
        best = _fastest(same, than=tuned.configured) or tuned.configured
    else:
        best = max(same, key=_speed, default=tuned.reference)
    return Recommended(best, _fastest(nearly, than=best))


def is_notably_faster(one: Measured, than: Measured) -> bool:
    """By more than the noise: its median hearing is also shorter than the shortest one of the other."""
    if not than.seconds:  # it failed
        return bool(one.seconds)
    return _speed(one) > NOTABLY * _speed(than) and statistics.median(one.seconds) < min(than.seconds)


def combine(configured: Measured, measured: Sequence[Measured], least_agreement: float) -> Way:
    """Of each setting the fastest value that, as the only change, keeps that agreement."""
    combined = configured.way
    for name in ("window", "beam_size", "window_batch_size"):
        rivals = [
            one
            for one in _usable(measured)
            if one.agreement >= least_agreement and configured.way == _with(one.way, name, configured.way)
        ]
        if rivals:
            combined = _with(combined, name, max(rivals, key=_speed).way)
    return combined


def _with(way: Way, name: str, other: Way) -> Way:
    """``way`` with that setting of ``other``."""
    return replace(way, **{name: getattr(other, name)})


def _usable(measured: Iterable[Measured]) -> list[Measured]:
    return [one for one in measured if one.speed is not None]


def _fastest(measured: Iterable[Measured], than: Measured) -> Measured | None:
    return max((one for one in measured if is_notably_faster(one, than)), key=_speed, default=None)


def _speed(measured: Measured) -> float:
    return measured.speed or 0.0


def _words(texts: Sequence[str]) -> int:
    return sum(len(text.split()) for text in texts)
