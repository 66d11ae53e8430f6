"""The old names agree with diffusers' own converter, on every parameter of every model."""

from __future__ import annotations

from functools import cache

import pytest
from diffusers.loaders.single_file_utils import (
    LDM_UNET_KEY,
    convert_ldm_unet_checkpoint,
    create_unet_diffusers_config_from_ldm,
)

from unet_atlas import anatomy, build, catalog, config
from unet_atlas.errors import AtlasError
from unet_atlas.names import by_original_index, original_params, original_path

build_unet = cache(build.build_unet)


@pytest.mark.parametrize("model_id", catalog.ids())
def test_diffusers_converts_the_old_names_back(model_id):
    unet = build_unet(model_id)
    ours = [path for path, _ in unet.named_parameters()]
    checkpoint = {LDM_UNET_KEY + original_path(unet, path): path for path in ours}
    assert len(checkpoint) == len(ours)
    converted = convert_ldm_unet_checkpoint(checkpoint, dict(unet.config))
    assert converted == {path: path for path in ours}


def test_class_ids_convert_back_too():
    from odd_configs import ODD

    unet = build.from_config(config.check(ODD["class ids"], "class ids"))
    ours = [path for path, _ in unet.named_parameters()]
    checkpoint = {LDM_UNET_KEY + original_path(unet, path): path for path in ours}
    assert convert_ldm_unet_checkpoint(checkpoint, dict(unet.config)) == {p: p for p in ours}


@pytest.mark.parametrize(
    ("model_id", "ours", "theirs"),
    [
        ("sd-1.5", "down_blocks.1.attentions.0", "input_blocks.4.1"),
        ("sd-1.5", "down_blocks.0.downsamplers.0", "input_blocks.3.0"),
        ("sd-1.5", "down_blocks.0.downsamplers.0.conv.bias", "input_blocks.3.0.op.bias"),
        ("sd-1.5", "mid_block.attentions.0.proj_in", "middle_block.1.proj_in"),
        ("sd-1.5", "mid_block.resnets.1", "middle_block.2"),
        ("sd-1.5", "up_blocks.0.upsamplers.0", "output_blocks.2.1"),
        ("sd-1.5", "up_blocks.1.upsamplers.0", "output_blocks.5.2"),
        ("sd-1.5", "up_blocks.3.attentions.2", "output_blocks.11.1"),
        ("sd-1.5", "up_blocks.3.resnets.2.conv_shortcut", "output_blocks.11.0.skip_connection"),
        ("sd-1.5", "conv_act", "out.1"),
        ("sd-1.5", "time_embedding", "time_embed"),
        ("sdxl-base-1.0", "up_blocks.0.attentions.1", "output_blocks.1.1"),
        ("sdxl-base-1.0", "add_embedding.linear_2.bias", "label_emb.0.2.bias"),
        ("sd-2.1-unclip-h", "class_embedding.linear_1.weight", "label_emb.0.0.weight"),
        ("sd-2.1-unclip-h", "class_embedding", "label_emb.0"),
    ],
)
def test_known_pairs(model_id, ours, theirs):
    assert original_path(build_unet(model_id), ours) == theirs


@pytest.mark.parametrize(
    "path",
    [
        "down_blocks.1",
        "mid_block",
        "time_proj",
        "encoder_hid_proj.weight",
        "down_blocks.9.resnets.0",
        "",
    ],
)
def test_what_has_no_counterpart(path):
    with pytest.raises(AtlasError, match="no counterpart"):
        original_path(build_unet("sd-1.5"), path)


@pytest.mark.parametrize("model_id", catalog.ids())
def test_diffusers_converts_the_old_configuration_back(model_id):
    effective = config.resolve(model_id)[1]
    autoencoder = {"params": {"ddconfig": {"ch_mult": [1, 2, 4, 4]}}}
    unet = {"params": original_params(effective)}
    yaml = {"model": {"params": {"unet_config": unet, "first_stage_config": autoencoder}}}
    converted = create_unet_diffusers_config_from_ldm(yaml, {})
    converted.pop("sample_size")  # read off the checkpoint, not off the yaml
    assert config.check(converted, model_id) == {
        **effective,
        **{k: config.DEFAULTS[k] for k in ("upcast_attention", "only_cross_attention")},
        "sample_size": None,
    }


@pytest.mark.parametrize(
    ("model_id", "published"),
    [
        (  # CompVis/stable-diffusion, configs/stable-diffusion/v1-inference.yaml
            "sd-1.5",
            {"attention_resolutions": [4, 2, 1], "num_heads": 8, "channel_mult": [1, 2, 4, 4]},
        ),
        (  # Stability-AI/generative-models, configs/inference/sd_xl_base.yaml
            "sdxl-base-1.0",
            {
                "attention_resolutions": [4, 2],
                "num_head_channels": 64,
                "transformer_depth": [1, 2, 10],
                "adm_in_channels": 2816,
            },
        ),
        (  # Stability-AI/generative-models, configs/inference/sd_xl_refiner.yaml
            "sdxl-refiner-1.0",
            {"model_channels": 384, "transformer_depth": 4, "adm_in_channels": 2560},
        ),
    ],
)
def test_the_old_configuration_is_the_published_one(model_id, published):
    ours = original_params(config.resolve(model_id)[1])
    assert {key: ours.get(key) for key in published} == published


def test_indices_of_the_original_lists():
    places = by_original_index(build_unet("sd-1.5"))
    assert list(places)[:3] == ["time_embed", "input_blocks.0", "input_blocks.1"]
    assert list(places)[-2:] == ["out.0", "out.2"]
    assert places["input_blocks.4"] == ("down_blocks.1.resnets.0", "down_blocks.1.attentions.0")
    assert places["output_blocks.2"] == ("up_blocks.0.resnets.2", "up_blocks.0.upsamplers.0")
    assert places["output_blocks.11"] == ("up_blocks.3.resnets.2", "up_blocks.3.attentions.2")


@pytest.mark.parametrize(
    ("model_id", "inputs", "outputs"), [("sd-2.1-v", 12, 12), ("sdxl-base-1.0", 9, 9)]
)
def test_every_block_has_an_index(model_id, inputs, outputs):
    unet = build_unet(model_id)
    places = by_original_index(unet)
    assert sum(p.startswith("input_blocks.") for p in places) == inputs
    assert sum(p.startswith("output_blocks.") for p in places) == outputs
    assert sorted(p for paths in places.values() for p in paths) == sorted(
        b.path for b in anatomy.blocks(unet)
    )
