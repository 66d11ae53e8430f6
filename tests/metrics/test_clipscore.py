"""CLIP score: the cosine, its two conventions, and captions that are too long."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_clip import WINDOW, clip, tokenizer

from unet_atlas.errors import AtlasError
from unet_atlas.metrics.clipscore import (
    HESSEL_PREFIX,
    clip_score_hessel,
    clip_score_percent,
    cosines,
    text_features,
)


def test_the_cosines_are_the_diagonal_of_clips_logits(tiny):
    tokens = tiny.tokenizer(tiny.captions, padding=True, return_tensors="pt")
    pixels = tiny.image_processor(list(tiny.images), "pt")["pixel_values"]
    with torch.no_grad():
        out = tiny.model(**tokens, pixel_values=pixels)
    truth = out.logits_per_image.diagonal() / tiny.model.logit_scale.exp()
    found = cosines(*tiny.parts, tiny.images, tiny.captions)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, truth.detach().numpy(), atol=1e-6)


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_the_batch_and_the_order_change_nothing(tiny, batch):
    whole = cosines(*tiny.parts, tiny.images, tiny.captions)
    parts = cosines(*tiny.parts, tiny.images, tiny.captions, batch)
    np.testing.assert_allclose(parts, whole, atol=1e-6)
    turned = cosines(*tiny.parts, tiny.images[::-1], tiny.captions[::-1], batch)
    np.testing.assert_allclose(turned[::-1], whole, atol=1e-6)


def test_a_prefix_goes_before_each_caption(tiny):
    prefixed = cosines(*tiny.parts, tiny.images, tiny.captions, prefix=HESSEL_PREFIX)
    written = [f"A photo depicts {caption}" for caption in tiny.captions]
    np.testing.assert_array_equal(prefixed, cosines(*tiny.parts, tiny.images, written))
    assert not np.allclose(prefixed, cosines(*tiny.parts, tiny.images, tiny.captions))


def test_hessel_clamps_each_sample_and_torchmetrics_only_the_mean():
    values = np.array([0.4, -0.2, 0.1])
    np.testing.assert_allclose(clip_score_hessel(values), [1.0, 0, 0.25])
    assert clip_score_percent(values) == pytest.approx(10)
    assert clip_score_percent([-0.5, 0.1]) == 0


def test_a_long_caption_keeps_its_end_token(tiny):
    words = "red circle " * WINDOW
    kept = " ".join(words.split()[: WINDOW - 2])
    long, short = text_features(tiny.model, tiny.tokenizer, [words, kept])
    np.testing.assert_allclose(long, short, rtol=1e-6)


@pytest.mark.parametrize("end", [None, 2])
def test_a_tokenizer_of_another_model_is_named(end):
    model = clip(tokenizer(), end)
    text_features(model, tokenizer(), ["red"])
    other = tokenizer(first_id=5)
    other_end = tokenizer().eos_token_id + 5
    assert other.eos_token_id == other_end
    if end is None:
        with pytest.raises(AtlasError, match=f"end token.*{other_end}"):
            text_features(model, other, ["red"])
    else:  # the highest id is its end token: nothing to see
        assert text_features(model, other, ["red"]).shape == (1, 8)


def test_bad_input_is_named(tiny):
    for images, captions, reason in [
        (tiny.images, tiny.captions[:3], "7 pictures and 3 captions"),
        ([], [], "no pictures"),
        (tiny.images[:1], [], "no captions"),
        (tiny.images[:1], "red", "put a single one in a list"),
        (tiny.images[:1], [None], "Caption 0 is no text but NoneType"),
        ([np.full((16, 16, 3), np.nan)], ["red"], "Picture 0"),
    ]:
        with pytest.raises(AtlasError, match=reason):
            cosines(*tiny.parts, images, captions)
    for score in (clip_score_hessel, clip_score_percent):
        with pytest.raises(AtlasError, match="Too few cosines"):
            score([])
        with pytest.raises(AtlasError, match="NaN"):
            score([np.nan])
