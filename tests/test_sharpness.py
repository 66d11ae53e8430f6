"""The share of fine detail: none in flat pictures, all in the finest stripes, less with blur."""

from __future__ import annotations

import numpy as np
import pytest

from unet_atlas.errors import AtlasError
from unet_atlas.shapes.render import render
from unet_atlas.shapes.world import draw_scene
from unet_atlas.sharpness import detail_share


def stripes(period: int) -> np.ndarray:
    columns = ((np.arange(64) // (period // 2)) % 2 * 255).astype(np.uint8)
    return np.broadcast_to(columns[None, None, :, None], (1, 64, 64, 3))


def test_flat_pictures_have_none() -> None:
    assert detail_share(np.full((2, 64, 64, 3), 200, np.uint8)).tolist() == [0, 0]


def test_the_finest_stripes_are_all_detail_and_broad_ones_hardly() -> None:
    assert detail_share(stripes(2))[0] > 0.95
    assert detail_share(stripes(64))[0] < 0.05


def test_enlarged_pictures_lose_it_in_order_of_their_originals() -> None:
    scenes = [draw_scene(1, i) for i in range(12)]
    sizes = (16, 24, 32, 48, 64)
    means = [detail_share(np.stack([render(s, o) for s in scenes])).mean() for o in sizes]
    assert means == sorted(means)
    assert means[2] < 0.25 * means[-1]


def test_contrast_and_brightness_do_not_enter() -> None:
    image = render(draw_scene(1, 3))[None] / 255
    assert np.allclose(detail_share(image), detail_share(image / 2 + 0.25), rtol=0.05)


def test_a_higher_cutoff_leaves_less() -> None:
    image = render(draw_scene(1, 3))[None]
    shares = [detail_share(image, c)[0] for c in (0.1, 0.3, 0.5, 0.9)]
    assert shares == sorted(shares, reverse=True)


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(AtlasError, match="have the shape"):
        detail_share(np.zeros((64, 64, 3), np.uint8))
