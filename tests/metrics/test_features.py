"""Pictures → features: what is a picture, batches, modes, and torch-fidelity's interface."""

from __future__ import annotations

import os
import sys
from copy import deepcopy
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from unet_atlas.errors import AtlasError
from unet_atlas.metrics.features import (
    INCEPTION,
    SAFE_LOADING,
    _inception,
    clip_features,
    evaluating,
    inception_features,
    pictures,
)


def test_a_picture_comes_in_many_forms(tiny):
    rgb = tiny.images[0]
    for image in (
        Image.fromarray(rgb),
        Image.fromarray(rgb).convert("RGBA"),
        rgb,
        rgb / 255,
        (rgb / 255).astype(np.float32),
        torch.from_numpy(rgb).permute(2, 0, 1),
        torch.from_numpy(rgb / 255).permute(2, 0, 1).float(),
    ):
        (picture,) = pictures([image])
        assert picture.dtype == np.uint8
        np.testing.assert_array_equal(picture, rgb)


def test_one_array_holds_many_pictures(tiny):
    assert len(pictures(tiny.images)) == 7
    assert len(pictures(torch.from_numpy(tiny.images).permute(0, 3, 1, 2))) == 7


def test_floats_are_rounded_not_cut_off():
    (picture,) = pictures([np.full((1, 1, 3), 0.999)])
    assert picture.tolist() == [[[255, 255, 255]]]


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        ([], "no pictures"),
        (Image.new("RGB", (2, 2)), "put a single one in a list"),
        (3, "list or an array"),
        ([np.zeros((4, 4), np.uint8)], r"Picture 0 has shape \(4, 4\)"),
        ([np.zeros((4, 4, 4), np.uint8)], r"shape \(4, 4, 4\)"),
        ([np.zeros((0, 4, 3), np.uint8)], r"shape \(0, 4, 3\)"),
        ([torch.zeros(4, 4)], r"shape \(4, 4\)"),
        ([np.zeros((2, 2, 3)), np.full((2, 2, 3), np.nan)], "Picture 1 .*NaN"),
        ([np.full((2, 2, 3), 1.5)], "outside 0 to 1"),
        ([np.zeros((2, 2, 3), np.int64)], "int64"),
        (["a.png"], "shape"),
    ],
)
def test_what_is_no_picture_is_named(images, reason):
    with pytest.raises(AtlasError, match=reason):
        pictures(images)


def test_clip_features_are_those_of_the_model(tiny):
    pixels = tiny.image_processor(list(tiny.images), "pt")["pixel_values"]
    with torch.no_grad():
        pooled = tiny.model.vision_model(pixels).pooler_output
        projected = tiny.model.visual_projection(pooled)
    found = clip_features(tiny.model, tiny.image_processor, tiny.images)
    assert found.shape == (7, 8)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, projected.numpy(), rtol=1e-6)
    before = clip_features(tiny.model, tiny.image_processor, tiny.images, projected=False)
    np.testing.assert_allclose(before, pooled.numpy(), rtol=1e-6)


def test_a_half_precision_model_gives_three_digits(tiny):
    whole = clip_features(tiny.model, tiny.image_processor, tiny.images)
    half = clip_features(deepcopy(tiny.model).half(), tiny.image_processor, tiny.images)
    error = np.abs(half - whole).max() / np.abs(whole).max()
    assert 1e-6 < error < 5e-3


@pytest.mark.parametrize("batch", [1, 3, 7, 64])
def test_the_batch_changes_nothing(tiny, batch):
    whole = clip_features(tiny.model, tiny.image_processor, tiny.images)
    parts = clip_features(tiny.model, tiny.image_processor, tiny.images, batch)
    np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-6)


def test_a_batch_of_none_is_named(tiny):
    with pytest.raises(AtlasError, match="batch can't hold 0"):
        clip_features(tiny.model, tiny.image_processor, tiny.images, batch=0)


def test_a_model_that_gives_nan_is_named(tiny):
    def broken(images, return_tensors):
        return {"pixel_values": torch.full((len(images), 3, 16, 16), torch.nan)}

    with pytest.raises(AtlasError, match="CLIP image features hold NaN"):
        clip_features(tiny.model, broken, tiny.images)


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    model.train()
    with evaluating(model) as device:
        assert device == torch.device("cpu")
        assert not model.training
        assert not torch.is_grad_enabled()
    assert model.training
    with pytest.raises(KeyError), evaluating(model):
        raise KeyError
    assert model.training
    assert torch.is_grad_enabled()
    with evaluating(nn.Identity()) as device:
        assert device == torch.device("cpu")


