"""From diffusers' names of modules and parameters to those of the original code, for any UNet.

The original code is CompVis' ``stable-diffusion`` and Stability AI's ``generative-models``; both
use the same names. Read from the live model's structure. Book: *A dictionary of names*. Upstream:
``convert_ldm_unet_checkpoint`` in diffusers, ``loaders/single_file_utils.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn

from unet_atlas.anatomy import blocks
from unet_atlas.errors import AtlasError

OUTER = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "class_embedding.linear_1": "label_emb.0.0",
    "class_embedding.linear_2": "label_emb.0.2",
    "class_embedding": "label_emb",  # nn.Embedding, for class ids
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "add_embedding": "label_emb.0",
    "time_embedding": "time_embed",
    "conv_norm_out": "out.0",
    "conv_act": "out.1",
    "conv_out": "out.2",
}
IN_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "dropout": "out_layers.2",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}


def original_path(unet: UNet2DConditionModel, path: str) -> str:
    """``down_blocks.1.attentions.0.proj_in`` → ``input_blocks.4.1.proj_in``.

    Checkpoints put ``model.diffusion_model.`` in front.

    Raises:
        AtlasError: the original code has nothing of that kind, or nothing at that level.
    """
    head = path.split(".")[0]
    try:
        reduce(getattr, path.split("."), unet)
        if head in ("down_blocks", "up_blocks"):
            block, kind, place, *tail = path.split(".")[1:]
            find = _down if head == "down_blocks" else _up
            return ".".join([find(unet, int(block), kind, int(place)), *_inside(kind, tail)])
        if head == "mid_block":
            kind, place, *tail = path.split(".")[1:]
            index = 2 * int(place) + (kind == "attentions")
            return ".".join([f"middle_block.{index}", *_inside(kind, tail)])
        return _outer(unet, path)
    except (AttributeError, KeyError, ValueError):
        raise AtlasError(
            f"The original code has no counterpart of {path!r}; name a layer inside a block."
        ) from None


def _outer(unet: UNet2DConditionModel, path: str) -> str:
    """Layers that belong to no block: by the longest known name at the path's start."""
    name = max((n for n in OUTER if f"{path}.".startswith(f"{n}.")), key=len)
    by_vector = name == "class_embedding" and not isinstance(unet.class_embedding, nn.Embedding)
    return ("label_emb.0" if by_vector else OUTER[name]) + path.removeprefix(name)


def _down(unet: UNet2DConditionModel, block: int, kind: str, place: int) -> str:
    """Position 0 of ``input_blocks`` is ``conv_in``; each resnet and each downsampler takes one."""
    index = 1 + sum(len(b.resnets) + (b.downsamplers is not None) for b in unet.down_blocks[:block])
    if kind == "downsamplers":
        return f"input_blocks.{index + len(unet.down_blocks[block].resnets)}.0"
    return f"input_blocks.{index + place}.{int(kind == 'attentions')}"


def _up(unet: UNet2DConditionModel, block: int, kind: str, place: int) -> str:
    """An upsampler has no position of its own: it ends that of the stage's last resnet."""
    index = sum(len(b.resnets) for b in unet.up_blocks[:block])
    if kind == "upsamplers":
        stage = unet.up_blocks[block]
        with_attention = getattr(stage, "attentions", None) is not None
        return f"output_blocks.{index + len(stage.resnets) - 1}.{1 + with_attention}"
    return f"output_blocks.{index + place}.{int(kind == 'attentions')}"


def _inside(kind: str, tail: list[str]) -> list[str]:
    """Names inside a block: resnets and downsamplers differ, transformers are the same."""
    renamed = {"resnets": IN_RESNET, "downsamplers": {"conv": "op"}}.get(kind, {})
    return [renamed.get(tail[0], tail[0]), *tail[1:]] if tail else []


def original_params(config: Mapping[str, Any]) -> dict[str, Any]:
    """A checked configuration in the words of the original yaml files (``unet_config.params``).

    Upstream: ``create_unet_diffusers_config_from_ldm`` in diffusers turns them back.
    """
    first, *_ = channels = config["block_out_channels"]
    heads, depth = config["attention_head_dim"], config["transformer_layers_per_block"]
    params = {
        "in_channels": config["in_channels"],
        "out_channels": config["out_channels"],
        "model_channels": first,
        "channel_mult": [width // first for width in channels],
        "num_res_blocks": config["layers_per_block"],
        "attention_resolutions": [
            2**level for level, kind in enumerate(config["down_block_types"]) if "Attn" in kind
        ][::-1],
        "num_heads": heads if isinstance(heads, int) else None,
        "num_head_channels": None if isinstance(heads, int) else first // heads[0],
        "transformer_depth": list(depth) if isinstance(depth, tuple) else depth,
        "context_dim": config["cross_attention_dim"],
        "use_linear_in_transformer": config["use_linear_projection"] or None,
        "num_classes": "sequential" if config["projection_class_embeddings_input_dim"] else None,
        "adm_in_channels": config["projection_class_embeddings_input_dim"],
    }
    return {key: value for key, value in params.items() if value is not None}


def by_original_index(unet: UNet2DConditionModel) -> dict[str, tuple[str, ...]]:
    """What stands at each index of the original lists: diffusers' paths, in the original's order.

    ``input_blocks.4`` → ``("down_blocks.1.resnets.0", "down_blocks.1.attentions.0")``.
    """
    places: dict[str, list[tuple[str, str]]] = {}
    for block in blocks(unet):
        path = original_path(unet, block.path)
        name, index, *_ = [*path.split("."), ""]
        place = name if name in ("time_embed", "label_emb") else f"{name}.{index}"
        places.setdefault(place, []).append((path, block.path))
    order = ("time_embed", "label_emb", "input_blocks", "middle_block", "output_blocks", "out")

    def rank(place: str) -> tuple[int, int]:
        name, _, index = place.partition(".")
        return order.index(name), int(index or 0)

    return {p: tuple(ours for _, ours in sorted(places[p])) for p in sorted(places, key=rank)}
