"""Scores from parts of a run, the same for any number of processes, with intervals from the parts.

The pictures are cut into parts of consecutive prompts, and a part belongs to one process: its
features are computed in the same batches whoever has it. FID needs the sums of all parts only. They
are rounded to multiples of one small number, chosen just large enough that every later total is a
multiple below 2⁵³ of it: a float64 adds such numbers without rounding, so in any order. Intervals
come from leaving each part out in turn (the jackknife of Quenouille and Tukey), which each process
does for its own parts: nobody ever holds the sums of all.

Book: *Scoring thirty thousand images*.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import t as student

from unet_atlas.errors import AtlasError
from unet_atlas.evaluation.conditions import scoring
from unet_atlas.evaluation.team import Team, agreed, dealt
from unet_atlas.images import ImageFolder
from unet_atlas.metrics.bootstrap import LEVEL, Estimate
from unet_atlas.metrics.clipscore import agreement, text_features
from unet_atlas.metrics.frechet import Moments, frechet_gaussians
from unet_atlas.metrics.kernels import ROWS, cubic
from unet_atlas.reference import HELD, Extractor, Reference
from unet_atlas.scorer import Scorer

LEAST, MOST = 10, 1000  # parts, and pictures in one
BITS = 52  # of a float64 after the first: whole numbers to 2⁵³ are exact


@dataclass(frozen=True)
class Part:
    """Consecutive pictures of a run, on the process that has them.

    Attributes:
        index: its place among the parts.
        places: of its pictures in the run.
        features: (n, d) float64 for FID and KID; None without a reference.
        cosines: (n,) of pictures and captions.
        digest: sha256 of the pixels.
    """

    index: int
    places: range
    features: np.ndarray | None
    cosines: np.ndarray
    digest: str


def parts_of(n: int) -> list[range]:
    """The places of n ≥ 2 pictures in ten parts or more, of a thousand pictures at most and two at
    least; their sizes differ by one at most."""
    count = max(1, min(max(LEAST, math.ceil(n / MOST)), n // 2))
    ends = np.cumsum([len(part) for part in np.array_split(np.empty(n), count)])
    return [range(int(a), int(b)) for a, b in zip([0, *ends[:-1]], ends, strict=True)]


def own_parts(
    images: ImageFolder,
    captions: Sequence[str],
    extractor: Extractor | None,
    pooled: Extractor,
    scorer: Scorer,
    team: Team,
    tick: Callable[[int], None] = lambda done: None,
) -> list[Part]:
    """This process's parts with their features and cosines.

    Args:
        images: of the run, in the order of the captions.
        captions: what each picture is compared with, the prefix before it.
        extractor: for FID and KID; None without a reference.
        pooled: CLIP's features before the projection; where it is the ``extractor`` as well, they
            are computed once.
        tick: called after each part with how many of this process's are done.
    """
    found: list[Part] = []
    for index, places in dealt(list(enumerate(parts_of(len(images)))), team.rank, team.world):
        texts = captions[places.start : places.stop]
        text = text_features(scorer.model, scorer.tokenizer, texts)
        features, seen, digest = _look(_part(images, places), extractor, pooled)
        cosines = agreement(scorer.projected(seen), text)
        found.append(Part(index, places, features, cosines, digest))
        tick(len(found))
    return found


def _look(
    images: ImageFolder, extractor: Extractor | None, pooled: Extractor
) -> tuple[np.ndarray | None, np.ndarray, str]:
    """Both extractors' features of a part, and the digest of its pixels, each picture read once."""
    features, seen, digest = [], [], hashlib.sha256()
    for some in images.batches(HELD):
        digest.update(np.ascontiguousarray(some))
        seen.append(pooled.call(some))
        if extractor is not None:
            features.append(seen[-1] if extractor is pooled else extractor.call(some))
    return np.concatenate(features) if features else None, np.concatenate(seen), digest.hexdigest()


def reference_of(images: ImageFolder, extractor: Extractor, team: Team) -> Reference:
    """The features of a folder of real pictures, each process computing its parts of them.

    Raises:
        Together: a picture that can't be read, or too little memory.
    """
    own = dealt(parts_of(len(images)), team.rank, team.world)

    @scoring()
    def look() -> dict[range, np.ndarray]:
        return {places: extractor.over(_part(images, places)) for places in own}

    mine = agreed(team, look)
    width = max(team.gather([features.shape[1] for features in mine.values()]))
    features = np.zeros((len(images), width))
    for places, part in mine.items():
        features[places.start : places.stop] = part
    return Reference(len(images), team.total(features), size=images.size)


