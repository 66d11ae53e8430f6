"""The samplers by name: diffusers' own schedulers, set up from the pipeline's scheduler.

Book: *Samplers*. Upstream: diffusers, ``schedulers/``.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    PNDMScheduler,
    SchedulerMixin,
    UniPCMultistepScheduler,
)

from unet_atlas.errors import AtlasError

OWN = "own"  # the scheduler that the pipeline was saved with, as it is
SAMPLERS: dict[str, tuple[type[SchedulerMixin], dict[str, Any]]] = {
    "ddim": (DDIMScheduler, {}),
    "ddpm": (DDPMScheduler, {}),
    "pndm": (PNDMScheduler, {}),
    "euler": (EulerDiscreteScheduler, {}),
    "euler_a": (EulerAncestralDiscreteScheduler, {}),
    "heun": (HeunDiscreteScheduler, {}),
    "dpm++": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++", "solver_order": 2}),
    "unipc": (UniPCMultistepScheduler, {}),
}

# What a scheduler is told where the pipeline's own says nothing: some classes' defaults are made
# for pixels (clipping to ±1) or for other papers, and every latent pipeline overrides them.
LATENT = {"steps_offset": 1, "set_alpha_to_one": False, "skip_prk_steps": True}
NEVER = {"clip_sample": False}  # latents are not bounded by ±1
ESSENTIALS = (
    "prediction_type",
    "beta_schedule",
    "beta_start",
    "beta_end",
    "num_train_timesteps",
    "timestep_spacing",
    "steps_offset",
    "set_alpha_to_one",
    "rescale_betas_zero_snr",
    "algorithm_type",
    "solver_order",
    "use_karras_sigmas",
)


def check_sampler(name: str) -> None:
    """Raise an AtlasError unless ``name`` is ``own`` or a key of :data:`SAMPLERS`."""
    if name not in (OWN, *SAMPLERS):
        names = ", ".join((*SAMPLERS, OWN))
        raise AtlasError(f"{name!r} is no sampler; use one of {names}.")


def scheduler_for(name: str, shipped: SchedulerMixin) -> SchedulerMixin:
    """A fresh scheduler of the named kind, with the noise schedule of the one that was shipped.

    Args:
        name: a key of :data:`SAMPLERS`, or ``own`` for a fresh copy of the shipped one.
        shipped: the pipeline's scheduler; it is left as it is.

    Raises:
        AtlasError: the name is unknown.
    """
    check_sampler(name)
    if name == OWN:
        return type(shipped).from_config(shipped.config)
    kind, settings = SAMPLERS[name]
    accepted = inspect.signature(kind.__init__).parameters
    known = set(shipped.config) - set(shipped.config.get("_use_default_values", ()))
    settings = settings | NEVER | {k: v for k, v in LATENT.items() if k not in known}
    return kind.from_config(shipped.config, **{k: v for k, v in settings.items() if k in accepted})


@contextmanager
def using(pipeline: DiffusionPipeline, scheduler: SchedulerMixin) -> Iterator[None]:
    """The pipeline with another scheduler; its own is put back."""
    shipped = pipeline.scheduler
    pipeline.scheduler = scheduler
    try:
        yield
    finally:
        pipeline.scheduler = shipped


def essentials(scheduler: SchedulerMixin) -> dict[str, Any]:
    """The settings that decide a picture: class, objective, noise schedule, spacing, order."""
    config = scheduler.config
    return {"class": type(scheduler).__name__} | {k: config[k] for k in ESSENTIALS if k in config}
