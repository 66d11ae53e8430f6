"""The book's metrics and torchmetrics' on the same features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_clip import WINDOW, clip, tokenizer
from torchmetrics.image.kid import KernelInceptionDistance
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
from unet_atlas.metrics.kernels import kid
from unet_atlas.metrics.torchmetrics_check import (
    Through,
    _processor,
    long_caption_fault,
    torchmetrics_clip_score,
    torchmetrics_fid,
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


@pytest.mark.filterwarnings("ignore:Metric `Kernel:UserWarning")
def test_kid_agrees_with_torchmetrics():
    x, y = sets(80, 80, 16)
    metric = KernelInceptionDistance(Through(16), subsets=3, subset_size=80)
    metric.update(torch.from_numpy(y), real=True)
    metric.update(torch.from_numpy(x), real=False)
    mean, spread = metric.compute()
    assert kid(x, y) == pytest.approx(float(mean), rel=1e-9)
    assert float(spread) == pytest.approx(0, abs=1e-12)


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


def test_bad_features_are_named():
    x, y = sets(20, 30, 3)
    with pytest.raises(AtlasError, match="columns"):
        torchmetrics_fid(x, y[:, :2])


@pytest.mark.parametrize("end", [None, 2])
def test_torchmetrics_can_not_tell_long_captions_apart(end):
    """Old checkpoints name 2 as the end; CLIP then pools at the highest id left, which is the start
    token."""
    words = tokenizer()
    fault = long_caption_fault(clip(words, end=end), words)
    assert fault.window == WINDOW
    assert fault.tokens == (2 * WINDOW + 2, 2 * WINDOW + 2)
    assert fault.cosine_torchmetrics == pytest.approx(1, abs=1e-6)
    assert fault.cosine_truncated < 0.99
