"""A guided step at growing sizes, beside the MAC model: where attention takes over.

Kernels run as PyTorch has them, replayed as a CUDA graph: at small sizes the launches would hide
how the work grows. Book: *Batch, resolution, throughput*.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from unet_atlas.build import VAE_FACTOR
from unet_atlas.gpu.bench import Bench, Job, Row, attempt, cells, tidy
from unet_atlas.gpu.guided import Shop, guided, measured, step_macs
from unet_atlas.gpu.recipes import eager, settings

SIZES = (256, 384, 512, 640, 768, 1024, 1280, 1536)
QUICK_SIZES = (256, 512, 1024)
RECIPE = eager(graphs=True)


def jobs(bench: Bench, models: Sequence[str], sizes: Sequence[int]) -> list[Job]:
    """One job a model and size in pixels."""
    shop, needs = Shop(bench), 1.0 if bench.quick else 3.0
    return [
        Job(f"{model}, {size} px", partial(_row, bench, shop, model, size), lambda: needs)
        for model in models
        for size in sizes
    ]


def _row(bench: Bench, shop: Shop, model: str, size: int) -> Iterator[Row]:
    found, note = attempt(lambda: _measure(bench, shop, model, size))
    if note:
        tidy(bench)
    macs = step_macs(model, size // VAE_FACTOR)
    yield {
        "model": model,
        "resolution": size,
        "dtype": RECIPE.dtype,
        **(found or {"milliseconds": None, "samples": []}),
        "macs": macs.total,
        "attention_macs": macs.attention,
        "note": note,
    }


def _measure(bench: Bench, shop: Shop, model: str, size: int) -> dict[str, Any]:
    with settings(RECIPE):
        unet, _ = shop.take(model, RECIPE)
        step = guided(bench, unet, size // VAE_FACTOR)
        return cells(measured(bench, step, RECIPE.graphs).timing)
