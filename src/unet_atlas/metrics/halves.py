"""Intervals for metrics of nearest neighbours, from halves of the generated pictures.

A bootstrap resample holds pictures twice, and a picture's copy is its nearest neighbour, so that
resampling says nothing about these metrics. A half drawn *without* replacement has no copies, and a
mean over half of n pictures varies about the whole as the mean of n varies about the truth:
σ²/(n/2) · (1 − 1/2) = σ²/n. The spread over halves is taken for the value of all pictures.

Book: *Beyond FID and CLIP score*.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unet_atlas.errors import AtlasError
from unet_atlas.metrics.arrays import pair_of, values_of
from unet_atlas.metrics.bootstrap import Estimate
from unet_atlas.metrics.neighbours import density_coverage, precision_recall

NEIGHBOURS = ("precision", "recall", "density", "coverage")
MOST = (1.0, 1.0, np.inf, 1.0)  # density alone may pass 1
Z = 1.96  # of a normal distribution's 95 %


def on_halves(x: Any, y: Any, halves: int = 20, seed: int = 0) -> np.ndarray:
    """``NEIGHBOURS`` of all generated pictures, then of random halves of them.

    Args:
        x: generated features (n, d); y: reference features (m, d), always whole.
        halves: how many; the same ``seed`` draws the same halves of any n pictures, so that the
            arrays of two models on the same prompts may be subtracted.

    Returns:
        (1 + halves, 4).

    Raises:
        AtlasError: bad features, or too few for five neighbours in each half.
    """
    x, y = pair_of(x, y)
    rng = np.random.default_rng(seed)
    parts = [x] + [x[rng.permutation(len(x))[: len(x) // 2]] for _ in range(halves)]
    return np.array([[*precision_recall(part, y), *density_coverage(part, y)] for part in parts])


def from_halves(values: np.ndarray) -> dict[str, Estimate]:
    """The first row of :func:`on_halves`, or of a difference of two, with 95 % intervals.

    Raises:
        AtlasError: fewer than two halves.
    """
    if len(values) < 3:
        raise AtlasError("An interval from halves needs two halves or more; draw more.")
    found = {}
    for name, column, most in zip(NEIGHBOURS, np.asarray(values).T, MOST, strict=True):
        value, *parts = values_of(column, name)
        reach = Z * float(np.std(parts, ddof=1))
        found[name] = Estimate(float(value), float(value) - reach, min(float(value) + reach, most))
    return found
