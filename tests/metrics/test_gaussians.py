"""Exact moments, the optimal map, and the bias slope against simulation."""

from __future__ import annotations

import numpy as np
import pytest

from unet_atlas.errors import AtlasError
from unet_atlas.metrics.frechet import frechet_from_features, frechet_gaussians
from unet_atlas.metrics.gaussians import (
    bias_slope,
    bias_slope_alike,
    features_with,
    known_pairs,
    optimal_map,
)


def covariance(d: int, seed: int) -> np.ndarray:
    m = np.random.default_rng(seed).normal(size=(d, 2 * d))
    return m @ m.T / (2 * d)


def test_features_have_exactly_the_moments_asked_for():
    mean, cov = np.arange(5.0), covariance(5, 1)
    x = features_with(mean, cov, 20)
    assert np.allclose(x.mean(axis=0), mean, atol=1e-13)
    assert np.allclose(np.cov(x, rowvar=False), cov, atol=1e-13)
    assert not np.allclose(x, features_with(mean, cov, 20, seed=1))


@pytest.mark.parametrize(("cov", "n"), [(np.eye(3), 3), (np.eye(2), 10)])
def test_moments_that_no_features_can_have_are_refused(cov, n):
    with pytest.raises(AtlasError):
        features_with(np.zeros(3), cov, n)


def test_the_optimal_map_is_symmetric_moves_and_costs_the_distance():
    cov1, cov2 = covariance(4, 1), covariance(4, 2)
    a = optimal_map(cov1, cov2)
    assert np.allclose(a, a.T)
    assert np.linalg.eigvalsh(a).min() > 0
    assert np.allclose(a @ cov1 @ a, cov2)
    moved = a - np.eye(4)
    cost = np.trace(moved @ cov1 @ moved)
    assert cost == pytest.approx(frechet_gaussians(np.zeros(4), cov1, np.zeros(4), cov2), rel=1e-12)


def test_the_slope_of_equal_variances_has_a_closed_form():
    assert bias_slope(3 * np.eye(10), 3 * np.eye(10)) == pytest.approx(3 * 10 * 15 / 4)


@pytest.mark.parametrize("factor", [1.0, 0.5, 2.0])
def test_the_slope_is_that_of_simulated_features(factor):
    d, n = 8, 500
    cov2 = covariance(d, 3)
    cov1 = factor * covariance(d, 4)
    truth = frechet_gaussians(np.zeros(d), cov1, np.zeros(d), cov2)
    reference = features_with(np.zeros(d), cov2, 100)  # the exact reference
    rng = np.random.default_rng(0)
    root = np.linalg.cholesky(cov1)
    found = [frechet_from_features(rng.normal(size=(n, d)) @ root.T, reference) for _ in range(400)]
    error = np.std(found) / np.sqrt(len(found))
    predicted = truth + bias_slope(cov1, cov2) / n
    assert abs(np.mean(found) - predicted) < 4 * error
    assert abs(np.mean(found) - truth) > 4 * error or factor != 1.0


def test_the_slope_of_independent_features_is_that_of_the_matrices():
    variances = np.array([3.0, 1.0, 0.25])
    cov = np.diag(variances)
    assert bias_slope_alike(variances) == pytest.approx(bias_slope(cov, cov), rel=1e-12)
    with pytest.raises(AtlasError, match="positive"):
        bias_slope_alike([1.0, 0.0])


@pytest.mark.parametrize("pair", known_pairs(), ids=lambda p: p.name)
def test_known_pairs_have_the_distance_they_say(pair):
    zero = np.zeros_like(pair.mean)
    from_moments = frechet_gaussians(pair.mean, pair.cov1, zero, pair.cov2)
    assert from_moments == pytest.approx(pair.distance, abs=1e-12)
    assert frechet_from_features(*pair.features()) == pytest.approx(pair.distance, abs=1e-10)
