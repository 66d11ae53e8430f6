"""Intervals: how often they hold the truth, and what pairing saves."""

from __future__ import annotations

import numpy as np
import pytest

from unet_atlas.errors import AtlasError
from unet_atlas.metrics import bootstrap
from unet_atlas.metrics.bootstrap import (
    Estimate,
    interval,
    interval_of,
    paired,
    paired_of,
    unpaired,
    wilson,
)
from unet_atlas.metrics.frechet import (
    Moments,
    frechet_against,
    frechet_from_features,
    frechet_gaussians,
)
from unet_atlas.metrics.kernels import cmmd, kid
from unet_atlas.metrics.neighbours import density_coverage


def draws(seed: int, n: int = 60, mean: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1, n)


def holds(estimate: Estimate, truth: float) -> bool:
    return estimate.low <= truth <= estimate.high


def test_the_interval_of_a_mean_holds_the_truth_as_often_as_it_says():
    for level in (0.8, 0.95):
        share = np.mean([holds(interval(draws(s), n=200, level=level), 0) for s in range(250)])
        assert share == pytest.approx(level, abs=0.06)


def test_the_interval_of_a_mean_has_the_width_of_the_normal_one():
    values = draws(1, 400)
    found = interval(values, n=4000)
    half = 1.96 * values.std() / np.sqrt(400)
    assert found.value == values.mean()
    assert (found.low, found.high) == pytest.approx(
        (values.mean() - half, values.mean() + half), abs=0.012
    )


def test_a_statistic_needs_no_axis():
    values = draws(1)

    def without_axis(sample):
        return float(np.mean(sample))

    a, b = interval(values, without_axis), interval(values)
    assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high), rel=1e-12)


def test_the_seed_decides_and_the_cells_held_at_once_do_not(monkeypatch):
    values = draws(1)
    whole = interval(values, np.median, seed=3)
    assert interval(values, np.median, seed=3) == whole
    assert interval(values, np.median, seed=4) != whole
    monkeypatch.setattr(bootstrap, "CELLS", 500)
    assert interval(values, np.median, seed=3) == whole


def test_paired_is_narrower_than_unpaired_where_prompts_differ_in_difficulty():
    hard = 3 * draws(1, 100)
    a, b = hard + 0.3 * draws(2, 100) + 0.2, hard + 0.3 * draws(3, 100)
    together, apart = paired(a, b), unpaired(a, b)
    assert together.value == apart.value == pytest.approx(a.mean() - b.mean())
    assert (together.high - together.low) < 0.2 * (apart.high - apart.low)
    assert together.low > 0 > apart.low


def test_the_paired_interval_holds_the_truth_as_often_as_it_says():
    def one(seed):
        hard = draws(seed)
        return paired(hard + draws(seed + 1000, mean=0.4), hard + draws(seed + 2000), n=200)

    assert np.mean([holds(one(s), 0.4) for s in range(200)]) == pytest.approx(0.95, abs=0.04)


def test_pairing_takes_the_same_prompts_for_any_statistic():
    values = draws(1)
    same = paired(values, values, np.median)
    assert (same.value, same.low, same.high) == (0, 0, 0)


@pytest.fixture(scope="module")
def coverage() -> dict[tuple[str, str], float]:
    """How often each method's 95 % interval of FID holds each target, for a perfect generator."""
    size, width, repeats = 80, 8, 30
    rng = np.random.default_rng(0)
    y = rng.normal(size=(500, width))
    moments, fid = Moments.of(y), frechet_against(y)
    at_n = np.mean([fid(rng.normal(size=(size, width))) for _ in range(300)])
    limit = frechet_gaussians(np.zeros(width), np.eye(width), moments.mean, moments.covariance)
    hits = {}
    for seed in range(repeats):
        x = rng.normal(size=(size, width))
        for method in ("centred", "percentile", "basic"):
            found = interval_of(x, y, n=40, seed=seed, method=method)
            targets = {"at N": at_n, "at infinity": limit, "its value": found.value}
            for name, target in targets.items():
                hits.setdefault((method, name), []).append(holds(found, target))
    return {key: float(np.mean(values)) for key, values in hits.items()}


def test_fids_percentile_interval_lies_above_its_own_value(coverage):
    assert coverage["percentile", "its value"] < 0.1
    assert coverage["percentile", "at N"] < 0.5


def test_fids_centred_interval_holds_the_value_at_n(coverage):
    assert coverage["centred", "at N"] > 0.88
    assert coverage["centred", "its value"] == 1
    assert coverage["centred", "at infinity"] < 0.5


