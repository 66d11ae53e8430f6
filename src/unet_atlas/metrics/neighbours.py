"""Fidelity and variety apart, by nearest neighbours: precision, recall, density, coverage.

Each set is covered with balls that reach from a picture to its k-th neighbour in the same set.
Plain geometry that no library of ours offers without the pictures and an Inception network.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.spatial.distance import cdist

from unet_atlas.errors import AtlasError
from unet_atlas.metrics.arrays import pair_of

ROWS = 1024  # of a distance matrix held at once


class PrecisionRecall(NamedTuple):
    """Two shares from 0 to 1."""

    precision: float  # of the generated pictures, those inside the reference's balls
    recall: float  # of the reference pictures, those inside the generated ones' balls


class DensityCoverage(NamedTuple):
    """``density`` may pass 1; ``coverage`` is a share."""

    density: float  # in how many reference balls a generated picture lies, over k
    coverage: float  # of the reference's balls, those with a generated picture inside


def precision_recall(x: Any, y: Any, k: int = 3) -> PrecisionRecall:
    """Improved precision and recall (Kynkäänniemi et al. 2019, arXiv 1904.06991), closed balls.

    Args:
        x: generated features (n, d).
        y: reference features (m, d).
        k: which neighbour a ball reaches to.

    Raises:
        AtlasError: bad features, or k not below the number of rows.
    """
    x, y = _sets(x, y, k)
    inside_y, inside_x = np.zeros(len(x), bool), np.zeros(len(y), bool)
    radii_x, radii_y = _radii(x, k), _radii(y, k)
    for rows, distances in _distances(x, y):  # (rows, m)
        inside_y[rows] = (distances <= radii_y).any(axis=1)
        inside_x |= (distances <= radii_x[rows, None]).any(axis=0)
    return PrecisionRecall(float(inside_y.mean()), float(inside_x.mean()))


def density_coverage(x: Any, y: Any, k: int = 5) -> DensityCoverage:
    """Density and coverage (Naeem et al. 2020, arXiv 2002.09797): an outlier of the reference, with
    its large ball, weighs less than in precision. Expected values for equal distributions: 1 and
    about 1 − 2⁻ᵏ. Arguments and errors as for :func:`precision_recall`.
    """
    x, y = _sets(x, y, k)
    radii = _radii(y, k)
    hits, covered = 0, np.zeros(len(y), bool)
    for _, distances in _distances(x, y):
        inside = distances <= radii
        hits += int(inside.sum())
        covered |= inside.any(axis=0)
    return DensityCoverage(hits / (k * len(x)), float(covered.mean()))


def _sets(x: Any, y: Any, k: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = pair_of(x, y)
    if not 1 <= k < min(len(x), len(y)):
        raise AtlasError(
            f"k = {k} neighbours can't be taken in sets of {len(x)} and {len(y)} pictures; "
            "give a k from 1 to one less than the smaller set."
        )
    return x, y


def _radii(x: np.ndarray, k: int) -> np.ndarray:
    """The squared distance of each row to its k-th neighbour, (n,); a row is its own 0-th."""
    return np.concatenate([np.partition(d, k, axis=1)[:, k] for _, d in _distances(x, x)])


def _distances(x: np.ndarray, y: np.ndarray):
    """Squared distances block by block, with the rows that they belong to.

    By differences, not by |x|² + |y|² − 2x·y: a duplicate must be at distance 0 exactly.
    """
    for start in range(0, len(x), ROWS):
        rows = slice(start, start + ROWS)
        yield rows, cdist(x[rows], y, "sqeuclidean")
