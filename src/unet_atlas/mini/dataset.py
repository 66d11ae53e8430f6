"""Training data: picture number i of a data set is a pure function of its seed and of i."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from unet_atlas.shapes.captions import caption
from unet_atlas.shapes.render import render
from unet_atlas.shapes.world import SIDE, draw_scene, loosen

MAX_CROP = 24  # pixels


@dataclass(frozen=True)
class Pictures:
    """Captioned pictures.

    Attributes:
        images: (n, 64, 64, 3) uint8.
        captions: n captions, some with words left out.
        sizes: (n, 6) SDXL's micro-conditioning: original height and width, crop top and left,
            target height and width, in pixels.
    """

    images: np.ndarray
    captions: tuple[str, ...]
    sizes: np.ndarray


def pictures(seed: int, start: int, count: int, accidents: bool = False) -> Pictures:
    """Pictures ``start`` to ``start + count`` of data set ``seed``, of combinations that training
    may see.

    Args:
        accidents: half of the pictures are enlarged from a smaller original, or cropped, as in
            SDXL's data; else every picture is whole and sharp.
    """
    images, captions, sizes = [], [], []
    for index in range(start, start + count):
        scene = draw_scene(seed, index)
        rng = np.random.default_rng([seed, index, 1])
        original, crop = _accident(rng) if accidents else (SIDE, (0, 0))
        images.append(render(scene, original, crop))
        captions.append(caption(loosen(rng, scene.request)))
        sizes.append((original, original, *crop, SIDE, SIDE))
    return Pictures(np.stack(images), tuple(captions), np.array(sizes))


def _accident(rng: np.random.Generator) -> tuple[int, tuple[int, int]]:
    original = SIDE if rng.random() < 0.6 else int(rng.integers(16, SIDE))
    crop = [0, 0]
    if rng.random() < 0.4:
        crop[int(rng.integers(2))] = int(rng.integers(1, MAX_CROP + 1))
    return original, (crop[0], crop[1])


def to_pixels(images: np.ndarray | Tensor) -> Tensor:
    """uint8 (n, h, w, 3) → float (n, 3, h, w) in [−1, 1], as the autoencoder wants it."""
    return torch.as_tensor(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_clip(images: np.ndarray | Tensor) -> Tensor:
    """uint8 (n, 64, 64, 3) → float (n, 3, 64, 64), normalised as CLIP's image processor does."""
    pixels = torch.as_tensor(images).permute(0, 3, 1, 2).float() / 255
    mean, std = (
        torch.tensor(v, device=pixels.device).view(1, 3, 1, 1)
        for v in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD)
    )
    return (pixels - mean) / std
