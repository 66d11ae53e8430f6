"""What goes through the layers of a UNet: each step of one pass, with the shapes before and after.

Book: *Attention*.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from diffusers.models.activations import GEGLU
from diffusers.models.attention_processor import Attention
from torch import nn

from unet_atlas.products import AttentionCalls, Handler
from unet_atlas.tables import NONE, Table

Shape = tuple[int, ...]
LAYERS = (nn.Conv2d, nn.Linear, nn.GroupNorm, nn.LayerNorm, GEGLU)
PRODUCTS = "attention products"


@dataclass(frozen=True)
class Step:
    """One layer's call: where it is, the shapes that enter and leave it, its own parameters.

    The attention products (softmax of QKᵀ, times V) are no module; they stand under the path of
    their attention layer, with the shapes of Q, K and V: (batch, heads, tokens, head dim).
    """

    path: str
    kind: str
    inputs: tuple[Shape, ...]
    output: Shape
    params: int


def trace_shapes(
    model: nn.Module, inputs: Mapping[str, Any], within: str = "", layers: tuple[type, ...] = LAYERS
) -> tuple[Step, ...]:
    """The steps of one forward pass, in the order in which they finish.

    Args:
        inputs: keyword arguments of ``forward``, on the model's device; ``meta`` computes nothing.
        within: only what lies below this path; the steps' paths are relative to it.
        layers: the kinds of module to report.
    """
    steps, attention = [], [""]
    start = f"{within}." if within else ""
    hooks = []
    for path, module in model.named_modules():
        inner = path.removeprefix(start)
        if not path.startswith(start):
            continue
        if isinstance(module, Attention):
            hooks.append(module.register_forward_pre_hook(_enter(attention, inner)))
            hooks.append(module.register_forward_hook(_leave(attention)))
        if isinstance(module, layers):
            hooks.append(module.register_forward_hook(_report(steps, inner)))
    try:
        with torch.no_grad(), AttentionCalls(_products(steps, attention)):
            model(**inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(steps)


def step_table(label: str, steps: Sequence[Step], drop: str = "") -> Table:
    """One row a step. ``drop`` is a part of the paths that readers need not see in every row."""
    shown = [
        {
            "layer": s.path.replace(drop, ""),
            "kind": s.kind,
            "in": _qkv(s.inputs) if s.kind == PRODUCTS else ", ".join(map(_shape, s.inputs[:1])),
            "out": _shape(s.output),
            "parameters": f"{s.params:,}" if s.params else NONE,
        }
        for s in steps
    ]
    records = [{**vars(s), "inputs": str(s.inputs), "output": str(s.output)} for s in steps]
    return Table("steps", label, pd.DataFrame(shown), pd.DataFrame(records))


def _shape(shape: Shape) -> str:
    return "\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}".join(map(str, shape))


def _qkv(shapes: tuple[Shape, ...]) -> str:
    query, key, _ = shapes
    return f"Q: {_shape(query)}; K, V: {_shape(key)}"


def _report(steps: list[Step], path: str):
    def report(module: nn.Module, args: tuple, output: torch.Tensor) -> None:
        shapes = tuple(tuple(a.shape) for a in args if isinstance(a, torch.Tensor))
        params = sum(p.numel() for p in module.parameters(recurse=False))
        steps.append(Step(path, type(module).__name__, shapes, tuple(output.shape), params))

    return report


def _enter(attention: list[str], path: str):
    return lambda module, args: attention.append(path)


def _leave(attention: list[str]):
    return lambda module, args, output: attention.pop() and None


def _products(steps: list[Step], attention: list[str]) -> Handler:
    """Reports the products below the attention layers that are followed."""

    def report(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        call: Callable[[], torch.Tensor],
    ) -> torch.Tensor:
        output = call()
        if len(attention) > 1:
            shapes = tuple(tuple(t.shape) for t in (query, key, value))
            steps.append(Step(attention[-1], PRODUCTS, shapes, tuple(output.shape), 0))
        return output

    return report
