"""The one place that decides where tensors live: cuda, mps or cpu, and in which dtype."""

from __future__ import annotations

import torch

from unet_atlas.errors import AtlasError

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def best_device() -> torch.device:
    """The fastest device that is really here: cuda, else mps, else cpu."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def default_dtype(device: torch.device | str) -> torch.dtype:
    """bf16 on cuda, fp16 on mps, fp32 elsewhere."""
    kind = torch.device(device).type
    return {"cuda": torch.bfloat16, "mps": torch.float16}.get(kind, torch.float32)


def parse_device(name: str) -> torch.device:
    """The device that a reader named: ``meta``, ``cpu``, ``cuda``, ``cuda:1``, ``mps`` or ``best``.

    Raises:
        AtlasError: the name is unknown, or this machine has no such device.
    """
    if name == "best":
        return best_device()
    try:
        device = torch.device(name)
    except RuntimeError:
        raise AtlasError(f"{name!r} is no device; use meta, cpu, cuda, mps or best.") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise AtlasError(f"This machine has no device {name!r}; use 'meta' or 'cpu'.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise AtlasError("This machine has no device 'mps'; use 'meta' or 'cpu'.")
    return device


def parse_dtype(name: str) -> torch.dtype:
    """``fp32``, ``fp16`` or ``bf16`` as a torch dtype."""
    try:
        return DTYPES[name]
    except KeyError:
        raise AtlasError(f"{name!r} is no dtype; use {', '.join(DTYPES)}.") from None
