"""Which of the measured ways ``audioctl tune`` recommends: nothing that changes words passes as harmless."""

from __future__ import annotations

from dataclasses import replace

import pytest
from measured_ways import CONFIGURED, GREEDY, REFERENCE, SHORT, measured, tuned

from audioctl.ways import Heard, Measured, combine, judge, recommend


def test_the_fastest_with_the_same_words_is_recommended() -> None:
    found = recommend(tuned(measured(CONFIGURED, 100), measured(GREEDY, 150), measured(SHORT, 200)))
    assert (found.same_words.way, found.nearly) == (SHORT, None)


def test_a_faster_way_that_changes_a_word_is_never_called_the_same() -> None:
    found = recommend(tuned(measured(CONFIGURED, 100), measured(SHORT, 500, agreement=0.9999)))
    assert found.same_words.way == CONFIGURED
    assert found.nearly is not None
    assert found.nearly.way == SHORT


def test_what_changes_more_than_one_word_in_a_hundred_is_not_recommended_at_all() -> None:
    found = recommend(tuned(measured(CONFIGURED, 100), measured(SHORT, 500, agreement=0.9899)))
    assert (found.same_words.way, found.nearly) == (CONFIGURED, None)


def test_what_is_configured_stays_where_the_gain_is_small() -> None:
    assert recommend(tuned(measured(CONFIGURED, 100), measured(GREEDY, 109))).same_words.way == CONFIGURED


def test_what_is_configured_stays_where_the_gain_may_be_noise() -> None:
    noisy = measured(CONFIGURED, 100, noise=0.4)
    assert recommend(tuned(noisy, measured(GREEDY, 150))).same_words.way == CONFIGURED
    assert recommend(tuned(noisy, measured(GREEDY, 170))).same_words.way == GREEDY


def test_where_what_is_configured_changes_words_the_reference_is_better() -> None:
    found = recommend(tuned(measured(CONFIGURED, 100, agreement=0.95)))
    assert found.same_words.way == REFERENCE


def test_a_reference_that_only_guesses_is_its_own_yardstick_still() -> None:
    guessing = measured(REFERENCE, 10, agreement=0.999)
    assert recommend(tuned(measured(CONFIGURED, 100, 0.9), reference=guessing)).same_words.way == REFERENCE


def test_what_does_not_fit_is_not_recommended() -> None:
    assert recommend(tuned(Measured(CONFIGURED, failed="does not fit"))).same_words.way == REFERENCE


def test_the_best_values_are_combined() -> None:
    base = measured(CONFIGURED, 100)
    large = replace(CONFIGURED, window_batch_size=16)
    both_changed = replace(SHORT, beam_size=1)  # says nothing of either
    ways = [base, measured(SHORT, 200, 0.995), measured(GREEDY, 120), measured(large, 130), measured(both_changed, 900)]
    assert combine(base, ways, 1.0) == replace(large, beam_size=1)
    assert combine(base, ways, 0.99) == replace(large, beam_size=1, window="10")


def test_agreement_is_that_of_the_worst_hearing() -> None:
    heard = Heard(texts=[["a b", "c d"], ["a b", "c x"], ["a b", "c d"]], seconds=[3.0, 1.0, 2.0])
    found = judge(GREEDY, heard, ["a b", "c d"], audio_seconds=100)
    assert (found.agreement, found.speed, found.differing) == (0.75, 50, {1: "c x"})


@pytest.mark.parametrize(("reference", "heard"), [("", "a"), ("a", "b c d")])
def test_agreement_is_never_below_nothing(reference: str, heard: str) -> None:
    assert judge(GREEDY, Heard([[heard]], [1.0]), [reference], 1).agreement == 0
