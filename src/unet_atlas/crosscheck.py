"""A second, independent count of MACs: forward hooks on layers, and attention caught in the act.

Shares nothing with :mod:`unet_atlas.cost`: no dispatcher, no module tracker. Runs on any device,
so that it also tells what a real CPU pass does. Book: *Counting correctly*.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode


def hook_macs(model: nn.Module, inputs: dict[str, Any]) -> Counter[str]:
    """MACs of one pass by kind of layer: ``conv``, ``linear``, ``attention``.

    Args:
        inputs: keyword arguments of ``forward``, on the model's device.
    """
    macs: Counter[str] = Counter()
    hooks = [
        module.register_forward_hook(_hook(macs))
        for module in model.modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    try:
        with torch.no_grad(), _AttentionCounter(macs):
            model(**inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return macs


def _hook(macs: Counter[str]):
    def count(module: nn.Module, args: tuple, output: torch.Tensor) -> None:
        if isinstance(module, nn.Conv2d):  # each output cell sums over (inputs / groups) × kernel
            macs["conv"] += output.numel() * module.weight[0].numel()
        else:
            macs["linear"] += output.numel() * module.in_features

    return count


class _AttentionCounter(TorchFunctionMode):
    """Counts QKᵀ and PV from the shapes that scaled_dot_product_attention is called with."""

    def __init__(self, macs: Counter[str]):
        super().__init__()
        self.macs = macs

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is F.scaled_dot_product_attention:
            given = {**dict(zip(("query", "key", "value"), args, strict=False)), **(kwargs or {})}
            query, key, value = given["query"], given["key"], given["value"]
            scores = query.shape[:-1].numel() * key.shape[-2]
            self.macs["attention"] += scores * (query.shape[-1] + value.shape[-1])
        return func(*args, **(kwargs or {}))
