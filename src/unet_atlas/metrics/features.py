"""Pictures → features: CLIP image embeddings, and Inception's for those who have its weights.

An extractor is any function from pictures to a matrix; everything else in ``metrics`` takes the
matrix. State the extractor beside each value: FID, KID and CMMD mean nothing without it.
"""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image

from unet_atlas.errors import AtlasError, first_sentence

INCEPTION = "torch_fidelity.feature_extractor_inceptionv3"
SAFE_LOADING = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


class Extractor(Protocol):
    """Turns pictures into one row of features each."""

    def __call__(self, images: Sequence[Any]) -> np.ndarray:
        """Pictures → (n, d) float64."""
        ...


def clip_features(
    model: Any, image_processor: Any, images: Any, batch: int = 64, projected: bool = True
) -> np.ndarray:
    """CLIP's image embeddings, (n, d) float64, not normalised.

    Args:
        model: a transformers ``CLIPModel``; transformers 5 loads half-precision files in half
            precision, which costs the features all but three digits: ``.float()`` it.
        image_processor: the one that belongs to it.
        images: see :func:`pictures`.
        batch: pictures at a time; changes nothing beyond rounding.
        projected: after the projection into the space shared with text, as CMMD takes them; else
            the pooled output before it, as FID on CLIP features does.

    Raises:
        AtlasError: no pictures, one that is none, a bad batch, or a model that gives NaN.
    """
    shown = pictures(images)
    parts = []
    with evaluating(model) as device:
        for part in batches(shown, batch):
            pixels = image_processor(images=part, return_tensors="pt")["pixel_values"]
            pixels = pixels.to(device, model.dtype)
            pooled = model.vision_model(pixel_values=pixels).pooler_output
            parts.append(model.visual_projection(pooled) if projected else pooled)
    return float64(parts, "CLIP image features")


def inception_features(
    images: Any,
    batch: int = 32,
    weights: str | Path | None = None,
    device: str | torch.device = "cpu",
) -> np.ndarray:
    """FID's own features: the 2,048 of torch-fidelity's Inception, (n, 2048) float64.

    torch-fidelity is not a requirement of the book: it needs torchvision, and weights that it
    downloads (91 MB) unless given. Its resize is TensorFlow 1's, as in the published values;
    torchmetrics resizes with antialias by default, and its values are not comparable.

    Args:
        images: all of one size; see :func:`pictures`.
        weights: a file of torch-fidelity's weights; loaded without running what a pickle may hold.

    Raises:
        AtlasError: torch-fidelity or its weights are missing, or the pictures' sizes differ.
    """
    shown = pictures(images)
    sizes = sorted({picture.shape[:2] for picture in shown})
    if len(sizes) > 1:
        raise AtlasError(
            f"The pictures have sizes {sizes[0]} and {sizes[-1]}; bring them to one size first, by "
            "the same resize for both sets."
        )
    network = _inception(weights).to(device)
    parts = []
    with evaluating(network):
        for part in batches(shown, batch):
            stack = torch.from_numpy(np.stack(part)).permute(0, 3, 1, 2)  # (b, 3, h, w) uint8
            parts.append(network(stack.to(device))[0])
    return float64(parts, "Inception features")


def pictures(images: Any) -> list[np.ndarray]:
    """Pictures as (height, width, 3) arrays of uint8.

    Args:
        images: a sequence of PIL images, or of arrays: uint8, or floats from 0 to 1, which are
            rounded, not cut off; one array with the pictures along its first axis will do.
            Tensors are taken as (3, height, width).

    Raises:
        AtlasError: no pictures; or one that is no picture, or holds NaN, or floats out of range.
    """
    if isinstance(images, Image.Image) or not hasattr(images, "__len__"):
        raise AtlasError("Pictures come as a list or an array of them; put a single one in a list.")
    if not len(images):
        raise AtlasError("There are no pictures; give at least one.")
    return [_picture(image, i) for i, image in enumerate(images)]


def batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Consecutive parts of at most ``size`` items.

    Raises:
        AtlasError: a size below one.
    """
    if size < 1:
        raise AtlasError(f"A batch can't hold {size} items; give at least 1.")
    return (items[i : i + size] for i in range(0, len(items), size))


@contextmanager
def evaluating(model: Any) -> Iterator[Any]:
    """No gradients and no dropout; afterwards the model is as it was. Gives its device."""
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield next((p.device for p in model.parameters()), torch.device("cpu"))
    finally:
        model.train(training)


def float64(parts: Sequence[torch.Tensor], name: str) -> np.ndarray:
    """Batches of features as one float64 array (n, d).

    Raises:
        AtlasError: NaN or infinity.
    """
    array = torch.cat(list(parts)).cpu().double().numpy()  # mps knows no float64
    if not np.isfinite(array).all():
        raise AtlasError(f"The {name} hold NaN or infinity; load the model in float32.")
    return array


def _picture(image: Any, i: int) -> np.ndarray:
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB"))
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu()
        image = (image.float() if image.is_floating_point() else image).numpy()
        image = np.moveaxis(image, 0, -1) if image.ndim == 3 else image
    array = np.asarray(image)
    if array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise AtlasError(f"Picture {i} has shape {array.shape}; give (height, width, 3).")
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f" or not (array.min() >= 0 and array.max() <= 1):  # NaN fails too
        raise AtlasError(
            f"Picture {i} holds {array.dtype} outside 0 to 1 or NaN; give uint8, or floats in 0–1."
        )
    return np.rint(array * 255).astype(np.uint8)


@functools.lru_cache(maxsize=1)
def _inception(weights: str | Path | None) -> Any:
    if weights is not None and not Path(weights).is_file():
        raise AtlasError(f"'{weights}' is no file; give torch-fidelity's Inception weights.")
    try:
        extractor = importlib.import_module(INCEPTION).FeatureExtractorInceptionV3
    except ImportError as error:
        raise AtlasError(
            "Inception features need torch-fidelity, which is not installed: "
            f"pip install torch-fidelity ({first_sentence(error)})"
        ) from None
    path = None if weights is None else str(weights)
    try:
        with _safe_loading():
            return extractor("inception-v3-compat", ["2048"], feature_extractor_weights_path=path)
    except Exception as error:  # no network, a damaged file, a pickle that holds more than weights
        raise AtlasError(
            f"The Inception weights can't be loaded: {first_sentence(error)} Give the file "
            "weights-inception-2015-12-05-6726825d.pth of torch-fidelity as `weights`."
        ) from None


@contextmanager
def _safe_loading() -> Iterator[None]:
    """torch-fidelity asks for full unpickling; this makes torch refuse anything but tensors."""
    before = os.environ.get(SAFE_LOADING)
    os.environ[SAFE_LOADING] = "1"
    try:
        yield
    finally:
        os.environ.pop(SAFE_LOADING)
        if before is not None:
            os.environ[SAFE_LOADING] = before
