"""What comes in as features: checked once, then plain float64 arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from unet_atlas.errors import AtlasError


def features_of(features: Any, name: str = "features", least: int = 1) -> np.ndarray:
    """Features as a float64 array (n, d), from an array, a list of rows or a tensor.

    Args:
        name: what a message calls them.
        least: how many rows there must be.

    Raises:
        AtlasError: not a matrix of real numbers, too few rows, no columns, NaN or infinity.
    """
    array = _float64(features, name)
    if array.ndim != 2 or not array.shape[1]:
        raise AtlasError(f"Wrong shape {array.shape} of the {name}; give a matrix (rows, columns).")
    if len(array) < least:
        raise AtlasError(f"Too few rows in the {name}: {len(array)}; give at least {least}.")
    _check_finite(array, name)
    return array


def pair_of(x: Any, y: Any, least: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Generated features (n, d) and reference features (m, d) of the same kind.

    Raises:
        AtlasError: either is no matrix of finite numbers, or their widths differ.
    """
    x = features_of(x, "generated features", least)
    y = features_of(y, "reference features", least)
    if x.shape[1] != y.shape[1]:
        raise AtlasError(
            f"The generated features have {x.shape[1]} columns and the reference features "
            f"{y.shape[1]}; take both from the same extractor."
        )
    return x, y


def values_of(values: Any, name: str = "values", least: int = 1) -> np.ndarray:
    """One finite number a prompt, as a float64 array (n,).

    Raises:
        AtlasError: not one-dimensional, too few, NaN or infinity.
    """
    array = _float64(values, name)
    if array.ndim != 1:
        raise AtlasError(f"Wrong shape {array.shape} of the {name}; give a list of numbers.")
    if len(array) < least:
        raise AtlasError(f"Too few {name}: {len(array)}; give at least {least}.")
    _check_finite(array, name)
    return array


def _float64(values: Any, name: str) -> np.ndarray:
    if hasattr(values, "detach"):  # a tensor, on any device; numpy knows no bfloat16
        values = values.detach().cpu().double().numpy()
    try:
        array = np.asarray(values)
        if array.dtype.kind in "biuf":
            return array.astype(np.float64, copy=False)
    except (TypeError, ValueError):
        pass  # rows of different lengths
    raise AtlasError(f"No array of real numbers: the {name}; give numbers in rows of equal length.")


def _check_finite(array: np.ndarray, name: str) -> None:
    if not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0])
        raise AtlasError(
            f"NaN or infinity in the {name}, row {row}; look at the picture, or run the model in "
            "float32."
        )
