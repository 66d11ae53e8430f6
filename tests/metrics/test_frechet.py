"""FID against closed forms, its three implementations against each other, and its bias in N."""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
import pytest

from unet_atlas.errors import AtlasError
from unet_atlas.metrics import frechet
from unet_atlas.metrics.frechet import (
    Moments,
    fid_infinity,
    frechet_against,
    frechet_distance,
    frechet_eigvals,
    frechet_from_features,
    frechet_gaussians,
    frechet_sqrtm,
)


def normal(n: int, d: int, seed: int = 0, scale: float = 1.0, mean: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, scale, (n, d))


def rotation(d: int, seed: int = 0) -> np.ndarray:
    return np.linalg.qr(normal(d, d, seed))[0]


def with_moments(mean: np.ndarray, cov: np.ndarray, n: int = 50) -> np.ndarray:
    """Features whose sample mean and covariance are exactly those given."""
    d = len(mean)
    white = normal(n, d)
    white = np.linalg.qr(white - white.mean(axis=0))[0] * np.sqrt(n - 1)
    return mean + white @ np.linalg.cholesky(cov).T


def of_moments(x: np.ndarray, y: np.ndarray) -> float:
    return frechet_distance(Moments.of(x), Moments.of(y))


def test_gaussians_with_diagonal_covariances_have_the_closed_form():
    mu1, mu2 = np.array([0.0, 1.0, 2.0]), np.array([3.0, 1.0, 0.0])
    s1, s2 = np.array([1.0, 2.0, 0.5]), np.array([4.0, 0.1, 0.0])
    truth = 9 + 4 + ((s1 - s2) ** 2).sum()
    assert frechet_gaussians(mu1, np.diag(s1**2), mu2, np.diag(s2**2)) == pytest.approx(
        truth, rel=1e-14
    )


def test_gaussians_that_commute_in_a_rotated_basis_have_the_closed_form():
    q, s1, s2 = rotation(6), np.linspace(0.1, 3, 6), np.linspace(2, 0.2, 6)
    distance = frechet_gaussians(np.zeros(6), q * s1**2 @ q.T, np.ones(6), q * s2**2 @ q.T)
    assert distance == pytest.approx(6 + ((s1 - s2) ** 2).sum(), rel=1e-13)


def test_gaussians_in_the_plane_that_do_not_commute_have_the_closed_form():
    a, b = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[1.0, -0.7], [-0.7, 3.0]])
    # a 2 × 2 matrix M has tr M^½ = sqrt(tr M + 2 sqrt(det M))
    root = np.sqrt(np.trace(a @ b) + 2 * np.sqrt(np.linalg.det(a @ b)))
    truth = np.trace(a) + np.trace(b) - 2 * root
    assert frechet_gaussians([0, 0], a, [0, 0], b) == pytest.approx(truth, rel=1e-13)


@pytest.mark.parametrize("fid", [frechet_from_features, of_moments, frechet_sqrtm, frechet_eigvals])
def test_features_with_known_moments_give_the_gaussians_distance(fid):
    mu1, mu2 = np.arange(4.0), np.ones(4)
    cov1, cov2 = (m @ m.T + np.eye(4) for m in (normal(4, 4, 1), normal(4, 4, 2)))
    truth = frechet_gaussians(mu1, cov1, mu2, cov2)
    distance = fid(with_moments(mu1, cov1), with_moments(mu2, cov2, n=70))
    assert distance == pytest.approx(truth, rel=1e-12)


@pytest.mark.parametrize(("n", "d"), [(40, 10), (12, 12), (13, 12), (10, 60), (2, 30)])
@pytest.mark.parametrize("fid", [frechet_from_features, of_moments])
def test_a_set_is_at_distance_0_from_itself(fid, n, d):
    x = normal(n, d)
    assert abs(fid(x, x)) < 1e-9
    assert abs(fid(x, x[::-1])) < 1e-9


@pytest.mark.parametrize(("n", "m"), [(100, 80), (60, 20), (15, 200), (10, 12), (2, 2), (33, 32)])
def test_the_implementations_agree_at_any_rank(n, m):
    x, y = normal(n, 32, 1), normal(m, 32, 2, 1.3, 0.2)
    exact = frechet_from_features(x, y)
    assert of_moments(x, y) == pytest.approx(exact, rel=1e-12)
    full_rank = min(n, m) > 33
    tolerance = 1e-11 if full_rank else 1e-5
    assert frechet_sqrtm(x, y) == pytest.approx(exact, rel=tolerance)
    assert frechet_eigvals(x, y) == pytest.approx(exact, rel=tolerance)


