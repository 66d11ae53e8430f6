"""Linear layers in 8 bits: close to the layer that they replace, and only where they should be."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.attention import BasicTransformerBlock
from torch import nn

from unet_atlas.gpu.quantised import LARGEST, QuantisedLinear, fits, quantise, rounded

KINDS = ["fp8", "int8"]


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a.float() - b.float()).norm() / b.float().norm()).item()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [True, False])
def test_the_output_is_that_of_the_layer_up_to_rounding(kind: str, bias: bool):
    torch.manual_seed(0)
    linear = nn.Linear(64, 48, bias=bias, dtype=torch.bfloat16)
    x = torch.randn(3, 11, 64, dtype=torch.bfloat16) * torch.logspace(-3, 3, 11)[:, None]
    x = x.bfloat16()
    with torch.no_grad():
        found, exact = QuantisedLinear(linear, kind)(x), linear(x)
    assert found.shape == (3, 11, 48)
    assert found.dtype == torch.bfloat16
    assert 1e-4 < distance(found, exact) < 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_the_largest_value_of_a_row_just_fits(kind: str):
    values = torch.tensor([[1.0, -8.0, 2.0], [0.001, 0.0, 0.0005]])
    small, scale = rounded(values, kind)
    assert small.float().abs().amax(dim=1).tolist() == [LARGEST[kind]] * 2
    assert torch.allclose(small.float() * scale, values, rtol=0.07, atol=0.04)


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_stay_zeros(kind: str):
    small, scale = rounded(torch.zeros(2, 4), kind)
    assert torch.isfinite(scale).all()
    assert not small.float().any()


def test_layers_that_read_image_tokens_are_replaced():
    block = BasicTransformerBlock(32, 2, 16, cross_attention_dim=48)
    outer = nn.ModuleDict({"block": block, "other": nn.Linear(32, 32)})
    number = quantise(outer, "fp8")
    kinds = {n: isinstance(m, QuantisedLinear) for n, m in block.named_modules()}
    replaced = {name for name, quantised in kinds.items() if quantised}
    assert {"attn1.to_q", "attn1.to_k", "attn2.to_q", "ff.net.2"} < replaced
    assert not {"attn2.to_k", "attn2.to_v"} & replaced
    assert isinstance(outer["other"], nn.Linear)
    assert number == sum(kinds.values()) == 8
    out = block(torch.randn(2, 20, 32), encoder_hidden_states=torch.randn(2, 5, 48))
    assert torch.isfinite(out).all()


def test_sides_must_be_multiples_of_sixteen():
    assert fits(nn.Linear(32, 48))
    assert not fits(nn.Linear(40, 48))
    assert not fits(nn.Linear(48, 40))
