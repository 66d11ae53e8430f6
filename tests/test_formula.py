"""The closed formula against live models: parameters and MACs, exactly."""

from __future__ import annotations

from collections import Counter

import pytest

from unet_atlas import catalog, config, cost, formula
from unet_atlas.anatomy import total_params
from unet_atlas.build import from_config
from unet_atlas.errors import AtlasError


def weekly(model: str):
    return pytest.param(model, marks=pytest.mark.weekly)


def resolved(model: str) -> dict:
    return config.resolve(model)[1]


@pytest.mark.parametrize("model", catalog.ids())
def test_parameters_and_macs_of_every_model(model: str) -> None:
    checked = resolved(model)
    counted = cost.count(from_config(checked, model), latent=32)
    assert formula.params(checked) == counted.params
    assert formula.macs(checked, (32, 32)) == counted.by_operation()


def test_batch_tokens_and_oblong_latents() -> None:
    checked = resolved("sd-2.1-unclip-l")
    counted = cost.count(from_config(checked), latent=16, batch=3, tokens=11)
    assert formula.macs(checked, (16, 16), 3, 11) == counted.by_operation()
    wide = from_config({**checked, "sample_size": (16, 40)})
    assert formula.macs(checked, (16, 40)) == cost.count(wide).by_operation()


@pytest.mark.parametrize("model", ["sd-1.5", *map(weekly, ("sdxl-base-1.0", "sdxl-refiner-1.0"))])
def test_price_of_a_transformer_block_is_what_one_more_adds(model: str) -> None:
    checked = resolved(model)
    depth = checked["transformer_layers_per_block"]
    depths = depth if isinstance(depth, tuple) else (depth,) * len(checked["block_out_channels"])
    more = {**checked, "transformer_layers_per_block": (depths[0], depths[1] + 1, *depths[2:])}
    modules = 5  # with attention at level 1: two down, three up
    params, macs = formula.transformer_block(checked, 1, (64, 64))
    assert formula.params(more) - formula.params(checked) == modules * params
    before, after = (cost.count(from_config(c), latent=64).by_operation() for c in (checked, more))
    assert Counter(after) - Counter(before) == Counter({op: modules * n for op, n in macs.items()})
    assert total_params(from_config(more)) == formula.params(more)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"down_block_types": ("DownBlock2D", "AttnDownBlock2D")}, "AttnDownBlock2D"),
        ({"mid_block_type": "UNetMidBlock2D"}, "mid_block_type"),
        ({"class_embed_type": "timestep"}, "class_embed_type"),
        ({"addition_embed_type": "text"}, "addition_embed_type"),
        ({"dual_cross_attention": True}, "dual_cross_attention"),
        ({"resnet_time_scale_shift": "scale_shift"}, "resnet_time_scale_shift"),
    ],
)
def test_what_it_does_not_cover_is_refused(change: dict, named: str) -> None:
    with pytest.raises(AtlasError, match=rf"does not cover {named}.*cost\.count"):
        formula.params({**resolved("sd-1.5"), **change})
    with pytest.raises(AtlasError, match=named):
        formula.macs({**resolved("sd-1.5"), **change}, (64, 64))