def test_below_full_rank_only_the_product_of_covariances_loses_digits():
    x, y = normal(50, 128, 1), normal(50, 128, 2)
    exact = frechet_from_features(x, y)
    assert abs(of_moments(x, y) - exact) < 1e-10
    for textbook in (frechet_sqrtm, frechet_eigvals):
        assert 1e-8 < abs(textbook(x, y) - exact) < 1e-3


def test_the_root_of_a_singular_product_is_looked_at(recwarn, monkeypatch):
    x, y = np.full((5, 3), 2.0), np.full((9, 3), 5.0)
    assert frechet_sqrtm(x, y) == pytest.approx(27)
    assert not recwarn.list
    for wrong in (np.full((3, 3), np.inf), np.eye(3)):
        monkeypatch.setattr(frechet, "sqrtm", lambda product, root=wrong: root)
        with pytest.raises(AtlasError, match="no root of the product"):
            frechet_sqrtm(normal(9, 3, 1), normal(9, 3, 2))


def test_subspaces_that_share_no_direction_add_their_variances():
    x, y = np.zeros((20, 6)), np.zeros((20, 6))
    x[:, :2], y[:, 2:5] = normal(20, 2, 1), normal(20, 3, 2)
    offset = ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum()
    truth = offset + x.var(axis=0, ddof=1).sum() + y.var(axis=0, ddof=1).sum()
    assert frechet_from_features(x, y) == pytest.approx(truth, rel=1e-12)
    assert of_moments(x, y) == pytest.approx(truth, rel=1e-12)


def test_constant_features_are_at_the_distance_of_their_means():
    x, y = np.full((5, 3), 2.0), np.full((9, 3), 5.0)
    for fid in (frechet_from_features, of_moments):
        assert fid(x, y) == pytest.approx(27)


def test_float32_eigenvalues_make_the_distance_negative():
    x = normal(200, 256)
    assert frechet_eigvals(x, x, np.float32) < -0.01
    assert abs(frechet_from_features(x, x)) < 1e-9


@pytest.mark.parametrize("fid", [frechet_from_features, of_moments])
def test_the_distance_is_symmetric_and_blind_to_rotation_shift_and_order(fid):
    x, y, q = normal(30, 8, 1), normal(25, 8, 2, 2.0), rotation(8)
    distance = fid(x, y)
    assert fid(y, x) == pytest.approx(distance, rel=1e-12)
    assert fid(x @ q + 3, y @ q + 3) == pytest.approx(distance, rel=1e-11)
    assert fid(np.random.default_rng(3).permutation(x), y) == pytest.approx(distance, rel=1e-12)
    assert fid(3 * x, 3 * y) == pytest.approx(9 * distance, rel=1e-12)


def test_the_reference_can_be_prepared_once():
    x, y = normal(20, 5, 1), normal(30, 5, 2)
    assert frechet_against(y)(x) == frechet_from_features(x, y)
    with pytest.raises(AtlasError, match="4 columns"):
        frechet_against(y)(x[:, :4])


