"""A gallery says in words what it shows."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from unet_atlas.draw import gallery

IMAGES = np.random.default_rng(0).integers(0, 255, (3, 8, 16, 3), np.uint8)
CAPTIONS = ("a red ring", 'a "blue" <square>', "a cross")


def test_every_picture_is_there_pixel_for_pixel():
    html = gallery(IMAGES, CAPTIONS)._repr_html_()
    data = re.findall(r"base64,([^\"]+)", html)
    shown = [np.asarray(Image.open(io.BytesIO(base64.b64decode(d)))) for d in data]
    assert np.array_equal(shown, IMAGES)
    assert html.count('width="96" height="48"') == 3


def test_captions_and_marks_are_text():
    shown = gallery(IMAGES, CAPTIONS, [True, np.False_, None])
    assert "a red ring, judged right; " in shown.alt
    assert 'alt="a &quot;blue&quot; &lt;square&gt;, judged wrong"' in shown.html
    assert "✓ a red ring" in shown.html
    assert "✗ a &quot;blue&quot;" in shown.html
    assert 'alt="a cross"' in shown.html


def test_columns_bound_the_width():
    assert "max-width:216px" in gallery(IMAGES, CAPTIONS, columns=2).html


@pytest.mark.parametrize(
    ("images", "captions", "message"),
    [
        (IMAGES, CAPTIONS[:2], "3 pictures, 2 captions"),
        (IMAGES / 255, CAPTIONS, "float64"),
        (IMAGES[..., 0], CAPTIONS, r"\(8, 16\)"),
    ],
)
def test_what_is_no_gallery(images, captions, message):
    with pytest.raises(ValueError, match=message):
        gallery(images, captions)
