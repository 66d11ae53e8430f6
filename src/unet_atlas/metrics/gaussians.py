"""Gaussians with known answers: exact moments, the optimal map, and the 1/N bias of their distance.

For the book's chapter *FID from the ground up* and for tests: what FID should give, from theory.
"""

from __future__ import annotations

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
    pairs = np.outer(s, s) / np.add.outer(s, s)
    return float(np.trace(cov1) + (pairs.sum() + np.trace(pairs)) / 2)


def _root(cov: np.ndarray) -> np.ndarray:
    """The symmetric square root, (d, d)."""
    values, vectors = np.linalg.eigh(cov)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T
