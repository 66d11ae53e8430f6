"""The hook count: agreement for every model, and arithmetic on single layers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from unet_atlas import catalog, cost, crosscheck, formula
from unet_atlas.build import build_unet, example_inputs
from unet_atlas.config import resolve
from unet_atlas.roles import ATTENTION_PRODUCTS

TABLE = {  # thousand million MACs: convolutions, linear layers, attention products
    ("sd-1.5", 64): (221.973, 116.638, 63.026),
    ("sd-2.1-v", 64): (209.180, 129.922, 63.026),
    ("sd-2.1-v", 96): (470.656, 289.830, 314.067),
    ("sdxl-base-1.0", 128): (811.556, 2177.105, 391.958),
    ("sdxl-refiner-1.0", 128): (1204.789, 1842.815, 595.401),
}


class Attend(nn.Module):
    """One call of attention, and a layer on either side of it."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(6, 8, 3, stride=2, padding=1, groups=2)
        self.line = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        tokens = self.conv(x).flatten(2).mT[:, None]  # (batch, 1 head, cells, 8)
        return self.line(F.scaled_dot_product_attention(tokens, text, value=text))


@pytest.mark.parametrize("model", catalog.ids())
def test_three_counts_agree_for_every_model(model: str) -> None:
    unet = build_unet(model)
    counted = cost.count(unet)
    hooked = crosscheck.hook_macs(unet, example_inputs(unet))
    assert sum(hooked.values()) == counted.total
    assert formula.macs(resolve(model)[1], counted.latent).total() == counted.total
    by = counted.by_operation()
    assert hooked["attention"] == sum(by[op] for op in ATTENTION_PRODUCTS)


@pytest.mark.parametrize(("model", "latent"), TABLE)
def test_split_by_kind_of_layer(model: str, latent: int) -> None:
    unet = build_unet(model)
    hooked = crosscheck.hook_macs(unet, example_inputs(unet, latent=latent))
    kinds = ("conv", "linear", "attention")
    assert tuple(round(hooked[k] / 1e9, 3) for k in kinds) == TABLE[model, latent]


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_by_hand(device: str) -> None:
    with torch.device(device):
        model = Attend()
        inputs = {"x": torch.zeros(2, 6, 8, 10), "text": torch.zeros(2, 1, 7, 8)}
    found = crosscheck.hook_macs(model, inputs)
    cells = 4 * 5
    assert found == {
        "conv": 2 * cells * 8 * (6 // 2) * 9,
        "linear": 2 * cells * 8 * 5,
        "attention": 2 * cells * 7 * (8 + 8),
    }


def test_hooks_are_gone_afterwards_even_after_an_error() -> None:
    model = Attend()
    with pytest.raises(RuntimeError):
        crosscheck.hook_macs(model, {"x": torch.zeros(1, 5, 8, 8), "text": torch.zeros(1, 1, 7, 8)})
    assert not model.conv._forward_hooks
    assert not model.line._forward_hooks
