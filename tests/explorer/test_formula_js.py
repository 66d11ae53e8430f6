"""The page's formula against live models: stages, blocks and rows, to the last digit."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from typing import Any

import pytest
from odd_configs import BASE, NO_FORWARD, ODD

from unet_atlas import anatomy, build, catalog, config, cost, explorer
from unet_atlas.errors import AtlasError
from unet_atlas.mini import MEMBERS

ODD_SIZES = ("five levels", "odd size")  # two sizes don't tell there what of the bytes is fixed
REFUSED = ("K blocks", "K blocks, plain", "gated", "gated, text and image")
MORE: dict[str, dict[str, Any]] = {
    "heads that don't divide": {**BASE, "attention_head_dim": 5},
    "heads by level": {
        **ODD["depth per level"],
        "attention_head_dim": (3, 5, 8),
        "use_linear_projection": True,
    },
    "no depth": {**BASE, "transformer_layers_per_block": 0},
    "depths of SSD-1B": {
        **ODD["depth per level"],
        "layers_per_block": 2,
        "transformer_layers_per_block": (0, (2, 2), (4, 4)),
        "reverse_transformer_layers_per_block": ((4, 4, 10), (2, 1, 1), 0),
        "use_linear_projection": True,
    },
    "attention at every level": {
        **BASE,
        "down_block_types": ("CrossAttnDownBlock2D",) * 2,
        "up_block_types": ("CrossAttnUpBlock2D",) * 2,
        "layers_per_block": 3,
        "sample_size": 16,
    },
    "lopsided": {**BASE, "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D")},
    "channels shrink": {**BASE, "block_out_channels": (64, 32)},
    "mish, two conditions": {
        **BASE,
        "act_fn": "mish",
        "class_embed_type": "projection",
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 16,
        "projection_class_embeddings_input_dim": 100,
    },
    "cosine first": {**BASE, "flip_sin_to_cos": False},
    "DeepFloyd": {
        **ODD["simple cross-attention"],
        **{"addition_embed_type": "text", "addition_embed_type_num_heads": 4},
        **{"encoder_hid_dim": 40, "encoder_hid_dim_type": "text_proj", "sample_size": 16},
        **{"class_embed_type": "timestep", "timestep_post_act": "gelu"},
    },
    "middle reads text alone": {
        **ODD["simple cross-attention"],
        "mid_block_only_cross_attention": True,
    },
}
WORKING = {n: c for n, c in {**ODD, **MORE}.items() if n not in REFUSED}


def checked(settings: dict[str, Any], name: str) -> dict[str, Any]:
    return config.check(dict(settings), name)


def listed(found: Any) -> list[dict[str, Any]]:
    return [json.loads(json.dumps(asdict(each))) for each in found]


def live(settings: dict[str, Any], name: str, tokens: int = 77) -> dict[str, Any]:
    unet = build.from_config(settings, name)
    stages = listed(anatomy.stages(unet))
    for stage in stages:
        del stage["size"]
    rows = listed(explorer.rows(unet, tokens=tokens))
    return {"stages": stages, "blocks": listed(anatomy.blocks(unet)), "rows": rows}


def agree(said: dict[str, Any], found: dict[str, Any], fixed: bool = True) -> None:
    """The page says what the live model is; bytes only where it says that it knows them."""
    assert "error" not in said
    assert said["stages"] == found["stages"]
    assert said["blocks"] == found["blocks"]
    rows = found["rows"]
    if not said["bytesKnown"]:
        rows = [{**r, "bytes": None, "fixed": None} for r in rows if r["params"] or r["macs"]]
    if not fixed:
        rows, said = ([{**r, "fixed": 0} for r in each] for each in (rows, said["rows"]))
        said = {"rows": said}
    assert said["rows"] == rows


@cache
def catalogue() -> dict[str, list[str]]:
    """Ids by configuration, so that equal UNets are built once."""
    groups: dict[str, list[str]] = {}
    for model in catalog.ids():
        groups.setdefault(json.dumps(config.resolve(model)[1]), []).append(model)
    return groups


def test_every_table_is_that_of_the_package(node: Callable) -> None:
    """Defaults, spellings, bounds: all that the package's config.py has, under the same names."""
    parts = {"DOWN_BLOCKS", "MID_BLOCKS", "UP_BLOCKS"}  # of WORDS
    imported = {"MEMBERS"}
    here = {n: v for n, v in vars(config).items() if n.isupper() and n not in parts | imported}
    assert len(here) >= 15
    assert node({"tables": True}) == json.loads(json.dumps(here))


