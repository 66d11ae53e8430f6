"""Intervals of metrics of neighbours, from halves."""

from __future__ import annotations

import numpy as np
import pytest

from unet_atlas.errors import AtlasError
from unet_atlas.metrics.halves import NEIGHBOURS, from_halves, on_halves
from unet_atlas.metrics.neighbours import density_coverage, precision_recall


def normal(n: int, seed: int, mean: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1, (n, 2))


def test_the_value_is_that_of_all_pictures_and_lies_in_its_interval():
    x, y = normal(60, 1, 0.5), normal(60, 2)
    values = on_halves(x, y, halves=6)
    assert values.shape == (7, 4)
    assert values[0].tolist() == [*precision_recall(x, y), *density_coverage(x, y)]
    for name, value in zip(NEIGHBOURS, values[0], strict=True):
        found = from_halves(values)[name]
        assert found.value == value
        assert found.low <= value <= found.high
        assert name == "density" or found.high <= 1


def test_the_spread_over_halves_is_that_over_new_pictures():
    """Precision of a shifted set: a share whose spread over fresh sets halves should foretell."""
    y = normal(200, 0)
    fresh = [precision_recall(normal(200, 10 + s, 1.5), y).precision for s in range(40)]
    halves = [on_halves(normal(200, 10 + s, 1.5), y, seed=s)[1:, 0].std(ddof=1) for s in range(6)]
    assert np.mean(halves) == pytest.approx(np.std(fresh), rel=0.35)


def test_equal_sets_do_not_differ_and_a_shifted_one_does():
    x, y = normal(80, 1), normal(80, 2)
    same = from_halves(on_halves(x, y) - on_halves(x, y))["precision"]
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert from_halves(on_halves(x + 3, y) - on_halves(x, y))["precision"].high < 0


def test_one_half_is_no_interval():
    x = normal(20, 1)
    with pytest.raises(AtlasError, match="two halves"):
        from_halves(on_halves(x, x, halves=1))
