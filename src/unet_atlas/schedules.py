"""Noise schedules of the catalogue's schedulers, and the three targets a UNet can be trained on.

A noisy latent is x_t = α_t x₀ + σ_t ε with α_t² = ᾱ_t, σ_t² = 1 − ᾱ_t and ᾱ_t = ∏ (1 − β_s); the
schedules themselves come from diffusers' own scheduler classes, nothing is recomputed here.
Book: *Conditioning*. Upstream: diffusers, ``schedulers/scheduling_ddpm.py``.
"""

from __future__ import annotations

from typing import Any

import diffusers
import torch
from torch import Tensor

from unet_atlas.catalog import Part
from unet_atlas.errors import AtlasError

TARGETS = ("epsilon", "v_prediction", "sample")  # diffusers' words: noise, velocity, clean latent


def scheduler(part: Part, **changes: Any) -> diffusers.SchedulerMixin:
    """The live diffusers scheduler of a catalogue entry, made as ``from_pretrained`` would make it.

    Args:
        changes: keys to replace, such as ``timestep_spacing="trailing"``.

    Raises:
        AtlasError: the entry is a network or a normalizer, not a scheduler.
    """
    if not part.class_name.endswith("Scheduler"):
        raise AtlasError(
            f"{part.id} is a {part.class_name}, not a scheduler; take model.scheduler."
        )
    return getattr(diffusers, part.class_name).from_config({**part.config, **changes})


def alphas_cumprod(part: Part, **changes: Any) -> Tensor:
    """ᾱ of each training step, (T,) float64: the share of the clean latent in the variance."""
    return scheduler(part, **changes).alphas_cumprod.double()


def timesteps(part: Part, steps: int, **changes: Any) -> tuple[int, ...]:
    """The training steps that a sampler of ``steps`` steps visits, noisiest first.

    PNDM visits its second one twice.
    """
    made = scheduler(part, **changes)
    made.set_timesteps(steps)
    return tuple(int(t) for t in made.timesteps)


def signal_std(alpha_bar: Tensor) -> Tensor:
    """α = √ᾱ: what the clean latent is multiplied by."""
    return alpha_bar.sqrt()


def noise_std(alpha_bar: Tensor) -> Tensor:
    """σ = √(1 − ᾱ): what the noise is multiplied by."""
    return (1 - alpha_bar).sqrt()


def snr(alpha_bar: Tensor) -> Tensor:
    """α² / σ²: the signal-to-noise ratio, as variances, of a clean latent of unit variance."""
    return alpha_bar / (1 - alpha_bar)


def add_noise(clean: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """x_t = α x₀ + σ ε; ``alpha_bar`` broadcasts against the latents."""
    return signal_std(alpha_bar) * clean + noise_std(alpha_bar) * noise


def target(kind: str, clean: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """What the network should return: ε, v = α ε − σ x₀ (Salimans and Ho 2022), or x₀.

    Raises:
        AtlasError: ``kind`` is none of ``TARGETS``.
    """
    if _known(kind) == "epsilon":
        return noise
    if kind == "sample":
        return clean
    return signal_std(alpha_bar) * noise - noise_std(alpha_bar) * clean


def split(kind: str, output: Tensor, noisy: Tensor, alpha_bar: Tensor) -> tuple[Tensor, Tensor]:
    """The (clean, noise) that an output of this kind says the noisy latent is made of.

    Undefined where it divides by zero: ``epsilon`` without signal, ``sample`` without noise.

    Raises:
        AtlasError: ``kind`` is none of ``TARGETS``.
    """
    a, s = signal_std(alpha_bar), noise_std(alpha_bar)
    if _known(kind) == "epsilon":
        return (noisy - s * output) / a, output
    if kind == "sample":
        return output, (noisy - a * output) / s
    return a * noisy - s * output, s * noisy + a * output


def convert(start: str, end: str, output: Tensor, noisy: Tensor, alpha_bar: Tensor) -> Tensor:
    """The same statement about a noisy latent as another target: ``epsilon`` to ``sample``, say."""
    return target(end, *split(start, output, noisy, alpha_bar), alpha_bar)


def error_gain(start: str, end: str, alpha_bar: Tensor) -> Tensor:
    """By how much an error in one target is multiplied when it is read as another.

    ``convert`` is linear in the output, so this is the size of its slope: 1/√SNR from ``epsilon``
    to ``sample``, σ from ``v_prediction`` to ``sample``.
    """
    zero = torch.zeros_like(alpha_bar)
    moved = convert(start, end, zero + 1, zero, alpha_bar)
    return (moved - convert(start, end, zero, zero, alpha_bar)).abs()


def _known(kind: str) -> str:
    if kind not in TARGETS:
        raise AtlasError(f"{kind!r} is not a target; take one of {', '.join(TARGETS)}.")
    return kind
