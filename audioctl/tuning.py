"""Which settings of the recogniser are worth having: how fast each is, and whether it keeps the words.

Measured against a reference, the slowest and most careful way to hear: full windows, at least 5 beams, and the most
exact number format of the device. From what is configured one setting is changed at a time; then the best of them come
together, with every number format. One model is in memory at a time, and all that is heard with it is heard in turns,
so that a machine that is busy for a while is so for all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import msgspec

from audioctl.engines.base import Engine
from audioctl.engines.batching import is_out_of_memory
from audioctl.engines.loading import BEAMS
from audioctl.engines.whisper import WhisperOptions
from audioctl.errors import ModelError
from audioctl.pipeline.transcribe import transcribe
from audioctl.sampling import Sample
from audioctl.settings import Transcribe
from audioctl.ways import NEARLY, Heard, Measured, Tuned, Way, combine, judge

MOST_HEARINGS = 5
"""Of one way; the median of more would hardly be another."""

_WINDOWS = ("longest", "10", "15", "20", "full")
_SHARE_FOR_REFERENCE = 0.1
_DOES_NOT_FIT = "does not fit"


class TunableEngine(Engine, Protocol):
    @property
    def windows_at_once(self) -> int: ...


class Recogniser(Protocol):
    """A loaded model; see ``audioctl.engines.loading.LoadedModel``."""

    @property
    def device(self) -> str: ...
    @property
    def compute_type(self) -> str: ...
    @property
    def compute_types(self) -> list[str]: ...
    def options(self, settings: Transcribe) -> WhisperOptions: ...
    def engine(self, settings: Transcribe) -> TunableEngine: ...
    def unload(self) -> None: ...


def variations(configured: Way, recogniser: Recogniser, settings: Transcribe, windows: int) -> list[Way]:
    """One change each, without those that come to the same for this model, or for so few ``windows``."""

    def outcome(way: Way) -> WhisperOptions:
        return recogniser.options(way.within(settings))

    at_once = outcome(configured).window_batch_size
    sizes = [size for size in (2 * at_once, at_once // 2, 0) if size == 0 or windows > min(size, at_once) > 0]
    changed = [
        *(replace(configured, window=window) for window in _WINDOWS[:-1]),
        replace(configured, beam_size=BEAMS["fast"]),
        *(replace(configured, window_batch_size=size) for size in sizes),
        replace(configured, beam_size=BEAMS["careful"]),
        replace(configured, window=_WINDOWS[-1]),
    ]
    different: dict[WhisperOptions, Way] = {}
    for way in (configured, *changed):
        different.setdefault(outcome(way), way)
    return [way for way in different.values() if way != configured]


def most_exact(recogniser: Recogniser) -> str:
    """float32 on a CPU. Models come in float16, so a GPU computes nothing more exact than what they are made of;
    where it is to compute with float32 all the same, that is it."""
    wanted = ["float32"] if recogniser.device == "cpu" or recogniser.compute_type == "float32" else ["float16"]
    return next((one for one in wanted if one in recogniser.compute_types), recogniser.compute_type)


def other_compute_types(recogniser: Recogniser) -> list[str]:
    """``int8`` is not among them, because it is always one of those that say what it goes with."""
    known = recogniser.compute_types
    redundant = {recogniser.compute_type, "int8" if any(one.startswith("int8_") for one in known) else ""}
    return [one for one in known if one not in redundant]


class Tuning:
    """Measures the ways to hear ``sample``. ``load`` loads the model as settings have it.

    After ``budget_seconds`` nothing is begun any more, except for the reference and for what is configured; ``stop``
    is asked between two hearings. ``say`` is told what is heard now. ``clock`` counts seconds.
    """

    def __init__(
        self,
        sample: Sample,
        settings: Transcribe,
        load: Callable[[Transcribe], Recogniser],
        budget_seconds: float,
        stop: Callable[[], bool] = lambda: False,
        say: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sample = sample
        self._settings = settings
        self._load = load
        self._stop = stop
        self._say = say
        self._clock = clock
        self._budget_end = clock() + budget_seconds
        self._heard: dict[Way, Heard] = {}
        self._recogniser: Recogniser | None = None
        self._loaded_as = ""
        self._engines: dict[Way, TunableEngine] = {}
        self._not_loadable: dict[str, ModelError] = {}

    def run(self) -> Tuned | None:
        """``None`` where it was to stop before there was anything to compare with. Raises ModelError where nothing can
        be heard as it is configured."""
        configured = Way.of(self._settings)
        first = self._loaded(configured.compute_type)
        exact = most_exact(first)
        others = other_compute_types(first)
        changed = variations(configured, first, self._settings, self._sample.windows)
        device = first.device
        as_exact = configured.compute_type if exact == first.compute_type else exact
        del first  # or two models would be in memory
        reference = self._reference(configured, as_exact)
        if reference is None:
            return None
        together = [reference] if reference.compute_type == configured.compute_type else []
        later = 2 + 3 * len(others)
        self._hear_in_turns(
            list(dict.fromkeys([configured, *changed, *together])),
            share=len(changed) / (len(changed) + later),
            at_any_rate=(configured,),
        )
        texts = self._heard[reference].texts[0]
        if not self._heard[configured].texts:
            return self._tuned(reference, configured, texts, device)
        single = self._judged(texts)
        base = single[configured]
        best = [combine(base, list(single.values()), least) for least in (base.agreement, NEARLY)]
        self._hear_in_turns(list(dict.fromkeys([configured, *best])), share=2 / later)
        for number, compute_type in enumerate(others):
            ways = [replace(way, compute_type=compute_type) for way in (configured, *best)]
            self._hear_in_turns(list(dict.fromkeys(ways)), share=1 / (len(others) - number))
        return self._tuned(reference, configured, texts, device)

    def _reference(self, configured: Way, compute_type: str) -> Way | None:
        """Heard twice where there is time, to see whether it agrees with itself. What is configured has to do where
        the most exact format does not fit."""
        careful = Way("full", max(BEAMS["careful"], configured.beam_size), 0, configured.compute_type)
        for chosen in dict.fromkeys((compute_type, configured.compute_type)):
            way = self._as_known(replace(careful, compute_type=chosen), configured)
            self._hear_in_turns([way], share=_SHARE_FOR_REFERENCE, at_any_rate=(way,), most_hearings=2)
            if self._heard[way].texts:
                return way
            if not self._heard[way].failed:
                return None
        raise ModelError(
            f"The recogniser {self._settings.model} cannot hear the sample: {self._heard[way].failed}.",
            hint="Use a smaller model, a smaller transcribe.window_batch_size, or a larger machine.",
        )

    def _as_known(self, way: Way, configured: Way) -> Way:
        """``configured`` where it is another way to write the same."""
        if way.compute_type != configured.compute_type:
            return way
        recogniser = self._loaded(way.compute_type)
        options = [recogniser.options(one.within(self._settings)) for one in (way, configured)]
        return configured if options[0] == options[1] else way

    def _hear_in_turns(
        self, ways: Sequence[Way], share: float, at_any_rate: Sequence[Way] = (), most_hearings: int = MOST_HEARINGS
    ) -> None:
        """Each once, and again until this ``share`` of the time that is left is over."""
        now = self._clock()
        repeats_end = now + max(0.0, self._budget_end - now) * share
        for way in ways:
            self._heard.setdefault(way, Heard())
        for turn in range(most_hearings):
            for way in ways:
                heard = self._heard[way]
                if self._stop():
                    return
                late = self._clock() >= (repeats_end if heard.texts else self._budget_end)
                needed = way in at_any_rate and not heard.texts
                if heard.failed or (late and not needed) or (turn and not heard.texts):
                    continue
                self._say(f"{way} (hearing {len(heard.texts) + 1})")
                self._hear(way, heard)

    def _hear(self, way: Way, heard: Heard) -> None:
        try:
            recogniser = self._loaded(way.compute_type)
            heard.computed_with = recogniser.compute_type
            if (engine := self._engines.get(way)) is None:
                engine = self._engines[way] = recogniser.engine(way.within(self._settings))
                first_window = next(window for clip in self._sample.clips for window in clip.windows)
                engine.transcribe([first_window])  # the first call allocates
            began = self._clock()
            parts = self._sample.parts(self._settings.process_batch_size)
            records = [record for part in parts for record in transcribe(part, engine)]
            seconds = self._clock() - began
        except ModelError as error:
            fits = not is_out_of_memory(error.__cause__ or error)
            heard.failed = error.message if fits else _DOES_NOT_FIT
            return
        heard.windows_at_once = engine.windows_at_once
        if heard.windows_at_once < way.window_batch_size:
            heard.failed = f"{_DOES_NOT_FIT}, {heard.windows_at_once} windows do"
            return
        heard.seconds.append(seconds)
        heard.texts.append([record.text or "" for record in records])

    def _loaded(self, compute_type: str) -> Recogniser:
        if (known := self._not_loadable.get(compute_type)) is not None:
            raise known
        if self._recogniser is None or self._loaded_as != compute_type:
            if self._recogniser is not None:
                self._engines.clear()
                self._recogniser.unload()
                self._recogniser = None
            self._say(f"loading the model with compute_type = {compute_type}")
            try:
                self._recogniser = self._load(msgspec.structs.replace(self._settings, compute_type=compute_type))
            except ModelError as error:
                self._not_loadable[compute_type] = error
                raise
            self._loaded_as = compute_type
        return self._recogniser

    def _judged(self, reference_texts: list[str]) -> dict[Way, Measured]:
        audio_seconds = self._sample.audio_seconds
        return {
            way: judge(way, heard, reference_texts, audio_seconds)
            for way, heard in self._heard.items()
            if heard.texts or heard.failed
        }

    def _tuned(self, reference: Way, configured: Way, texts: list[str], device: str) -> Tuned:
        judged = self._judged(texts)
        return Tuned(
            reference=judged[reference],
            configured=judged.get(configured, Measured(configured, failed="not measured")),
            measured=list(judged.values()),
            reference_texts=texts,
            left_out=[way for way in self._heard if way not in judged],
            device=device,
            ended_early=self._stop(),
        )
