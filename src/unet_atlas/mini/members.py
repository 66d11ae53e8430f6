"""What the family is made of: one base of settings, and what each member changes.

The settings go to diffusers' and transformers' own classes. Each UNet keeps what sets its version
apart (catalog.yaml has the originals); the widths are those of a model that two cores can train.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unet_atlas.errors import AtlasError

TOKENS = 24  # the length of a caption; Stable Diffusion has 77
LATENT_SIDE, LATENT_CHANNELS = 16, 4

VAE: dict[str, Any] = {
    "block_out_channels": (16, 32, 48),
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "layers_per_block": 1,
    "latent_channels": LATENT_CHANNELS,
    "norm_num_groups": 8,
    "sample_size": 64,
}


@dataclass(frozen=True)
class Clip:
    """A text and an image tower, trained together.

    Attributes:
        text, vision: (width, layers, heads) of the towers.
        joint: dimension of the space that both are projected to.
        activation: CLIP ViT-L has ``quick_gelu``, the OpenCLIP encoders ``gelu``.
    """

    text: tuple[int, int, int]
    vision: tuple[int, int, int]
    joint: int
    activation: str
    patch: int = 8


CLIPS = {
    "clip-s": Clip((48, 3, 4), (64, 3, 4), 48, "quick_gelu"),
    "clip-m": Clip((64, 4, 4), (64, 4, 4), 64, "gelu"),
    "scorer": Clip((64, 3, 4), (72, 3, 6), 72, "gelu"),
}

UNET: dict[str, Any] = {
    "sample_size": LATENT_SIDE,
    "in_channels": LATENT_CHANNELS,
    "out_channels": LATENT_CHANNELS,
    "block_out_channels": (32, 48, 64, 64),
    "layers_per_block": 2,
    "norm_num_groups": 8,
    "down_block_types": (*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *["CrossAttnUpBlock2D"] * 3),
    "cross_attention_dim": 48,
    "attention_head_dim": 2,  # the number of heads, see the chapter on attention
}
_V2 = {"use_linear_projection": True, "attention_head_dim": (2, 3, 4, 4)}


@dataclass(frozen=True)
class Member:
    """One model of the family.

    Attributes:
        like: the version that it is a miniature of.
        unet: settings that differ from ``UNET``.
        text: the text encoders, and how many of their layers are left out before the context is
            read (1: the penultimate layer).
        prediction: ``epsilon`` or ``v_prediction``.
        pipeline: the diffusers class that loads the folder.
        start: the member whose weights training starts from.
    """

    like: str
    unet: dict[str, Any]
    text: tuple[tuple[str, int], ...]
    prediction: str
    pipeline: str
    start: str | None = None


MEMBERS = {
    "mini-sd": Member("sd-1.5", {}, (("clip-s", 0),), "epsilon", "StableDiffusionPipeline"),
    "mini-sd2": Member(
        "sd-2.1-v",
        {**_V2, "cross_attention_dim": 64},
        (("clip-m", 1),),
        "v_prediction",
        "StableDiffusionPipeline",
    ),
    "mini-unclip": Member(
        "sd-2.1-unclip-h",
        {
            **_V2,
            "cross_attention_dim": 64,
            "class_embed_type": "projection",
            "projection_class_embeddings_input_dim": 2 * 64,
        },
        (("clip-m", 1),),
        "v_prediction",
        "StableUnCLIPImg2ImgPipeline",
        start="mini-sd2",
    ),
    "mini-sdxl": Member(
        "sdxl-base-1.0",
        {
            "block_out_channels": (32, 48, 56),
            "down_block_types": ("DownBlock2D", *["CrossAttnDownBlock2D"] * 2),
            "up_block_types": (*["CrossAttnUpBlock2D"] * 2, "UpBlock2D"),
            "transformer_layers_per_block": (1, 1, 3),
            "use_linear_projection": True,
            "attention_head_dim": (4, 6, 7),
            "cross_attention_dim": 48 + 64,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 32,
            "projection_class_embeddings_input_dim": 64 + 6 * 32,
        },
        (("clip-s", 1), ("clip-m", 1)),
        "epsilon",
        "StableDiffusionXLPipeline",
    ),
}
SCORER = "mini-scorer"


def unet_config(name: str) -> dict[str, Any]:
    """Every setting of a member's UNet that differs from diffusers' defaults."""
    return {**UNET, **MEMBERS[name].unet}


def home() -> Path:
    """The folder that holds the shipped models: ``UNET_ATLAS_MODELS``, else ``models/``."""
    named = os.environ.get("UNET_ATLAS_MODELS")
    return Path(named) if named else Path(__file__).parents[3] / "models"


def folder(name: str) -> Path:
    """The folder of a member (or of ``mini-scorer``), for ``from_pretrained``.

    Raises:
        AtlasError: there is no such member, or this checkout doesn't hold it.
    """
    if name not in (*MEMBERS, SCORER):
        known = ", ".join((*MEMBERS, SCORER))
        raise AtlasError(f"{name!r} is not of the mini family; take one of {known}.")
    path = home() / name
    if not path.is_dir():
        raise AtlasError(
            f"{name} is not here: it ships in the folder models/ of the repository; clone it, or "
            "point UNET_ATLAS_MODELS at that folder."
        )
    return path
