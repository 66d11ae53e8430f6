"""Squared maximum mean discrepancies between two sets of features: KID and CMMD.

    MMD² = E k(x, x′) + E k(y, y′) − 2 E k(x, y)        (Gretton et al. 2012)

KID takes the cubic polynomial kernel and the unbiased estimator: its expectation is 0 for equal
distributions at any number of pictures, which FID's is not. CMMD takes CLIP features and a Gaussian
kernel. torchmetrics' KID is right, but knows only the mean over random subsets of equal size,
drawn from torch's global generator; ours also takes whole sets of different sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from unet_atlas.errors import AtlasError
from unet_atlas.metrics.arrays import features_of, pair_of

Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]
ROWS = 2048  # of a kernel matrix held at once
CMMD_SIGMA = 10.0
CMMD_SCALE = 1000.0


def kid(x: Any, y: Any) -> float:
    """KID of whole sets (n, d) and (m, d): the unbiased MMD² with the kernel (x·y/d + 1)³.

    Slightly negative for sets that are alike: that is what unbiased means. Published values are
    often times 1,000. (Bińkowski et al. 2018, arXiv 1801.01401)

    Raises:
        AtlasError: fewer than two rows, different widths, NaN or infinity.
    """
    x, y = pair_of(x, y, least=2)
    return _mmd(x, y, cubic, unbiased=True)


def mmd_gaussian(x: Any, y: Any, sigma: float = 10.0, unbiased: bool = False) -> float:
    """MMD² with the kernel exp(−|x − y|² / 2σ²).

    Args:
        unbiased: leave out the pairs of a picture with itself (the U-statistic, n ≥ 2); otherwise
            the V-statistic, which is never negative and too large by about (1 − k̄)(1/n + 1/m).

    Raises:
        AtlasError: bad features, or σ not positive.
    """
    x, y = pair_of(x, y, least=2 if unbiased else 1)
    return _mmd(x, y, gaussian(sigma), unbiased)


def cmmd(x: Any, y: Any) -> float:
    """CMMD of CLIP image features: 1,000 times the V-statistic MMD² of unit vectors, σ = 10.

    As the authors' code has it (google-research/cmmd: the squared MMD, the diagonal counted in).
    They use ViT-L/14 at 336 px; a value says nothing beside one from another backbone.
    (Jayasumana et al. 2024, arXiv 2401.09603)

    Raises:
        AtlasError: bad features, or a feature that is zero.
    """
    x, y = pair_of(x, y)
    kernel = gaussian(CMMD_SIGMA)
    return CMMD_SCALE * _mmd(unit(x, "generated"), unit(y, "reference"), kernel, False)


def unit(x: np.ndarray, name: str = "given") -> np.ndarray:
    """Rows divided by their lengths, (n, d).

    Raises:
        AtlasError: a row is zero.
    """
    x = features_of(x, f"{name} features")
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    if not lengths.all():
        row = int(np.argmin(lengths))
        raise AtlasError(f"The {name} features of row {row} are all zero and have no direction.")
    return x / lengths


def cubic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """KID's kernel, (n, m)."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def gaussian(sigma: float) -> Kernel:
    """The kernel exp(−|x − y|² / 2σ²) − 1, (n, m); the −1 cancels in an MMD and saves digits.

    Raises:
        AtlasError: σ is not positive.
    """
    if not sigma > 0:
        raise AtlasError(f"A Gaussian kernel can't have σ = {sigma}; give a positive number.")

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        squares = (x * x).sum(axis=1)[:, None] + (y * y).sum(axis=1) - 2 * (x @ y.T)
        return np.expm1(-np.maximum(squares, 0) / (2 * sigma**2))

    return kernel


def resampled_mmd(
    kxx: np.ndarray, kxy: np.ndarray, kyy: np.ndarray, counts: np.ndarray, unbiased: bool
) -> np.ndarray:
    """MMD² of many resamples of x at once, from kernel matrices that are computed once.

    Args:
        kxx, kxy, kyy: (n, n), (n, m), (m, m).
        counts: (b, n), how often each row of x is in each resample.
        unbiased: pairs of a row with itself are left out, drawn twice or not: else every tie would
            add its k(x, x), and the resamples would sit above the estimate.

    Returns:
        (b,); NaN for a resample of one row alone, where it is unbiased: there is no pair to count.
    """
    n, m = counts.sum(axis=1), len(kyy)
    within = np.einsum("bi,bi->b", counts @ kxx, counts)
    pairs = n**2
    reference = kyy.sum() / m**2
    if unbiased:
        squares = counts**2
        within = within - squares @ np.diag(kxx)
        pairs = pairs - squares.sum(axis=1)
        pairs = np.where(pairs > 0, pairs, np.nan)  # else rounding over zero: ±∞
        reference = (kyy.sum() - np.trace(kyy)) / (m * (m - 1))
    return within / pairs + reference - 2 * (counts @ kxy.sum(axis=1)) / (n * m)


def _mmd(x: np.ndarray, y: np.ndarray, kernel: Kernel, unbiased: bool) -> float:
    return float(
        _mean_within(x, kernel, unbiased)
        + _mean_within(y, kernel, unbiased)
        - 2 * _total(x, y, kernel) / (len(x) * len(y))
    )


def _mean_within(x: np.ndarray, kernel: Kernel, unbiased: bool) -> float:
    n, total, itself = len(x), 0.0, 0.0
    for start in range(0, n, ROWS):
        block = kernel(x[start : start + ROWS], x)
        total += float(block.sum())
        itself += float(np.trace(block, offset=start))
    return (total - itself) / (n * (n - 1)) if unbiased else total / n**2


def _total(x: np.ndarray, y: np.ndarray, kernel: Kernel) -> float:
    """The sum of a kernel matrix, never held as a whole."""
    return sum(float(kernel(x[i : i + ROWS], y).sum()) for i in range(0, len(x), ROWS))
