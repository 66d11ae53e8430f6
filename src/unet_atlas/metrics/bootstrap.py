"""Intervals: percentile bootstrap over prompts, over generated pictures, paired; Wilson for shares.

The prompt is the unit: with several pictures a prompt, average them first. The reference set is
never resampled: everyone is compared with the same one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

from unet_atlas.errors import AtlasError
from unet_atlas.metrics.arrays import pair_of, values_of
from unet_atlas.metrics.frechet import frechet_against, frechet_from_features
from unet_atlas.metrics.kernels import (
    CMMD_SCALE,
    CMMD_SIGMA,
    cmmd,
    cubic,
    gaussian,
    kid,
    resampled_mmd,
    unit,
)

LEVEL = 0.95  # of confidence
CELLS = 4_000_000  # of a resampled array held at once
LEAST_OF_KID = 8  # pictures; of fewer, resamples that are one picture over and over do turn up
Method = Literal["centred", "percentile", "basic"]
Metric = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Estimate:
    """A value with the ends of its interval; they are NaN where there is none."""

    value: float
    low: float
    high: float

    def shown(self, digits: int = 3) -> str:
        """``0.312 [0.301, 0.323]``, or ``0.312 (no interval)``; no line breaks in the brackets."""
        value, low, high = (
            f"{v:.{digits}f}".replace("-", "−") for v in (self.value, self.low, self.high)
        )
        return (
            f"{value} [{low},\u00a0{high}]" if math.isfinite(self.low) else f"{value} (no interval)"
        )


def interval(
    values: Any,
    statistic: Callable[..., Any] = np.mean,
    n: int = 1000,
    seed: int = 0,
    level: float = LEVEL,
) -> Estimate:
    """A statistic of one value a prompt, with its percentile bootstrap interval.

    Args:
        values: (prompts,).
        statistic: of an array; one that takes ``axis``, as numpy's do, is called on many resamples
            at once.
        n: number of resamples.
        level: of confidence; the interval is a little narrow below about 30 prompts.

    Raises:
        AtlasError: fewer than two values, NaN or infinity, bad n or level.
    """
    values = values_of(values, least=2)
    _check(n, level)
    resamples = _statistics((values,), statistic, n, np.random.default_rng(seed))[0]
    return _percentile(float(statistic(values)), resamples, level)


def paired(
    a: Any,
    b: Any,
    statistic: Callable[..., Any] = np.mean,
    n: int = 1000,
    seed: int = 0,
) -> Estimate:
    """statistic(a) − statistic(b) of two models on the same prompts, in the same order.

    Each resample takes the same prompts for both, so that how hard a prompt is cancels: far
    narrower than the interval from two separate bootstraps wherever the models find the same
    prompts hard. An interval that leaves out 0 says that they differ.

    Raises:
        AtlasError: lengths differ; see :func:`interval`.
    """
    a, b = values_of(a, "first values", 2), values_of(b, "second values", 2)
    if len(a) != len(b):
        raise AtlasError(
            f"There are {len(a)} first and {len(b)} second values; give one of each a prompt."
        )
    _check(n, LEVEL)
    first, second = _statistics((a, b), statistic, n, np.random.default_rng(seed))
    return _percentile(float(statistic(a) - statistic(b)), first - second, LEVEL)


def unpaired(a: Any, b: Any, n: int = 1000, seed: int = 0) -> Estimate:
    """mean(a) − mean(b) of two models on different prompts; see :func:`paired`."""
    a, b = values_of(a, "first values", 2), values_of(b, "second values", 2)
    _check(n, LEVEL)
    rng = np.random.default_rng(seed)
    first, second = (_statistics((v,), np.mean, n, rng)[0] for v in (a, b))
    return _percentile(float(a.mean() - b.mean()), first - second, LEVEL)


def interval_of(
    x: Any,
    y: Any,
    metric: Metric = frechet_from_features,
    n: int = 200,
    seed: int = 0,
    method: Method = "centred",
) -> Estimate:
    """A metric of two sets with an interval from resampling the generated pictures.

    A resample holds ties, about 63 % of the pictures. FID takes that for a smaller set: every
    resample carries its 1/N bias a second time, and the plain percentile interval lies above the
    value; for a good generator it does not even contain it. Two ways out, for two questions:

    * ``"centred"`` moves the resamples' mean onto the value: where would the value fall with N
      other pictures? Ask this to compare models at equal N.
    * ``"basic"`` mirrors the resamples at the value, which takes the bias off: where is the value
      for infinitely many pictures? To first order only; :func:`~.frechet.fid_infinity` is better.
    * ``"percentile"`` is right for metrics without such a bias, and here to show the fault.

    KID's and CMMD's resamples come from kernel matrices computed once; KID's leave out a picture's
    pairs with its own copies, so that ties don't count. A resample that is one picture over and
    over then has no KID: below ``LEAST_OF_KID`` pictures KID comes without an interval.

    Args:
        x: generated features (n, d).
        y: reference features (m, d).
        metric: takes (x, y), gives a number.
        n: number of resamples.

    Raises:
        AtlasError: bad features, n or method.
    """
    x, y = pair_of(x, y, least=2)
    _check(n, LEVEL)
    value = float(metric(x, y))
    if _too_few(metric, x):
        return Estimate(value, math.nan, math.nan)
    resamples = _resampled(metric, x, y, _indices(len(x), n, np.random.default_rng(seed)))
    return _from_resamples(value, resamples, method)


def paired_of(
    a: Any,
    b: Any,
    y: Any,
    metric: Metric = frechet_from_features,
    n: int = 200,
    seed: int = 0,
) -> Estimate:
    """metric(a, y) − metric(b, y) of two models on the same prompts, the same resamples for both.

    Args:
        a, b: features of the pictures of the same prompts in the same order, (n, d) each.
        y: reference features (m, d).

    Raises:
        AtlasError: the numbers of pictures differ; see :func:`interval_of`.
    """
    a, y = pair_of(a, y, least=2)
    b, _ = pair_of(b, y, least=2)
    if len(a) != len(b):
        raise AtlasError(f"There are {len(a)} and {len(b)} pictures; give one of each a prompt.")
    _check(n, LEVEL)
    value = float(metric(a, y) - metric(b, y))
    if _too_few(metric, a):
        return Estimate(value, math.nan, math.nan)
    indices = _indices(len(a), n, np.random.default_rng(seed))
    differences = _resampled(metric, a, y, indices) - _resampled(metric, b, y, indices)
    return _from_resamples(value, differences, "centred")


def wilson(successes: int, n: int, level: float = LEVEL) -> Estimate:
    """A share with Wilson's score interval: sound near 0 and 1, where the bootstrap has no width.

    Raises:
        AtlasError: not 0 ≤ successes ≤ n with n ≥ 1.
    """
    if n < 1 or not 0 <= successes <= n:
        raise AtlasError(f"{successes} successes in {n} trials is no share; give 0 to n of n ≥ 1.")
    _check(1, level)
    z, share = NormalDist().inv_cdf((1 + level) / 2), successes / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low = 0.0 if successes == 0 else middle - half
    return Estimate(share, low, 1.0 if successes == n else middle + half)


def _check(n: int, level: float) -> None:
    if n < 1 or not 0 < level < 1:
        raise AtlasError(
            f"An interval can't have {n} resamples and level {level}; give n ≥ 1 and 0 < level < 1."
        )


def _indices(size: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Which rows each resample takes, (n, size)."""
    return rng.integers(size, size=(n, size))


