"""Log-mel features of batches are those that faster-whisper computes window by window."""

import numpy as np
import pytest
from faster_whisper.feature_extractor import FeatureExtractor
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import silence, speech, tone

from audioctl.engines.features import Features, LogMel, NumpyLogMel, Samples, TorchLogMel, best_log_mel

EXTRACTOR = FeatureExtractor()
LONGEST = 30 * 16_000
BOTH = pytest.mark.parametrize(
    "log_mel", [NumpyLogMel(EXTRACTOR), TorchLogMel(EXTRACTOR.mel_filters, "cpu")], ids=["numpy", "torch"]
)


def noise(length: int, peak: int = 9_000) -> Samples:
    return np.random.default_rng(length).integers(-peak, peak, length, endpoint=True).astype(np.int16)


def expected(samples: Samples, frames: int) -> Features:
    """As ``WhisperModel.transcribe`` does it: without the last frame, zero up to the full window."""
    features = EXTRACTOR(samples.astype(np.float32) / 32768)[:, :-1]
    return np.pad(features, ((0, 0), (0, frames - features.shape[1])))


@BOTH
@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 80_000), min_size=1, max_size=5),
    peak=st.sampled_from([0, 1, 100, 32_767]),
)
def test_each_window_has_the_features_of_faster_whisper(log_mel: LogMel, lengths: list[int], peak: int) -> None:
    windows = [noise(length, peak) for length in lengths]
    features = log_mel(windows, 520)
    assert features.shape == (len(windows), 80, 520)
    assert features.dtype == np.float32
    for row, samples in zip(features, windows, strict=True):
        np.testing.assert_allclose(row, expected(samples, 520), atol=1e-4)


@BOTH
@pytest.mark.parametrize("length", [1, 2, 159, 160, 161, 239, 320, 399, 400, 401, LONGEST - 1, LONGEST])
def test_tiny_and_full_windows_are_no_exception(log_mel: LogMel, length: int) -> None:
    samples = noise(length)
    np.testing.assert_allclose(log_mel([samples], 3000)[0], expected(samples, 3000), atol=1e-4)


@BOTH
@pytest.mark.parametrize("samples", [speech(), silence(2), tone(2), np.full(3_000, -32_768, np.int16)])
def test_so_have_speech_silence_and_tones(log_mel: LogMel, samples: Samples) -> None:
    # Beside a pure tone there is next to nothing, of which 32 bits hold only three digits.
    np.testing.assert_allclose(log_mel([samples], 1000)[0], expected(samples, 1000), atol=2e-4)


@BOTH
def test_a_window_that_is_loudest_at_its_very_end_is_no_exception(log_mel: LogMel) -> None:
    """The extractor looks for the loudest frame before it drops the last one."""
    samples = noise(8_150, peak=3)
    samples[-100:] = 32_000
    np.testing.assert_allclose(log_mel([samples], 100)[0], expected(samples, 100), atol=1e-4)


@BOTH
def test_features_behind_the_end_of_a_window_are_zero(log_mel: LogMel) -> None:
    short, long = log_mel([noise(16_000), noise(48_000)], 400)
    assert np.abs(short[:, :100]).min(axis=0).all()
    assert not short[:, 100:].any()
    assert long[:, 299].any()
    assert not long[:, 300:].any()


@BOTH
def test_a_window_does_not_depend_on_its_neighbours(log_mel: LogMel) -> None:
    quiet, loud = noise(20_000, peak=20), noise(30_000, peak=30_000)
    np.testing.assert_allclose(log_mel([loud, quiet], 200)[1], log_mel([quiet], 200)[0], atol=1e-5)


@BOTH
def test_frames_beyond_what_is_asked_for_are_cut(log_mel: LogMel) -> None:
    samples = noise(50_000)
    np.testing.assert_allclose(log_mel([samples], 200)[0], log_mel([samples], 400)[0, :, :200], atol=1e-5)


def test_features_are_computed_where_the_recogniser_runs() -> None:
    assert isinstance(best_log_mel(EXTRACTOR, "cpu"), NumpyLogMel)
