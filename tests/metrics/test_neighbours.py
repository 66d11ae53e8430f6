"""Precision, recall, density and coverage against loops and plain cases."""

from __future__ import annotations

import numpy as np
import pytest

from unet_atlas.errors import AtlasError
from unet_atlas.metrics import neighbours
from unet_atlas.metrics.neighbours import density_coverage, precision_recall


def normal(n: int, seed: int = 0, mean: float = 0.0, d: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1, (n, d))


def inside(centres: np.ndarray, points: np.ndarray, k: int) -> np.ndarray:
    """Whether each point lies in each ball, (points, centres), by loops."""
    answer = np.zeros((len(points), len(centres)), bool)
    for j, centre in enumerate(centres):
        radius = sorted(np.linalg.norm(centre - other) for other in centres)[k]
        for i, point in enumerate(points):
            answer[i, j] = np.linalg.norm(point - centre) <= radius
    return answer


@pytest.mark.parametrize(("n", "m", "k"), [(20, 30, 3), (30, 20, 1), (15, 15, 5)])
def test_the_four_numbers_are_those_of_the_definitions(n, m, k, monkeypatch):
    monkeypatch.setattr(neighbours, "ROWS", 8)
    x, y = normal(n, 1, 0.5), normal(m, 2)
    in_reference, in_generated = inside(y, x, k), inside(x, y, k)
    assert precision_recall(x, y, k) == (
        in_reference.any(axis=1).mean(),
        in_generated.any(axis=1).mean(),
    )
    assert density_coverage(x, y, k) == pytest.approx(
        (in_reference.sum() / (k * n), in_reference.any(axis=0).mean())
    )


def test_equal_sets_score_1():
    x = normal(40)
    assert precision_recall(x, x) == (1, 1)
    assert density_coverage(x, x).coverage == 1
    assert density_coverage(x, x).density == pytest.approx((5 + 1) / 5)  # each ball holds its own


def test_duplicates_are_inside_balls_of_radius_0():
    x = np.repeat(normal(5), 4, axis=0)
    assert precision_recall(x, x) == (1, 1)


def test_far_sets_score_0():
    assert precision_recall(normal(20), normal(20, 1, 100)) == (0, 0)
    assert density_coverage(normal(20), normal(20, 1, 100)) == (0, 0)


def test_a_generator_that_draws_one_mode_of_two_is_precise_but_forgets():
    y = np.concatenate([normal(100, 1), normal(100, 2, 50)])
    precision, recall = precision_recall(normal(100, 3), y)
    assert precision > 0.8
    assert recall < 0.5
    assert density_coverage(normal(100, 3), y).coverage < 0.5


def test_an_outlier_of_the_reference_fools_precision_more_than_density():
    """Naeem's argument: one far reference picture has a ball that swallows everything."""
    y = np.concatenate([normal(100, 1), np.full((1, 3), 60.0)])
    x = normal(100, 2, 8.0)
    assert precision_recall(x, y).precision > 0.9
    assert density_coverage(x, y).density < 0.3


def test_equal_distributions_have_the_expected_density_and_coverage():
    values = [density_coverage(normal(200, s), normal(200, 500 + s)) for s in range(10)]
    density, coverage = np.mean(values, axis=0)
    assert density == pytest.approx(1, abs=0.06)
    assert coverage == pytest.approx(1 - 2**-5, abs=0.02)


@pytest.mark.parametrize("metric", [precision_recall, density_coverage])
def test_bad_input_is_named(metric):
    x = normal(10)
    for k in (0, 10):
        with pytest.raises(AtlasError, match=f"k = {k}"):
            metric(x, x, k)
    with pytest.raises(AtlasError, match="columns"):
        metric(x, normal(10, d=4))
    with pytest.raises(AtlasError, match="NaN"):
        metric(x, np.full((10, 3), np.nan))
