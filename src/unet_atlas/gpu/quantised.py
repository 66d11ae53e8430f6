"""Linear layers with products in fp8 or int8; weights are rounded once, activations on the way.

Every row of the weight and every token has a scale of its own, so that its largest value just fits.
Only the layers that read image tokens inside transformer blocks are replaced: there the products
are large. Book: *The speed ladder*. Upstream: ``torch._scaled_mm``, ``torch._int_mm``.
"""

from __future__ import annotations

import torch
from diffusers.models.attention import BasicTransformerBlock
from torch import Tensor, nn

FP8, INT8 = "fp8", "int8"
LARGEST = {FP8: torch.finfo(torch.float8_e4m3fn).max, INT8: 127.0}
DTYPES = {FP8: torch.float8_e4m3fn, INT8: torch.int8}
MULTIPLE = 16  # the products take operands whose sides are multiples of it
TEXT_LAYERS = ("to_k", "to_v", "to_kv")  # of cross-attention: 77 tokens, not worth rounding


class QuantisedLinear(nn.Module):
    """A linear layer, (…, in) → (…, out), whose product is in fp8 or int8."""

    def __init__(self, linear: nn.Linear, kind: str):
        super().__init__()
        self.kind, self.out_features = kind, linear.out_features
        weight, scale = rounded(linear.weight.detach(), kind)  # (out, in), (out, 1)
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale.t().contiguous())  # (1, out)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        rows, scale = rounded(x.reshape(-1, x.shape[-1]), self.kind)  # (n, in), (n, 1)
        product = _fp8 if self.kind == FP8 else _int8
        out = product(rows, self.weight, scale, self.scale, x.dtype)
        out = out if self.bias is None else out + self.bias
        return out.reshape(*x.shape[:-1], self.out_features)


def quantise(unet: nn.Module, kind: str) -> int:
    """Replace the linear layers of all transformer blocks that read image tokens; how many.

    Args:
        kind: ``fp8`` or ``int8``.
    """
    places = [
        (parent, name, child)
        for block in unet.modules()
        if isinstance(block, BasicTransformerBlock)
        for path, parent in block.named_modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.Linear) and fits(child) and not _reads_text(path, name)
    ]
    for parent, name, child in places:
        setattr(parent, name, QuantisedLinear(child, kind))
    return len(places)


def fits(linear: nn.Linear) -> bool:
    """Whether both sides of the weight are multiples of 16."""
    return linear.in_features % MULTIPLE == 0 and linear.out_features % MULTIPLE == 0


def rounded(values: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """Rows of a matrix in fp8 or int8, and the scale of each, (n, 1) in fp32."""
    scale = values.abs().amax(dim=1, keepdim=True).float().clamp(min=1e-12) / LARGEST[kind]
    whole = values.float() / scale
    return (whole if kind == FP8 else whole.round()).to(DTYPES[kind]), scale


def _reads_text(path: str, name: str) -> bool:
    return path == "attn2" and name in TEXT_LAYERS


def _fp8(rows: Tensor, weight: Tensor, scale: Tensor, weight_scale: Tensor, dtype) -> Tensor:
    return torch._scaled_mm(
        rows, weight.t(), scale_a=scale, scale_b=weight_scale, out_dtype=dtype, use_fast_accum=True
    )


def _int8(rows: Tensor, weight: Tensor, scale: Tensor, weight_scale: Tensor, dtype) -> Tensor:
    return (torch._int_mm(rows, weight.t()).float() * scale * weight_scale).to(dtype)