class FakeInception(nn.Module):
    """torch-fidelity 0.4's interface: uint8 in, a tuple of features out."""

    made: tuple | None = None

    def __init__(self, name, features_list, feature_extractor_weights_path=None):
        super().__init__()
        if feature_extractor_weights_path and "bad" in feature_extractor_weights_path:
            raise RuntimeError("Weights only load failed. More.\nAnd more.")
        type(self).made = (
            name,
            features_list,
            feature_extractor_weights_path,
            os.environ.get(SAFE_LOADING),
        )

    def forward(self, x):
        assert x.dtype == torch.uint8
        assert x.shape[1] == 3
        return (x.float().mean(dim=(2, 3)),)


@pytest.fixture
def fidelity(monkeypatch):
    _inception.cache_clear()
    module = ModuleType(INCEPTION)
    module.FeatureExtractorInceptionV3 = FakeInception
    monkeypatch.setitem(sys.modules, "torch_fidelity", ModuleType("torch_fidelity"))
    monkeypatch.setitem(sys.modules, INCEPTION, module)
    yield FakeInception
    _inception.cache_clear()


@pytest.mark.parametrize("before", [None, "0"])
def test_inception_features_come_through_torch_fidelity(tiny, fidelity, monkeypatch, before):
    monkeypatch.delenv(SAFE_LOADING, raising=False)
    if before is not None:
        monkeypatch.setenv(SAFE_LOADING, before)
    found = inception_features(tiny.images, batch=3)
    np.testing.assert_allclose(found, tiny.images.mean(axis=(1, 2)), rtol=1e-5)
    assert found.dtype == np.float64
    assert fidelity.made == ("inception-v3-compat", ["2048"], None, "1")
    assert os.environ.get(SAFE_LOADING) == before


def test_given_weights_are_loaded(tiny, fidelity, tmp_path):
    file = tmp_path / "weights.pth"
    file.touch()
    inception_features(tiny.images, weights=file)
    assert fidelity.made[2] == str(file)


def test_the_network_is_built_once(tiny, fidelity, tmp_path):
    inception_features(tiny.images)
    fidelity.made = None
    inception_features(tiny.images[:2])
    assert fidelity.made is None
    file = tmp_path / "bad.pth"
    file.touch()
    for _ in range(2):
        with pytest.raises(AtlasError, match="can't be loaded"):
            inception_features(tiny.images, weights=file)
    inception_features(tiny.images, weights=__file__)
    assert fidelity.made[2] == __file__


def test_without_torch_fidelity_the_remedy_is_named(tiny, monkeypatch):
    _inception.cache_clear()
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(AtlasError, match="pip install torch-fidelity"):
        inception_features(tiny.images)


def test_weights_that_can_not_be_loaded_are_named(tiny, fidelity, tmp_path):
    with pytest.raises(AtlasError, match=r"'missing\.pth' is no file"):
        inception_features(tiny.images, weights="missing.pth")
    (tmp_path / "bad.pth").touch()
    with pytest.raises(AtlasError, match="can't be loaded: Weights only load failed"):
        inception_features(tiny.images, weights=tmp_path / "bad.pth")


def test_safe_loading_makes_torch_refuse_code(tmp_path):
    """What the environment variable is for: torch-fidelity calls torch.load(weights_only=False)."""
    from unet_atlas.metrics.features import _safe_loading

    file = tmp_path / "evil.pth"
    torch.save({"f": print}, file)
    assert torch.load(file, weights_only=False)["f"] is print
    with _safe_loading(), pytest.raises(Exception, match="Weights only load failed"):
        torch.load(file, weights_only=False)


def test_pictures_of_several_sizes_are_named(fidelity):
    images = [np.zeros((4, 4, 3), np.uint8), np.zeros((8, 8, 3), np.uint8)]
    with pytest.raises(AtlasError, match=r"sizes \(4, 4\) and \(8, 8\)"):
        inception_features(images)
