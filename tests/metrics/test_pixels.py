"""Resizing, rounding and compression of pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unet_atlas.errors import AtlasError
from unet_atlas.metrics.pixels import RESIZES, jpeg, resize, to_bytes


def pictures(side: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, side, side, 3), dtype=np.uint8)


@pytest.mark.parametrize("how", RESIZES)
@pytest.mark.parametrize("side", [8, 32, 50])
def test_any_way_gives_the_size_and_keeps_a_flat_picture(how, side):
    shown = resize(pictures(), side, how)
    assert shown.shape == (3, side, side, 3)
    assert shown.dtype == np.uint8
    flat = np.full((1, 32, 32, 3), 77, np.uint8)
    assert (resize(flat, side, how) == 77).all()


@pytest.mark.parametrize("how", RESIZES)
def test_the_same_size_changes_nothing(how):
    assert np.array_equal(resize(pictures(), 32, how), pictures())


def test_antialiasing_matters_only_where_the_picture_shrinks():
    plain, smooth = "torch, bilinear", "torch, bilinear, antialias"
    off = resize(pictures(), 48, plain).astype(int) - resize(pictures(), 48, smooth)
    assert np.abs(off).max() <= 1  # halves may be rounded up or down
    assert resize(pictures(), 8, smooth).std() < resize(pictures(), 8, plain).std() / 1.5


def test_tensorflow_counts_from_the_corner():
    ramp = np.tile(np.arange(0, 256, 8, dtype=np.uint8)[None, :, None], (32, 1, 3))[None]
    assert (resize(ramp, 16, "TensorFlow 1, bilinear")[0, 0, :, 0] == ramp[0, 0, ::2, 0]).all()
    assert (resize(ramp, 16, "torch, bilinear")[0, 0, :, 0] == ramp[0, 0, ::2, 0] + 4).all()


def test_a_way_that_does_not_exist_is_refused():
    with pytest.raises(AtlasError, match="no way to resize"):
        resize(pictures(), 8, "magic")


def test_bytes_are_rounded_or_cut_as_torch_cuts_them():
    levels = np.linspace(0, 1, 1001, dtype=np.float32)
    cut = (torch.from_numpy(levels) * 255).byte().numpy()
    assert np.array_equal(to_bytes(levels, cut=True), cut)
    assert np.array_equal(to_bytes(levels), np.rint(levels * 255))


def test_jpeg_changes_pictures_more_the_lower_the_quality():
    smooth = resize(pictures(4), 32, "Pillow, bicubic")
    off = [np.abs(jpeg(smooth, q).astype(int) - smooth).mean() for q in (98, 75, 30)]
    assert 0 < off[0] < off[1] < off[2]
