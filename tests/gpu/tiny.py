"""Tiny subjects and a bench on the CPU: the recorder's whole way in seconds."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import torch

from unet_atlas.catalog import Part
from unet_atlas.gpu.bench import Bench, Effort
from unet_atlas.gpu.ladder import Work
from unet_atlas.gpu.recorder import Subjects

UNET = {
    "sample_size": 8,
    "block_out_channels": [32, 64],
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "cross_attention_dim": 32,
    "attention_head_dim": 2,
    "layers_per_block": 1,
    "norm_num_groups": 8,
}
VAE = {
    "block_out_channels": (8, 16),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "latent_channels": 4,
    "layers_per_block": 1,
    "norm_num_groups": 4,
}
ONE_LEVEL = {  # what the compiler goes through in half the time
    "block_out_channels": [32],
    "down_block_types": ["CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D"],
}
SIZES = {  # SDXL's further inputs
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 16 + 6 * 8,
}
EFFORT = Effort(seconds=0.0, least=2, most=3, warm_up=1)


def config(folder: Path, name: str = "tiny", **changes: Any) -> str:
    """The path of a tiny configuration."""
    file = folder / f"{name}.json"
    file.write_text(json.dumps(UNET | changes))
    return str(file)


def work(model: str, name: str = "tiny, 64 px") -> Work:
    """A tiny model at 8 × 8 with a tiny VAE."""
    return Work(name, model, 8, Part("vae", "AutoencoderKL", VAE, "file", "", ""))


def bench(**changes: Any) -> Bench:
    """A bench on the CPU that compiles with dynamo alone."""
    return Bench(**{"device": torch.device("cpu"), "effort": EFFORT, "backend": "eager"} | changes)


def subjects(model: str) -> Subjects:
    """One tiny model in every part."""
    one = (work(model),)
    return Subjects(
        build=(model,),
        stages=(model,),
        works=one,
        batched=one,
        batches=(1, 2),
        scaled=(model,),
        sizes=(64, 128),
        blocks=(model,),
    )


class Clock:
    """A clock that goes forward by so many seconds with each look at it."""

    def __init__(self, step: float = 1.0):
        self.ticks = itertools.count()
        self.step = step

    def __call__(self) -> float:
        return self.step * next(self.ticks)
