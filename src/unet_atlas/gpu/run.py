"""One session of measurements on one device: what it holds, and what each row must say.

As a file, ``records/<device>-<date>.json``::

    {"format": "unet-atlas gpu 1", "device": "NVIDIA H100 80GB HBM3", "date": "2026-11-24",
     "seed": 0, "quick": false, "versions": {"torch": "…", "diffusers": "…", "driver": "…"},
     "clocks": {"sm_mhz": 1980.0, "memory_mhz": 2619.0, "power_limit_w": 700.0},
     "experiments": {"ceilings": {"seconds": 12.1, "rows": [{"what": "product", "dtype": "bf16",
                                                            "rate": 8.0e14, "samples": [...]}]}}}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FORMAT = "unet-atlas gpu 1"
SAME = 0.05  # a relative difference to fp32 up to which an output counts as the same

# What a row of each experiment holds. Milliseconds, bytes, MACs; `samples` are the milliseconds
# of every timed call, so that a reader sees the spread; None where a cell does not apply.
Columns = Mapping[str, tuple[type, ...]]
TEXT, WHOLE, NUMBER, SAMPLES = (str,), (int,), (int, float), (list,)
MAYBE_NUMBER = (int, float, type(None))
MAYBE_TEXT = (str, type(None))
EXPERIMENTS: Mapping[str, Columns] = {
    # the two ceilings: FLOP/s of a large product by dtype ("product"), bytes/s of a device
    # copy, read plus written ("copy"; its dtype is "bytes")
    "ceilings": {"what": TEXT, "dtype": TEXT, "rate": NUMBER, "samples": SAMPLES},
    # placing a UNet and one pass at its own size, batch 1
    "build": {
        "model": TEXT,
        "dtype": TEXT,
        "latent": WHOLE,
        "batch": WHOLE,
        "seconds": NUMBER,  # of building and placing
        "weights": WHOLE,  # bytes left allocated
        "reserved": WHOLE,  # bytes that the caching allocator then holds
        "peak": WHOLE,  # bytes above the weights in a pass, fused attention
        "peak_plain": (int, type(None)),  # the same with the scores written out; None: no room
    },
    # one row a stage; "all" is the whole pass
    "stages": {
        "model": TEXT,
        "dtype": TEXT,
        "latent": WHOLE,
        "batch": WHOLE,  # 2: a guided step
        "stage": TEXT,  # as in anatomy.stages
        "milliseconds": NUMBER,  # median, by CUDA events in hooks
        "samples": SAMPLES,
        "profiler": MAYBE_NUMBER,  # ms of kernels by torch.profiler, for one pass
        "kernels": (int, type(None)),  # launches in one pass, by the profiler
        "macs": WHOLE,
        "moved": WHOLE,  # bytes read and written at least, by cost.traffic
    },
    # one row a rung and a work; guided steps at batch 1
    "ladder": {
        "work": TEXT,  # "SDXL, 1024 px"
        "model": TEXT,
        "latent": WHOLE,
        "rung": TEXT,
        "dtype": TEXT,  # of the products: fp32, tf32, bf16, fp8, int8
        "milliseconds": MAYBE_NUMBER,  # of a guided step; None: it failed, see note
        "samples": SAMPLES,
        "compile_seconds": NUMBER,  # 0 where nothing is compiled
        "peak": MAYBE_NUMBER,  # bytes, weights included
        "difference": MAYBE_NUMBER,  # relative L2 distance of the output to fp32's
        "macs": WHOLE,  # of a guided step
        "note": TEXT,  # why a rung failed or was left out; else ""
    },
    # one VAE decode a row
    "decode": {
        "work": TEXT,
        "resolution": WHOLE,
        "batch": WHOLE,
        "dtype": TEXT,
        "rung": TEXT,
        "milliseconds": NUMBER,
        "samples": SAMPLES,
        "macs": WHOLE,
    },
    # one guided step at each size
    "resolution": {
        "model": TEXT,
        "resolution": WHOLE,  # pixels of a side
        "dtype": TEXT,
        "milliseconds": MAYBE_NUMBER,
        "samples": SAMPLES,
        "macs": WHOLE,  # of a guided step
        "attention_macs": WHOLE,  # of them, in attention products
        "note": TEXT,
    },
    # one BasicTransformerBlock at each level; guided, batch 2
    "blocks": {
        "model": TEXT,
        "level": WHOLE,
        "width": WHOLE,
        "tokens": WHOLE,  # positions of the level
        "heads": WHOLE,
        "context": WHOLE,  # cross-attention dim
        "dtype": TEXT,
        "milliseconds": NUMBER,
        "samples": SAMPLES,
        "macs": WHOLE,
        "params": WHOLE,
        "used": WHOLE,  # how many of these blocks the model holds at this level
    },
    # images a second: 20 guided steps and the VAE
    "throughput": {
        "work": TEXT,
        "model": TEXT,
        "latent": WHOLE,
        "batch": WHOLE,  # images
        "rung": TEXT,  # the recipe
        "dtype": TEXT,
        "step": MAYBE_NUMBER,  # ms of a guided step of the whole batch; None: out of memory
        "decode": MAYBE_NUMBER,  # ms of decoding the whole batch
        "samples": SAMPLES,  # of the step
        "images_per_second": MAYBE_NUMBER,  # 1000 × batch ÷ (20 × step + decode)
        "peak": MAYBE_NUMBER,
        "macs": WHOLE,  # of a guided step of the whole batch
        "note": TEXT,
    },
}


@dataclass(frozen=True)
class Experiment:
    """Rows of one experiment and the seconds that it took."""

    seconds: float
    rows: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Run:
    """What one session on one device measured."""

    device: str
    date: str
    seed: int
    quick: bool
    versions: Mapping[str, str]
    clocks: Mapping[str, float]  # as found; empty where the driver does not tell
    experiments: Mapping[str, Experiment] = field(default_factory=dict)
    file: str = ""  # its name under records/; empty for a run of this build
