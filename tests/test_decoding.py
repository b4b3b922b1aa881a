"""Tokens to segments, and which of them to believe."""

import inspect

import pytest
from faster_whisper import WhisperModel
from hypothesis import given
from hypothesis import strategies as st

from audioctl.engines import decoding
from audioctl.engines.decoding import Decoded, best_of, split_at_timestamps, token_limit

TIMESTAMP_BEGIN = 1000
WORD, ANOTHER = 7, 8


def at(seconds: float) -> int:
    """The timestamp token of that time."""
    return TIMESTAMP_BEGIN + round(seconds / 0.02)


def decoded(avg_logprob: float = -0.2, no_speech_prob: float = 0.0, compression_ratio: float = 1.0) -> Decoded:
    return Decoded((), avg_logprob, no_speech_prob, compression_ratio, temperature=0.0)


@pytest.mark.parametrize(
    ("tokens", "segments"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([at(0)], [], id="only a start"),
        pytest.param([at(0), at(0)], [], id="times without a word"),
        pytest.param([at(0.5), WORD, at(2)], [(0.5, 2, [WORD])], id="one segment"),
        pytest.param(
            [at(0), WORD, at(1), at(1), ANOTHER, at(2)], [(0, 1, [WORD]), (1, 2, [ANOTHER])], id="one after the other"
        ),
        pytest.param(
            [at(0), WORD, at(1), at(3), ANOTHER, at(4)], [(0, 1, [WORD]), (3, 4, [ANOTHER])], id="with a pause"
        ),
        pytest.param([WORD, ANOTHER], [(0, 10, [WORD, ANOTHER])], id="no times"),
        pytest.param([WORD, at(3)], [(0, 3, [WORD])], id="no start"),
        pytest.param([at(2), WORD], [(2, 10, [WORD])], id="no end"),
        pytest.param([at(8), WORD, at(29.98)], [(8, 10, [WORD])], id="an end beyond the window"),
        pytest.param([at(20), WORD, at(25)], [(10, 10, [WORD])], id="wholly beyond the window"),
        pytest.param([at(2), WORD, at(1)], [(2, 2, [WORD])], id="an end before its start"),
    ],
)
def test_timestamps_cut_the_tokens_into_segments(
    tokens: list[int], segments: list[tuple[float, float, list[int]]]
) -> None:
    split = split_at_timestamps(tokens, TIMESTAMP_BEGIN, duration_seconds=10)
    assert split.segments == segments
    assert split.left_off is None


@pytest.mark.parametrize(
    "open_end", [pytest.param([at(6)], id="a start"), pytest.param([at(6), ANOTHER], id="a start and words")]
)
def test_what_follows_an_open_start_is_left_for_another_decoding(open_end: list[int]) -> None:
    split = split_at_timestamps([at(0), WORD, at(6), *open_end], TIMESTAMP_BEGIN, duration_seconds=10)
    assert split.segments == [(0, 6, [WORD])]
    assert split.left_off == 6


def test_a_rest_too_short_for_a_window_keeps_its_words() -> None:
    split = split_at_timestamps([at(0), WORD, at(6), at(6), ANOTHER], TIMESTAMP_BEGIN, duration_seconds=6.3)
    assert split.segments == [(0, 6, [WORD]), (6, 6.3, [ANOTHER])]
    assert split.left_off is None


def test_a_model_that_hardly_gets_on_is_not_asked_again() -> None:
    split = split_at_timestamps([at(0), WORD, at(0.1), at(0.1), ANOTHER], TIMESTAMP_BEGIN, duration_seconds=10)
    assert split.left_off is None
    assert [segment.tokens for segment in split.segments] == [[WORD], [ANOTHER]]


@given(
    tokens=st.lists(st.integers(0, TIMESTAMP_BEGIN + 1500), max_size=40),
    duration_seconds=st.floats(min_value=0, max_value=30),
)
def test_segments_lie_in_the_window_and_lose_no_word(tokens: list[int], duration_seconds: float) -> None:
    segments, left_off = split_at_timestamps(tokens, TIMESTAMP_BEGIN, duration_seconds)
    assert all(0 <= segment.start <= segment.end <= duration_seconds for segment in segments)
    kept = [token for segment in segments for token in segment.tokens]
    words = [token for token in tokens if token < TIMESTAMP_BEGIN]
    assert kept == words[: len(kept)]
    if left_off is None:
        assert kept == words
    else:
        assert 0.5 <= left_off <= duration_seconds - 0.5


@pytest.mark.parametrize(
    ("one", "is_silence", "is_doubtful"),
    [
        pytest.param(decoded(), False, False, id="sure"),
        pytest.param(decoded(avg_logprob=-1.1), False, True, id="unlikely"),
        pytest.param(decoded(compression_ratio=2.5), False, True, id="repetitive"),
        pytest.param(decoded(no_speech_prob=0.9), False, False, id="sure in spite of silence"),
        pytest.param(decoded(avg_logprob=-1.1, no_speech_prob=0.9), True, False, id="silence"),
        pytest.param(
            decoded(avg_logprob=-1.1, no_speech_prob=0.9, compression_ratio=9), True, False, id="a loop in silence"
        ),
        pytest.param(
            decoded(avg_logprob=-1.0, no_speech_prob=0.6, compression_ratio=2.4), False, False, id="on the thresholds"
        ),
    ],
)
def test_thresholds_tell_silence_and_doubt(one: Decoded, is_silence: bool, is_doubtful: bool) -> None:
    assert (one.is_silence, one.is_doubtful) == (is_silence, is_doubtful)


LOOP, GUESS, WORSE_GUESS = decoded(-0.1, compression_ratio=5), decoded(-1.2), decoded(-1.5)


@pytest.mark.parametrize(
    ("attempts", "kept"),
    [
        pytest.param([LOOP, decoded(-0.9)], decoded(-0.9), id="the one that passed, though less likely"),
        pytest.param([WORSE_GUESS, GUESS, WORSE_GUESS], GUESS, id="the likeliest of those that failed"),
        pytest.param([LOOP, WORSE_GUESS, GUESS], GUESS, id="rather an unlikely one than a loop"),
        pytest.param([decoded(-0.3, compression_ratio=5), LOOP], LOOP, id="the likeliest loop"),
    ],
)
def test_the_best_attempt_is_kept(attempts: list[Decoded], kept: Decoded) -> None:
    assert best_of(attempts) == kept


def test_thresholds_are_those_of_faster_whisper() -> None:
    defaults = {name: one.default for name, one in inspect.signature(WhisperModel.transcribe).parameters.items()}
    assert list(decoding.TEMPERATURES) == defaults["temperature"]
    assert defaults["compression_ratio_threshold"] == decoding.COMPRESSION_RATIO_THRESHOLD
    assert defaults["log_prob_threshold"] == decoding.LOG_PROBABILITY_THRESHOLD
    assert defaults["no_speech_threshold"] == decoding.NO_SPEECH_THRESHOLD


@pytest.mark.parametrize(("seconds", "tokens"), [(0, 32), (1, 62), (2.5, 107), (6.4, 224), (30, 224)])
def test_a_longer_window_may_have_more_tokens(seconds: float, tokens: int) -> None:
    assert token_limit(seconds) == tokens
