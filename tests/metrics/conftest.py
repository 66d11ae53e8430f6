"""What the tests of this folder share."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from tiny_clip import SIDE, clip, image_processor, tokenizer


@pytest.fixture(scope="session")
def tiny():
    """model, tokenizer, image_processor, and seven pictures with captions."""
    words = tokenizer()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (7, SIDE, SIDE, 3), dtype=np.uint8)
    captions = ["red", "a blue circle", "a red square", "blue", "square", "a circle", "red circle"]
    return SimpleNamespace(
        model=clip(words),
        tokenizer=words,
        image_processor=image_processor,
        images=images,
        captions=captions,
        parts=(clip(words), words, image_processor),
    )
