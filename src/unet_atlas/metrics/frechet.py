"""FID: the squared Fréchet distance of the two Gaussians with the features' means and covariances.

    |μ₁ − μ₂|² + Tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½)        (Dowson & Landau 1982; Heusel et al. 2017)

Three ways to the same number. :func:`frechet_distance` starts from sums that add up over batches
and processes, :func:`frechet_from_features` never forms a covariance and is the most exact, and
:func:`frechet_sqrtm` is the textbook's. torchmetrics' FID agrees with them to 1e-9 for n > d; ours
exist because its eigenvalues of a product that is not symmetric cost it 1e-5 for n ≤ d, because it
rounds the result to the features' dtype, and because its sums can't be shifted or added.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.linalg import LinAlgWarning, sqrtm

from unet_atlas.errors import AtlasError
from unet_atlas.metrics.arrays import features_of, pair_of, values_of

EPSILON = np.finfo(np.float64).eps
TOLERANCE = 1e-6  # of a covariance's largest entry: beyond this it is no rounding


@dataclass(frozen=True)
class Moments:
    """The sums that a mean and a covariance need; they add up in any split and order.

    ``total`` is Σ(x − shift), ``outer`` is Σ(x − shift)(x − shift)ᵀ. The covariance subtracts two
    large numbers where |mean − shift| is far above the spread: with shift 0 it loses about
    2·log₁₀(mean/spread) of its 16 digits. Inception and CLIP features lose two or three. For others
    give every part the same rough mean as ``shift``; sums with different shifts can be added too.
    """

    count: int
    total: np.ndarray  # (d,)
    outer: np.ndarray  # (d, d)
    shift: np.ndarray  # (d,)

    @classmethod
    def of(cls, features: Any, shift: Any = 0.0) -> Moments:
        """The sums of a batch of features (n, d), n ≥ 1; ``shift`` is a number or (d,).

        Raises:
            AtlasError: bad features, or a shift that does not fit them.
        """
        x, shift = features_of(features), np.asarray(shift, np.float64)
        if shift.shape not in ((), x.shape[1:]):
            raise AtlasError(
                f"A shift of shape {shift.shape} does not fit {x.shape[1]} features; give a number "
                "or one a feature."
            )
        shift = np.broadcast_to(shift, x.shape[1:])
        moved = x - shift
        return cls(len(x), moved.sum(axis=0), moved.T @ moved, shift)

    def __add__(self, other: Moments) -> Moments:
        if self.total.shape != other.total.shape:
            raise AtlasError(
                f"Moments of {self.total.size} and of {other.total.size} features can't be added; "
                "take both from the same extractor."
            )
        other = other._with_shift(self.shift)
        return Moments(
            self.count + other.count,
            self.total + other.total,
            self.outer + other.outer,
            self.shift,
        )

    @property
    def mean(self) -> np.ndarray:
        """The mean, (d,)."""
        return self.shift + self.total / self.count

    @property
    def covariance(self) -> np.ndarray:
        """The covariance with divisor n − 1, (d, d).

        Raises:
            AtlasError: fewer than two samples.
        """
        if self.count < 2:
            raise AtlasError("A covariance needs two pictures or more; there is one.")
        centred = self.outer - np.outer(self.total, self.total / self.count)
        return (centred + centred.T) / (2 * (self.count - 1))

    def _with_shift(self, shift: np.ndarray) -> Moments:
        """The same samples' sums about another shift."""
        by = self.shift - shift
        if not by.any():
            return self
        cross = np.outer(self.total, by)
        outer = self.outer + cross + cross.T + self.count * np.outer(by, by)
        return Moments(self.count, self.total + self.count * by, outer, shift)


class Extrapolation(NamedTuple):
    """FID∞ with the line that leads there: FID(N) = ``value`` + ``slope`` / N."""

    value: float
    slope: float
    points: pd.DataFrame  # n, one_over_n, fid, fitted


def frechet_distance(a: Moments, b: Moments) -> float:
    """The squared Fréchet distance of two sets of features given by their sums.

    The same as :func:`frechet_from_features` to about 1e-13 of the variance, at any rank, where the
    means are of the order of the spread; with means of 100 times the spread and fewer pictures
    than features the two part at 1e-8, unless the sums have a shift.

    Raises:
        AtlasError: fewer than two samples, or another number of features.
    """
    return frechet_gaussians(a.mean, a.covariance, b.mean, b.covariance)


