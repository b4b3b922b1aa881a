"""Models that cost what Whisper's cost, where no pretrained weights can be had.

    python -m benchmarks.shaped_model tiny /tmp/tiny

Every layer has the size it has in the real model and random weights, and is computed in full: neither the encoder nor
the decoder can tell. What it says, though, is always the same sentence: the positions of the decoder point at its words
more strongly than anything heard, and behind the last word at the end of the text. Merely random weights would never
stop, would doubt every window, and would measure how each program handles that. So such a model tells how long a job
takes, and nothing about words: for those there is the small model that comes with audioctl, which really hears.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ctranslate2.specs import WhisperSpec

from tools.small_model.vocabulary import SPECIAL_TOKENS, TIMESTAMPS, WHISPER_LANGUAGES, feature_settings, tokenizer

SENTENCE_WORDS = 40
"""What 15 s of English come to, at 2.7 tokens a second."""

_AUDIO_POSITIONS, _TEXT_POSITIONS = 1500, 448
_PROMPT_TOKENS = 3
"""Start of transcript, language, task; the token of no timestamps stands where the first timestamp does."""

_SURENESS = 40.0
"""The logit of the token that comes next; those of 50,000 others together come to less than 24."""
_POSITION_DEVIATION = 2.0
"""Of the positions of the decoder; the tokens that stand there, and what the layers add, stay below 1."""
_LAYER_GAIN = 0.3

Weights = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Shape:
    """As in the ``config.json`` of the model on the Hugging Face Hub."""

    width: int
    heads: int
    encoder_layers: int
    decoder_layers: int
    mel_bins: int = 80
    vocabulary: int = 51_865


SHAPES = {
    "tiny": Shape(384, 6, 4, 4),
    "base": Shape(512, 8, 6, 6),
    "small": Shape(768, 12, 12, 12),
    "large-v3-turbo": Shape(1280, 20, 32, 4, mel_bins=128, vocabulary=51_866),
    "large-v3": Shape(1280, 20, 32, 32, mel_bins=128, vocabulary=51_866),
}


class ShapedModel:
    """The files of one such model. Weights are the same for the same shape."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._random = np.random.default_rng(0)
        self._words = _made_up_words(shape.vocabulary - TIMESTAMPS - len(SPECIAL_TOKENS))
        self.tokens = [*self._words, *SPECIAL_TOKENS, *(f"<|{place * 0.02:.2f}|>" for place in range(TIMESTAMPS))]

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        specification = self._specification()
        specification.register_vocabulary(self.tokens)
        specification.validate()
        specification.optimize(quantization="float16")  # what the real ones come in; others are made when it is loaded
        specification.save(str(folder))
        for name, content in self._sidecars().items():
            (folder / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")

    def _specification(self) -> WhisperSpec:
        shape = self._shape
        specification = WhisperSpec(shape.encoder_layers, shape.heads, shape.decoder_layers, shape.heads)
        encoder, decoder = specification.encoder, specification.decoder
        self._fill(encoder.conv1, shape.width, shape.mel_bins, 3)
        self._fill(encoder.conv2, shape.width, shape.width, 3)
        encoder.position_encodings.encodings = self._normal(0.1, _AUDIO_POSITIONS, shape.width)
        embeddings = self._normal(_SURENESS / shape.width, shape.vocabulary, shape.width)
        decoder.embeddings.weight = embeddings
        decoder.projection.weight = embeddings
        decoder.position_encodings.encodings = self._speaking_positions(embeddings)
        for part in (encoder, decoder):
            self._fill_norm(part.layer_norm)
            for layer in part.layer:
                self._fill_layer(layer)
        return specification

    def _fill_layer(self, layer: Any) -> None:
        width = self._shape.width
        self._fill_attention(layer.self_attention, 3 * width, width)
        if hasattr(layer, "attention"):
            self._fill_attention(layer.attention, width, 2 * width, width)
        self._fill_norm(layer.ffn.layer_norm)
        self._fill(layer.ffn.linear_0, 4 * width, width)
        self._fill(layer.ffn.linear_1, width, 4 * width)

    def _fill_attention(self, attention: Any, *outputs: int) -> None:
        self._fill_norm(attention.layer_norm)
        for linear, output in zip(attention.linear, outputs, strict=True):
            self._fill(linear, output, self._shape.width)

    def _fill(self, layer: Any, outputs: int, *inputs: int) -> None:
        layer.weight = self._normal(_LAYER_GAIN / float(np.sqrt(np.prod(inputs))), outputs, *inputs)
        layer.bias = np.zeros(outputs, np.float32)

    def _fill_norm(self, norm: Any) -> None:
        norm.gamma = np.ones(self._shape.width, np.float32)
        norm.beta = np.zeros(self._shape.width, np.float32)

    def _normal(self, deviation: float, *shape: int) -> Weights:
        return self._random.standard_normal(shape, np.float32) * np.float32(deviation)

    def _speaking_positions(self, embeddings: Weights) -> Weights:
        """Position by position the token that comes next, whichever stands there."""
        end_of_text = embeddings[self.tokens.index("<|endoftext|>")]
        sentence = random.Random(0).sample(range(256, len(self._words)), SENTENCE_WORDS)
        following = [embeddings[self.tokens.index(token)] for token in ("<|en|>", "<|transcribe|>", "<|0.00|>")] + [
            embeddings[token] for token in sentence
        ]
        assert len(following) == _PROMPT_TOKENS + SENTENCE_WORDS
        # The window is full to its end; where no timestamps are wanted, the text just ends.
        following.append(embeddings[self.tokens.index("<|30.00|>")] + 0.5 * end_of_text)
        following += [end_of_text] * (_TEXT_POSITIONS - len(following))
        return np.stack(following) * np.float32(_POSITION_DEVIATION * self._shape.width / _SURENESS)

    def _sidecars(self) -> dict[str, Any]:
        places = {token: len(self._words) + place for place, token in enumerate(SPECIAL_TOKENS)}
        like_small = tokenizer()
        like_small["model"]["vocab"] = {word: place for place, word in enumerate(self._words)}
        for token in like_small["added_tokens"]:
            token["id"] = places[token["content"]]
        return {
            "config.json": {
                "alignment_heads": [[self._shape.decoder_layers - 1, 0]],
                "lang_ids": [places[f"<|{language}|>"] for language in WHISPER_LANGUAGES],
                "suppress_ids": [],
                "suppress_ids_begin": [places["<|endoftext|>"]],
            },
            "preprocessor_config.json": {**feature_settings(), "feature_size": self._shape.mel_bins},
            "tokenizer.json": like_small,
        }


def _made_up_words(count: int) -> Sequence[str]:
    """All bytes, then words that nobody knows, and the empty token at the end, as in Whisper's vocabulary."""
    of_small = tokenizer()["model"]["vocab"]
    consonants, vowels = "bdfgklmnprstvz", "aeiou"
    syllables = [consonant + vowel for consonant in consonants for vowel in vowels]
    words = (f"Ġ{first}{second}{third}" for first in syllables for second in syllables for third in syllables)
    return [*list(of_small)[:256], *(next(words) for _ in range(count - 257)), ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    ShapedModel(SHAPES[arguments.shape]).write(arguments.folder)


if __name__ == "__main__":
    main()
