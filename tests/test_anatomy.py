"""Rows of live models: thirteen published ones against known values, and tiny odd ones."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
import torch
from diffusers.models.attention import BasicTransformerBlock
from odd_configs import NO_FORWARD, ODD
from torch import nn

from unet_atlas import anatomy, build, catalog, config, cost, crosscheck, roles
from unet_atlas.errors import AtlasError

EXPECTED = json.loads(Path(__file__).with_name("expected.json").read_text("utf-8"))
WITHOUT_HOOKS = {  # what is computed outside of Conv2d, Linear and SDPA: no hook sees it
    "text added": "embeddings",  # attention pooling by einsum
    "text added and projected": "embeddings",
    "K blocks": "other conv",  # resampling by a fixed kernel
    "K blocks, plain": "other conv",
}


@cache
def odd(name: str):
    return build.from_config(config.check({**ODD, **NO_FORWARD}[name], name), name)


def by_side(model_id: str) -> dict[str, list[anatomy.Stage]]:
    stages = anatomy.stages(build.build_unet(model_id))
    return {side: [s for s in stages if s.key.startswith(side)] for side in ("down", "mid", "up")}


def test_every_model_has_expected_values():
    assert tuple(EXPECTED) == catalog.ids()


@pytest.mark.parametrize("model_id", catalog.ids())
def test_parameters_of_each_stage(model_id):
    expected, stages = EXPECTED[model_id], by_side(model_id)
    assert [s.params for s in stages["down"]] == expected["down_blocks_params"]
    assert [s.params for s in stages["mid"]] == [expected["mid_block_params"]]
    assert [s.params for s in stages["up"]] == expected["up_blocks_params"]


@pytest.mark.parametrize("model_id", catalog.ids())
def test_transformers_and_resnets(model_id):
    expected, stages = EXPECTED[model_id], anatomy.stages(build.build_unet(model_id))
    assert sum(sum(s.depths) for s in stages) == expected["transformer_blocks"]
    assert sum(len(s.depths) for s in stages) == expected["transformer2d"]
    assert sum(s.resnets for s in stages) == expected["resnets"]


@pytest.mark.parametrize("model_id", catalog.ids())
def test_rows_add_up_to_the_total(model_id):
    unet, total = build.build_unet(model_id), EXPECTED[model_id]["unet_params"]
    assert anatomy.total_params(unet) == total == sum(p.numel() for p in unet.parameters())
    assert sum(s.params for s in anatomy.stages(unet)) == total
    assert sum(b.params for b in anatomy.blocks(unet)) == total


@pytest.mark.parametrize("model_id", catalog.ids())
def test_heads_times_head_dim_is_the_width(model_id):
    for stage in anatomy.stages(build.build_unet(model_id)):
        if stage.heads is not None:
            assert stage.heads * stage.head_dim == stage.channels_out


def test_the_layout_that_every_chapter_talks_about():
    sd, xl = by_side("sd-1.5"), by_side("sdxl-base-1.0")
    assert [s.depths for s in sd["down"]] == [(1, 1)] * 3 + [()]
    assert [s.depths for s in sd["up"]] == [(), (1, 1, 1), (1, 1, 1), (1, 1, 1)]
    assert [s.depths for s in xl["down"]] == [(), (2, 2), (10, 10)]
    assert [s.depths for s in xl["mid"]] == [(10,)]
    assert [s.depths for s in xl["up"]] == [(10, 10, 10), (2, 2, 2), ()]
    assert {s.heads for side in sd.values() for s in side} == {8, None}
    assert {s.head_dim for side in xl.values() for s in side} == {64, None}


def test_first_row_and_last_row_are_stem_and_head():
    first, *_, last = anatomy.stages(build.build_unet("sd-1.5"))
    assert (first.key, first.channels_in, first.channels_out) == ("stem", 4, 320)
    assert (last.key, last.channels_in, last.channels_out) == ("head", 320, 4)
    assert first.level is None
    assert first.heads is None


@pytest.mark.parametrize(
    ("resolution", "sizes"),
    [(512, [64, 32, 16, 8]), (1024, [128, 64, 32, 16]), (520, [65, 33, 17, 9])],
)
def test_sizes_halve_from_level_to_level(resolution, sizes):
    rows = anatomy.stages(build.build_unet("sd-1.5"), resolution)
    assert [s.size[0] for s in rows if s.key.startswith("down")] == sizes
    assert [s.size[0] for s in rows if s.key.startswith("up")] == sizes[::-1]


def test_sizes_are_those_of_a_forward_pass():
    unet, seen = odd("odd size"), {}
    for name, module in unet.named_modules():
        if ".resnets." in name and name.split(".")[-2] == "resnets":
            hook = lambda m, a, out, name=name: seen.update({anatomy.stage_of(name): out.shape[2:]})  # noqa: E731
            module.register_forward_hook(hook)
    with torch.no_grad():
        unet(**build.example_inputs(unet))
    odd.cache_clear()  # the hooks stay with that model
    assert {s.key: s.size for s in anatomy.stages(unet) if s.level is not None} == seen


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("down_blocks.1.attentions.0.proj_in.weight", "down 1"),
        ("up_blocks.10.resnets.0", "up 10"),
        ("mid_block.resnets.0.conv1.bias", "mid"),
        ("conv_in.weight", "stem"),
        ("add_embedding.linear_1", "stem"),
        ("conv_norm_out.bias", "head"),
        ("", "stem"),
    ],
)
def test_stage_of_a_path(path, stage):
    assert anatomy.stage_of(path) == stage


def test_levels():
    unet = build.build_unet("sdxl-base-1.0")
    assert anatomy.levels(unet) == {
        **{f"down {i}": i for i in range(3)}, "mid": 2, **{f"up {i}": 2 - i for i in range(3)}
    }  # fmt: skip


def test_self_and_cross_attention_of_a_plain_block():
    block = next(m for m in odd("plain").modules() if isinstance(m, BasicTransformerBlock))
    assert [anatomy.is_cross(a) for a in (block.attn1, block.attn2)] == [False, True]
    assert [anatomy.context_dim(a) for a in (block.attn1, block.attn2)] == [None, 24]


def test_simple_attention_is_cross_only_without_the_picture():
    mixed = anatomy.attention_modules(odd("simple cross-attention"))
    text = anatomy.attention_modules(odd("simple cross-attention, text only").down_blocks)
    assert not any(map(anatomy.is_cross, mixed))
    assert all(map(anatomy.is_cross, text))
    assert {anatomy.context_dim(a) for a in mixed} == {24}


# Expected here: (key, level, depths, heads, head_dim, context) of the stages with attention.
SHAPES = {
    "no middle": [("down 0", 0, (1,), 4, 8, 24), ("up 1", 0, (1, 1), 4, 8, 24)],
    "middle without attention": [("down 0", 0, (1,), 4, 8, 24), ("up 1", 0, (1, 1), 4, 8, 24)],
    "depth per layer": [
        ("down 0", 0, (1, 2), 4, 8, 24),
        ("down 1", 1, (3, 1), 4, 16, 24),
        ("mid", 1, (3,), 4, 16, 24),
        ("up 0", 1, (1, 2, 1), 4, 16, 24),
        ("up 1", 0, (2, 1, 1), 4, 8, 24),
    ],
    "simple cross-attention": [
        ("down 1", 1, (0,), 8, 8, 24), ("mid", 1, (0,), 8, 8, 24), ("up 0", 1, (0, 0), 8, 8, 24)
    ],
    "bare self-attention": [
        ("down 1", 1, (0,), 8, 8, None), ("mid", 1, (1,), 8, 8, 24), ("up 0", 1, (0, 0), 8, 8, None)
    ],
    "two transformers": [
        ("down 0", 0, (2,), 4, 8, 24), ("mid", 1, (2,), 4, 16, 24), ("up 1", 0, (2, 2), 4, 8, 24)
    ],
    "two text widths": [
        ("down 0", 0, (1,), 4, 8, 24),
        ("down 1", 1, (1,), 4, 16, 32),
        ("mid", 1, (1,), 4, 16, 32),
        ("up 0", 1, (1, 1), 4, 16, 32),
        ("up 1", 0, (1, 1), 4, 8, 24),
    ],
    "K blocks, plain": [],
    "one level": [
        ("down 0", 0, (1,), 4, 8, 24), ("mid", 0, (1,), 4, 8, 24), ("up 0", 0, (1, 1), 4, 8, 24)
    ],
    "one level, no attention": [],
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_attention_of_odd_models(name):
    rows = [
        (s.key, s.level, s.depths, s.heads, s.head_dim, s.cross_attention_dim)
        for s in anatomy.stages(odd(name))
        if s.heads is not None
    ]
    assert rows == SHAPES[name]


def test_layers_per_level():
    rows = anatomy.stages(odd("layers per level"))
    assert [s.resnets for s in rows if s.level is not None] == [1, 2, 2, 3, 2]


@pytest.mark.parametrize("name", [*ODD, *NO_FORWARD])
def test_odd_models_add_up(name):
    unet = odd(name)
    total = sum(p.numel() for p in unet.parameters())
    assert sum(s.params for s in anatomy.stages(unet)) == total
    assert sum(b.params for b in anatomy.blocks(unet)) == total


@pytest.mark.parametrize("name", [*ODD, *NO_FORWARD])
def test_no_block_contains_another(name):
    paths = [b.path for b in anatomy.blocks(odd(name))]
    assert len(set(paths)) == len(paths)
    assert not [p for p in paths for q in paths if p.startswith(q + ".")]


@pytest.mark.parametrize("name", ODD)
def test_odd_models_are_counted_like_hooks_do(name):
    unet = odd(name)
    counted, hooked = cost.count(unet), crosscheck.hook_macs(unet, build.example_inputs(unet))
    missing = counted.total - hooked.total()
    assert missing == 0 if name not in WITHOUT_HOOKS else missing > 0
    assert missing <= counted.by_operation().get(WITHOUT_HOOKS.get(name), 0)
    assert set(counted.by_stage()) <= {s.key for s in anatomy.stages(unet)}
    assert set(counted.by_operation()) <= set(roles.OPERATIONS)


@pytest.mark.parametrize("name", ODD)
def test_odd_models_run_on_a_cpu(name):
    checked = config.check(ODD[name], name)
    unet = build.from_config(checked, name, "cpu")
    latent = 8 if checked["sample_size"] is None else None
    with torch.no_grad():
        sample = unet(**build.example_inputs(unet, latent=latent)).sample
    assert sample.shape == (1, checked["out_channels"], *build.latent_side(unet, latent=latent))
    assert torch.isfinite(sample).all()


@pytest.mark.parametrize("name", NO_FORWARD)
def test_models_without_a_forward_pass_say_so(name):
    with pytest.raises(AtlasError, match=r"text fits|forward pass fails"):
        cost.count(odd(name))


def test_a_hint_leaves_room_for_itself():
    inputs = build.example_inputs(odd("image and hint added"))
    assert inputs["sample"].shape == (1, 4, 8, 8)
    assert inputs["added_cond_kwargs"]["hint"].shape == (1, 3, 64, 64)


@pytest.mark.parametrize("each", [None, 64, 100])
def test_sizes_that_leave_no_room_for_a_text(each):
    wrong = {**ODD["text and sizes added"], "addition_time_embed_dim": each}
    unet = build.from_config(config.check(wrong, "wrong"))
    with pytest.raises(AtlasError, match="leaves no room"):
        build.example_inputs(unet)


def test_a_shared_parameter_is_counted_once():
    layer = nn.Linear(3, 2)
    assert anatomy.total_params(nn.ModuleList([layer, layer])) == 8
