"""Which windows of a clip a recogniser is shown."""

from itertools import pairwise

import numpy as np
import pytest
from sounds import Samples, silence, speech, tone

from audioctl.audio.speech import SpeechFinder, Stretch, WindowCutter, WindowFinder, pack
from audioctl.clips import SAMPLE_RATE, Window

SENTENCE_SECONDS = len(speech()) / SAMPLE_RATE


def windows_of(samples: Samples, finder: WindowFinder, block: int = 30_011) -> list[Window]:
    for start in range(0, len(samples), block):
        finder.push(samples[start : start + block])
    return finder.finish()


def speech_windows(*parts: Samples) -> list[Window]:
    return windows_of(np.concatenate(parts), SpeechFinder(7))


def end(window: Window) -> float:
    return window.start_seconds + window.duration_seconds


def stretches(*seconds: tuple[float, float]) -> list[Stretch]:
    return [Stretch(round(start * SAMPLE_RATE), round(end * SAMPLE_RATE)) for start, end in seconds]


def test_a_window_begins_a_little_before_the_speech_and_ends_a_little_after() -> None:
    (window,) = speech_windows(silence(5), speech(), silence(5))
    assert window.clip == 7
    assert window.samples.dtype == np.int16
    assert 4 < window.start_seconds <= 5
    assert 5 + SENTENCE_SECONDS - 0.2 < end(window) < 5 + SENTENCE_SECONDS + 1


def test_a_window_holds_the_samples_of_its_time() -> None:
    clip = np.concatenate([silence(3), speech(), silence(3)])
    (window,) = windows_of(clip, SpeechFinder(0))
    start = round(window.start_seconds * SAMPLE_RATE)
    assert np.array_equal(window.samples, clip[start : start + len(window.samples)])


def test_a_short_clip_is_one_window_whatever_its_pauses() -> None:
    windows = speech_windows(speech(), silence(20), speech())
    assert len(windows) == 1
    assert end(windows[0]) == pytest.approx(20 + 2 * SENTENCE_SECONDS, abs=0.5)


def test_a_long_pause_in_a_long_clip_separates_windows() -> None:
    first, second = speech_windows(speech(), silence(40), speech())
    assert first.start_seconds < 0.5
    assert second.start_seconds == pytest.approx(40 + SENTENCE_SECONDS, abs=0.6)


def test_short_pauses_share_a_window_of_at_most_30_seconds() -> None:
    repeats = 20
    clip = [part for _ in range(repeats) for part in (speech(), silence(1))]
    windows = speech_windows(*clip)
    assert all(window.duration_seconds <= 30 for window in windows)
    seconds = repeats * (SENTENCE_SECONDS + 1)
    assert seconds / 30 <= len(windows) <= seconds / 20


def test_every_sentence_of_a_long_clip_is_in_a_window_once() -> None:
    """Long enough for several looks, so that their seams would show."""
    pauses = [1, 4, 2, 35, 3, 1.5] * 15
    starts, parts, now = [], [], 0.0
    for pause in pauses:
        starts.append(now)
        parts += [speech(), silence(pause)]
        now += SENTENCE_SECONDS + pause
    assert now > 600
    windows = speech_windows(*parts)
    for start in starts:
        middle = start + SENTENCE_SECONDS / 2
        holding = [window for window in windows if window.start_seconds <= middle <= end(window)]
        assert len(holding) == 1
        assert holding[0].start_seconds <= start + 0.1
        assert end(holding[0]) >= start + SENTENCE_SECONDS - 0.3
    for earlier, later in pairwise(windows):
        assert end(earlier) <= later.start_seconds


def test_speech_without_a_pause_is_cut_into_windows_that_meet() -> None:
    voice = speech("one two three four five six seven eight nine ten " * 3)
    clip = np.resize(voice, 200 * SAMPLE_RATE)
    windows = windows_of(clip, SpeechFinder(0))
    assert all(window.duration_seconds <= 30 for window in windows)
    assert sum(window.duration_seconds for window in windows) > 190


def test_the_size_of_the_blocks_does_not_matter() -> None:
    clip = np.concatenate([silence(2), speech(), silence(9), np.tile(speech(), 10)])
    small, large = (windows_of(clip, SpeechFinder(0), block) for block in (1_000, 60_000))
    assert [window.start_seconds for window in small] == [window.start_seconds for window in large]


@pytest.mark.parametrize("clip", [silence(1), silence(400), tone(20), np.full(SAMPLE_RATE, -1, np.int16), silence(0)])
def test_what_is_no_speech_gives_no_windows(clip: Samples) -> None:
    assert windows_of(clip, SpeechFinder(0)) == []


def test_one_sample_gives_no_windows() -> None:
    assert windows_of(np.array([-32768], np.int16), SpeechFinder(0)) == []


def test_neighbours_are_packed_up_to_30_seconds() -> None:
    assert list(pack(stretches((0, 10), (11, 29), (29.5, 31)))) == stretches((0, 29), (29.5, 31))


def test_neighbours_are_packed_over_short_pauses_only() -> None:
    assert list(pack(stretches((0, 2), (4.9, 6), (9.1, 10)))) == stretches((0, 6), (9.1, 10))


def test_without_voice_detection_the_windows_are_the_whole_clip() -> None:
    clip = np.random.default_rng(0).integers(-9000, 9000, 95 * SAMPLE_RATE).astype(np.int16)
    windows = windows_of(clip, WindowCutter(3))
    assert np.array_equal(np.concatenate([window.samples for window in windows]), clip)
    assert all(25 <= window.duration_seconds <= 30 for window in windows[:-1])
    assert windows[-1].duration_seconds <= 30
    starts = np.cumsum([0, *(window.duration_seconds for window in windows[:-1])])
    assert [window.start_seconds for window in windows] == pytest.approx(list(starts))


def test_without_voice_detection_a_window_ends_where_it_is_quietest() -> None:
    clip = tone(40)
    clip[27 * SAMPLE_RATE : 27 * SAMPLE_RATE + 800] = 0
    first, _ = windows_of(clip, WindowCutter(0))
    assert 27 <= end(first) <= 27.05


def test_without_voice_detection_silence_is_a_window_too() -> None:
    (window,) = windows_of(silence(30), WindowCutter(0))
    assert window.duration_seconds == 30
    assert windows_of(silence(0), WindowCutter(0)) == []
