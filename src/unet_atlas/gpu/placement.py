"""One transformer block at each level of the U: what it costs to have it there.

Book: *Batch, resolution, throughput*. Upstream: diffusers, ``BasicTransformerBlock``.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn

from unet_atlas.anatomy import levels, stage_of, total_params
from unet_atlas.build import build_unet, example_inputs
from unet_atlas.cost import dispatched_macs
from unet_atlas.gpu.bench import (
    Bench,
    Call,
    Job,
    Row,
    captured,
    cells,
    model_bytes,
    precision,
    rotation_size,
    seeded,
    timed,
)
from unet_atlas.gpu.recipes import CUDNN, attention

BATCH = 2  # a guided step
DTYPE, WORD = torch.bfloat16, "bf16"


def jobs(bench: Bench, models: Sequence[str]) -> list[Job]:
    """One job a model and level with transformer blocks."""
    return [
        Job(f"{unet.atlas_label}, level {level}", partial(_row, bench, unet, level, found))
        for unet in (build_unet(model, dtype=DTYPE) for model in models)
        for level, found in blocks_by_level(unet).items()
    ]


def blocks_by_level(unet: UNet2DConditionModel) -> dict[int, list[BasicTransformerBlock]]:
    """The transformer blocks of each level that has any."""
    level_of, found = levels(unet), {}
    for path, module in unet.named_modules():
        if isinstance(module, BasicTransformerBlock):
            found.setdefault(level_of[stage_of(path)], []).append(module)
    return dict(sorted(found.items()))


def _row(
    bench: Bench, unet: UNet2DConditionModel, level: int, found: list[BasicTransformerBlock]
) -> Iterator[Row]:
    """The time of a level's first block, as replays of its kernels: launches are not its price."""
    block, inputs = found[0], example_inputs(unet, batch=BATCH)
    tokens = _tokens(inputs["sample"].shape[2:], level)
    width, text = block.norm1.normalized_shape[0], inputs["encoder_hidden_states"]
    shape = (BATCH, tokens, width)
    with precision(tf32=True), seeded(bench.seed), attention(CUDNN):
        calls = _calls(bench, block, shape, text.shape)
        timing = timed(bench, [captured(bench, call) for call in calls])
    hidden = torch.empty(shape, dtype=DTYPE, device="meta")
    yield {
        "model": unet.atlas_label,
        "level": level,
        "width": width,
        "tokens": tokens,
        "heads": block.attn1.heads,
        "context": text.shape[-1],
        "dtype": WORD,
        **cells(timing),
        "macs": dispatched_macs(block, hidden, encoder_hidden_states=text),
        "params": total_params(block),
        "used": len(found),
    }


def _tokens(size: Sequence[int], level: int) -> int:
    """Positions of a level: each further one halves both sides, rounded up."""
    height, width = (-(-side // 2**level) for side in size)
    return height * width


def _calls(
    bench: Bench, block: nn.Module, shape: tuple[int, ...], text_shape: Sequence[int]
) -> list[Call]:
    """Copies of the block with inputs of their own, together larger than the device's cache."""
    inputs = DTYPE.itemsize * torch.Size(shape).numel()
    return [
        _call(_placed(block, bench.device), shape, text_shape)
        for _ in range(rotation_size(bench, model_bytes(block) + inputs))
    ]


def _call(block: nn.Module, shape: Sequence[int], text_shape: Sequence[int]) -> Call:
    device = next(block.parameters()).device
    hidden = torch.randn(shape, dtype=DTYPE, device=device)
    text = torch.randn(text_shape, dtype=DTYPE, device=device)

    def call() -> torch.Tensor:
        with torch.no_grad():
            return block(hidden, encoder_hidden_states=text)

    return call


def _placed(block: nn.Module, device: torch.device) -> nn.Module:
    """A copy of a block on ``meta`` with random weights on the device."""
    placed = copy.deepcopy(block).to_empty(device=device)
    for module in placed.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return placed.eval()
