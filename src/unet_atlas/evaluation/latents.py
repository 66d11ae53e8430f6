"""Fixed starting latents from a file, as protocols ask for that fix the noise of every picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file

from unet_atlas.errors import AtlasError, first_sentence
from unet_atlas.sampling.pictures import pixels_digest
from unet_atlas.sampling.pipelines import PICKLED


def read_latents(file: Path, captions: int) -> np.ndarray:
    """Latents (1, c, h, w) for all pictures, or (captions, c, h, w), as float32.

    Args:
        file: ``.npy``, or ``.safetensors`` with one tensor; (c, h, w) counts as one for all.
        captions: how many pictures there will be.

    Raises:
        AtlasError: no such file, a pickle, no latents, or another number of them.
    """
    found = _array(Path(file))
    if found.ndim == 3:
        found = found[None]
    if found.ndim != 4 or found.dtype.kind != "f" or 0 in found.shape:
        raise AtlasError(
            f"'{file}' holds {found.dtype} of shape {found.shape}; latents are floats of shape "
            "(channels, height, width), or one such a caption."
        )
    if len(found) not in (1, captions):
        raise AtlasError(
            f"'{file}' holds {len(found):,} latents for {captions:,} captions; give one, or one "
            "a caption."
        )
    if not np.isfinite(found).all():
        raise AtlasError(f"'{file}' holds NaN or infinity; write it anew.")
    return found.astype(np.float32)


def check_fit(latents: np.ndarray, pipeline: Any, file: Path | None) -> None:
    """Raise an AtlasError unless the pipeline's UNet starts from latents of this shape."""
    config = pipeline.unet.config
    wanted = (config.in_channels, config.sample_size, config.sample_size)
    if latents.shape[1:] != wanted:
        raise AtlasError(
            f"'{file}' holds latents of {latents.shape[1:]}, this model starts from {wanted}; "
            "give latents of the model's own size."
        )


def digest(latents: np.ndarray | None) -> str | None:
    """sha256 of the shape and the values; None for none."""
    return None if latents is None else pixels_digest(latents)


def _array(file: Path) -> np.ndarray:
    kind = file.suffix.lower()
    if kind in PICKLED:
        raise AtlasError(
            f"'{file}' is a pickle, which can run code when it is opened; where you trust it, "
            "convert it once: numpy.save('latents.npy', torch.load(file).float().cpu().numpy())."
        )
    if kind not in (".npy", ".safetensors"):
        raise AtlasError(f"'{file}' holds no latents; give an .npy or a .safetensors file.")
    try:
        if kind == ".npy":
            return np.load(file, allow_pickle=False)
        tensors = list(load_file(file).values())
    except FileNotFoundError:
        raise AtlasError(f"There is no file '{file}' with latents.") from None
    except (OSError, ValueError, EOFError, SafetensorError) as error:
        raise AtlasError(f"'{file}' can't be read: {first_sentence(error)}") from None
    if len(tensors) != 1:
        raise AtlasError(f"'{file}' holds {len(tensors)} tensors; give one with the latents.")
    tensor = tensors[0]
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
