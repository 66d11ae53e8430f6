"""What a UNet needs on a device: seconds to be there, bytes to stay, bytes to run.

Beside it the book holds what ``cost`` predicts. Book: *On a real GPU*.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from unet_atlas import measure
from unet_atlas.build import build_unet
from unet_atlas.device import DTYPES
from unet_atlas.gpu.bench import Bench, Job, Row, attempt, tidy, time_line
from unet_atlas.gpu.recipes import FUSED, attention

MODELS = ("sd-1.5", "sd-2.1-v", "sd-2.1-unclip-h", "sdxl-base-1.0", "sdxl-refiner-1.0")
QUICK_MODELS = ("sd-1.5", "sdxl-base-1.0")


def jobs(bench: Bench, models: Sequence[str]) -> list[Job]:
    """One job a model and dtype; a quick run takes bf16 alone."""
    words = ["bf16"] if bench.quick else list(DTYPES)
    return [
        Job(f"{model} in {word}", partial(_row, bench, model, word), lambda: 2.0)
        for model in models
        for word in words
    ]


def _row(bench: Bench, model: str, word: str) -> Iterator[Row]:
    tidy(bench)
    before = torch.cuda.memory_reserved(bench.device) if bench.cuda else 0
    meter, line, seconds = measure.meter_for(bench.device), time_line(bench), []

    def build() -> UNet2DConditionModel:
        start = bench.now()
        unet = build_unet(model, bench.device, DTYPES[word])
        line.wait()
        seconds.append(bench.now() - start)
        return unet

    built = meter(build)
    reserved = torch.cuda.memory_reserved(bench.device) - before if bench.cuda else built.kept
    with attention(FUSED):
        fused = measure.measure_pass(built.result, built.kept, None, 1, meter)
    built.result.set_attn_processor(AttnProcessor())
    plain, _ = attempt(lambda: measure.measure_pass(built.result, built.kept, None, 1, meter))
    yield {
        "model": model,
        "dtype": word,
        "latent": fused.latent,
        "batch": fused.batch,
        "seconds": seconds[0],
        "weights": fused.weights,
        "reserved": reserved,
        "peak": fused.peak,
        "peak_plain": plain.peak if plain else None,
    }
