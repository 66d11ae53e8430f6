"""The book's metrics and torchmetrics' on the same features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.multimodal.clip_score import CLIPScore

from unet_atlas.errors import AtlasError
from unet_atlas.metrics.clipscore import clip_score_percent, cosines
from unet_atlas.metrics.frechet import (
    Moments,
    frechet_distance,
    frechet_eigvals,
    frechet_from_features,
    frechet_sqrtm,
)
from unet_atlas.metrics.kernels import kid, kid_subsets
from unet_atlas.metrics.torchmetrics_check import (
    _processor,
    torchmetrics_clip_score,
    torchmetrics_fid,
    torchmetrics_kid,
)


def sets(n: int, m: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(0.2, 1.1, (n, d)), rng.normal(size=(m, d))


def test_fid_agrees_with_torchmetrics():
    x, y = sets(300, 250, 24)
    truth = torchmetrics_fid(x, y)
    assert truth > 1
    for value in (
        frechet_from_features(x, y),
        frechet_distance(Moments.of(x), Moments.of(y)),
        frechet_sqrtm(x, y),
        frechet_eigvals(x, y),
    ):
        assert value == pytest.approx(truth, rel=1e-9)


def test_torchmetrics_fid_is_low_below_full_rank():
    x, y = sets(60, 60, 128)
    error = torchmetrics_fid(x, y) - frechet_from_features(x, y)
    assert -1e-3 < error < -1e-7


def test_torchmetrics_keeps_float64_sums_of_float32_features_unless_told():
    x, y = (s.astype(np.float32).astype(np.float64) for s in sets(120, 120, 64))
    truth = frechet_from_features(x, y)
    kept = torchmetrics_fid(x, y, torch.float32)
    assert kept == pytest.approx(truth, rel=1e-6)
    assert kept == np.float32(kept)  # the result is rounded to the features' dtype
    lost = torchmetrics_fid(x, y, torch.float32, sums=torch.float32)
    assert abs(lost - truth) > 10 * abs(kept - truth)


def test_kid_of_whole_sets_agrees_with_torchmetrics():
    x, y = sets(80, 80, 16)
    mean, spread = torchmetrics_kid(x, y, subsets=3, size=80)
    assert kid(x, y) == pytest.approx(mean, rel=1e-9)
    assert spread == pytest.approx(0, abs=1e-12)


def test_kid_over_subsets_agrees_with_torchmetrics_within_its_spread():
    x, y = sets(200, 150, 16)
    mean, spread = torchmetrics_kid(x, y, subsets=100, size=50)
    ours = kid_subsets(x, y, subsets=100, size=50)
    assert ours.mean == pytest.approx(mean, abs=5 * spread / 10)
    assert ours.std == pytest.approx(spread, rel=0.35)
    assert torchmetrics_kid(x, y, 3, 50, seed=1) == torchmetrics_kid(x, y, 3, 50, seed=1)


def test_the_global_generator_is_left_alone():
    x, y = sets(20, 20, 3)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    torchmetrics_kid(x, y, 2, 10)
    assert torch.equal(torch.get_rng_state(), before)


def test_clip_score_agrees_with_torchmetrics(tiny):
    scores = 100 * cosines(*tiny.parts, tiny.images, tiny.captions)
    chosen = scores > 0  # a set with a positive mean, which torchmetrics does not clamp
    assert chosen.any()
    for picked in (chosen, ~chosen):
        images = tiny.images[picked]
        captions = [c for c, p in zip(tiny.captions, picked, strict=True) if p]
        if captions:
            theirs = torchmetrics_clip_score(*tiny.parts, images, captions)
            ours = clip_score_percent(cosines(*tiny.parts, images, captions))
            assert ours == pytest.approx(theirs, abs=1e-5)


def test_torchmetrics_clip_score_stops_on_transformers_5_without_the_adapter(tiny):
    model, words, image_processor = tiny.parts
    metric = CLIPScore(lambda: (model, _processor(words, image_processor)))
    image = torch.from_numpy(tiny.images[0]).permute(2, 0, 1)
    with pytest.raises(AttributeError, match="norm"):
        metric.update(image, "red")


def test_subsets_larger_than_a_set_are_named():
    x, y = sets(20, 30, 3)
    with pytest.raises(AtlasError, match="Subsets of 25"):
        torchmetrics_kid(x, y, 2, 25)
    with pytest.raises(AtlasError, match="columns"):
        torchmetrics_fid(x, y[:, :2])
