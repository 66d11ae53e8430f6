"""A metric's values against a known truth."""

from __future__ import annotations

import numpy as np
import pytest

from unet_atlas.errors import AtlasError
from unet_atlas.metrics.bootstrap import Estimate, wilson
from unet_atlas.metrics.trials import chance_above, guesses, noticed, preferred, shares_by_rank


def test_the_chance_of_the_right_one_above_is_counted_over_all_pairs():
    rng = np.random.default_rng(0)
    scores, right = rng.integers(0, 6, 40).astype(float), rng.random(40) < 0.4
    pairs = [(a > b) + (a == b) / 2 for a in scores[right] for b in scores[~right]]
    assert chance_above(scores, right) == pytest.approx(np.mean(pairs))


def test_without_both_kinds_there_is_no_chance():
    assert np.isnan(chance_above([1.0, 2.0], [True, True]))
    assert np.isnan(chance_above([1.0, 2.0], [False, False]))


def test_shares_go_from_the_lowest_scores_to_the_highest():
    scores, right = np.arange(10)[::-1], np.arange(10) < 4  # the four highest are right
    assert shares_by_rank(scores, right).tolist() == [0, 0, 0, 1, 1]
    assert shares_by_rank(np.zeros(6), [True] * 3 + [False] * 3, 2).tolist() == [1, 0]


def test_preferred_is_a_share_of_pairs_and_ties_are_lost():
    assert preferred([2.0, 3.0, 1.0], [1.0, 3.0, 2.0]) == wilson(1, 3)


@pytest.mark.parametrize(
    ("successes", "words"),
    [
        (200, "almost always sees it"),
        (150, "sees it, with errors"),
        (100, "guesses"),
        (20, "prefers the wrong one"),
    ],
)
def test_words_for_a_share(successes, words):
    assert guesses(wilson(successes, 200)) == words


def test_a_change_is_noticed_on_its_worse_side():
    up, none, down = Estimate(2, 1, 3), Estimate(0, -1, 1), Estimate(-2, -3, -1)
    assert [noticed(e) for e in (up, none, down)] == ["▲", "·", "▼"]
    assert [noticed(e, less_is_better=True) for e in (up, none, down)] == ["▼", "·", "▲"]


@pytest.mark.parametrize(
    "call",
    [
        lambda: chance_above([1.0], [True, False]),
        lambda: shares_by_rank([1.0], [True]),
        lambda: preferred([1.0], [1.0, 2.0]),
        lambda: chance_above([np.nan, 1.0], [True, False]),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(AtlasError):
        call()
