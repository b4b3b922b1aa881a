"""The shipped model and the shipped clips: every clip is heard word for word by the real faster-whisper."""

import io
import json
from collections import Counter

import pytest
from faster_whisper import WhisperModel
from speech import SpokenClip, silent_clip, small_model_path, spoken_clips

from audioctl.demo import word_errors
from tools.small_model import vocabulary


@pytest.fixture(scope="module")
def model() -> WhisperModel:
    return WhisperModel(str(small_model_path()), device="cpu", compute_type="int8")


@pytest.mark.parametrize("clip", spoken_clips(), ids=lambda clip: clip.name)
def test_every_clip_is_heard_word_for_word_in_its_language(model: WhisperModel, clip: SpokenClip) -> None:
    segments, info = model.transcribe(io.BytesIO(clip.content))
    heard = "".join(segment.text for segment in segments).strip()
    assert (heard, info.language) == (clip.text, clip.language)


def test_segments_lie_within_the_clip_and_one_after_the_other(model: WhisperModel) -> None:
    clip = spoken_clips()[0]
    segments, info = model.transcribe(io.BytesIO(clip.content))
    borders = [time for segment in segments for time in (segment.start, segment.end)]
    assert borders == sorted(borders)
    assert 0 <= borders[0] < borders[-1] <= info.duration + 0.2


def test_silence_has_no_words(model: WhisperModel) -> None:
    segments, _ = model.transcribe(io.BytesIO(silent_clip()))
    assert "".join(segment.text for segment in segments).strip() == ""


def test_the_clips_speak_english_and_german_in_many_voices() -> None:
    clips = spoken_clips()
    by_language = Counter(clip.language for clip in clips)
    assert by_language == {"en": 38, "de": 10}
    assert len({clip.text for clip in clips}) == len(clips)
    assert {word for clip in clips for word in clip.text.split()} <= set(vocabulary.WORDS)
    assert sum(len(clip.content) for clip in clips) < 1_000_000


@pytest.mark.parametrize(
    "name", ["audioctl.json", "config.json", "preprocessor_config.json", "tokenizer.json", "vocabulary.json"]
)
def test_the_files_beside_the_weights_are_those_that_the_tools_write(name: str) -> None:
    written = json.loads(json.dumps(vocabulary.sidecars(alignment_heads=[(2, 0), (2, 1)])[name]))
    assert json.loads((small_model_path() / name).read_text(encoding="utf-8")) == written


def test_the_model_card_states_every_word() -> None:
    card = (small_model_path() / "README.md").read_text(encoding="utf-8")
    english, german = (block.split() for block in card.split("```")[1::2])
    assert tuple(english) == vocabulary.ENGLISH_WORDS
    assert tuple(german) == vocabulary.GERMAN_WORDS


@pytest.mark.parametrize(
    ("said", "heard", "errors"),
    [
        ("one two three", "one two three", 0),
        ("one two three", "one three", 1),
        ("one two three", "one two two three", 1),
        ("one two three", "one four three", 1),
        ("one two three", "", 3),
        ("", "one", 1),
        ("one two", "two one", 2),
    ],
)
def test_word_errors_are_the_words_to_change_add_or_drop(said: str, heard: str, errors: int) -> None:
    assert word_errors(said, heard) == errors
