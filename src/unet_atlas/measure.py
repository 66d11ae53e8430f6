"""Bytes as an allocator sees them, beside the bytes that ``cost.memory`` predicts on ``meta``.

A *meter* runs a function and reports what it left allocated and how high the mark rose. There is
one for CUDA and one for the CPU; tests bring their own. Book: *Building the UNets*; what a GPU's
run measured with it is shown by :mod:`unet_atlas.gpu.views`.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from unet_atlas import cost
from unet_atlas.build import build_unet, example_inputs
from unet_atlas.device import parse_device
from unet_atlas.errors import AtlasError
from unet_atlas.tables import Table, mebibytes


@dataclass(frozen=True)
class Metered:
    """What a function returned, the bytes that it left allocated, and its highest mark."""

    result: Any
    kept: int
    peak: int


Meter = Callable[[Callable[[], Any]], Metered]


@dataclass(frozen=True)
class Measurement:
    """Bytes that an allocator counted for one UNet.

    ``weights`` is what placing the UNet left allocated. ``peak`` is the highest mark of one forward
    pass without gradients, inputs included, weights not, as in :class:`unet_atlas.cost.Memory`.
    """

    model: str
    latent: int
    batch: int
    weights: int
    peak: int


def cuda_meter(device: str | torch.device = "cuda") -> Meter:
    """A meter that asks the allocator of CUDA.

    The statistics are reset right before each run: a peak that was reset before the model was
    placed is the peak of loading it.
    """

    def meter(run: Callable[[], Any]) -> Metered:
        gc.collect()
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        result = run()
        torch.cuda.synchronize(device)
        kept = torch.cuda.memory_allocated(device) - before
        return Metered(result, kept, torch.cuda.max_memory_allocated(device) - before)

    return meter


def cpu_meter(run: Callable[[], Any]) -> Metered:
    """A meter that replays the allocations of the CPU that torch's profiler noted down."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # else it announces itself on stderr
    gc.collect()
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        result = run()
    alive = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]" and event.device_type() == torch.autograd.DeviceType.CPU:
            alive += event.nbytes()
            peak = max(peak, alive)
    return Metered(result, alive, peak)


def meter_for(device: str | torch.device) -> Meter:
    """The meter of a device.

    Raises:
        AtlasError: there is nothing to measure on it, or it has no meter.
    """
    device = parse_device(str(device))
    if device.type == "cuda":
        return cuda_meter(device)
    if device.type == "cpu":
        return cpu_meter
    raise AtlasError(
        f"Nothing can be measured on '{device}'; use 'cuda' or 'cpu', or cost.memory()."
    )


def measure_build(
    source: str | Path,
    device: str | torch.device,
    dtype: torch.dtype = torch.float32,
    latent: int | None = None,
    batch: int = 1,
    meter: Meter | None = None,
) -> Measurement:
    """Build a UNet on a device and run it twice; what the allocator counted, in bytes.

    The first pass is not counted: in it libraries allocate workspaces that they keep.

    Raises:
        AtlasError: a source that can't be built, or a device without a meter.
    """
    meter = meter or meter_for(device)
    built = meter(lambda: build_unet(source, device, dtype))
    return measure_pass(built.result, built.kept, latent, batch, meter)


def measure_pass(
    unet: UNet2DConditionModel, weights: int, latent: int | None, batch: int, meter: Meter
) -> Measurement:
    """The measurement of a UNet that is placed already, at a cost of ``weights`` bytes."""
    inputs = example_inputs(unet, latent=latent, batch=batch)
    side = inputs["sample"].shape[-1]
    _forward(unet, inputs)
    del inputs
    passed = meter(lambda: _forward(unet, example_inputs(unet, latent=latent, batch=batch)))
    return Measurement(unet.atlas_label, side, batch, weights, passed.peak)


def predict(
    source: str | Path, dtype: torch.dtype, latent: int | None = None, batch: int = 1
) -> Measurement:
    """What :func:`measure_build` should find, from a pass on ``meta`` with fused attention."""
    unet = build_unet(source, dtype=dtype)
    memory = cost.memory(unet, latent=latent, batch=batch)
    side = example_inputs(unet, latent=latent)["sample"].shape[-1]
    return Measurement(unet.atlas_label, side, batch, memory.weights, memory.peak)


def predicted_bytes(sources: Sequence[str]) -> pd.DataFrame:
    """Bytes of weights and of the highest mark of activations, one row a model, at its own size.

    Activations are those of a batch of one in 16 bits, with fused attention and with the score
    matrix written out (torch then keeps the scores in 32 bits).
    """
    rows = {}
    for source in sources:
        unet = build_unet(source, dtype=torch.bfloat16)
        fused, plain = (cost.memory(unet, fused_attention=fused) for fused in (True, False))
        rows[source] = {
            "weights, fp32": cost.weight_bytes(unet, torch.float32),
            "weights, fp16 or bf16": fused.weights,
            "activations, fused attention": fused.peak,
            "activations, scores written out": plain.peak,
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def bytes_table(frame: pd.DataFrame, caption: str) -> Table:
    """A table of bytes, shown in MiB."""
    data = frame.rename_axis("model").reset_index()
    shown = data.assign(**{c: [f"{v / 2**20:,.1f}" for v in frame[c]] for c in frame.columns})
    return Table("bytes", f"{caption}, in MiB", shown, data)


def shapes(unet: UNet2DConditionModel, latent: int | None = None) -> dict[str, str]:
    """The shape of every input of one forward pass, and of its output."""
    inputs = example_inputs(unet, latent=latent)
    output = _forward(unet, inputs)
    flat = {**inputs, **inputs.get("added_cond_kwargs", {}), "output": output}
    tensors = {k: v for k, v in flat.items() if isinstance(v, torch.Tensor)}
    return {name: " × ".join(map(str, tensor.shape)) for name, tensor in tensors.items()}


def side_by_side(
    predicted: Sequence[Measurement], measured: Sequence[Measurement], where: str
) -> Table:
    """Predicted and measured bytes, one row a model and quantity."""
    rows = [
        {
            "model": m.model,
            "what": what,
            "predicted": getattr(p, field),
            "measured": getattr(m, field),
        }
        for p, m in zip(predicted, measured, strict=True)
        for field, what in (("weights", "weights"), ("peak", "peak of a pass"))
    ]
    data = pd.DataFrame(rows)
    ratio = [f"{m / p:.3f}" for p, m in zip(data["predicted"], data["measured"], strict=True)]
    sizes = {c: [mebibytes(v) for v in data[c]] for c in ("predicted", "measured")}
    caption = f"Predicted on meta, measured on {where}"
    return Table("measured", caption, data.assign(**sizes, **{"measured ÷ predicted": ratio}), data)


def _forward(unet: UNet2DConditionModel, inputs: dict[str, Any]) -> torch.Tensor:
    with torch.no_grad():
        return unet(**inputs).sample
