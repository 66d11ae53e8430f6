"""Scores from parts: equal to their definitions, the same for any number of processes."""

from __future__ import annotations

import math
from pathlib import Path

import launching
import numpy as np
import pytest
from launching import in_threads

from unet_atlas.errors import AtlasError
from unet_atlas.evaluation import parts
from unet_atlas.evaluation.parts import Part, parts_of
from unet_atlas.evaluation.team import Team, dealt
from unet_atlas.images import open_folder
from unet_atlas.metrics.frechet import Moments, frechet_from_features
from unet_atlas.metrics.kernels import kid
from unet_atlas.reference import Extractor, Reference

ALONE = Team()
RNG = np.random.default_rng(0)
X, Y = RNG.normal(3, 1, (57, 12)), RNG.normal(3.2, 1.1, (90, 12))
KNOWN = Reference(len(Y), Y)


def parts_from(x: np.ndarray, team: Team = ALONE) -> list[Part]:
    """The parts of features whose cosines are their first column."""
    cut = dealt(list(enumerate(parts_of(len(x)))), team.rank, team.world)
    return [
        Part(i, places, x[places.start : places.stop], x[places.start : places.stop, 0], str(i))
        for i, places in cut
    ]


@pytest.mark.parametrize("n", [2, 3, 4, 19, 20, 57, 9_999, 10_001, 30_000])
def test_parts_are_consecutive_and_even(n: int) -> None:
    cut = parts_of(n)
    assert [place for part in cut for place in part] == list(range(n))
    sizes = {len(part) for part in cut}
    assert min(sizes) >= 2
    assert max(sizes) <= 1000
    assert max(sizes) - min(sizes) <= 1
    assert len(cut) == max(10, math.ceil(n / 1000)) or n < 20


def test_fid_is_that_of_the_whole() -> None:
    found, _ = parts.fid(parts_from(X), len(X), KNOWN, ALONE)
    assert found.value == pytest.approx(frechet_from_features(X, Y), rel=1e-12)
    assert found.low < found.value < found.high


def test_fid_against_mean_and_covariance_is_the_same() -> None:
    only = Reference(0, None, Y.mean(axis=0), np.cov(Y.T))
    found, _ = parts.fid(parts_from(X), len(X), only, ALONE)
    assert found.value == pytest.approx(frechet_from_features(X, Y), rel=1e-12)


def test_fewer_pictures_than_features() -> None:
    x, y = RNG.normal(size=(22, 40)), RNG.normal(size=(30, 40))
    found, _ = parts.fid(parts_from(x), len(x), Reference(30, y), ALONE)
    assert found.value == pytest.approx(frechet_from_features(x, y), rel=1e-9)


@pytest.mark.parametrize("world", [2, 3, 7])
def test_no_bit_depends_on_the_number_of_processes(world: int) -> None:
    def all_of_it(team: Team) -> tuple:
        own = parts_from(X, team)
        return (
            parts.fid(own, len(X), KNOWN, team),
            parts.kid(own, KNOWN, team),
            parts.all_cosines(own, team).tolist(),
            parts.pictures_digest(own, team),
        )

    alone = all_of_it(ALONE)
    assert in_threads(world, all_of_it) == [alone] * world
    assert alone[2] == X[:, 0].tolist()


def test_sums_on_the_grid_have_no_order() -> None:
    x = RNG.normal(size=(3000, 30)) * RNG.lognormal(sigma=3, size=30)
    own = parts.moments_of(parts_from(x), x.mean(axis=0), ALONE)
    totals = [
        sum((own[i] for i in order), Moments(0, np.zeros(30), np.zeros((30, 30)), own[0].shift))
        for order in (range(10), reversed(range(10)), RNG.permutation(10))
    ]
    for total in totals[1:]:
        assert np.array_equal(total.outer, totals[0].outer)
        assert np.array_equal(total.total, totals[0].total)
    assert totals[0].covariance == pytest.approx(np.cov(x.T), rel=1e-9, abs=1e-9)


def test_the_grid_holds_any_sum() -> None:
    numbers = RNG.normal(size=1000) * 10.0 ** RNG.integers(-6, 6, 1000)
    step = parts.grid_for(np.abs(numbers).sum())
    whole = np.rint(numbers / step)
    assert np.abs(whole).sum() < 2**53
    assert np.abs(whole * step - numbers).max() <= step / 2


def test_the_jackknife_covers_and_knows_the_bias() -> None:
    rng, d, n = np.random.default_rng(1), 4, 200
    known = Reference(0, None, np.zeros(d), np.eye(d))
    values, covers, biases = [], [], []
    for _ in range(300):
        x = rng.normal(0.1, 1.1, (n, d))
        found, bias = parts.fid(parts_from(x), n, known, ALONE)
        values.append(found.value)
        covers.append((found.low, found.high))
        biases.append(bias)
    truth = d * (0.1**2 + 0.1**2)  # |Δμ|² + Σ (σ − 1)²
    expected = np.mean(values)  # of FID at n pictures, which the interval is about
    share = np.mean([low <= expected <= high for low, high in covers])
    assert 0.90 <= share <= 0.99
    assert np.mean(biases) == pytest.approx(expected - truth, rel=0.25)
    assert expected - truth > 0.2 * truth


def test_the_jackknife_of_a_mean_is_the_textbooks() -> None:
    x = RNG.normal(size=10)
    found, bias = parts.jackknife(x.mean(), [np.delete(x, i).mean() for i in range(10)])
    half = 2.262157 * x.std(ddof=1) / math.sqrt(10)
    assert (found.low, found.high) == pytest.approx((x.mean() - half, x.mean() + half), rel=1e-6)
    assert bias == pytest.approx(0, abs=1e-12)


def test_one_part_has_no_interval() -> None:
    found, bias = parts.fid(parts_from(X[:3]), 3, KNOWN, ALONE)
    assert math.isnan(found.low)
    assert math.isnan(bias)
    assert math.isnan(parts.kid(parts_from(X[:3]), KNOWN, ALONE).high)


@pytest.mark.parametrize("held", [7, 2048])
def test_kid_is_the_mean_over_parts(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "ROWS", held)
    found = parts.kid(parts_from(X), KNOWN, ALONE)
    each = [kid(X[p.start : p.stop], Y) for p in parts_of(len(X))]
    assert found.value == pytest.approx(np.mean(each), rel=1e-10)
    half = 2.262157 * np.std(each, ddof=1) / math.sqrt(10)
    assert (found.low, found.high) == pytest.approx(
        (np.mean(each) - half, np.mean(each) + half), rel=1e-6
    )


def test_features_of_another_width_are_refused() -> None:
    with pytest.raises(AtlasError, match="12 features and the reference 11"):
        parts.fid(parts_from(X), len(X), Reference(90, Y[:, :11]), ALONE)


@pytest.mark.parametrize("world", [1, 3])
def test_a_reference_is_computed_in_parts(tmp_path: Path, world: int) -> None:
    images = open_folder(launching.blotches(tmp_path / "real", 23))
    extractor = Extractor("means", "", "", lambda some: some.mean(axis=(1, 2)))
    found = in_threads(world, lambda team: parts.reference_of(images, extractor, team))
    for reference in found:
        assert np.array_equal(reference.features, extractor.over(images))
        assert (reference.n, reference.size) == (23, (32, 32))
