"""Paint a scene: every object is a signed distance, its edge one pixel of anti-aliasing.

Also the two accidents of real data that SDXL is told about: a small original, enlarged (blur),
and a crop (objects shifted, or cut at the border).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import Image

from unet_atlas.shapes.world import BACKGROUND, COLOURS, SIDE, Scene, Thing


def signed_distance(shape: str, x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    """Distance in pixels to the outline (negative inside) of a shape centred at the origin; the
    shapes of one radius have about the same visual weight."""
    match shape:
        case "circle":
            return np.hypot(x, y) - radius
        case "ring":
            return np.abs(np.hypot(x, y) - 0.8 * radius) - 0.26 * radius
        case "square":
            return np.maximum(np.abs(x), np.abs(y)) - 0.88 * radius
        case "cross":
            long, short = 1.1 * radius, 0.36 * radius
            bar = np.maximum(np.abs(x) - long, np.abs(y) - short)
            return np.minimum(bar, np.maximum(np.abs(x) - short, np.abs(y) - long))
        case "triangle":
            slope = np.sqrt(3) / 2 * np.abs(x) - y / 2
            return np.maximum(slope, y) - 0.6 * radius
    raise ValueError(f"unknown shape {shape!r}")


def coverage(thing: Thing, side: int = SIDE) -> np.ndarray:
    """How much of each pixel an object covers: (side, side) floats from 0 to 1."""
    centre = (np.arange(side) + 0.5) * SIDE / side
    distance = signed_distance(
        thing.shape, centre[None, :] - thing.x, centre[:, None] - thing.y, thing.radius
    )
    return np.clip(0.5 - distance * side / SIDE, 0, 1)


def render(
    scene: Scene | Iterable[Thing], original: int = SIDE, crop: tuple[int, int] = (0, 0)
) -> np.ndarray:
    """A scene as (64, 64, 3) uint8 sRGB.

    Args:
        scene: the scene, or its objects.
        original: side in pixels of the picture that was enlarged to 64 (64: not enlarged).
        crop: pixels cut off at the top and at the left.
    """
    things = scene.things if isinstance(scene, Scene) else tuple(scene)
    top, left = crop
    canvas = np.empty((original, original, 3))
    canvas[:] = BACKGROUND
    for thing in things:
        moved = Thing(thing.shape, thing.colour, thing.x - left, thing.y - top, thing.radius)
        alpha = coverage(moved, original)[..., None]
        canvas += alpha * (np.array(COLOURS[thing.colour]) - canvas)
    picture = np.round(canvas).astype(np.uint8)
    if original == SIDE:
        return picture
    enlarged = Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(enlarged)