def test_fids_basic_interval_holds_the_value_at_infinity(coverage):
    assert coverage["basic", "at infinity"] > 0.88
    assert coverage["basic", "at N"] < 0.5


def pair(seed: int = 0, n: int = 40, m: int = 50) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(0.3, 1, (n, 4)), rng.normal(size=(m, 4))


def by_rows(metric):
    """The same metric, hidden from the shortcuts."""
    return lambda x, y: metric(x, y)


@pytest.mark.parametrize("metric", [frechet_from_features, cmmd])
def test_the_shortcuts_give_what_the_rows_give(metric):
    x, y = pair()
    fast, slow = interval_of(x, y, metric, n=20), interval_of(x, y, by_rows(metric), n=20)
    assert (fast.low, fast.high) == pytest.approx((slow.low, slow.high), rel=1e-8)


def test_kids_resamples_leave_ties_out():
    x, y = pair(n=30)
    fast = interval_of(x, y, kid, n=200, method="percentile")
    slow = interval_of(x, y, by_rows(kid), n=200, method="percentile")
    middle = (fast.low + fast.high) / 2
    assert fast.value == slow.value == kid(x, y)
    assert abs(middle - fast.value) < (slow.low + slow.high) / 2 - fast.value


def test_kid_of_few_pictures_has_no_interval(recwarn):
    x, y = pair(n=bootstrap.LEAST_OF_KID)
    for n in range(2, bootstrap.LEAST_OF_KID):
        found = interval_of(x[:n], y, kid, n=50)
        assert found.value == kid(x[:n], y)
        assert np.isnan([found.low, found.high]).all()
        assert np.isnan(paired_of(x[:n], y[:n], y, kid, n=50).low)
    assert interval_of(x, y, kid).low < kid(x, y)
    assert np.isfinite(interval_of(x[:2], y, cmmd, n=50).low)
    assert not recwarn.list


def test_any_metric_of_two_sets_has_an_interval():
    x, y = pair()
    found = interval_of(x, y, lambda a, b: density_coverage(a, b).coverage, n=30)
    assert found.low < found.value < found.high


@pytest.mark.parametrize("metric", [frechet_from_features, kid, cmmd])
def test_models_on_the_same_prompts_are_compared_in_pairs(metric):
    x, y = pair(n=80)
    worse = x + 0.7
    found = paired_of(worse, x, y, metric, n=60)
    assert found.value == pytest.approx(metric(worse, y) - metric(x, y), rel=1e-9)
    assert found.low > 0
    mixed = paired_of(worse, np.random.default_rng(0).permutation(x), y, metric, n=60)
    assert mixed.value == pytest.approx(found.value, rel=1e-9)
    assert found.high - found.low < mixed.high - mixed.low
    same = paired_of(x, x, y, metric, n=5)
    assert (same.value, same.low, same.high) == (0, 0, 0)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # no successes: 0 to z² / (n + z²); the last is an example of Newcombe 1998
    [
        (0, 10, 0, 0.27753),
        (10, 10, 0.72247, 1),
        (5, 10, 0.23659, 0.76341),
        (81, 263, 0.2553, 0.3662),
    ],
)
def test_wilsons_interval(successes, n, low, high):
    found = wilson(successes, n)
    assert found.value == successes / n
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


def test_wilson_holds_the_truth_near_1():
    rng = np.random.default_rng(0)
    hits = [holds(wilson(int(k), 500), 0.98) for k in rng.binomial(500, 0.98, 2000)]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.02)


def test_an_estimate_is_shown_with_its_interval():
    assert Estimate(-0.1234, -0.25, 1).shown(2) == "−0.12 [−0.25,\u00a01.00]"
    assert Estimate(-0.1234, np.nan, np.nan).shown(2) == "−0.12 (no interval)"


def test_bad_input_is_named():
    x, y = pair()
    for call, reason in [
        (lambda: interval([1.0]), "Too few values"),
        (lambda: interval([1.0, np.nan]), "NaN"),
        (lambda: interval([1.0, 2.0], n=0), "0 resamples"),
        (lambda: interval([1.0, 2.0], level=1), "level 1"),
        (lambda: paired([1.0, 2.0], [1.0, 2.0, 3.0]), "2 first and 3 second"),
        (lambda: interval_of(x, y[:, :2]), "columns"),
        (lambda: interval_of(x, y, method="magic"), "'magic' is no method"),
        (lambda: paired_of(x, x[:5], y), "40 and 5 pictures"),
        (lambda: wilson(3, 2), "3 successes in 2"),
        (lambda: wilson(0, 0), "0 trials"),
    ]:
        with pytest.raises(AtlasError, match=reason):
            call()
