"""The study's analysis on records that are made up: with a known effect, and with none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from unet_atlas.errors import AtlasError
from unet_atlas.placement import analysis
from unet_atlas.placement.analysis import LOSS, difference, holm, outcomes, primary
from unet_atlas.placement.protocol import CPU
from unet_atlas.records import Record


def record(arm: str, seed: int, loss: float) -> Record:
    """A run with a loss; the noisier half has all of what it differs by from 1."""
    levels = [1.0] * 5 + [loss] * 5
    rows = (
        {"kind": "run", "arm": arm, "seed": seed},
        {"kind": "curve", "step": 20, "macs": 200, "loss": loss},
        {"kind": "curve", "step": 10, "macs": 100, "loss": 2 * loss},
        *({"kind": "noise", "level": i, "loss": value} for i, value in enumerate(levels)),
        {"kind": "answers", "split": "test", "question": "relation", "answers": "10-1"},
        {"kind": "scores", "split": "test", "fd": 1.5, "clip": 70.0},
    )
    return Record("placement-cpu", "a CPU", "fp32", {"torch": "2"}, "2026-01-01", 1.0, rows)


def study(effects: dict[str, float], rng: np.random.Generator, seeds: int = 3) -> list[Record]:
    """Runs of every arm: a loss of 3, what a seed does to all arms, an effect, and noise."""
    shared = rng.normal(0, 0.3, seeds)
    return [
        record(arm.name, s, 3 + shared[s] + effects.get(arm.name, 0) + rng.normal(0, 0.01))
        for arm in CPU.arms
        for s in range(seeds)
    ]


def test_a_known_effect_is_found_although_seeds_differ_far_more():
    frame = outcomes(study({"low": -0.2}, np.random.default_rng(0)))
    found = {d.arm: (d, p) for d, p in primary(frame, CPU)}
    low, p = found["low"]
    assert low.low < -0.2 < low.high < 0
    assert p < 0.05
    assert all(p > 0.05 for arm, (_, p) in found.items() if arm != "low")


def test_with_no_effect_few_studies_find_one():
    rng = np.random.default_rng(1)
    wrong = sum(
        any(p < 0.05 for _, p in primary(outcomes(study({}, rng)), CPU)) for _ in range(200)
    )
    assert wrong <= 18  # of 200: 5 % and two standard errors, rounded up


def test_the_interval_holds_the_effect_in_about_95_of_100_studies():
    rng = np.random.default_rng(2)
    hit = 0
    for _ in range(300):
        found = difference(outcomes(study({"high": 0.05}, rng)), "high", LOSS)
        hit += found.low <= 0.05 <= found.high
    assert 0.92 <= hit / 300 <= 0.98


def test_a_difference_is_paired_by_seed_and_agrees_with_scipy():
    runs = [record("even", s, v) for s, v in ((1, 1.0), (2, 2.0), (3, 4.0), (9, 100.0))]
    runs += [record("low", s, v) for s, v in ((3, 3.5), (1, 0.9), (2, 1.7), (8, 100.0))]
    found = difference(outcomes(runs), "low", LOSS)
    assert found.by_seed == pytest.approx({1: -0.1, 2: -0.3, 3: -0.5})
    test = stats.ttest_rel([0.9, 1.7, 3.5], [1.0, 2.0, 4.0])
    assert found.p == pytest.approx(test.pvalue)
    ends = test.confidence_interval()
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high))
    assert found.base == pytest.approx(7 / 3)


def test_the_halves_of_the_schedule_are_told_apart():
    frame = outcomes([record("even", 1, 1.0), record("low", 1, 0.5)])
    assert difference(frame, "low", "loss, cleaner half").mean == 0
    assert difference(frame, "low", "loss, noisier half").mean == -0.5


def test_one_seed_has_no_interval_and_no_seed_in_common_is_an_error():
    frame = outcomes([record("even", 1, 1.0), record("low", 1, 0.5), record("high", 2, 1.0)])
    assert np.isnan(difference(frame, "low", LOSS).p)
    with pytest.raises(AtlasError, match="'high' and 'even' share no seed"):
        difference(frame, "high", LOSS)


def test_equal_runs_differ_by_nothing_for_certain():
    runs = [record(arm, s, 1.0) for arm in ("even", "low") for s in (1, 2)]
    found = difference(outcomes(runs), "low", LOSS)
    assert (found.mean, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_what_was_not_asked_is_no_wrong_answer():
    frame = outcomes([record("even", 1, 1.0)])
    share = frame[frame.outcome == "relation, test"].value.item()
    assert share == pytest.approx(2 / 3)


def test_holm_by_hand():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_curves_are_over_the_macs_of_training():
    frame = analysis.curves([record("even", 1, 1.0), record("even", 2, 3.0)])
    assert list(frame.index) == [100, 200]
    assert frame["even"].tolist() == [4.0, 2.0]
