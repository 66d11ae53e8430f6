"""The oracle's own error: scenes whose truth is known, damaged in several ways, and read back."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage

from unet_atlas.shapes.oracle import judge, read
from unet_atlas.shapes.render import coverage, render
from unet_atlas.shapes.world import BACKGROUND, COLOURS, SIDE, SPLITS, Scene, draw_scene


def validate(n: int = 300, seed: int = 0) -> pd.DataFrame:
    """How often the oracle reads a rendered scene right in every respect, by disturbance.

    Right means: no doubtful blob; count, shapes, colours, sizes and relation as drawn. The scenes
    come in turn from the training, test and unseen combinations.

    Returns:
        one row a disturbance: ``disturbance``, ``scenes``, and how many of them are ``right``.
    """
    scenes = [draw_scene(seed, i, SPLITS[i % 3]) for i in range(n)]
    rows = []
    for name, disturb in DISTURBANCES.items():
        draws = np.random.default_rng([seed, n])
        right = sum(_read_right(s, disturb(s, draws)) for s in scenes)
        rows.append([name, n, right])
    return pd.DataFrame(rows, columns=["disturbance", "scenes", "right"])


def _read_right(scene: Scene, image: np.ndarray) -> bool:
    verdict = judge(scene.request, read(image))
    return verdict.right and verdict.sizes


def _soft(scene: Scene, draws: np.random.Generator) -> np.ndarray:
    return to_bytes(soften(render(scene), draws.uniform(0.4, 1.2)))


def _noisy(scene: Scene, draws: np.random.Generator) -> np.ndarray:
    return to_bytes(render(scene) + draws.normal(0, draws.uniform(2, 10), (SIDE, SIDE, 3)))


def _enlarged(scene: Scene, draws: np.random.Generator) -> np.ndarray:
    return render(scene, original=int(draws.integers(32, SIDE)))


def _shifted(scene: Scene, draws: np.random.Generator) -> np.ndarray:
    """By up to 4 pixels; an object stays inside, though the gap to the border may go."""
    return render(scene, crop=_shift(scene, draws))


def _shift(scene: Scene, draws: np.random.Generator) -> tuple[int, int]:
    """A shift after which every object still lies within the picture."""
    alpha = render(scene) != np.array(BACKGROUND, np.uint8)
    rows, columns = (np.flatnonzero(alpha.any(2).any(axis)) for axis in (1, 0))
    low = [max(-4, int(at[-1]) - SIDE + 1) for at in (rows, columns)]
    high = [min(4, int(at[0])) for at in (rows, columns)]
    top, left = draws.integers(low, np.array(high) + 1)
    return int(top), int(left)


def _repainted(scene: Scene, draws: np.random.Generator) -> np.ndarray:
    """A cast of up to 12 levels a channel on everything, and another on each colour."""
    image = render(scene) + draws.uniform(-12, 12, 3)
    paints = draws.uniform(-12, 12, (len(COLOURS), 3))
    for thing in scene.things:
        cast = paints[list(COLOURS).index(thing.colour)]
        image += coverage(thing)[..., None] * cast
    return to_bytes(image.clip(0, 255))


def _ringing(scene: Scene, draws: np.random.Generator) -> np.ndarray:
    """Edges that overshoot, as after too much sharpening."""
    image = render(scene).astype(float)
    return to_bytes(image + draws.uniform(0.2, 0.6) * (image - soften(image, 1.5)))


def _jpeg(scene: Scene, draws: np.random.Generator) -> np.ndarray:
    file = BytesIO()
    Image.fromarray(render(scene)).save(file, "JPEG", quality=int(draws.integers(75, 96)))
    return np.asarray(Image.open(file))


def _everything(scene: Scene, draws: np.random.Generator) -> np.ndarray:
    """Blur, ringing, a colour cast, noise, and a shift at once, each of middling strength."""
    image = soften(render(scene, crop=_shift(scene, draws)), draws.uniform(0.3, 0.8))
    image = image + draws.uniform(0.2, 0.4) * (image - soften(image, 1.5))
    return to_bytes(image + draws.uniform(-8, 8, 3) + draws.normal(0, 5, image.shape))


def soften(image: np.ndarray, sigma: float) -> np.ndarray:
    """A picture (h, w, 3) out of focus, float64; ``sigma`` in pixels."""
    return ndimage.gaussian_filter(image.astype(float), (sigma, sigma, 0), mode="nearest")


def to_bytes(image: np.ndarray) -> np.ndarray:
    """Levels rounded and clipped to 0–255, uint8."""
    return np.round(image).clip(0, 255).astype(np.uint8)


DISTURBANCES: dict[str, Callable[[Scene, np.random.Generator], np.ndarray]] = {
    "none": lambda scene, draws: render(scene),
    "enlarged from 32–63 pixels": _enlarged,
    "shifted by up to 4 pixels": _shifted,
    "blurred, sigma 0.4–1.2 pixels": _soft,
    "noise, sigma 2–10 levels": _noisy,
    "ringing": _ringing,
    "colours off by up to 24 levels": _repainted,
    "JPEG, quality 75–95": _jpeg,
    "several at once": _everything,
}
