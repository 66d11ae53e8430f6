"""A denoising run kept step by step, and the way between pictures and latents.

A pipeline shows its result only. Here every step leaves two latents: the noisy one that the UNet
received, and the clean one that its (guided) output stands for.

Book: *From noise to picture*. Upstream: diffusers, ``schedulers/scheduling_ddim.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline, SchedulerMixin
from torch import Tensor

from unet_atlas import schedules
from unet_atlas.errors import AtlasError
from unet_atlas.images import as_uint8
from unet_atlas.sampling.pictures import Recipe, call
from unet_atlas.sampling.pipelines import quiet
from unet_atlas.sampling.samplers import scheduler_for, using

TRACED = ("ddim", "ddpm")  # whose latents are α x₀ + σ ε at every step; Euler's, say, are not


@dataclass(frozen=True)
class Trace:
    """What n denoising steps of b pictures leave, on the CPU in float32, in the UNet's scale.

    Attributes:
        timesteps: n training steps, noisiest first.
        noisy: (n, b, 4, h, w) what the UNet received.
        clean: (n, b, 4, h, w) the clean latents that its guided output stands for.
        result: (b, 4, h, w) the latents at the end.
    """

    timesteps: tuple[int, ...]
    noisy: Tensor
    clean: Tensor
    result: Tensor


def denoise_trace(
    pipeline: DiffusionPipeline,
    captions: str | list[str],
    recipe: Recipe | None = None,
    seeds: list[int] | int = 0,
    **conditioning: Any,
) -> Trace:
    """Run a pipeline as :func:`~unet_atlas.sampling.sample` does and keep every step.

    Args:
        captions: one, or b of them.
        recipe: its sampler must be one of ``TRACED``.
        seeds: one a caption.
        conditioning: what else the pipeline takes.

    Raises:
        AtlasError: another sampler, not one seed a caption, or a call that the pipeline refuses.
    """
    recipe = recipe or Recipe()
    captions = [captions] if isinstance(captions, str) else list(captions)
    seeds = [seeds] if isinstance(seeds, int) else list(seeds)
    if recipe.sampler not in TRACED:
        raise AtlasError(f"{recipe.sampler} can't be traced; use {' or '.join(TRACED)}.")
    if len(seeds) != len(captions):
        raise AtlasError(f"{len(seeds)} seeds for {len(captions)} captions; give one a caption.")
    seen: list[tuple[int, Tensor, Tensor]] = []
    scheduler = _recording(scheduler_for(recipe.sampler, pipeline.scheduler), seen)
    with quiet(), using(pipeline, scheduler):
        result = call(pipeline, captions, seeds, recipe, "latent", conditioning)
    times, noisy, clean = zip(*seen, strict=True)
    return Trace(times, torch.stack(noisy), torch.stack(clean), result.float().cpu())


def _recording(scheduler: SchedulerMixin, seen: list[tuple[int, Tensor, Tensor]]) -> SchedulerMixin:
    """The scheduler; each of its steps adds (t, noisy, clean) to ``seen``."""
    take, kind = scheduler.step, scheduler.config.prediction_type
    alpha_bar = scheduler.alphas_cumprod.float().cpu()

    def step(output: Tensor, t: int | Tensor, sample: Tensor, **more: Any) -> Any:
        noisy, said = sample.float().cpu(), output.float().cpu()
        clean, _ = schedules.split(kind, said, noisy, alpha_bar[int(t)])
        seen.append((int(t), noisy, clean))
        return take(output, t, sample, **more)

    scheduler.step = step
    return scheduler


@torch.inference_mode()
def decoded(pipeline: DiffusionPipeline, latents: Tensor) -> Tensor:
    """Latents (b, 4, h, w) in the UNet's scale as the decoder's values, (b, 3, H, W) float32 on the
    CPU: 0 is black and 1 white; the decoder may pass either."""
    vae = pipeline.vae
    latents = latents.to(vae.device, vae.dtype) / vae.config.scaling_factor
    return vae.decode(latents, return_dict=False)[0].float().cpu() / 2 + 0.5


def as_pictures(values: Tensor) -> np.ndarray:
    """The values of :func:`decoded` as pictures, (b, H, W, 3) uint8."""
    return as_uint8(values.clamp(0, 1).permute(0, 2, 3, 1).numpy(), "The decoded pictures")


def decode(pipeline: DiffusionPipeline, latents: Tensor) -> np.ndarray:
    """Latents (b, 4, h, w) in the UNet's scale as pictures, (b, H, W, 3) uint8."""
    return as_pictures(decoded(pipeline, latents))


@torch.inference_mode()
def encode(pipeline: DiffusionPipeline, images: np.ndarray) -> Tensor:
    """Pictures (b, H, W, 3) uint8 as latents (b, 4, h, w) in the UNet's scale, without chance."""
    vae = pipeline.vae
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    mean = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist.mean
    return (mean * vae.config.scaling_factor).float().cpu()


def latent_pictures(latent: Tensor) -> np.ndarray:
    """The channels of one latent (c, h, w) as grey pictures (c, h, w, 3) uint8: 0 is middle grey,
    ±3 black and white."""
    grey = ((latent / 6 + 0.5).clamp(0, 1) * 255).round().byte().cpu().numpy()
    return np.repeat(grey[..., None], 3, axis=-1)
