"""What the engine does when the model fails, doubts or leaves off, and how clips find their language.

A real model cannot be made to, so a scripted one takes the place of CTranslate2's.
"""

import copy
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from ctranslate2 import StorageView
from listening import text, whisper
from sounds import Samples

from audioctl.clips import SAMPLE_RATE, Window, WindowTranscript
from audioctl.engines.features import Features, LogMel
from audioctl.engines.whisper import WhisperEngine, WhisperOptions
from audioctl.errors import ModelError


@dataclass(frozen=True)
class Answer:
    """What CTranslate2 says of one window. ``scores`` are means over the tokens, without the end token."""

    sequences_ids: list[list[int]]
    scores: list[float]
    no_speech_prob: float = 0.0


@dataclass
class ScriptedModel:
    """CTranslate2's model as far as the engine uses it. It knows windows by their length in frames.

    ``encode`` and ``generate`` fail with ``failure`` when a batch is larger than they have memory for.
    """

    answer: Callable[[int, float], Answer]
    languages: Callable[[int], dict[str, float]] = lambda _: {"en": 0.9, "de": 0.1}
    largest_encode: int = 1000
    largest_generate: int = 1000
    failure: Exception = field(default_factory=lambda: RuntimeError("CUDA failed with error out of memory"))
    encoded: list[list[int]] = field(default_factory=list)
    generated: list[tuple[float, list[int]]] = field(default_factory=list)
    languages_asked: list[str] = field(default_factory=list)
    device: str = "cpu"
    is_multilingual: bool = True

    def encode(self, features: StorageView) -> list[int]:
        frames = [int(row.any(axis=0).sum()) for row in np.array(features)]
        self.encoded.append(frames)
        if len(frames) > self.largest_encode:
            raise self.failure
        return frames

    def detect_language(self, frames: list[int]) -> list[list[tuple[str, float]]]:
        return [[(f"<|{code}|>", share) for code, share in self.languages(one).items()] for one in frames]

    def generate(self, frames: list[int], prompts: list[list[int]], **options: Any) -> list[Answer]:
        if len(frames) > self.largest_generate:
            raise self.failure
        temperature = options.get("sampling_temperature", 0.0)
        self.generated.append((temperature, frames))
        self.languages_asked += [whisper().hf_tokenizer.id_to_token(prompt[1])[2:-2] for prompt in prompts]
        return [self.answer(one, temperature) for one in frames]


def at(seconds: float) -> int:
    return int(whisper().hf_tokenizer.token_to_id("<|notimestamps|>")) + 1 + round(seconds / 0.02)


def word(text: str = "alpha") -> int:
    (token,) = whisper().hf_tokenizer.encode(f" {text}", add_special_tokens=False).ids
    return int(token)


def sure(frames: int, _temperature: float = 0.0) -> Answer:
    """A word that lasts as long as its window, by which it is known."""
    return Answer([[at(0), word(), at(frames / 100)]], [-0.1])


def scripted(model: ScriptedModel, **options: Any) -> WhisperEngine:
    fake = copy.copy(whisper())
    fake.model = model
    return WhisperEngine(fake, "scripted", WhisperOptions(**options))


def noise(seconds: float, clip: int = 0, start_seconds: float = 0.0) -> Window:
    samples = np.random.default_rng(0).integers(-5000, 5000, round(seconds * SAMPLE_RATE)).astype(np.int16)
    return Window(clip, start_seconds, samples)


def ends(transcripts: Sequence[WindowTranscript]) -> list[float]:
    return [transcript.segments[-1].end for transcript in transcripts]


OUT_OF_MEMORY = [
    RuntimeError("CUDA failed with error out of memory"),
    RuntimeError("cuBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED"),
    RuntimeError("mkl_malloc: failed to allocate memory"),
    MemoryError("std::bad_alloc"),
]


@pytest.mark.parametrize("failure", OUT_OF_MEMORY, ids=str)
@pytest.mark.parametrize("stage", ["largest_encode", "largest_generate"])
def test_when_memory_runs_out_batches_become_smaller_and_nothing_is_lost(stage: str, failure: Exception) -> None:
    model = ScriptedModel(sure, failure=failure, **{stage: 4})  # type: ignore[arg-type]
    recogniser = scripted(model, window_batch_size=16)
    seconds = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]
    random.Random(0).shuffle(seconds)
    windows = [noise(one, clip) for clip, one in enumerate(seconds)]
    assert ends(recogniser.transcribe(windows)) == pytest.approx(seconds)
    assert [len(batch) for batch in model.encoded] == [10, 5, 3, 3, 3, 1]
    model.encoded.clear()
    assert ends(recogniser.transcribe(windows)) == pytest.approx(seconds)
    assert [len(batch) for batch in model.encoded] == [3, 3, 3, 1]


