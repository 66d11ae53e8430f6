"""Records of runs → outcomes by arm and seed → paired differences to the even arm.

The analysis that the protocol lays down, and no other: differences of equal seeds, their mean over
seeds with a t interval, Holm's correction over the primary family.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from unet_atlas.errors import AtlasError
from unet_atlas.placement.protocol import EVEN, Protocol
from unet_atlas.records import Record

LOSS = "validation loss"
HALVES = "log of the noisier half's loss over the cleaner half's"
BINDING = "relation and objects less shapes"
LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """An arm's outcome less the even arm's.

    Attributes:
        by_seed: seed → difference.
        mean, low, high: over seeds, with its t interval; the ends are NaN with one seed.
        p: two-sided, of a t test of the differences against 0; NaN with one seed.
        base: mean of the even arm over the same seeds.
    """

    arm: str
    outcome: str
    by_seed: Mapping[int, float]
    mean: float
    low: float
    high: float
    p: float
    base: float


def outcomes(runs: Iterable[Record]) -> pd.DataFrame:
    """One row a run and outcome: arm, seed, outcome, value.

    Outcomes: the validation loss at the end (all, noisier half, cleaner half, each level), shares
    of right answers by split and question, FD and CLIP score by split, and what H5 and H6 ask for:
    ``HALVES`` and, by split, ``BINDING``. A run that failed has none.
    """
    rows = []
    for record in runs:
        about = about_run(record)
        if not about.get("failed"):
            for outcome, value in _values(record.rows):
                rows.append((about["arm"], about["seed"], outcome, value))
    return pd.DataFrame(rows, columns=["arm", "seed", "outcome", "value"])


def about_run(record: Record) -> Mapping[str, Any]:
    """The row of a run that says which it is: arm, seed, settings, and whether it ``failed``."""
    return next(row for row in record.rows if row["kind"] == "run")


def _values(rows: Sequence[Mapping]) -> Iterable[tuple[str, float]]:
    curve = [row for row in rows if row["kind"] == "curve"]
    yield LOSS, max(curve, key=lambda row: row["step"])["loss"]
    noise = sorted((row["level"], row["loss"]) for row in rows if row["kind"] == "noise")
    losses = [loss for _, loss in noise]
    clean, noisy = (float(np.mean(half)) for half in np.array_split(losses, 2))
    yield "loss, cleaner half", clean
    yield "loss, noisier half", noisy
    yield HALVES, math.log(noisy / clean)
    for level, loss in noise:
        yield f"loss, noise level {level}", loss
    shares: dict[tuple[str, str], float] = {}
    for row in rows:
        if row["kind"] == "answers":
            asked = [int(digit) for digit in row["answers"] if digit != "-"]
            shares[row["question"], row["split"]] = float(np.mean(asked))
            yield f"{row['question']}, {row['split']}", float(np.mean(asked))
        if row["kind"] == "scores":
            yield f"FD, {row['split']}", row["fd"]
            yield f"CLIP score, {row['split']}", row["clip"]
    for split in [split for question, split in shares if question == "shapes"]:
        bound = (shares["relation", split] + shares["objects", split]) / 2
        yield f"{BINDING}, {split}", bound - shares["shapes", split]


def difference(frame: pd.DataFrame, arm: str, outcome: str) -> Difference:
    """The paired difference of an arm to the even arm, over the seeds that both have.

    Raises:
        AtlasError: they share no seed.
    """
    chosen = frame[frame.outcome == outcome]
    mine, base = (chosen[chosen.arm == name].set_index("seed").value for name in (arm, EVEN))
    seeds = sorted(set(mine.index) & set(base.index))
    if not seeds:
        raise AtlasError(f"'{arm}' and '{EVEN}' share no seed; run both with the same seeds.")
    apart = np.array([mine[s] - base[s] for s in seeds])
    mean, half, p = float(apart.mean()), float("nan"), float("nan")
    if len(apart) > 1:
        error = stats.sem(apart)
        t = stats.t(len(apart) - 1)
        half = t.ppf((1 + LEVEL) / 2) * error
        # without any spread there is nothing to divide by: equal is certain, unequal too
        p = float(2 * t.sf(abs(mean) / error)) if error else float(mean == 0)
    values = dict(zip(seeds, map(float, apart), strict=True))
    return Difference(
        arm, outcome, values, mean, mean - half, mean + half, p, float(base[seeds].mean())
    )


def differences(frame: pd.DataFrame, protocol: Protocol, outcome: str) -> list[Difference]:
    """:func:`difference` of every arm that shares a seed with the even arm, in the protocol's
    order; empty where none does."""
    chosen = frame[frame.outcome == outcome]
    seeds = {arm.name: {*chosen[chosen.arm == arm.name].seed} for arm in protocol.arms}
    others = [
        arm.name for arm in protocol.arms if arm.name != EVEN and seeds[arm.name] & seeds[EVEN]
    ]
    return [difference(frame, name, outcome) for name in others]


def primary(frame: pd.DataFrame, protocol: Protocol) -> list[tuple[Difference, float]]:
    """The primary family, each with its p corrected by Holm's method.

    Until all of its arms have two seeds with the even arm, no p is known: which ones would be
    small decides about all others.
    """
    found = differences(frame, protocol, LOSS)
    whole = len(found) == len(protocol.arms) - 1
    values = [d.p if whole else float("nan") for d in found]
    known = whole and all(map(math.isfinite, values))
    return list(zip(found, holm(values) if known else [float("nan")] * len(found), strict=True))


def holm(values: Sequence[float]) -> list[float]:
    """p values corrected for as many tests (Holm 1979): the k-th smallest of m times m − k + 1,
    never less than a smaller one's, at most 1."""
    order, corrected, least = np.argsort(values), np.empty(len(values)), 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, (len(values) - rank) * values[i]))
        corrected[i] = least
    return [float(p) for p in corrected]


def curves(runs: Iterable[Record]) -> pd.DataFrame:
    """Mean validation loss over seeds: index = MACs of training, one column an arm."""
    rows = [
        {"arm": about_run(record)["arm"], **row}
        for record in runs
        for row in record.rows
        if row["kind"] == "curve"
    ]
    frame = pd.DataFrame(rows)
    return frame.groupby(["macs", "arm"]).loss.mean().unstack("arm")
