"""How sharp pictures are: the share of their energy in fine detail.

Book: *Conditioning at work*.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

from unet_atlas.images import as_uint8

CUTOFF = 0.5  # of the finest frequency that the pixels hold


def detail_share(images: np.ndarray, cutoff: float = CUTOFF) -> np.ndarray:
    """The share of each picture's variance above a spatial frequency, (n,); 0 for a flat picture.

    The frequencies are those of the cosine transform, which sees no edge at the border. A picture
    that was enlarged from half its side holds almost nothing above the default cutoff.

    Args:
        images: (n, h, w, 3) uint8, or floats from 0 to 1.
        cutoff: as a share of the finest frequency along an axis (one period every two pixels).
    """
    pixels = as_uint8(images).astype(np.float64)
    energy = np.square(fft.dctn(pixels, axes=(1, 2), norm="ortho")).sum(-1)  # (n, h, w)
    energy[:, 0, 0] = 0  # the mean is no detail
    rows, columns = (np.arange(n) / n for n in energy.shape[1:])
    fine = np.hypot(rows[:, None], columns[None, :]) > cutoff
    total = energy.sum(axis=(1, 2))
    return np.divide(energy[:, fine].sum(1), total, out=np.zeros(len(total)), where=total > 1e-6)
