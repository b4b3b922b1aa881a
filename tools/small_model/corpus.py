"""What training hears: thousands of spoken phrases as mel power, and noise to put under them."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from faster_whisper.feature_extractor import FeatureExtractor

from tools.small_model.phrases import held_out_phrases, spoken_phrases
from tools.small_model.synthesis import MODEL_SAMPLE_RATE, Samples, Synthesizer
from tools.small_model.vocabulary import WORDS

QUIETEST_LOG_POWER = -10.0
MEL_FRAMES_PER_SECOND = 100
_FFT_SAMPLES = 400
_HOP_SAMPLES = 160
_MEL_BINS = 80
_NOISE_SECONDS = 60
_NOISE_EXPONENTS = (0.0, 0.5, 1.0)
"""White, pink and brown: amplitude falls with the frequency to this power."""
_NOISE_FLAT_BELOW_BIN = 20.0

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Corpus:
    """All phrases, one after the other.

    Phrase ``i`` is ``log_mel[first_frame[i]:first_frame[i + 1]]`` (frames of 10 ms, 80 bins, log10 of the power) and
    says ``words[first_word[i]:first_word[i + 1]]`` (places in WORDS), whose starts and ends are in seconds.
    """

    log_mel: npt.NDArray[np.float16]
    first_frame: Integers
    is_german: npt.NDArray[np.bool_]
    first_word: Integers
    words: Integers
    word_starts: Floats
    word_ends: Floats

    @property
    def duration_seconds(self) -> float:
        return len(self.log_mel) / MEL_FRAMES_PER_SECOND

    def phrases_of(self, german: bool) -> Integers:
        return np.flatnonzero(self.is_german == german)

    def save(self, path: Path) -> None:
        np.savez(path, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Corpus:
        with np.load(path) as stored:
            return cls(**{field.name: stored[field.name] for field in fields(cls)})


_MEL_FILTERS = torch.from_numpy(
    FeatureExtractor.get_mel_filters(MODEL_SAMPLE_RATE, _FFT_SAMPLES, _MEL_BINS).astype("float32")
)
_HANN_WINDOW = torch.from_numpy(np.hanning(_FFT_SAMPLES + 1)[:-1].astype("float32"))


def log_mel_power(samples: Samples) -> npt.NDArray[np.float16]:
    """(frames, 80) log10 of the mel power: faster-whisper's features before it clamps and scales them."""
    frames = math.ceil(len(samples) / _HOP_SAMPLES)
    padded = np.pad(samples, (0, frames * _HOP_SAMPLES - len(samples)))
    spectrum = torch.stft(
        torch.from_numpy(padded).float(),
        _FFT_SAMPLES,
        _HOP_SAMPLES,
        window=_HANN_WINDOW,
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )
    power = _MEL_FILTERS @ (spectrum[:, :-1].abs() ** 2)
    # Half precision is finer than a twentieth of a decibel here and lets 30,000 phrases stay in memory.
    result: npt.NDArray[np.float16] = power.clamp(min=10**QUIETEST_LOG_POWER).log10().t().numpy().astype(np.float16)
    return result


def speak_corpus(synthesizer: Synthesizer, seed: int, phrases: int) -> Corpus:
    """``phrases`` spoken phrases, none of them held out."""
    held_out = {phrase.words for phrase, _ in held_out_phrases(synthesizer)}
    avoid = {words for words in held_out if len(words) > 1}
    mels: list[npt.NDArray[np.float16]] = []
    german: list[bool] = []
    words: list[int] = []
    starts: list[float] = []
    ends: list[float] = []
    word_counts: list[int] = []
    for phrase, speech in spoken_phrases(synthesizer, seed, phrases, avoid):
        mels.append(log_mel_power(speech.samples))
        german.append(phrase.language == "de")
        words += [WORDS.index(word) for word in phrase.words]
        starts += speech.word_starts
        ends += speech.word_ends
        word_counts.append(len(phrase.words))
    return Corpus(
        log_mel=np.concatenate(mels),
        first_frame=np.cumsum([0, *map(len, mels)]),
        is_german=np.array(german),
        first_word=np.cumsum([0, *word_counts]),
        words=np.array(words),
        word_starts=np.array(starts, np.float32),
        word_ends=np.array(ends, np.float32),
    )


def make_noise(source: np.random.Generator) -> list[Floats]:
    """A minute each of white, pink and brown noise as mel power (frames, 80), with a mean of 1."""
    noises = []
    for exponent in _NOISE_EXPONENTS:
        spectrum = np.fft.rfft(source.standard_normal(MODEL_SAMPLE_RATE * _NOISE_SECONDS))
        bins = np.maximum(np.arange(len(spectrum)), _NOISE_FLAT_BELOW_BIN)
        samples = np.fft.irfft(spectrum / bins**exponent)
        samples /= samples.std()
        power = 10 ** log_mel_power(samples.astype(np.float32)).astype(np.float32)
        noises.append(power / power.mean())
    return noises
