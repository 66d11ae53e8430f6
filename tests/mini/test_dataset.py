"""Training pictures: functions of seed and number; what training must not hold is not there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unet_atlas.mini.dataset import MAX_CROP, pictures, to_clip, to_pixels
from unet_atlas.mini.pipelines import image_processor
from unet_atlas.shapes.captions import read_caption
from unet_atlas.shapes.world import split_of


def test_a_picture_depends_on_seed_and_number_alone():
    whole, part = pictures(3, 0, 12, True), pictures(3, 8, 4, True)
    assert np.array_equal(whole.images[8:], part.images)
    assert whole.captions[8:] == part.captions
    assert np.array_equal(whole.sizes[8:], part.sizes)
    assert not np.array_equal(pictures(4, 0, 12, True).images, whole.images)


def test_captions_hold_no_unseen_combination():
    assert {split_of(read_caption(c)) for c in pictures(0, 0, 500).captions} <= {"train", "test"}


def test_accidents_are_told():
    data = pictures(1, 0, 300, accidents=True)
    original, top, left = data.sizes[:, 0], data.sizes[:, 2], data.sizes[:, 3]
    assert np.array_equal(data.sizes[:, 0], data.sizes[:, 1])
    assert ((original >= 16) & (original <= 64)).all()
    assert (np.minimum(top, left) == 0).all()
    assert 0 < np.maximum(top, left).max() <= MAX_CROP
    assert 0.5 < (original == 64).mean() < 0.7
    plain = pictures(1, 0, 300)
    assert (plain.sizes == (64, 64, 0, 0, 64, 64)).all()
    told = (data.sizes == plain.sizes).all(axis=1)
    same = [np.array_equal(a, b) for a, b in zip(data.images, plain.images, strict=True)]
    assert np.array_equal(told, same)


def test_pixels_for_the_autoencoder_and_for_clip():
    images = pictures(0, 0, 3).images
    pixels = to_pixels(images)
    assert pixels.shape == (3, 3, 64, 64)
    assert pixels.max() <= 1
    assert np.array_equal(((pixels + 1) * 127.5).round().byte().permute(0, 2, 3, 1), images)
    theirs = image_processor()(list(images), return_tensors="pt").pixel_values
    assert torch.allclose(to_clip(images), theirs, atol=1e-5)


@pytest.mark.parametrize("accidents", [False, True])
def test_no_pictures_is_an_error(accidents):
    with pytest.raises(ValueError, match="at least one array"):
        pictures(0, 0, 0, accidents)
