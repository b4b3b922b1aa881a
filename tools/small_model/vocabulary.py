"""The 72 words, the tokens, and the files that faster-whisper reads beside ``model.bin``.

The vocabulary has the layout of OpenAI's multilingual Whisper (bytes, words, special tokens, timestamps), so that
faster-whisper treats the model like any other: it can tell languages, give timestamps and take prompts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split())


DIGITS = _split("zero one two three four five six seven eight nine")
SPELLING_ALPHABET = _split(
    "alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar "
    "papa quebec romeo sierra tango uniform victor whiskey xray yankee zulu"
)
COMMANDS = _split("start stop open close left right up down yes no go play pause next back on off")
ENGLISH_WORDS = DIGITS + SPELLING_ALPHABET + COMMANDS
GERMAN_WORDS = _split(
    "null eins zwei drei vier fünf sechs sieben acht neun öffnen schließen links rechts vorwärts zurück ja nein"
)
WORDS = ENGLISH_WORDS + GERMAN_WORDS
WORDS_BY_LANGUAGE = {"en": ENGLISH_WORDS, "de": GERMAN_WORDS}

WHISPER_LANGUAGES = _split(
    "af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi hr ht hu "
    "hy id is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt "
    "ro ru sa sd si sk sl sn so sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo zh yue"
)
"""All 100 languages of Whisper large-v3; faster-whisper takes a model with fewer tokens for an English one."""

TIMESTAMPS = 1501
TIMESTAMP_STEP_SECONDS = 0.02


def _printable_bytes() -> list[str]:
    """GPT-2's way to write each byte as one printable character; the index is the byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    characters = {byte: chr(byte) for byte in printable}
    characters |= {byte: chr(256 + place) for place, byte in enumerate(others)}
    return [characters[byte] for byte in range(256)]


_BYTE_TOKENS = _printable_bytes()
_WORD_TOKENS = ["".join(_BYTE_TOKENS[byte] for byte in f" {word}".encode()) for word in WORDS]
# The empty token stands where the byte-pair vocabularies of the real models end.
_TEXT_TOKENS = [*_BYTE_TOKENS, *_WORD_TOKENS, ""]
SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    *(f"<|{language}|>" for language in WHISPER_LANGUAGES),
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
)
_TIMESTAMP_TOKENS = [f"<|{place * TIMESTAMP_STEP_SECONDS:.2f}|>" for place in range(TIMESTAMPS)]

TOKENS = (*_TEXT_TOKENS, *SPECIAL_TOKENS, *_TIMESTAMP_TOKENS)
"""Every token; the index is its id."""

_SPECIAL_IDS = {token: len(_TEXT_TOKENS) + place for place, token in enumerate(SPECIAL_TOKENS)}

SPACE = ord(" ")
FIRST_WORD = len(_BYTE_TOKENS)
WORD_IDS = {word: FIRST_WORD + place for place, word in enumerate(WORDS)}
END_OF_TEXT = _SPECIAL_IDS["<|endoftext|>"]
START_OF_TRANSCRIPT = _SPECIAL_IDS["<|startoftranscript|>"]
TRANSCRIBE = _SPECIAL_IDS["<|transcribe|>"]
START_OF_PREVIOUS = _SPECIAL_IDS["<|startofprev|>"]
NO_SPEECH = _SPECIAL_IDS["<|nospeech|>"]
NO_TIMESTAMPS = _SPECIAL_IDS["<|notimestamps|>"]
FIRST_TIMESTAMP = NO_TIMESTAMPS + 1
LANGUAGE_IDS = {language: _SPECIAL_IDS[f"<|{language}|>"] for language in WHISPER_LANGUAGES}

AlignmentHeads = list[tuple[int, int]]
"""(decoder layer, head) pairs whose attention says when a word was spoken."""


def tokenizer() -> dict[str, Any]:
    """``tokenizer.json`` of the Hugging Face tokenizers library: whole words, no merges, byte fallback."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": _SPECIAL_IDS[token],
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for token in SPECIAL_TOKENS
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": True,
            "vocab": {token: place for place, token in enumerate(_TEXT_TOKENS)},
            "merges": [],
        },
    }


def generation_settings(alignment_heads: AlignmentHeads) -> dict[str, Any]:
    """``config.json`` of a CTranslate2 Whisper model."""
    return {
        "alignment_heads": alignment_heads,
        "lang_ids": sorted(LANGUAGE_IDS.values()),
        "suppress_ids": [],
        "suppress_ids_begin": [SPACE, END_OF_TEXT],
    }


def feature_settings() -> dict[str, Any]:
    """``preprocessor_config.json``: Whisper's 80 mel bins, 25 ms windows every 10 ms, at 16 kHz."""
    return {
        "chunk_length": 30,
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": 80,
        "hop_length": 160,
        "n_fft": 400,
        "n_samples": 480000,
        "nb_max_frames": 3000,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": False,
        "sampling_rate": 16000,
    }


def audioctl_settings() -> dict[str, Any]:
    """``audioctl.json``: what audioctl may rely on. It was trained on windows of any length up to 30 s."""
    return {"short_windows": True, "words": list(WORDS)}


def sidecars(alignment_heads: AlignmentHeads) -> dict[str, Any]:
    """Every file beside ``model.bin``, by name."""
    return {
        "audioctl.json": audioctl_settings(),
        "config.json": generation_settings(alignment_heads),
        "preprocessor_config.json": feature_settings(),
        "tokenizer.json": tokenizer(),
        "vocabulary.json": TOKENS,
    }


def write_sidecars(folder: Path, alignment_heads: AlignmentHeads) -> None:
    for name, content in sidecars(alignment_heads).items():
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        (folder / name).write_text(text, encoding="utf-8")
