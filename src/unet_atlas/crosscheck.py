"""A second, independent count of MACs: forward hooks on layers, and attention caught in the act.

Shares nothing with :func:`unet_atlas.cost.count`: no dispatcher, no module tracker. Runs on
any device, so that it also tells what a real CPU pass does. Book: *Counting correctly*.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from unet_atlas.products import AttentionCalls, Handler


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
        with torch.no_grad(), AttentionCalls(_products(macs)):
            model(**inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return macs


def _hook(macs: Counter[str]) -> Callable[[nn.Module, tuple, torch.Tensor], None]:
    def count(module: nn.Module, args: tuple, output: torch.Tensor) -> None:
        if isinstance(module, nn.Conv2d):  # each output cell sums over (inputs / groups) × kernel
            macs["conv"] += output.numel() * module.weight[0].numel()
        else:
            macs["linear"] += output.numel() * module.in_features

    return count


def _products(macs: Counter[str]) -> Handler:
    def count(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        call: Callable[[], torch.Tensor],
    ) -> torch.Tensor:
        scores = query.shape[:-1].numel() * key.shape[-2]
        macs["attention"] += scores * (query.shape[-1] + value.shape[-1])  # QKᵀ, then PV
        return call()

    return count
