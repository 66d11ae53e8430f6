"""The VAE's decoder apart: what turns a latent into a picture, after the last step.

Book: *The speed ladder*.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor

from unet_atlas.components import build_component, decode_macs
from unet_atlas.gpu.bench import (
    Bench,
    Job,
    Row,
    cells,
    precision,
    rotation_size,
    seeded,
    timed,
)
from unet_atlas.gpu.ladder import Work
from unet_atlas.gpu.recipes import FUSED, attention, cast, cold_compiler, quiet_compiler

MOST_PIXELS = 4 * 1024**2  # decoded at once: the widest tensor stays below 2³¹ elements
COMPILATION = 15.0  # seconds without which none is begun


@dataclass(frozen=True)
class Way:
    """One way to decode."""

    rung: str
    dtype: str
    channels_last: bool = False
    compiled: bool = False


WAYS = (
    Way("fp32", "fp32"),
    Way("bf16", "bf16"),
    Way("channels last", "bf16", channels_last=True),
    Way("compile, whole", "bf16", channels_last=True, compiled=True),
)


def jobs(bench: Bench, works: Sequence[Work]) -> list[Job]:
    """One job a work and way; what is compiled comes last, and not in a quick run."""
    ways = [w for w in WAYS if not (w.compiled and bench.quick)]
    order = [(work, way) for work in works for way in ways if not way.compiled]
    order += [(work, way) for work in works for way in ways if way.compiled]
    return [
        Job(
            f"{work.name}: {way.rung}",
            partial(_row, bench, work, way),
            lambda way=way: COMPILATION if way.compiled else 1.0,
        )
        for work, way in order
    ]


def decoder(bench: Bench, work: Work, way: Way) -> AutoencoderKL:
    """The work's VAE on the bench's device, with random weights."""
    with seeded(bench.seed):
        vae = build_component(work.vae, bench.device)
    cast(vae, torch.float32 if way.dtype == "fp32" else torch.bfloat16).requires_grad_(False)
    if way.channels_last:
        vae.to(memory_format=torch.channels_last)
    if way.compiled:
        vae.decoder.compile(backend=bench.backend, dynamic=False)
    return vae


def decode(vae: AutoencoderKL, latents: Tensor) -> None:
    """Decode all latents, as many at once as :data:`MOST_PIXELS` and the memory allow."""
    pixels = latents.shape[-1] * latents.shape[-2] * 64
    together = max(1, MOST_PIXELS // pixels)
    out_of_memory = False
    with torch.no_grad():
        try:
            _parts(vae, latents, together)
        except torch.OutOfMemoryError:
            out_of_memory = True
        if out_of_memory:  # outside of the handler, which holds what did not fit
            _parts(vae, latents, 1)


def random_latents(bench: Bench, work: Work, vae: AutoencoderKL, batch: int) -> Tensor:
    """Latents (B, C, h, w) to decode, in the VAE's dtype."""
    generator = torch.Generator(bench.device).manual_seed(bench.seed)
    shape = (batch, work.vae.config["latent_channels"], work.latent, work.latent)
    return torch.randn(shape, generator=generator, device=bench.device).to(vae.dtype)


def _parts(vae: AutoencoderKL, latents: Tensor, together: int) -> None:
    for part in latents.split(together):
        vae.decode(part, return_dict=False)


def _row(bench: Bench, work: Work, way: Way) -> Iterator[Row]:
    cache = cold_compiler(bench) if way.compiled else nullcontext()
    with cache, precision(tf32=way.dtype != "fp32"), attention(FUSED), quiet_compiler():
        vae = decoder(bench, work, way)
        sets = rotation_size(bench, 2**24)  # the network's own tensors are larger than the cache
        inputs = [random_latents(bench, work, vae, 1) for _ in range(min(sets, 4))]
        decode(vae, inputs[0])  # compiles, where it must
        timing = timed(bench, [partial(decode, vae, latents) for latents in inputs])
    yield {
        "work": work.name,
        "resolution": work.resolution,
        "batch": 1,
        "dtype": way.dtype,
        "rung": way.rung,
        **cells(timing),
        "macs": decode_macs(work.vae, work.resolution),
    }