def _statistics(
    samples: tuple[np.ndarray, ...],
    statistic: Callable[..., Any],
    n: int,
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """The statistic of n resamples of each sample, the same rows for all; (n,) each."""
    size = len(samples[0])
    step = max(1, CELLS // size)
    parts = [_indices(size, min(step, n - done), rng) for done in range(0, n, step)]
    return [
        np.concatenate([_along_rows(statistic, sample[rows]) for rows in parts])
        for sample in samples
    ]


def _along_rows(statistic: Callable[..., Any], rows: np.ndarray) -> np.ndarray:
    try:
        return np.asarray(statistic(rows, axis=1), np.float64)
    except TypeError:  # it knows no axis
        return np.array([statistic(row) for row in rows], np.float64)


def _resampled(metric: Metric, x: np.ndarray, y: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """The metric of each resample of x, (n,)."""
    if metric is kid:
        return _resampled_mmd(x, y, cubic, indices, unbiased=True)
    if metric is cmmd:
        kernel = gaussian(CMMD_SIGMA)
        return CMMD_SCALE * _resampled_mmd(unit(x), unit(y), kernel, indices, unbiased=False)
    if metric is frechet_from_features:
        distance = frechet_against(y)
        return np.array([distance(x[rows]) for rows in indices])
    return np.array([metric(x[rows], y) for rows in indices])


def _resampled_mmd(
    x: np.ndarray, y: np.ndarray, kernel: Any, indices: np.ndarray, unbiased: bool
) -> np.ndarray:
    counts = np.stack([np.bincount(rows, minlength=len(x)) for rows in indices]).astype(np.float64)
    return resampled_mmd(kernel(x, x), kernel(x, y), kernel(y, y), counts, unbiased)


def _too_few(metric: Metric, x: np.ndarray) -> bool:
    return metric is kid and len(x) < LEAST_OF_KID


def _from_resamples(value: float, resamples: np.ndarray, method: str) -> Estimate:
    if method == "percentile":
        return _percentile(value, resamples, LEVEL)
    if method == "centred":
        return _percentile(value, resamples - resamples.mean() + value, LEVEL)
    if method == "basic":
        return _percentile(value, 2 * value - resamples, LEVEL)
    raise AtlasError(f"'{method}' is no method; give 'centred', 'basic' or 'percentile'.")


def _percentile(value: float, resamples: np.ndarray, level: float) -> Estimate:
    low, high = np.quantile(resamples, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high))
