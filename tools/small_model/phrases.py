"""Random phrases of the 72 words in random voices, the same for the same seed.

The held-out phrases are for evaluation and for the demo clips: training never hears their word sequences
(single words excepted: there are only 72 of them).
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from tools.small_model.synthesis import Speech, Synthesizer, Voice
from tools.small_model.vocabulary import WORDS_BY_LANGUAGE

HELD_OUT_SEED = 999
HELD_OUT_PHRASES = 1200
_GERMAN_SHARE = 0.15
_VARIANTS = ["", *(f"+m{number}" for number in range(1, 8)), *(f"+f{number}" for number in range(1, 5))]
_VOICE_NAMES = {
    "en": [base + variant for base in ("en-us", "gmw/en") for variant in _VARIANTS],
    "de": [f"de{variant}" for variant in _VARIANTS],
}
_WORD_COUNTS = range(1, 9)
_WORD_COUNT_WEIGHTS = [3, 3, 3, 3, 3, 3, 2, 2]


@dataclass(frozen=True, slots=True)
class Phrase:
    language: str
    words: tuple[str, ...]
    voice: Voice

    @property
    def text(self) -> str:
        return " ".join(self.words)


def draw_phrase(source: random.Random) -> Phrase:
    """One to eight words of one language, a voice, and how fast, high and lively it speaks."""
    language = "de" if source.random() < _GERMAN_SHARE else "en"
    count = source.choices(_WORD_COUNTS, weights=_WORD_COUNT_WEIGHTS)[0]
    words = tuple(source.choice(WORDS_BY_LANGUAGE[language]) for _ in range(count))
    voice = Voice(
        name=source.choice(_VOICE_NAMES[language]),
        words_per_minute=source.randint(120, 200),
        pitch=source.randint(25, 75),
        pitch_range=source.randint(30, 70),
        word_gap=source.choice([0, 0, 0, 1, 3, 6]),
    )
    return Phrase(language, words, voice)


def spoken_phrases(
    synthesizer: Synthesizer, seed: int, count: int, avoid: Collection[tuple[str, ...]] = ()
) -> Iterator[tuple[Phrase, Speech]]:
    """``count`` phrases with their sound, none of whose words are in ``avoid``."""
    source = random.Random(seed)
    made = 0
    while made < count:
        phrase = draw_phrase(source)
        if phrase.words in avoid:
            continue
        speech = synthesizer.speak(phrase.words, phrase.voice)
        if speech is not None:
            made += 1
            yield phrase, speech


def held_out_phrases(synthesizer: Synthesizer, count: int = HELD_OUT_PHRASES) -> Iterator[tuple[Phrase, Speech]]:
    """The first ``count`` of the phrases that training avoids."""
    return spoken_phrases(synthesizer, HELD_OUT_SEED, count)
