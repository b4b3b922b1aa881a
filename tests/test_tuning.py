"""What ``audioctl tune`` measures, with a recogniser that can be told how fast it is and what it hears."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest
from measured_ways import CLIPS, CONFIGURED, GREEDY, REFERENCE, SAID, sample

from audioctl.clips import Segment, Window, WindowTranscript
from audioctl.engines.loading import BEAMS
from audioctl.engines.whisper import WhisperOptions
from audioctl.errors import ModelError
from audioctl.settings import Transcribe
from audioctl.tuning import MOST_HEARINGS, Tuning, other_compute_types, variations
from audioctl.ways import Measured, Tuned, Way, recommend


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class StandIn:
    """A model of which ``cost`` tells the seconds for a window, and ``hear`` the words. It fits as many windows as
    ``fits`` says."""

    clock: Clock
    compute_type: str = "float32"
    cost: Callable[[WhisperOptions, str], float] = lambda options, _: options.shortest_frames / 3000
    hear: Callable[[WhisperOptions, str, int], str] = lambda *_: SAID
    fits: Callable[[WhisperOptions, str], int] = lambda *_: 1000
    device: str = "cpu"
    compute_types: list[str] = field(default_factory=lambda: ["float32", "int8", "int8_float32"])
    unloaded: bool = False

    def options(self, settings: Transcribe) -> WhisperOptions:
        frames = {"auto": 3000, "full": 3000, "longest": 1000}
        return WhisperOptions(
            window_batch_size=settings.window_batch_size or 4,
            beam_size=settings.beam_size or BEAMS[settings.profile],
            shortest_frames=frames.get(settings.window) or 100 * int(settings.window),
        )

    def engine(self, settings: Transcribe) -> StandInEngine:
        return StandInEngine(self, self.options(settings))

    def unload(self) -> None:
        self.unloaded = True


class StandInEngine:
    def __init__(self, model: StandIn, options: WhisperOptions) -> None:
        self.model = "stand-in"
        self.busy_seconds = 0.0
        self.windows_at_once = options.window_batch_size
        self._loaded = model
        self._options = options

    def transcribe(self, windows: Sequence[Window]) -> list[WindowTranscript]:
        loaded, options = self._loaded, self._options
        assert not loaded.unloaded
        fits = loaded.fits(options, loaded.compute_type)
        if fits == 0:
            raise ModelError("There is not enough memory.") from RuntimeError("CUDA out of memory")
        self.windows_at_once = min(self.windows_at_once, fits)
        loaded.clock.now += len(windows) * loaded.cost(options, loaded.compute_type)
        texts = [loaded.hear(options, loaded.compute_type, window.clip) for window in windows]
        return [WindowTranscript([Segment(0, 1, text, 0, 0, 1)], "en", 1.0) for text in texts]


@dataclass
class Bench:
    """``model`` makes what is loaded for a compute type; None is one that does not fit."""

    model: Callable[[str], StandIn | None]
    clock: Clock
    loads: list[str] = field(default_factory=list)
    loaded: list[StandIn] = field(default_factory=list)

    def load(self, settings: Transcribe) -> StandIn:
        assert all(model.unloaded for model in self.loaded), "two models would be in memory"
        self.loads.append(settings.compute_type)
        model = self.model(settings.compute_type)
        if model is None:
            raise ModelError("It cannot be loaded.") from RuntimeError("CUDA out of memory")
        self.loaded.append(model)
        return model

    def tune(self, budget_seconds: float = 1e6, **settings: object) -> Tuned:
        transcribe = Transcribe(model="stand-in", **settings)  # type: ignore[arg-type]
        found = Tuning(sample(), transcribe, self.load, budget_seconds, clock=self.clock).run()
        assert found is not None
        return found


def bench(default: str = "float32", **behaviour: object) -> Bench:
    clock = Clock()

    def model(compute_type: str) -> StandIn:
        made_of_it = default if compute_type == "default" else compute_type
        return StandIn(clock, made_of_it, **behaviour)  # type: ignore[arg-type]

    return Bench(model, clock)


def by_way(found: Tuned) -> dict[Way, Measured]:
    return {one.way: one for one in found.measured}


def test_short_windows_that_keep_the_words_are_recommended_whatever_the_number_format() -> None:
    found = bench().tune()
    same = recommend(found).same_words.way
    assert same.window == "longest"
    assert found.reference.way == found.configured.way  # full windows, 5 beams and float32 are what is configured


def test_a_fast_setting_that_changes_words_is_not_recommended_as_the_same() -> None:
    def hear(options: WhisperOptions, _: str, clip: int) -> str:
        return "one two three for five" if options.shortest_frames <= 1000 and clip == 0 else SAID

    found = bench(hear=hear).tune()
    recommended = recommend(found)
    assert recommended.same_words.way.window == "15"
    assert by_way(found)[replace(CONFIGURED, window="longest")].agreement == pytest.approx(0.99)
    assert recommended.nearly is not None
    assert recommended.nearly.way.window == "longest"


def test_a_number_format_that_changes_words_is_compared_with_the_most_exact_one() -> None:
    """What is configured changes words here, and short windows do not: so short windows with float32 it is."""
    wrong = bench(default="int8_float32", hear=lambda _, kind, __: SAID if kind == "float32" else "one")
    found = wrong.tune()
    assert found.reference.way == REFERENCE
    assert found.configured.agreement == pytest.approx(0.2)
    assert recommend(found).same_words.way == Way("longest", 5, 0, "float32")
    assert wrong.loads == ["default", "float32", "default", "float32"]


def test_a_model_is_loaded_once_for_each_number_format() -> None:
    right = bench()
    right.tune()
    assert right.loads == ["default", "int8_float32"]


def test_words_that_are_heard_by_chance_count_against_a_way() -> None:
    """A model that doubts draws words; once right is not the same words."""
    hearings: dict[int, int] = {}

    def hear(options: WhisperOptions, _: str, __: int) -> str:
        hearings[options.beam_size] = hearings.get(options.beam_size, 0) + 1
        return "one" if options.beam_size == 1 and hearings[1] > 2 * CLIPS else SAID

    found = bench(hear=hear, cost=lambda options, _: options.beam_size / 5).tune()
    assert by_way(found)[GREEDY].agreement < 1
    assert recommend(found).same_words.way.beam_size == 5


def test_what_does_not_fit_is_a_result() -> None:
    found = bench(fits=lambda *_: 6).tune()
    assert "6 windows do" in by_way(found)[replace(CONFIGURED, window_batch_size=8)].failed
    assert by_way(found)[replace(CONFIGURED, window_batch_size=2)].speed
    assert recommend(found).same_words.way.window_batch_size == 0


def test_a_number_format_that_cannot_be_loaded_is_a_result_and_tried_once() -> None:
    clock = Clock()
    without_int8 = Bench(lambda kind: None if kind == "int8_float32" else StandIn(clock), clock)
    found = without_int8.tune()
    failed = [one for one in found.measured if one.failed]
    assert {(one.way.compute_type, one.failed) for one in failed} == {("int8_float32", "does not fit")}
    assert without_int8.loads.count("int8_float32") == 1
    assert recommend(found).same_words.way.window == "longest"


def test_where_the_most_exact_format_does_not_fit_the_configured_one_is_the_reference() -> None:
    clock = Clock()
    small = Bench(lambda kind: None if kind == "float32" else StandIn(clock, "int8_float32"), clock)
    found = small.tune()
    assert (found.reference.way.compute_type, found.reference.agreement) == ("default", 1)


def test_a_sample_that_cannot_be_heard_at_all_is_an_error_with_a_hint() -> None:
    with pytest.raises(ModelError, match="cannot hear the sample: does not fit") as raised:
        bench(fits=lambda *_: 0).tune()
    assert raised.value.hint


def test_without_time_only_the_reference_and_what_is_configured_are_heard() -> None:
    found = bench(default="int8_float32").tune(budget_seconds=0)
    assert [one.way for one in found.measured] == [REFERENCE, CONFIGURED]
    assert [len(one.seconds) for one in found.measured] == [1, 1]
    assert replace(CONFIGURED, window="longest") in found.left_out


def test_with_time_each_way_is_heard_several_times() -> None:
    found = bench().tune()
    assert min(len(one.seconds) for one in found.measured) == MOST_HEARINGS


@pytest.mark.parametrize("after", [0, 1, 3, 9, 17])
def test_it_can_be_stopped_between_any_two_hearings(after: int) -> None:
    right = bench(default="int8_float32")
    said: list[str] = []

    def heard() -> int:
        return sum("hearing" in what for what in said)

    settings = Transcribe(model="stand-in")
    tuning = Tuning(sample(), settings, right.load, 1e6, lambda: heard() >= after, said.append, right.clock)
    found = tuning.run()
    assert heard() == after
    if found is None:
        assert after == 0
    else:
        assert found.ended_early
        assert sum(len(one.seconds) for one in found.measured) == after
        assert recommend(found).same_words.speed


def test_variations_that_come_to_the_same_are_left_out() -> None:
    one_by_one = Transcribe(window="10", beam_size=1, window_batch_size=1)
    ways = variations(Way.of(one_by_one), StandIn(Clock()), one_by_one, windows=100)
    assert [way.window for way in ways if way.window != "10"] == ["15", "20", "full"]  # longest is 10 for this model
    assert [way.window_batch_size for way in ways if way.window_batch_size != 1] == [2, 0]
    assert [way.beam_size for way in ways if way.beam_size != 1] == [5]


@pytest.mark.parametrize(("windows", "sizes"), [(1, []), (2, []), (3, [2]), (4, [2]), (5, [8, 2])])
def test_batches_that_the_sample_does_not_fill_are_left_out(windows: int, sizes: list[int]) -> None:
    ways = variations(CONFIGURED, StandIn(Clock()), Transcribe(), windows)
    assert [way.window_batch_size for way in ways if way.window_batch_size] == sizes


def test_int8_is_not_measured_beside_what_it_stands_for() -> None:
    assert other_compute_types(StandIn(Clock(), "int8_float32")) == ["float32"]
    assert other_compute_types(StandIn(Clock(), compute_types=["float32", "int8"])) == ["int8"]


def test_the_settings_can_be_read_as_they_are_printed() -> None:
    way = Way("15", 1, 16, "int8_float32")
    assert Way.of(Transcribe(**tomllib.loads(way.toml)["transcribe"])) == way