@pytest.mark.slow
@pytest.mark.parametrize("group", catalogue().values(), ids=lambda g: g[0])
def test_every_model_of_the_catalogue(group: list[str], node: Callable) -> None:
    asked = [{"config": dict(catalog.get(m).unet.config)} for m in group]
    found = live(config.resolve(group[0])[1], group[0])
    for said in node(asked):
        assert said["bytesKnown"]
        agree(said, found)


@pytest.mark.parametrize("member", MEMBERS)
def test_every_member_of_the_mini_family(member: str, node: Callable) -> None:
    settings = config.resolve(member)[1]
    (said,) = node([{"config": settings, "tokens": 24}])
    agree(said, live(settings, member, 24))


def test_there_are_at_least_twenty_other_configurations() -> None:
    assert len(WORKING) >= 50


QUICK = (
    *("plain", "depth per layer", "simple cross-attention", "bare self-attention, one head"),
    *("text and sizes added", "image projected", "only cross-attention", "odd size"),
    *("heads by level", "depths of SSD-1B", "linear projection, upcast"),
)  # fmt: skip


def test_some_other_configurations(node: Callable) -> None:
    settings = {name: checked(WORKING[name], name) for name in QUICK}
    said = node([{"config": c} for c in settings.values()])
    for (name, each), found in zip(settings.items(), said, strict=True):
        agree(found, live(each, name), fixed=name not in ODD_SIZES)


@pytest.mark.weekly
def test_every_other_configuration(node: Callable) -> None:
    settings = {name: checked(c, name) for name, c in WORKING.items()}
    said = dict(zip(settings, node([{"config": c} for c in settings.values()]), strict=True))
    for name, each in settings.items():
        agree(said[name], live(each, name), fixed=name not in ODD_SIZES)
    assert sum(s["bytesKnown"] for s in said.values()) >= 25


