"""From pixels to patches: every pixel unmixed into background and one colour, joined to blobs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from unet_atlas.errors import AtlasError
from unet_atlas.shapes.world import BACKGROUND, COLOURS, SIDE

LEVEL = 0.45  # a pixel that is coloured to this share belongs to an object; paler is not seen
GROUND = 0.4  # objects leave at least this share of a picture empty; else it is none of this world
SPECK = 16  # blobs of fewer pixels are dropped
OFF_PALETTE = 42.0  # sRGB levels by which a blob's mean colour may miss the palette's line
STRENGTH = (0.7, 1.25)  # how far along that line it may lie; 1 is the palette's colour
MARGIN = 4  # pixels around a blob that its shape must leave empty
REACH = 2  # pixels around another blob where this one's share can't be told


@dataclass(frozen=True)
class Mixture:
    """Each pixel as background and a share of one colour.

    ``share`` (64, 64, 6) is the pixel's projection on the line from the background to each colour,
    ``colour`` (64, 64) the line it lies nearest to, ``offset`` (64, 64, 3) the pixel less the
    background, ``noise`` the standard deviation of the background in levels, ``ground`` the share
    of the picture that is background.
    """

    share: np.ndarray
    colour: np.ndarray
    offset: np.ndarray
    lines: np.ndarray
    noise: float
    ground: float


def as_pixels(image: Any) -> np.ndarray:
    if isinstance(image, Image.Image):
        image = image.convert("RGB")
    pixels = np.asarray(image)
    if pixels.shape != (SIDE, SIDE, 3) or pixels.dtype != np.uint8:
        raise AtlasError(
            f"the oracle can't read a picture of shape {pixels.shape} and type {pixels.dtype}; "
            f"give it {SIDE} × {SIDE} pixels of RGB as uint8, or a PIL image of that size."
        )
    return pixels.astype(np.float32)


def unmix(pixels: np.ndarray) -> Mixture:
    ground = np.array(BACKGROUND, np.float32)
    offset = pixels - ground
    empty = (offset**2).sum(-1) < 40**2
    noise = 0.0
    if empty.sum() > SIDE:
        offset = offset - offset[empty].mean(0)
        noise = float(offset[empty].std())
    lines = np.array(list(COLOURS.values()), np.float32) - ground
    squares = (lines**2).sum(1)
    share = offset @ (lines / squares[:, None]).T  # (64, 64, 6)
    held = share.clip(0, 1.2)
    miss = squares * held * (held - 2 * share)  # plus the pixel's own square, the same for all
    return Mixture(share, miss.argmin(-1), offset, lines, noise, float(empty.mean()))


def masks_of(mixture: Mixture) -> Iterator[tuple[int, np.ndarray]]:
    """(colour, (64, 64) bool) of each blob: connected, larger than a speck, thicker than a line."""
    best = np.take_along_axis(mixture.share, mixture.colour[..., None], -1)[..., 0]
    strong = np.where(best > LEVEL, mixture.colour, -1)
    for colour in range(len(COLOURS)):
        mask = strong == colour
        if mask.sum() < SPECK:
            continue
        labels, count = ndimage.label(mask)
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        for label in np.flatnonzero(sizes >= SPECK):
            blob = labels == label
            if label and _thick(blob):
                yield colour, blob


def _thick(mask: np.ndarray) -> bool:
    """Whether a 2 × 2 square fits in often: the fringe between two colours is a line."""
    squares = mask[1:, 1:] & mask[1:, :-1] & mask[:-1, 1:] & mask[:-1, :-1]
    return int(squares.sum()) >= SPECK // 2


@dataclass(frozen=True)
class Patch:
    """The surroundings of one blob.

    ``share`` (h, w) of its colour from 0 up, ``weight`` (h, w) 0 where another blob may hide it,
    ``mask`` (h, w) its own pixels, ``top`` and ``left`` the place in the picture, ``noise`` the
    standard deviation of the share, ``honest`` whether the colour is one of the palette.
    """

    colour: str
    share: np.ndarray
    weight: np.ndarray
    mask: np.ndarray
    top: int
    left: int
    noise: float
    honest: bool

    @property
    def partial(self) -> bool:
        """Whether a part of the object may be hidden: by another, or beyond the border."""
        rows, columns = self.mask.any(1).nonzero()[0], self.mask.any(0).nonzero()[0]
        first = min(self.top + rows[0], self.left + columns[0])
        last = max(self.top + rows[-1], self.left + columns[-1])
        near = ndimage.binary_dilation(self.mask, iterations=REACH)
        return bool(first == 0 or last == SIDE - 1 or (near & (self.weight == 0)).any())


def patch_of(mixture: Mixture, masks: Sequence[tuple[int, np.ndarray]], *mine: int) -> Patch:
    """The patch of blob ``mine`` (several: the pieces of one object)."""
    colour = masks[mine[0]][0]
    mask = np.logical_or.reduce([masks[i][1] for i in mine])
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left = max(rows[0] - MARGIN, 0), max(columns[0] - MARGIN, 0)
    box = slice(top, rows[-1] + MARGIN + 1), slice(left, columns[-1] + MARGIN + 1)
    others = [m[box] for i, (_, m) in enumerate(masks) if i not in mine and m[box].any()]
    weight = np.ones(mask[box].shape, np.float32)
    if others:
        other = np.logical_or.reduce(others)
        weight[ndimage.binary_dilation(other, iterations=REACH) & ~mask[box]] = 0
    share = mixture.share[..., colour][box].clip(0, None)
    return Patch(
        list(COLOURS)[colour],
        share,
        weight,
        mask[box],
        top,
        left,
        mixture.noise / float(np.linalg.norm(mixture.lines[colour])),
        _honest(mixture, colour, mask),
    )


def _honest(mixture: Mixture, colour: int, mask: np.ndarray) -> bool:
    """Whether the blob's stronger half has a colour of the palette, on the world's background."""
    share = mixture.share[..., colour]
    core = mask & (share >= np.median(share[mask]))
    mean, line = mixture.offset[core].mean(0), mixture.lines[colour]
    strength = float(mean @ line / (line @ line))
    low, high = STRENGTH
    off = float(np.linalg.norm(mean - strength * line))
    return mixture.ground > GROUND and low < strength < high and off < OFF_PALETTE
