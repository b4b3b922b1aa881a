"""Training examples: windows of up to 30 s with phrases in noise, and what Whisper should say to them.

Everything here is drawn anew for each example, in mel power, where sounds add up and no Fourier transform is due.
Lengths and places of sound are in mel frames (10 ms), those of attention in encoder frames (20 ms).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from tools.small_model import vocabulary
from tools.small_model.corpus import QUIETEST_LOG_POWER, Corpus, Floats, Integers
from tools.small_model.network import MEL_BINS
from tools.small_model.recipe import FULL, Recipe

IGNORED = -1
"""Target of a token that the loss leaves out."""
_FRAMES_PER_SECOND = 50
_GERMAN_SHARE = 0.17
_SILENT_SHARE = 0.03
_SHORTEST_PHRASE_FRAMES = 20
_LONGEST_PROMPT = 223
"""Whisper keeps at most half of its 448 text positions, less one, for what was said before."""


class Word(NamedTuple):
    """A word (place in WORDS) and when it sounds, in seconds from the beginning of the window."""

    place: int
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class PlacedPhrase:
    words: list[Word]
    complete: bool
    """False where the window ends before the phrase does."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Phrases in a window: their power (mel frames, 80), and how long the clip in the window is."""

    power: Floats
    phrases: list[PlacedPhrase]
    clip_frames: int
    speech_power: float
    german: bool


class Token(NamedTuple):
    """A token, what should follow it, and the encoder frames it should look at to know."""

    token: int
    target: int
    frames: tuple[float, float] | None


class Batch(NamedTuple):
    """``features`` (batch, 80, mel frames); ``tokens``, ``targets`` (batch, text); ``looks`` (batch, text, encoder
    frames) is 1 where attention belongs, ``has_look`` (batch, text) tells whether it belongs anywhere;
    ``current_words``, ``previous_words`` (batch, encoder frames): place in WORDS plus 1, or 0."""

    features: torch.Tensor
    tokens: torch.Tensor
    targets: torch.Tensor
    looks: torch.Tensor
    has_look: torch.Tensor
    current_words: torch.Tensor
    previous_words: torch.Tensor


