"""The steps of a pass are the layers' own, with the shapes that they have."""

from __future__ import annotations

from math import prod

import pytest
import torch
from odd_configs import ODD
from torch import nn

from unet_atlas import build, config, crosscheck
from unet_atlas.trace import PRODUCTS, step_table, trace_shapes

BLOCK = "down_blocks.0.attentions.0"


@pytest.fixture(scope="module")
def unet():
    return build.from_config(config.check(ODD["plain"], "plain"))


@pytest.fixture(scope="module")
def steps(unet):
    return trace_shapes(unet, build.example_inputs(unet, latent=8), BLOCK)


def test_the_steps_of_a_transformer(steps):
    assert [s.path.removeprefix("transformer_blocks.0.") for s in steps] == [
        "norm", "proj_in",
        "norm1", "attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1", "attn1.to_out.0",
        "norm2", "attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2", "attn2.to_out.0",
        "norm3", "ff.net.0.proj", "ff.net.0", "ff.net.2",
        "proj_out",
    ]  # fmt: skip


def test_shapes(steps):
    by_path = {(s.path.removeprefix("transformer_blocks.0."), s.kind): s for s in steps}
    picture = (1, 32, 8, 8)
    assert by_path["proj_in", "Conv2d"].output == picture
    assert by_path["norm1", "LayerNorm"].output == (1, 64, 32)
    assert by_path["attn1", PRODUCTS].inputs == ((1, 4, 64, 8),) * 3
    assert by_path["attn2", PRODUCTS].inputs == ((1, 4, 64, 8), (1, 4, 77, 8), (1, 4, 77, 8))
    assert by_path["attn2.to_k", "Linear"].inputs == ((1, 77, 24),)
    assert by_path["ff.net.0.proj", "Linear"].output == (1, 64, 256)
    assert by_path["ff.net.0", "GEGLU"].output == (1, 64, 128)


def test_parameters_add_up(unet, steps):
    assert sum(s.params for s in steps) == sum(
        p.numel() for p in unet.get_submodule(BLOCK).parameters()
    )


def test_the_products_are_those_that_the_counter_sees(unet):
    inputs = build.example_inputs(unet)
    products = [s for s in trace_shapes(unet, inputs) if s.kind == PRODUCTS]
    macs = sum(2 * prod(s.output) * s.inputs[1][2] for s in products)  # QKᵀ, then times V
    assert macs == crosscheck.hook_macs(unet, inputs)["attention"]


def test_nothing_is_left_behind(unet, steps):
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in unet.modules())


def test_hooks_go_when_the_pass_fails(unet):
    with pytest.raises(TypeError):
        trace_shapes(unet, {})
    assert not any(m._forward_hooks for m in unet.modules())


def test_other_layers_and_models():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    steps = trace_shapes(model, {"input": torch.zeros(2, 3)}, layers=(nn.ReLU,))
    assert [(s.path, s.kind, s.inputs, s.output) for s in steps] == [
        ("1", "ReLU", ((2, 4),), (2, 4))
    ]


def test_table(steps):
    table = step_table("one transformer", steps, drop="transformer_blocks.")
    assert len(table.shown) == len(table.data) == len(steps)
    row = table.shown.set_index(["layer", "kind"]).loc["0.attn2", PRODUCTS]
    assert row["in"].replace("\N{NO-BREAK SPACE}", " ") == "Q: 1 × 4 × 64 × 8; K, V: 1 × 4 × 77 × 8"
    assert row["parameters"] == "–"
