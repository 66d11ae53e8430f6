"""A metric on trial: how its values stand to a truth that is known.

Book: *CLIP score*, *Beyond FID and CLIP score*.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from unet_atlas.errors import AtlasError
from unet_atlas.metrics.arrays import values_of
from unet_atlas.metrics.bootstrap import Estimate, wilson

WORSE, BETTER, SAME = "▼", "▲", "·"


def chance_above(scores: Any, right: Sequence[bool]) -> float:
    """How often a right picture scores above a wrong one, ties counted half (the area under the
    ROC curve); NaN where all pictures are right or none is.

    Args:
        scores: (n,); right: (n,), whether each picture is.

    Raises:
        AtlasError: lengths differ, NaN or infinity.
    """
    scores, right = _matched(scores, right)
    yes, no = int(right.sum()), int((~right).sum())
    if not yes or not no:
        return float("nan")
    ranks = pd.Series(scores).rank().to_numpy()
    return float((ranks[right].sum() - yes * (yes + 1) / 2) / (yes * no))


def shares_by_rank(scores: Any, right: Sequence[bool], parts: int = 5) -> np.ndarray:
    """The share of right pictures in equal parts of a set, from the lowest scores to the highest.

    Raises:
        AtlasError: lengths differ, NaN or infinity, fewer pictures than parts.
    """
    scores, right = _matched(scores, right)
    if len(scores) < parts:
        raise AtlasError(f"{len(scores)} pictures can't be cut in {parts} parts; take more.")
    order = np.argsort(scores, kind="stable")
    return np.array([right[part].mean() for part in np.array_split(order, parts)])


def preferred(right: Any, wrong: Any) -> Estimate:
    """The share of pairs whose right half scores above the wrong one, with Wilson's interval; at
    one half the metric guesses.

    Args:
        right, wrong: (n,) scores of the pairs, in the same order.

    Raises:
        AtlasError: lengths differ, NaN or infinity.
    """
    right, wrong = values_of(right, "right scores", 1), values_of(wrong, "wrong scores", 1)
    if len(right) != len(wrong):
        raise AtlasError(f"{len(right)} right and {len(wrong)} wrong scores are no pairs.")
    return wilson(int((right > wrong).sum()), len(right))


def guesses(share: Estimate) -> str:
    """What the interval of :func:`preferred` allows to say, in a few words."""
    if share.low > 0.5:
        return "almost always sees it" if share.low >= 0.9 else "sees it, with errors"
    return "guesses" if share.high >= 0.5 else "prefers the wrong one"


def noticed(change: Estimate, less_is_better: bool = False) -> str:
    """``▼`` where a metric's change says "worse", ``▲`` where it says "better", ``·`` where its
    interval holds zero."""
    low, high = (-change.high, -change.low) if less_is_better else (change.low, change.high)
    if high < 0:
        return WORSE
    return BETTER if low > 0 else SAME


def _matched(scores: Any, right: Sequence[bool]) -> tuple[np.ndarray, np.ndarray]:
    scores, right = values_of(scores, "scores"), np.asarray(right, bool)
    if scores.shape != right.shape:
        raise AtlasError(
            f"There are {len(scores)} scores and {len(right)} verdicts; give one each."
        )
    return scores, right