@pytest.mark.parametrize("seed", range(5))
def test_moments_add_up_in_any_split_and_order(seed):
    rng = np.random.default_rng(seed)
    x = normal(101, 7, seed, 2.0, 1.0)
    cuts = np.sort(rng.choice(np.arange(1, 101), rng.integers(1, 20), replace=False))
    parts = [Moments.of(part) for part in np.split(x, cuts)]
    shuffled = [parts[i] for i in rng.permutation(len(parts))]
    whole, added = Moments.of(x), reduce(add, shuffled)
    assert added.count == 101
    np.testing.assert_allclose(added.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(added.covariance, whole.covariance, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(whole.mean, x.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(whole.covariance, np.cov(x.T), rtol=1e-12, atol=1e-13)


def test_moments_with_different_shifts_add_up_too():
    x = normal(40, 3, 1, 1.0, 5.0)
    added = Moments.of(x[:15], shift=5) + Moments.of(x[15:], shift=[4, 5, 6])
    assert added.shift.tolist() == [5, 5, 5]
    np.testing.assert_allclose(added.mean, x.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(added.covariance, np.cov(x.T), rtol=1e-12, atol=1e-13)


def test_a_shift_keeps_the_digits_that_a_far_mean_costs():
    x, y = normal(300, 6, 1), normal(300, 6, 2, 1.2)
    far = 1e6
    truth = frechet_from_features(x, y)
    raw = of_moments(x + far, y + far)
    shifted = frechet_distance(Moments.of(x + far, far), Moments.of(y + far, far))
    assert abs(raw - truth) > 1e-5
    assert shifted == pytest.approx(truth, rel=1e-8)  # x + far itself is rounded to 1e-10


def test_sums_that_lost_every_digit_are_refused():
    moments = Moments.of(normal(500, 8) + 1e9)
    with pytest.raises(AtlasError, match=r"negative eigenvalue.*shift"):
        frechet_distance(moments, moments)


def test_bad_moments_are_named():
    with pytest.raises(AtlasError, match="two pictures or more"):
        _ = Moments.of(np.zeros((1, 3))).covariance
    with pytest.raises(AtlasError, match="3 and of 4 features"):
        Moments.of(np.zeros((2, 3))) + Moments.of(np.zeros((2, 4)))
    with pytest.raises(AtlasError, match="shift of shape"):
        Moments.of(np.zeros((2, 3)), shift=[1, 2])


EYE = np.eye(2)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (([0, 0], np.eye(3), [0, 0], EYE), r"first.*shape \(3, 3\)"),
        (([0, 0], EYE, [0, 0, 0], np.eye(3)), "2 and 3 dimensions"),
        (([0, 0], EYE, [0, 0], [[1, 2], [0, 1]]), "second.*not symmetric"),
        (([0, 0], EYE, [0, np.nan], EYE), "NaN"),
        (([0, 0], EYE, [0, 0], [[1, 2], [2, 1]]), "negative eigenvalue"),
    ],
)
def test_what_is_no_gaussian_is_named(arguments, reason):
    with pytest.raises(AtlasError, match=reason):
        frechet_gaussians(*arguments)


@pytest.mark.parametrize("fid", [frechet_from_features, frechet_sqrtm, frechet_eigvals])
def test_bad_features_are_named(fid):
    good = np.zeros((5, 3))
    for bad, reason in [
        (np.zeros((1, 3)), "Too few rows"),
        (np.zeros((0, 3)), "Too few rows"),
        (np.zeros((5, 4)), "columns"),
        (np.full((5, 3), np.nan), "NaN"),
    ]:
        with pytest.raises(AtlasError, match=reason):
            fid(good, bad)


def test_the_bias_falls_as_1_over_n():
    """Same distribution, truth 0: N · FID is the same at every N well above d."""
    d, law = 8, {}
    for n in (100, 200, 400, 800):
        fids = [
            frechet_from_features(normal(n, d, seed), normal(n, d, 1000 + seed))
            for seed in range(20)
        ]
        law[n] = n * np.mean(fids)
    assert min(fids) > 0
    values = np.array(list(law.values()))
    assert values.max() / values.min() < 1.15


def test_fid_infinity_finds_the_true_distance():
    d, x, y = 8, normal(4000, 8, 1, 1.2), normal(4000, 8, 2)
    truth = d * 0.2**2
    found = fid_infinity(x, y, range(200, 2001, 100), both=True)
    at_200 = found.points["fid"].iloc[0]
    assert abs(found.value - truth) < 0.06 < 0.15 < at_200 - truth
    assert found.slope > 0
    fitted = found.value + found.slope / found.points["n"]
    np.testing.assert_allclose(found.points["fitted"], fitted, rtol=1e-12)
    np.testing.assert_allclose(found.points["one_over_n"], 1 / found.points["n"], rtol=1e-15)


def test_fid_infinity_keeps_the_reference_whole_as_the_paper_does():
    x, y = normal(300, 4, 1), normal(500, 4, 2)
    found = fid_infinity(x, y, [300, 150, 300], seed=3)
    assert found.points["n"].tolist() == [150, 300]
    assert found.points["fid"].iloc[-1] == pytest.approx(frechet_from_features(x, y), rel=1e-10)
    assert fid_infinity(x, y, [150, 300], seed=3).value == found.value
    assert fid_infinity(x, y, [150, 300], seed=4).value != found.value


@pytest.mark.parametrize("sizes", [[], [10], [10, 10], [1, 10], [10, 31]])
def test_sizes_that_can_not_be_drawn_are_named(sizes):
    with pytest.raises(AtlasError, match="from 2 to 30"):
        fid_infinity(normal(30, 3), normal(40, 3), sizes)
    with pytest.raises(AtlasError, match="from 2 to 30"):
        fid_infinity(normal(40, 3), normal(30, 3), sizes, both=True)