def frechet_gaussians(mu1: Any, cov1: Any, mu2: Any, cov2: Any) -> float:
    """The squared Fréchet distance of two Gaussians; means (d,), covariances (d, d).

    Tr (Σ₁ Σ₂)^½ is the sum of the singular values of Σ₁^½ Σ₂^½. The symmetric roots come from
    ``eigh``; eigenvalues below d·ε of the largest are rounding and count as zero. Nothing is added
    to a covariance.

    Raises:
        AtlasError: shapes that don't fit, a covariance that is not symmetric or has a negative
            eigenvalue, NaN or infinity.
    """
    mu1, cov1 = _gaussian(mu1, cov1, "first")
    mu2, cov2 = _gaussian(mu2, cov2, "second")
    if mu1.size != mu2.size:
        raise AtlasError(
            f"The Gaussians have {mu1.size} and {mu2.size} dimensions; give equal ones."
        )
    overlap = np.linalg.svd(_root(cov1) @ _root(cov2), compute_uv=False).sum()
    return float(_square(mu1 - mu2) + np.trace(cov1) + np.trace(cov2) - 2 * overlap)


def frechet_from_features(x: Any, y: Any) -> float:
    """FID straight from features (n, d) and (m, d), without a covariance; exact at any n ≥ 2.

    With X and Y centred and divided by √(n − 1), Σ = XᵀX, and Tr (Σ₁ Σ₂)^½ is the nuclear norm of
    X Yᵀ. No root of a small eigenvalue is ever taken, so that n < d costs no digits. Where there
    are more rows than columns, the triangular factors of X and Y take their place: same singular
    values, and never a matrix larger than d × d.

    Raises:
        AtlasError: fewer than two rows, different widths, NaN or infinity.
    """
    x, y = pair_of(x, y, least=2)
    return frechet_against(y)(x)


def frechet_against(y: Any) -> Callable[[Any], float]:
    """:func:`frechet_from_features` with the reference's half of the work done once."""
    y = features_of(y, "reference features", 2)
    mean, y_scaled = y.mean(axis=0), _scaled(y)
    spread, y_short = np.sum(y_scaled**2), _short(y_scaled)

    def distance(x: Any) -> float:
        x = pair_of(x, y, least=2)[0]
        scaled = _scaled(x)
        overlap = np.linalg.svd(_short(scaled) @ y_short.T, compute_uv=False).sum()
        offset = _square(x.mean(axis=0) - mean)
        return float(offset + np.sum(scaled**2) + spread - 2 * overlap)

    return distance


def frechet_sqrtm(x: Any, y: Any) -> float:
    """FID as the textbook and pytorch-fid write it: ``scipy.linalg.sqrtm(Σ₁ @ Σ₂)``, real part.

    For comparison. The product of two symmetric matrices is not symmetric, and where it is singular
    (n ≤ d) its root loses half of the digits: the value is 1e-5 too low at n = 100 and d = 256.
    pytorch-fid adds 1e-6 to the diagonals when the root comes out infinite; nothing is added here.

    Raises:
        AtlasError: bad features, or a product of which SciPy finds no root.
    """
    mu1, cov1, mu2, cov2 = _means_and_covariances(x, y)
    overlap = np.trace(_root_of_product(cov1 @ cov2)).real
    return float(_square(mu1 - mu2) + np.trace(cov1) + np.trace(cov2) - 2 * overlap)


def frechet_eigvals(x: Any, y: Any, dtype: Any = np.float64) -> float:
    """FID as torchmetrics takes it: the roots of the eigenvalues of Σ₁ @ Σ₂, real part.

    For comparison, in any dtype: in float32 the distance of close sets comes out negative.
    """
    mu1, cov1, mu2, cov2 = (part.astype(dtype) for part in _means_and_covariances(x, y))
    overlap = np.sqrt(np.linalg.eigvals(cov1 @ cov2).astype(complex)).real.sum()
    return float(_square(mu1 - mu2) + np.trace(cov1) + np.trace(cov2) - 2 * overlap)


