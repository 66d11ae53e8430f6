"""What happens to pictures before the extractor sees them: resized, made bytes of, compressed.

Each library does it in its own way; the book's chapter *FID from the ground up* measures what that
costs. Pictures are (n, h, w, 3) uint8 throughout.
"""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from unet_atlas.errors import AtlasError

PILLOW = {
    "Pillow, bicubic": Image.Resampling.BICUBIC,  # clean-fid
    "Pillow, bilinear": Image.Resampling.BILINEAR,
}
RESIZES = (
    *PILLOW,
    "torch, bilinear, antialias",  # torchmetrics from 1.8 on
    "torch, bilinear",  # pytorch-fid
    "TensorFlow 1, bilinear",  # torch-fidelity, and the values of the first papers
)


def resize(images: np.ndarray, side: int, how: str) -> np.ndarray:
    """Pictures at another size, (n, side, side, 3) uint8, rounded.

    Pillow, and torch with ``antialias``, widen the filter where the picture shrinks; torch without
    it and TensorFlow 1 look at four pixels whatever the factor. TensorFlow 1 also counts from the
    corner of the first pixel, not from its centre, which shifts the picture.

    Args:
        images: (n, h, w, 3) uint8.
        how: one of ``RESIZES``.

    Raises:
        AtlasError: there is no such way.
    """
    if how in PILLOW:
        sized = [Image.fromarray(i).resize((side, side), PILLOW[how]) for i in images]
        return np.stack([np.asarray(i) for i in sized])
    if how not in RESIZES:
        raise AtlasError(f"'{how}' is no way to resize; give one of: {'; '.join(RESIZES)}.")
    if how == "TensorFlow 1, bilinear":
        rows = _corner_weights(images.shape[1], side)
        columns = _corner_weights(images.shape[2], side)
        sized = np.einsum("ij,njkc,lk->nilc", rows, images, columns, optimize=True)
        return np.rint(sized).astype(np.uint8)
    stack = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    sized = interpolate(stack, (side, side), mode="bilinear", antialias="antialias" in how)
    return sized.round().byte().permute(0, 2, 3, 1).numpy()


def jpeg(images: np.ndarray, quality: int) -> np.ndarray:
    """Pictures after being written as JPEG and read again, as Pillow does by default."""
    return np.stack([_compressed(image, quality) for image in images])


def to_bytes(images: np.ndarray, cut: bool = False) -> np.ndarray:
    """Floats from 0 to 1 as uint8: rounded, or cut off as torchmetrics' ``normalize=True`` does."""
    levels = images * np.asarray(255, images.dtype)
    return (levels if cut else np.rint(levels)).astype(np.uint8)


def _corner_weights(old: int, new: int) -> np.ndarray:
    """Linear interpolation at i · old / new, (new, old) float32."""
    at = np.arange(new) * old / new
    low = np.floor(at).astype(int)
    weights = np.zeros((new, old), np.float32)
    weights[np.arange(new), low] = 1 - (at - low)
    weights[np.arange(new), np.minimum(low + 1, old - 1)] += at - low
    return weights


def _compressed(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))