def random_config(seed: int) -> dict[str, Any]:
    """Any configuration that diffusers builds out of blocks that the formula covers."""
    pick = random.Random(seed)
    levels = pick.randint(1, 4)
    attention = [pick.random() < 0.6 for _ in range(levels)]
    down = ["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attention]
    up = ["CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attention)]
    return {
        "sample_size": pick.choice((16, 24, [16, 32])),
        "in_channels": pick.choice((4, 9)),
        "block_out_channels": [pick.choice((16, 32, 48)) for _ in range(levels)],
        "down_block_types": down,
        "up_block_types": up,
        "mid_block_type": pick.choice(("UNetMidBlock2DCrossAttn", "UNetMidBlock2D", None)),
        "layers_per_block": [pick.randint(1, 3) for _ in range(levels)],
        "transformer_layers_per_block": [pick.randint(1, 3) for _ in range(levels)],
        "attention_head_dim": [pick.choice((1, 2, 3, 4)) for _ in range(levels)],
        "cross_attention_dim": pick.choice((8, 20)),
        "norm_num_groups": pick.choice((4, 8)),
        "use_linear_projection": pick.random() < 0.5,
        "resnet_time_scale_shift": pick.choice(("default", "scale_shift")),
        "time_embedding_dim": pick.choice((None, 24)),
        "num_class_embeds": pick.choice((None, 5)),
    }


@pytest.mark.slow
def test_random_configurations(node: Callable) -> None:
    settings = [checked(random_config(seed), str(seed)) for seed in range(12)]
    for seed, said in enumerate(node([{"config": c} for c in settings])):
        agree(said, live(settings[seed], str(seed)))


def by_cell(rows: list[dict[str, Any]], key: str) -> Counter:
    sums: Counter = Counter()
    for row in rows:
        sums[anatomy.stage_of(row["path"]), row["role"]] += row["times"] * row[key]
    return +sums


def sizes_agree(model: str, sides: tuple[int, ...], node: Callable) -> None:
    """Measured rows scaled, and rows computed, against a live model of that size."""
    unet = build.build_unet(model)
    settings = config.resolve(model)[1]
    rows = listed(explorer.rows(unet))
    own = list(build.latent_side(unet))
    scaled = node([{"rows": rows, "from": own, "latent": [s, s]} for s in sides])
    computed = node([{"config": settings, "latent": [s, s]} for s in sides])
    for side, *found in zip(sides, scaled, computed, strict=True):
        counted, memory = cost.count(unet, latent=side), cost.memory(unet, latent=side)
        for said in found:
            assert by_cell(said["rows"], "macs") == Counter(counted.macs)
            assert by_cell(said["rows"], "bytes") == +Counter(memory.written)


def test_the_model_of_the_first_view(node: Callable) -> None:
    (said,) = node([{"config": dict(catalog.get("sd-1.5").unet.config)}])
    agree(said, live(config.resolve("sd-1.5")[1], "sd-1.5"))


def test_other_sizes(node: Callable) -> None:
    sizes_agree("sd-1.5", (32, 112), node)


@pytest.mark.weekly
@pytest.mark.parametrize("group", catalogue().values(), ids=lambda g: g[0])
def test_every_model_at_every_size_that_between_the_ends(group: list[str], node: Callable) -> None:
    sizes_agree(group[0], (32, 80, 256), node)


@pytest.mark.parametrize("name", REFUSED)
def test_what_it_does_not_cover_is_said(name: str, node: Callable) -> None:
    (said,) = node([{"config": ODD[name]}])
    assert "no formula for it" in said["error"]
    assert "unet-atlas show" in said["error"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (NO_FORWARD["two transformers"], "dual_cross_attention is true"),
        (NO_FORWARD["two text widths"], "cross_attention_dim is [24,32]: it differs by level"),
        ({"resnet_time_scale_shift": "ada_group"}, "resnet_time_scale_shift is 'ada_group'"),
        ({"num_attention_heads": 8}, "name the heads in attention_head_dim"),
        ({"attention_head_dim": None}, "attention_head_dim is null at level 0"),
        ({"attention_head_dim": 100}, "attention_head_dim gives 100 heads to 32 channels"),
        ({"norm_num_groups": 7}, "which norm_num_groups 7 does not divide"),
        ({"norm_num_groups": None}, "norm_num_groups is null"),
        ({"conv_in_kernel": 4}, "conv_in_kernel is 4"),
        ({"downsample_padding": 0}, "downsample_padding is 0"),
        ({"class_embed_type": "projection"}, "projection_class_embeddings_input_dim; add it"),
        ({"encoder_hid_dim_type": "text_proj"}, "needs encoder_hid_dim; add it"),
        ({"addition_embed_type": "text_time"}, "needs addition_time_embed_dim; add it"),
        (
            {
                "addition_embed_type": "text_time",
                "addition_time_embed_dim": 256,
                "projection_class_embeddings_input_dim": 64,
            },
            "leaves no room for a text",
        ),
        ({"addition_embed_type": "text", "addition_embed_type_num_heads": 7}, "num_heads 7"),
        ({"transformer_layers_per_block": [[1, 2], [1, 1]]}, "needs reverse_transformer_layers"),
        (
            {
                "transformer_layers_per_block": [[], 1],
            },
            "neither empty",
        ),
        (
            {
                "layers_per_block": 2,
                "transformer_layers_per_block": [[1], 1],
                "reverse_transformer_layers_per_block": [1, 1],
            },
            "has no entry for down_blocks.0.attentions.1",
        ),
        ({**ODD["simple cross-attention"], "attention_head_dim": 7}, "does not divide the 64"),
        ({**ODD["simple cross-attention"], "cross_attention_norm": "layer_norm"}, "layer_norm"),
        ({**ODD["simple cross-attention"], "cross_attention_norm": "group_norm"}, "group_norm"),
        ({**ODD["bare self-attention"], "attention_head_dim": 100}, "wider than the 64 channels"),
        ({"time_embedding_type": "fourier", "time_embedding_dim": 9}, "takes an even number"),
    ],
)
def test_what_cannot_be_built_names_the_key(change: dict, words: str, node: Callable) -> None:
    (said,) = node([{"config": {**BASE, **change}}])
    assert words in said["error"]
    assert "\n" not in said["error"]
    assert len(said["error"]) < 400


WRONG = [
    ({"_class_name": "UNet2DModel"}, "_class_name is 'UNet2DModel'"),
    ({"_class_name": "AutoencoderKL"}, "from the folder unet"),
    ({"block_out_channels": "big"}, "block_out_channels is 'big'"),
    ({"block_out_channels": [8, -16]}, "block_out_channels is -16"),
    ({"block_out_channels": [8, 16.5]}, "block_out_channels is 16.5"),
    ({"block_out_channels": [8, True]}, "block_out_channels is true"),
    ({"block_out_channels": [8, 16, 32]}, "has 3 entries for 2"),
    ({"block_out_channels": 8}, "block_out_channels takes a list"),
    ({"block_out_channels": {"a": 1}}, 'block_out_channels is {"a":1}'),
    ({"down_block_types": ["EvilBlock2D", "DownBlock2D"]}, "names 'EvilBlock2D'"),
    ({"down_block_types": "DownBlock2D"}, "it takes a list"),
    ({"down_block_types": []}, "it takes a list"),
    ({"up_block_types": ["UpBlock2D"]}, "up_block_types has 1 entry for 2"),
    ({"mid_block_type": "Nope"}, "mid_block_type names 'Nope'"),
    ({"act_fn": "<script>"}, "act_fn names '<script>'"),
    ({"use_linear_projection": "yes"}, "use_linear_projection is 'yes'"),
    ({"norm_eps": "small"}, "norm_eps is 'small'"),
    ({"norm_eps": 1e300}, "norm_eps is 1e+300"),
    ({"layers_per_block": 1000}, "layers_per_block is 1000"),
    ({"transformer_layers_per_block": [64, 64], "layers_per_block": 60}, "over 1000 resnets"),
    ({"sample_size": -1}, "sample_size is -1"),
    ({"sample_size": [8]}, "it takes a height and a width"),
    ({"layers_per_block": [[1], [1]]}, "nested so"),
    ({"num_class_embeds": [1, 2]}, "it takes one value"),
    ({"made_up": 1}, "'made_up' is no key"),
    ({"constructor": 1, "toString": 2}, "'constructor' is no key"),
    ({"down_block_types": ["DownBlock2D"] * 100}, "list of 1 to 12"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), WRONG)
def test_a_wrong_value_is_named_here_and_in_the_package(
    change: dict, words: str, node: Callable
) -> None:
    given = {**BASE, **change}
    (said,) = node([{"config": given}])
    assert words in said["error"]
    with pytest.raises(AtlasError):
        config.check(given, "here")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no text yet"),
        ("{", "not valid JSON"),
        ("[1]", "no object"),
        ("null", "no object"),
        ("{}", "no key of UNet2DConditionModel"),
        ('{"_diffusers_version": "0.6"}', "no key of"),
        ("[" * 100_000, "not valid JSON"),
        ('{"block_out_channels": ' + "[" * 900 + "8" + "]" * 900 + "}", "nested so"),
        (" " * 1_000_001, "more than a megabyte"),
        ('{"__proto__": {"x": 1}, "act_fn": "silu", "polluted": 1}', "'polluted' is no key"),
    ],
)
def test_a_text_that_is_no_configuration(text: str, words: str, node: Callable) -> None:
    (said,) = node([{"text": text}])
    assert words in said["error"]


def test_a_whole_published_file_with_its_bookkeeping(node: Callable) -> None:
    published = {
        "_class_name": "UNet2DConditionModel",
        "_diffusers_version": "0.19.0.dev0",
        **catalog.get("sdxl-base-1.0").unet.config,
    }
    (said,) = node([{"text": json.dumps(published)}])
    total = sum(r["times"] * r["params"] for r in said["rows"])
    assert total == anatomy.total_params(build.build_unet("sdxl-base-1.0"))


def test_the_largest_that_is_let_in_takes_no_time(node: Callable) -> None:
    huge = {
        "block_out_channels": [65_536] * 12,
        "down_block_types": ["CrossAttnDownBlock2D"] * 12,
        "up_block_types": ["CrossAttnUpBlock2D"] * 12,
        "layers_per_block": 6,
        "transformer_layers_per_block": 5,
        "sample_size": 16_384,
    }
    (said,) = node([{"config": huge}])
    assert len(said["stages"]) == 12 + 12 + 3
    assert all(row["macs"] >= 0 for row in said["rows"])