def fid_infinity(
    x: Any, y: Any, sizes: Sequence[int], seed: int = 0, both: bool = False
) -> Extrapolation:
    """FID extrapolated to infinitely many pictures (Chong & Forsyth 2020, arXiv 1911.07023).

    FID(N) is FID plus a bias that falls as 1/N once N is well above d: a line fitted to FID against
    1/N meets the axis at FID∞. Each size draws its own pictures, without replacement.

    Args:
        x: generated features (n, d).
        y: reference features (m, d).
        sizes: at least two different numbers of pictures, from 2 to n; start well above d.
        both: draw from the reference too, which takes away its bias as well. The paper does not:
            its reference is the same large set for everyone.

    Raises:
        AtlasError: bad features, or sizes that can't be drawn.
    """
    x, y = pair_of(x, y, least=2)
    sizes = sorted({int(n) for n in sizes})
    most = min(len(x), len(y)) if both else len(x)
    if len(sizes) < 2 or sizes[0] < 2 or sizes[-1] > most:
        raise AtlasError(f"FID∞ can't use the sizes {sizes}; give two or more from 2 to {most}.")
    rng = np.random.default_rng(seed)
    fids = [frechet_from_features(_draw(x, n, rng), _draw(y, n, rng) if both else y) for n in sizes]
    inverse = 1 / np.array(sizes, np.float64)
    slope, value = np.polyfit(inverse, fids, 1)
    fitted = value + slope * inverse
    points = pd.DataFrame({"n": sizes, "one_over_n": inverse, "fid": fids, "fitted": fitted})
    return Extrapolation(float(value), float(slope), points)


def _draw(x: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    return x[rng.choice(len(x), n, replace=False)]


def _square(v: np.ndarray) -> float:
    return float(v @ v)


def _scaled(x: np.ndarray) -> np.ndarray:
    """Centred rows, so that XᵀX is the covariance."""
    return (x - x.mean(axis=0)) / np.sqrt(len(x) - 1)


def _short(x: np.ndarray) -> np.ndarray:
    """A matrix with the same XᵀX and at most d rows."""
    return x if len(x) <= x.shape[1] else np.linalg.qr(x, mode="r")


def _root(cov: np.ndarray) -> np.ndarray:
    """The symmetric square root of a positive semi-definite matrix, (d, d)."""
    values, vectors = np.linalg.eigh(cov)
    if values[0] < -TOLERANCE * values[-1]:
        raise AtlasError(
            f"A covariance has the negative eigenvalue {values[0]:.1e}; if it comes from Moments "
            "whose mean is far above the spread, give them a shift near the mean."
        )
    values = np.where(values > len(cov) * EPSILON * values[-1], values, 0.0)
    return (vectors * np.sqrt(values)) @ vectors.T


def _root_of_product(product: np.ndarray) -> np.ndarray:
    """``sqrtm``, whose warning about singular matrices gives way to a look at the root itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LinAlgWarning)
        root = sqrtm(product)
    off = np.linalg.norm(root @ root - product) if np.isfinite(root).all() else np.inf
    if off > TOLERANCE * np.linalg.norm(product):
        raise AtlasError(
            "SciPy finds no root of the product of the covariances; use frechet_from_features."
        )
    return root


def _gaussian(mean: Any, cov: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    mean = values_of(mean, f"{name} Gaussian's mean")
    cov = features_of(cov, f"{name} Gaussian's covariance")
    if cov.shape != (mean.size, mean.size):
        raise AtlasError(
            f"The {name} Gaussian's covariance has shape {cov.shape}; its mean of {mean.size} "
            f"numbers needs ({mean.size}, {mean.size})."
        )
    if np.abs(cov - cov.T).max() > TOLERANCE * np.abs(cov).max():
        raise AtlasError(f"The {name} Gaussian's covariance is not symmetric; give (C + Cᵀ) / 2.")
    return mean, cov


def _means_and_covariances(x: Any, y: Any) -> tuple[np.ndarray, ...]:
    x, y = pair_of(x, y, least=2)
    x_scaled, y_scaled = _scaled(x), _scaled(y)
    return x.mean(axis=0), x_scaled.T @ x_scaled, y.mean(axis=0), y_scaled.T @ y_scaled
