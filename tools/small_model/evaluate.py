"""Word error rate of a model folder on held-out phrases, through the real faster-whisper.

python -m tools.small_model.evaluate audioctl/data/small_model --format mp3
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from faster_whisper import WhisperModel

from audioctl.demo import word_errors
from tools.small_model.phrases import Phrase, held_out_phrases
from tools.small_model.synthesis import MODEL_SAMPLE_RATE, Samples, Synthesizer

EVALUATED_PHRASES = 200
"""The first of the held-out phrases; the demo clips are made of later ones."""
_SEED = 4242
_FORMATS = {"wav": ("WAV", "PCM_16"), "mp3": ("MP3", "MPEG_LAYER_III"), "opus": ("OGG", "OPUS")}


@dataclass(frozen=True, slots=True)
class Score:
    words: int
    word_errors: int
    phrases: int
    right_languages: int

    def __str__(self) -> str:
        return (
            f"word error rate {self.word_errors / self.words:.2%} ({self.word_errors} of {self.words} words), "
            f"language right in {self.right_languages} of {self.phrases} phrases"
        )


def recordings() -> Iterator[tuple[Phrase, Samples]]:
    """The held-out phrases with pauses around them, at any volume, half of them in noise (18 to 40 dB below)."""
    source = np.random.default_rng(_SEED)

    def pause(shortest: float, longest: float) -> Samples:
        return np.zeros(int(source.uniform(shortest, longest) * MODEL_SAMPLE_RATE), np.float32)

    for phrase, speech in held_out_phrases(Synthesizer(), EVALUATED_PHRASES):
        parts = [pause(0.05, 0.8), speech.samples * source.uniform(0.3, 1), pause(0.1, 1.0)]
        yield phrase, np.clip(_in_noise(np.concatenate(parts), source), -1, 1)


def _in_noise(samples: Samples, source: np.random.Generator) -> Samples:
    if source.random() >= 0.5:
        return samples
    decibels = source.uniform(18, 40)
    noise = source.standard_normal(len(samples)).astype(np.float32)
    if source.random() < 0.5:
        brown = np.cumsum(noise) * 0.02
        noise = brown - np.convolve(brown, np.ones(400) / 400, "same")
    loudness = np.sqrt(np.mean(samples[np.abs(samples) > 1e-3] ** 2))
    noisy: Samples = samples + noise / noise.std() * loudness / 10 ** (decibels / 20)
    return noisy


def evaluate(model: WhisperModel, audio_format: str) -> Score:
    """Transcribes each phrase as a file of ``audio_format`` (a key of _FORMATS) with beam search."""
    words = errors = phrases = right_languages = 0
    for phrase, samples in recordings():
        file = io.BytesIO()
        container, codec = _FORMATS[audio_format]
        soundfile.write(file, samples, MODEL_SAMPLE_RATE, format=container, subtype=codec)
        file.seek(0)
        segments, info = model.transcribe(file, beam_size=5)
        words += len(phrase.words)
        errors += word_errors(phrase.text, "".join(segment.text for segment in segments))
        phrases += 1
        right_languages += info.language == phrase.language
    return Score(words, errors, phrases, right_languages)


def main() -> None:
    parser = argparse.ArgumentParser(description="Word error rate of a model folder on held-out phrases.")
    parser.add_argument("model", type=Path, help="folder with model.bin and its sidecars")
    parser.add_argument("--format", choices=sorted(_FORMATS), default="wav", help="of the clips (default: wav)")
    arguments = parser.parse_args()
    model = WhisperModel(str(arguments.model), device="cpu", compute_type="int8")
    print(evaluate(model, arguments.format))


if __name__ == "__main__":
    main()