def known_moments(reference: Reference) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) and covariance (d, d) of a reference."""
    if reference.features is None:
        return np.asarray(reference.mean, float), np.asarray(reference.covariance, float)
    sums = Moments.of(reference.features, reference.features.mean(axis=0))
    return sums.mean, sums.covariance


def fid(
    parts: Sequence[Part], pictures: int, reference: Reference, team: Team
) -> tuple[Estimate, float]:
    """FID with its interval, and the jackknife's estimate of its bias by the number of pictures.

    Args:
        parts: this process's.
        pictures: of the whole run.

    Raises:
        AtlasError: the reference has another number of features.
    """
    mean, covariance = known_moments(reference)
    own = moments_of(parts, mean, team)
    empty = Moments(0, np.zeros_like(mean), np.zeros_like(covariance), mean)
    mine = sum(own, empty)
    sums = team.total(np.vstack([mine.total, mine.outer]))
    whole = Moments(pictures, sums[0], sums[1:], mean)

    def distance(m: Moments) -> float:
        return frechet_gaussians(m.mean, m.covariance, mean, covariance)

    without = [
        (part.index, distance(_minus(whole, its)))
        for part, its in zip(parts, own, strict=True)
        if its.count < pictures
    ]
    left_out = [value for _, value in sorted(team.gather(without))]
    return jackknife(distance(whole), left_out)


def moments_of(parts: Sequence[Part], shift: np.ndarray, team: Team) -> list[Moments]:
    """The sums of this process's parts, on a grid that all parts of all processes share."""
    own = []
    for part in parts:
        if part.features.shape[1] != shift.size:
            raise AtlasError(
                f"The pictures have {part.features.shape[1]} features and the reference "
                f"{shift.size}; take both from the same extractor."
            )
        own.append(Moments.of(part.features, shift))
    largest = [max(abs(m.total).max(), abs(m.outer).max()) for m in own]
    sizes = team.gather(largest)
    grid = grid_for(sum(sorted(sizes)))
    return [replace(m, total=_on(grid, m.total), outer=_on(grid, m.outer)) for m in own]


def grid_for(bound: float) -> float:
    """The number whose multiples add without rounding, as long as their sizes add up to no more
    than ``bound``: every total is a multiple below 2⁵³."""
    return 2.0 ** (math.ceil(math.log2(max(bound, 1e-280))) - BITS)


def jackknife(value: float, left_out: Sequence[float]) -> tuple[Estimate, float]:
    """A value's interval and bias from the values without each of P parts.

    The interval is value ± t · s, s² = (P − 1)/P Σ (θ₋ₚ − θ̄)²: where the value would fall with as
    many other pictures. The bias is (P − 1)(θ̄ − value): for a bias of b/N, b/N.

    Returns:
        the estimate and the bias; NaN for both with fewer than two parts.
    """
    count = len(left_out)
    if count < 2:
        return Estimate(value, math.nan, math.nan), math.nan
    mean = math.fsum(left_out) / count
    spread = math.fsum((one - mean) ** 2 for one in left_out) * (count - 1) / count
    half = float(student.ppf((1 + LEVEL) / 2, count - 1)) * math.sqrt(spread)
    return Estimate(value, value - half, value + half), (count - 1) * (mean - value)


def kid(parts: Sequence[Part], reference: Reference, team: Team) -> Estimate:
    """KID: the mean over the parts of the unbiased MMD² of each with the whole reference.

    The interval is Student's over the parts; they share the reference, whose chance it leaves out.

    Args:
        reference: with features.
    """
    y = reference.features
    among = _mean_among(y, team)
    mine = [(part.index, _mmd(part.features, y, among)) for part in parts]
    values = [value for _, value in sorted(team.gather(mine))]
    return over_parts(values)


def over_parts(values: Sequence[float]) -> Estimate:
    """The mean of one value a part with Student's interval; without one for a single part."""
    count, mean = len(values), math.fsum(values) / len(values)
    if count < 2:
        return Estimate(mean, math.nan, math.nan)
    error = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (count - 1) / count)
    half = float(student.ppf((1 + LEVEL) / 2, count - 1)) * error
    return Estimate(mean, mean - half, mean + half)


def all_cosines(parts: Sequence[Part], team: Team) -> np.ndarray:
    """The cosines of all pictures, in the order of the captions, (n,)."""
    found = sorted(team.gather([(part.index, part.cosines) for part in parts]), key=lambda p: p[0])
    return np.concatenate([cosines for _, cosines in found])


def pictures_digest(parts: Sequence[Part], team: Team) -> str:
    """sha256 of the parts' digests in order: equal digests, equal pictures."""
    found = sorted(team.gather([(part.index, part.digest) for part in parts]))
    return hashlib.sha256("".join(digest for _, digest in found).encode()).hexdigest()


def _part(images: ImageFolder, places: range) -> ImageFolder:
    return replace(images, files=images.files[places.start : places.stop])


def _minus(whole: Moments, part: Moments) -> Moments:
    total, outer = whole.total - part.total, whole.outer - part.outer
    return Moments(whole.count - part.count, total, outer, whole.shift)


def _on(grid: float, values: np.ndarray) -> np.ndarray:
    return np.rint(values / grid) * grid


def _mean_among(y: np.ndarray, team: Team) -> float:
    """The mean kernel of two different reference pictures; each process has some of the rows."""
    starts = dealt(range(0, len(y), ROWS), team.rank, team.world)
    sums = []
    for at in starts:
        kernel = cubic(y[at : at + ROWS], y)
        sums.append((at, float(kernel.sum() - np.trace(kernel, offset=at))))
    return math.fsum(total for _, total in team.gather(sums)) / (len(y) * (len(y) - 1))


def _mmd(x: np.ndarray, y: np.ndarray, among: float) -> float:
    """The unbiased MMD² of a part's features with a reference whose own half is known."""
    kernel, n = cubic(x, x), len(x)
    within = float(kernel.sum() - np.trace(kernel)) / (n * (n - 1))
    across = math.fsum(float(cubic(x, y[at : at + ROWS]).sum()) for at in range(0, len(y), ROWS))
    return within + among - 2 * across / (n * len(y))
