"""Pictures side by side, each with its words below it: HTML, since a picture is no SVG.

Every picture's alternative text is its caption and its mark.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
from PIL import Image

MARKS = {True: "✓ ", False: "✗ ", None: ""}
SPOKEN = {True: ", judged right", False: ", judged wrong", None: ""}
PIXELS = 96  # shown width of one picture; a phone shows three in a row


@dataclass(frozen=True)
class Gallery:
    """A grid of pictures as HTML, and what it says to those who can't see it."""

    html: str = field(repr=False)
    alt: str

    def _repr_html_(self) -> str:
        return self.html


def gallery(
    images: np.ndarray | Sequence[np.ndarray],
    captions: Sequence[str],
    marks: Sequence[bool | None] | None = None,
    columns: int = 4,
    width: int = PIXELS,
) -> Gallery:
    """Pictures in rows of ``columns`` (fewer on a narrow screen), small ones with sharp pixels.

    Args:
        images: (n, h, w, 3) uint8.
        captions: one a picture, shown below it.
        marks: what is shown before the caption: ✓, ✗, or nothing for None.
        width: of a picture on the screen, in CSS pixels.

    Raises:
        ValueError: not one caption (and mark) a picture, or not uint8 pictures.
    """
    marks = (
        [None] * len(images) if marks is None else [None if m is None else bool(m) for m in marks]
    )
    if not len(images) == len(captions) == len(marks):
        raise ValueError(f"{len(images)} pictures, {len(captions)} captions, {len(marks)} marks")
    shown = zip(images, captions, marks, strict=True)
    figures = "".join(_figure(np.asarray(i), c, m, width) for i, c, m in shown)
    alt = f"{len(captions)} pictures: " + "; ".join(
        c + SPOKEN[m] for c, m in zip(captions, marks, strict=True)
    )
    style = f"max-width:{columns * (width + 12)}px"
    return Gallery(f'<div class="ua-gallery" role="list" style="{style}">{figures}</div>', alt)


def _figure(image: np.ndarray, caption: str, mark: bool | None, width: int) -> str:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"a picture is (h, w, 3) uint8, this one {image.shape} {image.dtype}")
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", optimize=True)
    data = base64.b64encode(file.getvalue()).decode()
    height = round(width * image.shape[0] / image.shape[1])
    return (
        f'<div class="ua-picture" role="listitem" style="width:{width}px">'
        f'<img src="data:image/png;base64,{data}" width="{width}" height="{height}" '
        f'alt="{escape(caption + SPOKEN[mark], quote=True)}">'
        f'<span aria-hidden="true">{MARKS[mark]}{escape(caption)}</span></div>'
    )
