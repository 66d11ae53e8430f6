"""KID and CMMD against sums written out, and their biases."""

from __future__ import annotations

import numpy as np
import pytest

from unet_atlas.errors import AtlasError
from unet_atlas.metrics import kernels
from unet_atlas.metrics.kernels import (
    cmmd,
    cubic,
    gaussian,
    kid,
    mmd_gaussian,
    resampled_mmd,
)


def normal(n: int, d: int = 6, seed: int = 0, mean: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1, (n, d))


def written_out(x, y, kernel, unbiased):
    """The estimator pair by pair."""

    def mean(a, b, skip):
        pairs = [
            kernel(a[i], b[j])
            for i in range(len(a))
            for j in range(len(b))
            if not (skip and i == j)
        ]
        return np.mean(pairs)

    return mean(x, x, unbiased) + mean(y, y, unbiased) - 2 * mean(x, y, False)


def test_kid_is_the_sum_over_pairs():
    x, y = normal(9, seed=1), normal(7, seed=2, mean=1)
    truth = written_out(x, y, lambda a, b: (a @ b / 6 + 1) ** 3, True)
    assert kid(x, y) == pytest.approx(truth, rel=1e-12)


@pytest.mark.parametrize("unbiased", [False, True])
def test_the_gaussian_mmd_is_the_sum_over_pairs(unbiased):
    x, y = normal(9, seed=1), normal(7, seed=2, mean=1)
    truth = written_out(x, y, lambda a, b: np.exp(-((a - b) ** 2).sum() / 8), unbiased)
    assert mmd_gaussian(x, y, sigma=2, unbiased=unbiased) == pytest.approx(truth, rel=1e-12)


def test_cmmd_is_a_thousand_v_statistics_of_unit_vectors():
    x, y = normal(9, seed=1), normal(7, seed=2, mean=1)
    ux, uy = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, y))
    truth = 1000 * written_out(ux, uy, lambda a, b: np.exp(-((a - b) ** 2).sum() / 200), False)
    assert cmmd(x, y) == pytest.approx(truth, rel=1e-9)
    assert cmmd(5 * x, 0.1 * y) == pytest.approx(truth, rel=1e-9)
    assert abs(cmmd(x, x)) < 1e-12


def test_the_rows_held_at_once_change_nothing(monkeypatch):
    x, y = normal(50, seed=1), normal(43, seed=2)
    whole = kid(x, y), cmmd(x, y)
    monkeypatch.setattr(kernels, "ROWS", 7)
    assert (kid(x, y), cmmd(x, y)) == pytest.approx(whole, rel=1e-11)


def test_kid_is_unbiased_and_the_v_statistic_is_not():
    draws = [(normal(25, seed=s), normal(40, seed=10_000 + s)) for s in range(200)]
    values = np.array([kid(x, y) for x, y in draws])
    error = values.std() / np.sqrt(len(values))
    assert abs(values.mean()) < 3 * error
    assert (values < 0).mean() > 0.3  # and so are many of its values
    v = [mmd_gaussian(x, y, 2.0) for x, y in draws]
    u = [mmd_gaussian(x, y, 2.0, unbiased=True) for x, y in draws]
    assert min(v) > 0
    assert abs(np.mean(u)) < 3 * np.std(u) / np.sqrt(len(u)) < np.mean(v)


@pytest.mark.parametrize("metric", [kid, cmmd, mmd_gaussian])
def test_the_metrics_are_symmetric_blind_to_order_and_rotation_and_grow_apart(metric):
    x, y = normal(30, seed=1), normal(35, seed=2)
    q = np.linalg.qr(normal(6, seed=3))[0]
    value = metric(x, y)
    assert metric(y, x) == pytest.approx(value, rel=1e-9, abs=1e-12)
    assert metric(x[::-1], y) == pytest.approx(value, rel=1e-9, abs=1e-12)
    assert metric(x @ q, y @ q) == pytest.approx(value, rel=1e-9, abs=1e-12)
    apart = [metric(x, y + shift) for shift in (0.0, 1.0, 2.0)]
    assert apart == sorted(apart)


@pytest.mark.parametrize("unbiased", [False, True])
def test_resamples_from_kernel_matrices_are_those_of_the_rows(unbiased):
    x, y = normal(12, seed=1), normal(9, seed=2)
    kernel = gaussian(2.0)
    once = np.ones((1, 12))
    left_out = np.array([[0, 1] * 6, [1, 0] * 6], float)
    counts = np.concatenate([once, left_out])
    values = resampled_mmd(kernel(x, x), kernel(x, y), kernel(y, y), counts, unbiased)
    rows = [x, x[1::2], x[::2]]
    assert values == pytest.approx([mmd_gaussian(r, y, 2.0, unbiased) for r in rows], rel=1e-10)


def test_ties_count_only_in_the_v_statistic():
    x, y = normal(8, seed=1), normal(9, seed=2)
    matrices = cubic(x, x), cubic(x, y), cubic(y, y)
    doubled = resampled_mmd(*matrices, np.full((1, 8), 2.0), unbiased=False)
    assert doubled == pytest.approx(written_out(x, y, lambda a, b: (a @ b / 6 + 1) ** 3, False))
    doubled = resampled_mmd(*matrices, np.full((1, 8), 2.0), unbiased=True)
    assert doubled == pytest.approx(kid(x, y), rel=1e-10)


def test_bad_input_is_named():
    x = normal(10)
    for metric in (kid, cmmd, mmd_gaussian):
        with pytest.raises(AtlasError, match="NaN"):
            metric(x, np.full((5, 6), np.nan))
        with pytest.raises(AtlasError, match="columns"):
            metric(x, normal(5, 5))
        with pytest.raises(AtlasError, match="Too few rows"):
            metric(x, np.zeros((0, 6)))
    with pytest.raises(AtlasError, match="σ = 0"):
        mmd_gaussian(x, x, sigma=0)
    with pytest.raises(AtlasError, match="reference features of row 0 are all zero"):
        cmmd(x, np.zeros((3, 6)))


def test_one_picture_over_and_over_has_no_kid(recwarn):
    x, y = normal(3, seed=1), normal(9, seed=2)
    matrices = cubic(x, x), cubic(x, y), cubic(y, y)
    values = resampled_mmd(*matrices, np.array([[3.0, 0, 0], [1, 1, 1]]), unbiased=True)
    assert np.isnan(values).tolist() == [True, False]
    assert not recwarn.list
