"""Every module and every parameter has the role that a reader would give it."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest
from odd_configs import NO_FORWARD, ODD

from unet_atlas import build, catalog, config, roles
from unet_atlas.anatomy import total_params


@cache
def unet_of(name: str):
    if name in catalog.ids():
        return build.build_unet(name)
    return build.from_config(config.check({**ODD, **NO_FORWARD}[name], name), name)


BLOCK = "down_blocks.1.attentions.0"
INNER = f"{BLOCK}.transformer_blocks.0"


@pytest.mark.parametrize("model_id", ["sd-1.5", "sd-2.1-v", "sdxl-base-1.0"])
@pytest.mark.parametrize(
    ("path", "operation"),
    [
        ("conv_in", roles.OTHER_CONV),
        ("conv_out", roles.OTHER_CONV),
        ("time_embedding.linear_1", roles.EMBEDDING),
        ("down_blocks.1.resnets.0.conv1", roles.RES_CONV),
        ("down_blocks.1.resnets.0.conv_shortcut", roles.RES_CONV),
        ("down_blocks.1.resnets.0.time_emb_proj", roles.EMBEDDING),
        ("down_blocks.1.resnets.0.norm1", roles.POINTWISE),
        ("down_blocks.1.downsamplers.0.conv", roles.OTHER_CONV),
        ("up_blocks.0.upsamplers.0.conv", roles.OTHER_CONV),
        (f"{BLOCK}.norm", roles.POINTWISE),
        (f"{BLOCK}.proj_in", roles.PROJECTION),
        (f"{BLOCK}.proj_out", roles.PROJECTION),
        (f"{INNER}.norm1", roles.POINTWISE),
        (f"{INNER}.attn1", roles.SELF_ATTENTION),
        (f"{INNER}.attn2", roles.CROSS_ATTENTION),
        (f"{INNER}.attn1.to_q", roles.QKV),
        (f"{INNER}.attn2.to_k", roles.QKV),
        (f"{INNER}.attn2.to_out.0", roles.QKV),
        (f"{INNER}.ff.net.0.proj", roles.FEED_FORWARD),
        (f"{INNER}.ff.net.2", roles.FEED_FORWARD),
        ("", roles.POINTWISE),
    ],
)
def test_operation(model_id, path, operation):
    assert roles.operation(unet_of(model_id), path) == operation


@pytest.mark.parametrize(
    ("name", "path", "operation"),
    [
        ("simple cross-attention", "mid_block.attentions.0", roles.SELF_ATTENTION),
        ("simple cross-attention", "mid_block.attentions.0.add_k_proj", roles.QKV),
        (
            "simple cross-attention, text only",
            "down_blocks.1.attentions.0",
            roles.CROSS_ATTENTION,
        ),
        ("bare self-attention", "down_blocks.1.attentions.0.to_q", roles.QKV),
        ("K blocks", "down_blocks.0.downsamplers.0", roles.OTHER_CONV),
        ("K blocks", "up_blocks.0.upsamplers.0", roles.OTHER_CONV),
        ("K blocks", "down_blocks.1.attentions.0.norm2.linear", roles.EMBEDDING),
        ("two transformers", "mid_block.attentions.0.transformers.1.proj_in", roles.PROJECTION),
        ("class ids", "class_embedding", roles.EMBEDDING),
        ("text added", "add_embedding.pool", roles.EMBEDDING),
        ("image and hint added", "add_embedding.input_hint_block.0", roles.OTHER_CONV),
    ],
)
def test_operation_in_odd_models(name, path, operation):
    assert roles.operation(unet_of(name), path) == operation


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("conv_in.weight", "conv_in"),
        ("time_embedding.linear_1.bias", "time_embedding"),
        ("down_blocks.1.resnets.0.conv1.weight", roles.RES_CONV),
        ("down_blocks.1.resnets.0.time_emb_proj.weight", "time projection"),
        ("down_blocks.1.resnets.0.norm1.bias", "norms"),
        (f"{BLOCK}.proj_in.weight", roles.PROJECTION),
        (f"{INNER}.attn1.to_k.weight", roles.SELF_QKVO),
        (f"{INNER}.attn2.to_k.weight", roles.CROSS_KV),
        (f"{INNER}.attn2.to_v.weight", roles.CROSS_KV),
        (f"{INNER}.attn2.to_q.weight", roles.CROSS_QO),
        (f"{INNER}.attn2.to_out.0.bias", roles.CROSS_QO),
        (f"{INNER}.ff.net.2.weight", roles.FEED_FORWARD),
        ("conv_out.bias", roles.OTHER_CONV),
    ],
)
def test_parameter_role(path, role):
    assert roles.parameter_role(unet_of("sd-1.5"), path) == role


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("mid_block.attentions.0.add_k_proj.weight", roles.CROSS_KV),
        ("mid_block.attentions.0.to_k.weight", roles.SELF_QKVO),
        ("mid_block.attentions.0.group_norm.weight", "norms"),
    ],
)
def test_parameter_role_in_attention_to_both(path, role):
    assert roles.parameter_role(unet_of("simple cross-attention"), path) == role


@pytest.mark.parametrize("name", ["sd-1.5", "sdxl-base-1.0", *ODD, *NO_FORWARD])
def test_every_parameter_has_one_role(name):
    unet, counts = unet_of(name), Counter()
    for path, parameter in unet.named_parameters():
        counts[roles.parameter_role(unet, path)] += parameter.numel()
    assert sum(counts.values()) == total_params(unet)
    assert "" not in counts


def test_text_widening_is_all_keys_and_values():
    def keys_and_values(model_id: str) -> int:
        unet = unet_of(model_id)
        return sum(
            p.numel()
            for path, p in unet.named_parameters()
            if roles.parameter_role(unet, path) == roles.CROSS_KV
        )

    widths = 5 * (320 + 640 + 1280) + 1280  # five blocks a level, one in the middle
    assert keys_and_values("sd-1.5") == 2 * 768 * widths
    assert keys_and_values("sd-2.1-v") - keys_and_values("sd-1.5") == 2 * (1024 - 768) * widths