class WindowMaker:
    """Draws training batches from a corpus and a bank of noise."""

    def __init__(self, corpus: Corpus, noises: list[Floats], recipe: Recipe, source: np.random.Generator) -> None:
        self._corpus = corpus
        self._noises = noises
        self._recipe = recipe
        self._source = source
        self._phrases = {german: corpus.phrases_of(german) for german in (False, True)}

    def batch(self, frames: int, fills: Iterable[float], *, with_prompts: bool) -> Batch:
        """One window of ``frames`` mel frames for each of ``fills``, which say how much of it the clip may take.

        ``FULL`` is a window from the midst of a long recording: full, and cut where it ends.
        """
        features, transcripts, current, previous = [], [], [], []
        for fill in fills:
            scene = self._place_phrases(frames, fill)
            features.append(self._hear(scene))
            words_now, words_before = _words_by_frame(scene)
            current.append(words_now)
            previous.append(words_before)
            prompt = self._prompt() if with_prompts else []
            transcripts.append(prompt + self._transcript(scene))
        return _stack(frames, features, transcripts, current, previous)

    def _place_phrases(self, frames: int, fill: float) -> Scene:
        source, recipe = self._source, self._recipe
        german = bool(source.random() < _GERMAN_SHARE)
        power = np.zeros((frames, MEL_BINS), np.float32)
        phrases: list[PlacedPhrase] = []
        powers = []
        limit = frames if fill >= FULL else max(60, int(frames * fill))
        lead = source.uniform(0, 100) if source.random() < 0.85 else source.uniform(0, 250)
        at = min(int(lead), frames // 3)
        end = 0
        silent = source.random() < _SILENT_SHARE
        most_phrases = 1 if source.random() < recipe.single_phrase_share(frames) else 99
        while not silent and len(phrases) < most_phrases:
            phrase = int(source.choice(self._phrases[german]))
            first, last = self._corpus.first_frame[phrase : phrase + 2]
            length = int(last - first)
            if at + length > limit and (phrases or fill < FULL):
                if fill >= FULL and at + _SHORTEST_PHRASE_FRAMES < frames:
                    length = frames - at
                elif phrases:
                    break
                elif at + length > frames:
                    at, length = 0, min(length, frames)
            elif at + length > frames:
                length = frames - at
            if length < _SHORTEST_PHRASE_FRAMES:
                break
            loudness = 10 ** source.uniform(-0.6, 0.3)
            sound = 10 ** self._corpus.log_mel[first : first + length].astype(np.float32) * loudness
            power[at : at + length] += sound
            powers.append(sound.mean())
            words = self._words(phrase, at)
            phrases.append(PlacedPhrase(words, complete=words[-1].end <= frames / 100 + 0.02))
            end = at + length
            if end >= frames:
                break
            at = end + int(source.uniform(20, recipe.longest_gap_frames))
        if fill >= FULL:
            clip_frames = frames
        else:
            tail = source.uniform(0, 150) if source.random() < 0.8 else source.uniform(0, 400)
            clip_frames = min(frames, end + int(tail))
        if not phrases:
            clip_frames = int(source.uniform(30, frames))
        speech_power = float(np.mean(powers)) if powers else 10 ** source.uniform(-6, 0)
        return Scene(power, phrases, clip_frames, speech_power, german)

    def _words(self, phrase: int, at: int) -> list[Word]:
        corpus = self._corpus
        places = range(corpus.first_word[phrase], corpus.first_word[phrase + 1])
        return [
            Word(int(corpus.words[i]), at / 100 + float(corpus.word_starts[i]), at / 100 + float(corpus.word_ends[i]))
            for i in places
        ]

    def _hear(self, scene: Scene) -> Floats:
        """Noise, a microphone's colour, a codec's upper limit, Whisper's scaling, and a few masked bands."""
        source = self._source
        frames = len(scene.power)
        power = scene.power
        if source.random() < 0.7:
            noise = self._noises[source.integers(len(self._noises))]
            first = source.integers(0, len(noise) - frames)
            distance = source.uniform(1.2, 5) if scene.phrases else source.uniform(0, 4)
            power = power + noise[first : first + frames] * (scene.speech_power / 10**distance)
        slope = np.linspace(-1, 1, MEL_BINS, dtype=np.float32)
        colour = source.uniform(-0.35, 0.35) * slope + source.uniform(-2.2, 0.5)
        if source.random() < 0.15:
            colour[source.integers(58, 78) :] -= source.uniform(0.5, 3)
        heard = np.log10(np.maximum(power[: scene.clip_frames], 10**QUIETEST_LOG_POWER)) + colour
        heard = np.maximum(heard, QUIETEST_LOG_POWER)
        heard = (np.maximum(heard, heard.max() + source.uniform(0, 0.1) - 8) + 4) / 4
        if source.random() < 0.3:
            for _ in range(2):
                band = source.integers(0, 76)
                heard[:, band : band + source.integers(1, 8)] = heard.mean()
        features = np.zeros((MEL_BINS, frames), np.float32)
        features[:, : scene.clip_frames] = heard.T
        return features

    def _prompt(self) -> list[Token]:
        """What Whisper is told was said before: words of one language, often in segments with times."""
        source = self._source
        short = source.random() < self._recipe.short_prompt_share
        length = int(source.integers(1, 16) if short else source.integers(16, 80))
        if source.random() < 0.06:
            length = _LONGEST_PROMPT
        words = vocabulary.WORDS_BY_LANGUAGE["de" if source.random() < 0.15 else "en"]
        with_timestamps = source.random() < 0.6
        tokens: list[int] = []
        time = 0
        while len(tokens) < length:
            count = source.integers(1, 9)
            segment = [vocabulary.WORD_IDS[words[i]] for i in source.integers(0, len(words), count)]
            if with_timestamps:
                start = time + int(source.integers(0, 20))
                time = min(start + 5 * int(source.integers(2, 30)), 1500)
                segment = [_timestamp(min(start, time)), *segment, _timestamp(time)]
            tokens += segment
        tokens = [vocabulary.START_OF_PREVIOUS, *tokens[-min(length, _LONGEST_PROMPT) :]]
        return [Token(token, IGNORED, None) for token in tokens]

    def _transcript(self, scene: Scene) -> list[Token]:
        language = vocabulary.LANGUAGE_IDS["de" if scene.german else "en"]
        said = _with_timestamps(scene) if self._source.random() < 0.5 else _without_timestamps(scene)
        last = scene.phrases[-1] if scene.phrases else None
        if last and last.complete:
            ending = last.words[-1].end * _FRAMES_PER_SECOND
            said.append((vocabulary.END_OF_TEXT, (ending, ending + 12)))
        else:
            said.append((vocabulary.END_OF_TEXT, None))
        given = [vocabulary.TRANSCRIBE, *(token for token, _ in said[:-1])]
        targets = [token for token, _ in said]
        if targets[0] == vocabulary.NO_TIMESTAMPS:
            targets[0] = IGNORED  # the caller asks for it, the model never chooses it
        return [
            Token(vocabulary.START_OF_TRANSCRIPT, language if scene.phrases else vocabulary.NO_SPEECH, None),
            Token(language, IGNORED, None),
            *(Token(token, target, frames) for token, target, (_, frames) in zip(given, targets, said, strict=True)),
        ]


_Said = list[tuple[int, tuple[float, float] | None]]


def _with_timestamps(scene: Scene) -> _Said:
    said: _Said = []
    last = 0
    for place, phrase in enumerate(scene.phrases):
        start, end = phrase.words[0].start, phrase.words[-1].end
        # Tenths of a second, rounded outwards: finer than that the ear of so small a model does not hear.
        start_step = max(int(start * 10 + 0.3) * 5, last)
        end_step = min(max(math.ceil(end * 10 - 0.2) * 5, start_step + 5), 1500)
        if place == 0:
            start_step = min(start_step, 50)  # Whisper forbids a first timestamp after one second
        said.append((_timestamp(start_step), _around(start)))
        last = start_step
        if not phrase.complete:
            break
        said += [_word(word) for word in phrase.words]
        said.append((_timestamp(end_step), _around(end)))
        last = end_step
    return said or [(_timestamp(0), None)]


def _without_timestamps(scene: Scene) -> _Said:
    window_seconds = len(scene.power) / 100
    heard = [word for phrase in scene.phrases for word in phrase.words if word.end <= window_seconds + 0.02]
    return [(vocabulary.NO_TIMESTAMPS, None), *(_word(word) for word in heard)]


def _timestamp(step: int) -> int:
    return vocabulary.FIRST_TIMESTAMP + step


def _word(word: Word) -> tuple[int, tuple[float, float]]:
    frames = (word.start * _FRAMES_PER_SECOND, word.end * _FRAMES_PER_SECOND)
    return vocabulary.FIRST_WORD + word.place, frames


def _around(seconds: float) -> tuple[float, float]:
    return seconds * _FRAMES_PER_SECOND - 3, seconds * _FRAMES_PER_SECOND + 4


def _words_by_frame(scene: Scene) -> tuple[Integers, Integers]:
    """For each encoder frame the word that sounds, and the word that sounded before that one."""
    frames = len(scene.power) // 2
    current = np.zeros(frames, np.int64)
    previous = np.zeros(frames, np.int64)
    before = 0
    for phrase in scene.phrases:
        for word in phrase.words:
            sounding = slice(int(word.start * _FRAMES_PER_SECOND), int(word.end * _FRAMES_PER_SECOND) + 1)
            current[sounding] = word.place + 1
            previous[sounding] = before
            before = word.place + 1
    return current, previous


def _stack(
    frames: int,
    features: list[Floats],
    transcripts: list[list[Token]],
    current: list[Integers],
    previous: list[Integers],
) -> Batch:
    size, length, audio_frames = len(features), max(map(len, transcripts)), frames // 2
    tokens = np.full((size, length), vocabulary.END_OF_TEXT)
    targets = np.full((size, length), IGNORED)
    looks = np.zeros((size, length, audio_frames), np.float32)
    has_look = np.zeros((size, length), np.float32)
    for row, transcript in enumerate(transcripts):
        for column, token in enumerate(transcript):
            tokens[row, column] = token.token
            targets[row, column] = token.target
            if token.frames is not None:
                first = max(0, min(int(token.frames[0]), audio_frames - 1))
                looks[row, column, first : max(first + 1, int(token.frames[1]) + 1)] = 1
                has_look[row, column] = 1
    arrays = (np.stack(features), tokens, targets, looks, has_look, np.stack(current), np.stack(previous))
    return Batch(*map(torch.from_numpy, arrays))
