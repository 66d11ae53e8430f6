"""The two ceilings of a device: what a large product and a large copy reach on it, today.

Every rate in the book's part on GPUs is also a fraction of these. Book: *Roofline by stage*.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch

from unet_atlas.gpu.bench import Bench, Call, Job, Row, precision, rotation_size, timed

SIDE, SIDE_CPU = 8192, 256  # of the square matrices
COPY, COPY_CPU = 2**30, 2**22  # bytes read, and as many written
MOST = 300  # samples: one of these products takes a millisecond or two
PRODUCTS = {  # dtype as rows name it: dtype of the operands
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "tf32": torch.float32,
    "fp32": torch.float32,
    "fp8": torch.float8_e4m3fn,
}


def jobs(bench: Bench) -> list[Job]:
    """One job a dtype, and the copy."""
    bench = replace(bench, effort=replace(bench.effort, most=MOST))
    kinds = [k for k in PRODUCTS if k != "fp8" or has_fp8(bench.device)]
    products = [Job(f"product in {kind}", partial(_product, bench, kind)) for kind in kinds]
    return [*products, Job("copy", partial(_copy, bench))]


def has_fp8(device: torch.device) -> bool:
    """Whether products of fp8 run on the device: CUDA from compute capability 8.9, and the CPU."""
    return device.type != "cuda" or torch.cuda.get_device_capability(device) >= (8, 9)


def _product(bench: Bench, kind: str) -> Iterator[Row]:
    """FLOP/s of a square product; random operands, since zeros can run faster."""
    side = SIDE if bench.cuda else SIDE_CPU
    sets = rotation_size(bench, 2 * side**2 * PRODUCTS[kind].itemsize)
    generator = torch.Generator(bench.device).manual_seed(bench.seed)
    calls = [_multiplication(side, kind, generator) for _ in range(sets)]
    with precision(kind == "tf32"):
        timing = timed(bench, calls)
    rate = 2 * side**3 / timing.milliseconds * 1000
    yield {"what": "product", "dtype": kind, "rate": rate, "samples": list(timing.samples)}


def _multiplication(side: int, kind: str, generator: torch.Generator) -> Call:
    a, b = (torch.randn(side, side, generator=generator, device=generator.device) for _ in "ab")
    a, b = a.to(PRODUCTS[kind]), b.to(PRODUCTS[kind])
    if kind != "fp8":
        return partial(torch.mm, a, b, out=torch.empty_like(a))
    one = torch.ones((), device=generator.device)
    return lambda: torch._scaled_mm(
        a, b.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16, use_fast_accum=True
    )


def _copy(bench: Bench) -> Iterator[Row]:
    """Bytes a second, read and written, of a copy on the device."""
    size = COPY if bench.cuda else COPY_CPU
    source = torch.randint(256, (size,), dtype=torch.uint8, device=bench.device)
    target = torch.empty_like(source)
    timing = timed(bench, [lambda: target.copy_(source)])
    rate = 2 * size / timing.milliseconds * 1000
    yield {"what": "copy", "dtype": "bytes", "rate": rate, "samples": list(timing.samples)}
