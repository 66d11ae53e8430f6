"""Gaussians with known answers: exact moments, the optimal map, and the 1/N bias of their distance.

For the book's chapter *FID from the ground up* and for tests: what FID should give, from theory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from unet_atlas.errors import AtlasError
from unet_atlas.metrics.arrays import features_of, values_of


def features_with(mean: Any, cov: Any, n: int, seed: int = 0) -> np.ndarray:
    """Features (n, d) whose sample mean and covariance (divisor n − 1) are exactly those given.

    Args:
        mean: (d,).
        cov: (d, d), symmetric, positive semi-definite.
        n: more than d.

    Raises:
        AtlasError: n is not above d, or the covariance does not fit the mean.
    """
    mean, cov = values_of(mean, "mean"), features_of(cov, "covariance")
    d = mean.size
    if cov.shape != (d, d):
        raise AtlasError(f"A mean of {d} numbers needs a covariance ({d}, {d}), not {cov.shape}.")
    if n <= d:
        raise AtlasError(f"{n} features can't have any covariance in {d} dimensions; take more.")
    white = np.random.default_rng(seed).normal(size=(n, d))
    white = np.linalg.qr(white - white.mean(axis=0))[0] * np.sqrt(n - 1)
    return mean + white @ _root(cov)


def optimal_map(cov1: Any, cov2: Any) -> np.ndarray:
    """The symmetric matrix A with A Σ₁ A = Σ₂: x ↦ μ₂ + A (x − μ₁) moves the first Gaussian onto
    the second with the least mean squared distance (Dowson & Landau 1982). Σ₁ is invertible.
    """
    root = _root(features_of(cov1, "first covariance"))
    inverse = np.linalg.inv(root)
    return inverse @ _root(root @ features_of(cov2, "second covariance") @ root) @ inverse


def bias_slope(cov1: Any, cov2: Any) -> float:
    """The slope of FID's bias: N pictures with covariance Σ₁ add slope / N to the distance.

    A second-order expansion for Gaussian features against a known reference of covariance Σ₂, both
    invertible: Tr Σ₁ from the mean, and ½ Σᵢⱼ sᵢ sⱼ (1 + δᵢⱼ) / (sᵢ + sⱼ) from the covariance,
    where s are the singular values of Σ₁^½ Σ₂^½. A reference of M pictures adds
    ``bias_slope(cov2, cov1)`` / M. For d equal variances v in both it is v d (d + 5) / 4.
    """
    cov1, cov2 = features_of(cov1, "first covariance"), features_of(cov2, "second covariance")
    s = np.linalg.svd(_root(cov1) @ _root(cov2), compute_uv=False)
    return float(np.trace(cov1) + _from_spread(s))


def bias_slope_alike(variances: Any) -> float:
    """:func:`bias_slope` of two Gaussians with the same independent features, from their variances
    (d,): at d = 2048 a sum, where the matrices would take a minute.

    Raises:
        AtlasError: a variance is not positive.
    """
    variances = values_of(variances, "variances", 1)
    if variances.min() <= 0:
        raise AtlasError("The variances must be positive; leave out features that never change.")
    return float(variances.sum() + _from_spread(variances))


@dataclass(frozen=True)
class KnownPair:
    """Two Gaussians, the second centred at zero, whose distance is known without any program."""

    name: str
    mean: np.ndarray  # (d,) of the first
    cov1: np.ndarray
    cov2: np.ndarray
    distance: float

    def features(self) -> tuple[np.ndarray, np.ndarray]:
        """Two sets with exactly these moments, of different sizes."""
        zero = np.zeros_like(self.mean)
        return features_with(self.mean, self.cov1, 40, 1), features_with(zero, self.cov2, 50, 2)


def known_pairs() -> list[KnownPair]:
    """Four pairs in four dimensions, one for each term of the formula and for a singular product.

    The turned one: in the plane of the turn Σ₁ = diag(4, 1), Σ₂ is Σ₁ turned by 45°, and
    Tr (Σ₁ Σ₂)^½ = √(Tr Σ₁Σ₂ + 2 √det Σ₁Σ₂) = √(12.5 + 8).
    """
    one, zero = np.eye(4), np.zeros(4)
    long, upper = np.diag([4.0, 1, 1, 1]), np.diag([0.0, 0, 1, 1])
    turn = np.eye(4)
    turn[:2, :2] = np.sqrt(0.5) * np.array([[1, -1], [1, 1]])
    turned = turn @ long @ turn.T
    return [
        KnownPair("shifted by 1 along each axis: |Δμ|²", zero + 1, one, one, 4.0),
        KnownPair("twice as wide: Σ (σ₁ − σ₂)²", zero, one, 4 * one, 4.0),
        KnownPair("turned by 45°: 10 − 2 √20.5", zero, long, turned, 10 - 2 * np.sqrt(20.5)),
        KnownPair("no common direction: Tr Σ₁ + Tr Σ₂", zero, one - upper, upper, 4.0),
    ]


def _from_spread(s: np.ndarray) -> float:
    """The covariance's part of the slope, from the singular values of Σ₁^½ Σ₂^½."""
    pairs = np.outer(s, s) / np.add.outer(s, s)
    return float((pairs.sum() + np.trace(pairs)) / 2)


def _root(cov: np.ndarray) -> np.ndarray:
    """The symmetric square root, (d, d)."""
    values, vectors = np.linalg.eigh(cov)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T