@pytest.mark.parametrize("failure", OUT_OF_MEMORY, ids=str)
def test_when_not_even_one_window_fits_the_user_is_told_so(failure: Exception) -> None:
    model = ScriptedModel(sure, largest_generate=0, failure=failure)
    with pytest.raises(ModelError, match="not enough memory for a single window") as raised:
        scripted(model).transcribe([noise(1), noise(2)])
    assert "compute_type" in (raised.value.hint or "")


@dataclass
class LimitedLogMel:
    """Features for at most so many windows at once."""

    log_mel: LogMel
    largest: int
    failure: Exception
    asked: list[int] = field(default_factory=list)

    def __call__(self, windows: Sequence[Samples], frames: int) -> Features:
        self.asked.append(len(windows))
        if len(windows) > self.largest:
            raise self.failure
        return self.log_mel(windows, frames)


@pytest.mark.parametrize("failure", OUT_OF_MEMORY, ids=str)
def test_so_they_do_when_memory_runs_out_for_the_features(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ScriptedModel(sure)
    recogniser = scripted(model, window_batch_size=8)
    log_mel = LimitedLogMel(recogniser._log_mel, 2, failure)
    monkeypatch.setattr(recogniser, "_log_mel", log_mel)
    seconds = [5.0, 1.0, 4.0, 2.0, 3.0]
    transcripts = recogniser.transcribe([noise(one, clip) for clip, one in enumerate(seconds)])
    assert ends(transcripts) == pytest.approx(seconds)
    assert [len(batch) for batch in model.encoded] == [2, 2, 1]
    assert log_mel.asked[:2] == [5, 3]


def test_what_fails_with_the_features_ends_the_recogniser_too(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ScriptedModel(sure)
    recogniser = scripted(model, window_batch_size=2)
    failure = RuntimeError("cuFFT error: CUFFT_EXEC_FAILED")
    monkeypatch.setattr(recogniser, "_log_mel", LimitedLogMel(recogniser._log_mel, 0, failure))
    with pytest.raises(ModelError, match="scripted stopped: cuFFT error"):
        recogniser.transcribe([noise(1), noise(2)])
    assert model.encoded == []


def test_any_other_failure_ends_the_recogniser_at_once() -> None:
    model = ScriptedModel(sure, largest_encode=0, failure=RuntimeError("CUDA failed with error device-side assert"))
    with pytest.raises(ModelError, match="scripted stopped: CUDA failed with error device-side assert") as raised:
        scripted(model).transcribe([noise(1), noise(2)])
    assert "audioctl resume" in (raised.value.hint or "")
    assert len(model.encoded) == 1


def test_only_windows_that_fail_are_decoded_again_at_rising_temperatures() -> None:
    good, late, bad = 100, 200, 300

    def answer(frames: int, temperature: float) -> Answer:
        passes = frames == good or (frames == late and temperature >= 0.4)
        likelihood = -0.1 if passes else -3.0 + temperature
        return Answer([[at(0), word(), at(frames / 100)]], [likelihood])

    model = ScriptedModel(answer)
    transcripts = scripted(model).transcribe([noise(frames / 100, frames) for frames in (good, late, bad)])
    asked = {temperature: sorted(frames) for temperature, frames in model.generated}
    assert asked == {
        0.0: [good, late, bad],
        0.2: [late, bad],
        0.4: [late, bad],
        0.6: [bad],
        0.8: [bad],
        1.0: [bad],
    }
    assert [transcript.segments[0].temperature for transcript in transcripts] == [0.0, 0.4, 1.0]
    assert transcripts[2].segments[0].avg_logprob < -1


def test_a_loop_is_decoded_again() -> None:
    def answer(frames: int, temperature: float) -> Answer:
        loop = [word()] * 60
        return Answer([[at(0), *loop, at(1)]], [-0.1]) if temperature == 0 else sure(frames)

    (transcript,) = scripted(ScriptedModel(answer)).transcribe([noise(1)])
    assert (text(transcript), transcript.segments[0].temperature) == ("alpha", 0.2)


@pytest.mark.parametrize(("avg_logprob", "heard"), [(-4.0, ""), (-0.5, "alpha")])
def test_silence_is_what_the_model_doubts_twice(avg_logprob: float, heard: str) -> None:
    model = ScriptedModel(lambda *_: Answer([[at(0), word(), at(1)]], [avg_logprob], no_speech_prob=0.9))
    (transcript,) = scripted(model).transcribe([noise(1)])
    assert text(transcript) == heard
    assert len(model.generated) == 1


def test_each_segment_carries_the_figures_its_window_was_judged_by() -> None:
    tokens = [at(0), word(), at(1), at(1), word("bravo"), at(2)]
    model = ScriptedModel(lambda *_: Answer([tokens], [-0.35], no_speech_prob=0.3))
    (transcript,) = scripted(model).transcribe([noise(2)])
    first, second = transcript.segments
    assert (first.text, second.text) == ("alpha", "bravo")
    assert first.avg_logprob == second.avg_logprob == pytest.approx(-0.35 * 6 / 7)
    assert first.compression_ratio == second.compression_ratio
    assert first.no_speech_prob == 0.3


def test_what_a_window_left_off_is_decoded_as_a_window_of_its_own() -> None:
    def answer(frames: int, _temperature: float) -> Answer:
        if frames == 1000:
            return Answer([[at(0), word("alpha"), at(6), at(6), word("bravo")]], [-0.1])
        return Answer([[at(0.2), word("bravo"), word("charlie"), at(3.5)]], [-0.1])

    model = ScriptedModel(answer)
    whole, rested = scripted(model).transcribe([noise(3, clip=1), noise(10, clip=2, start_seconds=40.0)])
    assert text(whole) == "bravo charlie"
    assert text(rested) == "alpha bravo charlie"
    assert [(one.start, one.end) for one in rested.segments] == [pytest.approx((0, 6)), pytest.approx((6.2, 9.5))]
    assert [batch for _, batch in model.generated] == [[1000, 300], [400]]
    assert model.languages_asked == ["en"] * 3


def test_windows_of_a_clip_vote_on_its_language_by_their_length() -> None:
    model = ScriptedModel(
        sure, languages=lambda frames: {"de": 0.9, "en": 0.1} if frames < 500 else {"en": 0.7, "de": 0.3}
    )
    transcripts = scripted(model).transcribe([noise(2, clip=1), noise(10, clip=1), noise(2, clip=2)])
    assert [transcript.language for transcript in transcripts] == ["en", "en", "de"]
    assert transcripts[0].language_probability == pytest.approx((0.7 * 10 + 0.1 * 2) / 12)
    assert transcripts[2].language_probability == pytest.approx(0.9)


def test_a_clip_whose_windows_fall_into_several_batches_has_one_language() -> None:
    model = ScriptedModel(
        sure, languages=lambda frames: {"de": 0.9, "en": 0.1} if frames < 500 else {"en": 0.7, "de": 0.3}
    )
    windows = [noise(10, clip=1), noise(2, clip=1), noise(3, clip=1), noise(2, clip=2)]
    transcripts = scripted(model, window_batch_size=1).transcribe(windows)
    assert [transcript.language for transcript in transcripts] == ["en", "en", "en", "de"]
    assert Counter(model.languages_asked) == {"en": 3, "de": 1}


def test_only_allowed_languages_can_win_the_vote() -> None:
    model = ScriptedModel(sure, languages=lambda _: {"la": 0.8, "de": 0.15, "en": 0.05})
    (transcript,) = scripted(model, languages=("en", "de")).transcribe([noise(1)])
    assert transcript.language == "de"
    assert transcript.language_probability == pytest.approx(0.15)


def test_a_fixed_language_is_asked_for_without_a_vote() -> None:
    model = ScriptedModel(sure, languages=lambda _: pytest.fail("the language was detected"))
    scripted(model, language="de").transcribe([noise(1), noise(2)])
    assert model.languages_asked == ["de", "de"]


def test_nothing_to_transcribe_is_no_work() -> None:
    model = ScriptedModel(sure)
    assert scripted(model).transcribe([]) == []
    assert model.encoded == []
