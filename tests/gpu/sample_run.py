"""A run made up for tests: every experiment, every kind of gap, and numbers that check by hand.

The products reach 800 TFLOP/s in bf16 and the copy 3 TB/s.
"""

from __future__ import annotations

import copy
from typing import Any

from unet_atlas import anatomy
from unet_atlas.build import build_unet
from unet_atlas.gpu import reading
from unet_atlas.gpu.run import Run

RATES = {"fp32": 50e12, "tf32": 380e12, "fp16": 790e12, "bf16": 800e12}
COPY = 3e12
STEP = 803_273_441_280 * 2  # MACs
KEYS = [stage.key for stage in anatomy.stages(build_unet("sd-1.5"))]


def times(milliseconds: float | None) -> list[float]:
    """Samples around a median."""
    return [] if milliseconds is None else [milliseconds * f for f in (0.99, 1.0, 1.0, 1.0, 1.02)]


def timed(milliseconds: float | None, **row: Any) -> dict[str, Any]:
    return {**row, "milliseconds": milliseconds, "samples": times(milliseconds)}


def ceilings() -> list[dict[str, Any]]:
    products = [
        {"what": "product", "dtype": d, "rate": r, "samples": times(2.0)} for d, r in RATES.items()
    ]
    return [*products, {"what": "copy", "dtype": "bytes", "rate": COPY, "samples": times(1.0)}]


def build() -> list[dict[str, Any]]:
    row = {"model": "sd-1.5", "latent": 64, "batch": 1, "seconds": 2.5}
    half = {"weights": 1_719_041_928, "reserved": 1_751_121_920, "peak": 70_000_000}
    return [
        {**row, **half, "dtype": "bf16", "peak_plain": 1_100_000_000},
        {**row, "dtype": "fp32", "weights": 3_438_083_856, "reserved": 3_500_000_000,
         "peak": 140_000_000, "peak_plain": None},
    ]  # fmt: skip


def stages() -> list[dict[str, Any]]:
    """Stages of equal work; the first is busy half of its time, the second does little work."""
    row = {"model": "sd-1.5", "dtype": "bf16", "latent": 64, "batch": 2, "kernels": 100}
    parts = [
        timed(1.0, **row, stage=key, profiler=0.95, macs=200_000_000_000, moved=500_000_000)
        for key in KEYS
    ]
    parts[0]["profiler"] = 0.5
    parts[1]["macs"] = 1_000_000_000
    parts[2] |= {"profiler": None, "kernels": None}
    total = {k: sum(r[k] for r in parts) for k in ("milliseconds", "macs", "moved")}
    total |= {"profiler": 0.95 * len(parts), "kernels": 100 * len(parts)}
    return [*parts, {**parts[3], **total, "stage": "all", "samples": times(total["milliseconds"])}]


def ladder() -> list[dict[str, Any]]:
    row = {"work": "SD 1.5, 512 px", "model": "sd-1.5", "latent": 64, "macs": STEP // 2, "note": ""}
    return [
        timed(40.0, **row, rung="fp32", dtype="fp32", compile_seconds=0, peak=5e9, difference=0.0),
        timed(10.0, **row, rung="bf16", dtype="bf16", compile_seconds=0, peak=3e9, difference=0.01),
        timed(4.0, **row, rung="compiled", dtype="bf16", compile_seconds=61.5, peak=2.9e9,
              difference=0.011),
        timed(None, **{**row, "note": "torchao is not installed"}, rung="fp8", dtype="fp8",
              compile_seconds=0, peak=None, difference=None),
    ]  # fmt: skip


def throughput() -> list[dict[str, Any]]:
    row = {"work": "SD 1.5, 512 px", "model": "sd-1.5", "latent": 64, "rung": "compiled",
           "dtype": "bf16"}  # fmt: skip
    reached = [
        {**row, "batch": n, "step": 4.0 * n, "decode": 20.0 * n, "samples": times(4.0 * n),
         "images_per_second": 10.0, "peak": 3e9 * n, "macs": n * STEP // 2, "note": ""}
        for n in (1, 2, 4)
    ]  # fmt: skip
    gone = {"step": None, "decode": None, "images_per_second": None, "peak": None, "samples": []}
    gone |= {"batch": 8, "macs": 8 * STEP // 2, "note": "out of memory"}
    return [*reached, {**reached[-1], **gone}]


def resolution() -> list[dict[str, Any]]:
    row = {"model": "sd-1.5", "dtype": "bf16"}
    reached = [
        timed(float(ms), **row, resolution=px, macs=macs, attention_macs=macs // 5, note="")
        for px, ms, macs in (
            (256, 2, 190 * 10**9),
            (512, 4, 803 * 10**9),
            (1024, 20, 4_674 * 10**9),
        )
    ]
    gone = {"resolution": 1536, "milliseconds": None, "samples": [], "note": "out of memory"}
    return [*reached, {**reached[-1], **gone}]


def blocks() -> list[dict[str, Any]]:
    row = {"model": "sd-1.5", "heads": 8, "context": 768, "dtype": "bf16"}
    return [
        timed(0.5, **row, level=0, width=320, tokens=4096, macs=10**10, params=2_000_000, used=5),
        timed(0.4, **row, level=1, width=640, tokens=1024, macs=8 * 10**9, params=7_000_000,
              used=5),
    ]  # fmt: skip


def decode() -> list[dict[str, Any]]:
    row = {"work": "SD 1.5, 512 px", "resolution": 512, "batch": 1, "dtype": "bf16"}
    return [timed(20.0, **row, rung="eager", macs=1_240 * 10**9)]


MAKERS = (ceilings, build, stages, ladder, decode, throughput, resolution, blocks)


def content(**changes: Any) -> dict[str, Any]:
    """The run as a JSON object, with changes at its top level; ``...`` removes a key."""
    rows = {make.__name__: {"seconds": 3.5, "rows": make()} for make in MAKERS}
    made = {
        "format": "unet-atlas gpu 1",
        "device": "NVIDIA H100 80GB HBM3",
        "date": "2026-11-24",
        "seed": 0,
        "quick": False,
        "versions": {"torch": "2.13.0", "diffusers": "0.42.1", "driver": "570.1"},
        "clocks": {"sm_mhz": 1980.0},
        "experiments": rows,
    }
    return copy.deepcopy({k: v for k, v in {**made, **changes}.items() if v is not ...})


def run(**changes: Any) -> Run:
    """The same as a :class:`Run`."""
    return reading.run_of(content(**changes), changes.get("file", ""))
