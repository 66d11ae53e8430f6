"""What samplers and guidance do, measured: runs that end in latents, distances, order, geometry.

A study draws the same prompts from the same seeds under several settings, so that the settings
are all that differs.

Book: *Samplers*, *Guidance*, *Conditioning at work*.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from diffusers import DiffusionPipeline, SchedulerMixin
from torch import Tensor, nn

from unet_atlas import schedules
from unet_atlas.errors import AtlasError
from unet_atlas.images import as_uint8
from unet_atlas.sampling.pictures import Recipe, call, check_batch, seed_of
from unet_atlas.sampling.pipelines import quiet
from unet_atlas.sampling.samplers import scheduler_for, using
from unet_atlas.sampling.trace import as_pictures, decoded
from unet_atlas.shapes.oracle import read
from unet_atlas.shapes.world import COLOURS, SHAPES, Scene

SPREAD = 0.5  # of the data that a sampler is tried on


@dataclass(frozen=True)
class Drawn:
    """Pictures with the latents that they were decoded from.

    Attributes:
        captions: n of them.
        latents: (n, c, h, w) float32 on the CPU, in the UNet's scale.
        images: (n, H, W, 3) uint8.
        clipped: (n,) share of a picture's values that the decoder put outside black and white.
        passes: UNet passes a picture; a guided evaluation is two.
    """

    captions: tuple[str, ...]
    latents: Tensor
    images: np.ndarray
    clipped: np.ndarray
    passes: int


def draw(
    pipeline: DiffusionPipeline,
    captions: Sequence[str],
    recipe: Recipe,
    seeds: Sequence[int] | None = None,
    batch: int = 25,
    **settings: Any,
) -> Drawn:
    """Draw one picture a caption as :func:`~unet_atlas.sampling.sample` does, and keep the latents.

    Args:
        seeds: one a caption; by default the place of the caption.
        settings: of the scheduler, such as ``timestep_spacing="trailing"``.

    Raises:
        AtlasError: no captions, not one seed a caption, or a bad batch.
    """
    check_batch(batch)
    captions = tuple(captions)
    seeds = [seed_of(0, i) for i in range(len(captions))] if seeds is None else list(seeds)
    if not captions or len(seeds) != len(captions):
        raise AtlasError(f"{len(seeds)} seeds for {len(captions)} captions; give one a caption.")
    latents, rows = [], []
    with quiet(), scheduled(pipeline, recipe, **settings), counted(pipeline.unet, rows):
        for at in range(0, len(captions), batch):
            here = slice(at, at + batch)
            latents.append(call(pipeline, captions[here], seeds[here], recipe, "latent"))
    whole = torch.cat(latents).float().cpu()
    images, clipped = _decoded(pipeline, whole, batch)
    return Drawn(captions, whole, images, clipped, sum(rows) // len(captions))


def scheduled(
    pipeline: DiffusionPipeline, recipe: Recipe, **settings: Any
) -> AbstractContextManager[None]:
    """The pipeline with the recipe's scheduler, set otherwise; its own is put back."""
    scheduler = scheduler_for(recipe.sampler, pipeline.scheduler)
    return using(pipeline, respaced(scheduler, **settings))


def respaced(scheduler: SchedulerMixin, **settings: Any) -> SchedulerMixin:
    """A fresh scheduler of the same kind, with other settings."""
    return type(scheduler).from_config(scheduler.config, **settings)


@contextmanager
def counted(network: nn.Module, rows: list[int]) -> Iterator[None]:
    """Each pass of ``network`` adds the rows of its batch to ``rows``."""
    hook = network.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
    try:
        yield
    finally:
        hook.remove()


def _decoded(
    pipeline: DiffusionPipeline, latents: Tensor, batch: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (n, H, W, 3) uint8, and the share of each one's values that had to be clipped."""
    images, outside = [], []
    for part in latents.split(batch):
        values = decoded(pipeline, part)
        outside.append(((values < 0) | (values > 1)).float().mean(dim=(1, 2, 3)).numpy())
        images.append(as_pictures(values))
    return np.concatenate(images), np.concatenate(outside)


def distance(a: Tensor, b: Tensor) -> np.ndarray:
    """The root mean square difference of the latents of each picture, (n,)."""
    return (a - b).square().flatten(1).mean(dim=1).sqrt().numpy()


def slope(steps: Sequence[float], errors: Sequence[float]) -> float:
    """The order of convergence p of errors that fall as steps⁻ᵖ: minus the slope on log–log."""
    return float(-np.polyfit(np.log(steps), np.log(errors), 1)[0])


def gaussian_error(scheduler: SchedulerMixin, steps: int) -> float:
    """How wrong a sampler ends on data whose probability-flow ODE is solved by hand.

    For data N(0, s²) with s = ½, and y = x/α, h = σ/α, the perfect network returns
    y h / (s² + h²), and y moves along √(s² + h²). The scheduler is run on it as in a pipeline,
    from its own first step to its own last noise level.

    Returns:
        |end − exact end| / |exact end| of the latents.
    """
    scheduler.set_timesteps(steps)
    levels, start = noise_levels(scheduler), float(scheduler.init_noise_sigma)
    x = start * torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)).double()

    def up(h: float) -> float:  # from the scheduler's latents to y; those of Euler's kind are y
        return 1.0 if start != 1 else (1 + h**2) ** 0.5

    ratio = (SPREAD**2 + levels[-1] ** 2) / (SPREAD**2 + levels[0] ** 2)
    exact = x * up(levels[0]) / up(levels[-1]) * ratio**0.5
    for h, t in zip(levels[:-1], scheduler.timesteps, strict=True):
        y = scheduler.scale_model_input(x, t) * (1 + h**2) ** 0.5
        x = scheduler.step(y * h / (SPREAD**2 + h**2), t, x).prev_sample
    return float((x - exact).norm() / exact.norm())


def noise_levels(scheduler: SchedulerMixin) -> list[float]:
    """h = σ/α at each evaluation and at the end, after ``set_timesteps``."""
    if hasattr(scheduler, "sigmas"):
        return [float(h) for h in scheduler.sigmas]
    bars = [float(scheduler.alphas_cumprod[int(t)]) for t in scheduler.timesteps]
    return [((1 - a) / a) ** 0.5 for a in (*bars, float(scheduler.final_alpha_cumprod))]


def guidance_geometry(
    pipeline: DiffusionPipeline, captions: Sequence[str], recipe: Recipe
) -> pd.DataFrame:
    """What guidance has to go on at each evaluation of one batch: means over the captions.

    Returns:
        one row an evaluation: ``timestep``; ``cosine`` of the two outputs; ``difference`` and
        ``across``: the size of ε(c) − ε(∅), and of its part across ε(∅), over the size of ε(∅).

    Raises:
        AtlasError: the recipe has no guidance.
    """
    if recipe.guidance <= 1:
        raise AtlasError("Without guidance the UNet gives one answer; use a guidance above 1.")
    seen: list[dict[str, float]] = []

    def look(_: nn.Module, args: tuple, output: Any) -> None:
        empty, told = output[0].float().flatten(1).chunk(2)
        seen.append({"timestep": int(args[1]), **_geometry(empty, told)})

    hook = pipeline.unet.register_forward_hook(look)
    try:
        draw(pipeline, captions, recipe, batch=len(captions))
    finally:
        hook.remove()
    return pd.DataFrame(seen)


def _geometry(empty: Tensor, told: Tensor) -> dict[str, float]:
    difference, size = told - empty, empty.norm(dim=1)
    along = (difference * empty).sum(dim=1) / size
    across = (difference.square().sum(dim=1) - along.square()).clamp(min=0).sqrt()
    return {
        "cosine": float(torch.cosine_similarity(empty, told).mean()),
        "difference": float((difference.norm(dim=1) / size).mean()),
        "across": float((across / size).mean()),
    }


def spread(latents: Tensor) -> float:
    """The mean distance (see :func:`distance`) between two of n latents; n ≥ 2.

    Raises:
        AtlasError: there is only one.
    """
    flat = latents.flatten(1)
    if len(flat) < 2:
        raise AtlasError("A spread needs two pictures or more; draw another one.")
    return float(torch.pdist(flat).mean() / flat.shape[1] ** 0.5)


def altered(scene: Scene) -> dict[str, Scene]:
    """Twins of a scene with two objects or more, each with one thing changed: the colour of the
    first object, its shape, or its place, which it swaps with the second one."""
    first, second, *others = scene.things
    hues, kinds = list(COLOURS), list(SHAPES)
    hue = hues[hues.index(first.colour) - 1]
    kind = kinds[kinds.index(first.shape) - 1]
    swapped = replace(first, x=second.x, y=second.y), replace(second, x=first.x, y=first.y)
    return {
        "another colour": replace(scene, things=(replace(first, colour=hue), second, *others)),
        "another shape": replace(scene, things=(replace(first, shape=kind), second, *others)),
        "places swapped": replace(scene, things=(*swapped, *others)),
    }


def told_apart(a: Tensor, b: Tensor, alpha_bar: Tensor) -> Tensor:
    """How often the best possible observer says which of two known latents lies under the noise.

    With both equally likely it takes the nearer one, and is right with probability
    Φ(√SNR ‖a − b‖ / 2); ½ is chance.

    Args:
        a, b: (n, c, h, w) latents, compared pair by pair.
        alpha_bar: (T,) shares of the clean latent, see :mod:`unet_atlas.schedules`.

    Returns:
        (T,) float64, the mean over the pairs.
    """
    apart = (a - b).double().flatten(1).norm(dim=1)
    reach = schedules.snr(alpha_bar.double()).sqrt()[:, None] * apart / 2
    return torch.special.ndtr(reach).mean(dim=1)


def settled_by(shares: pd.DataFrame, part: float = 0.9) -> dict[str, int]:
    """From which step on (of the index) each column keeps to at least ``part`` of its last value;
    earliest first. Columns that end at zero are left out."""
    found = {}
    for column in shares:
        short = shares.index[shares[column] < part * shares[column].iloc[-1]]
        if shares[column].iloc[-1] > 0:
            place = shares.index.get_loc(short[-1]) + 1 if len(short) else 0
            found[column] = shares.index[place]
    return dict(sorted(found.items(), key=lambda item: item[1]))


def objects_read(images: np.ndarray) -> list[list[tuple[str, str]]]:
    """Colour and shape of the objects that the oracle reads in each picture, from left to right."""
    return [[(thing.colour, thing.shape) for thing in read(image).things] for image in images]


def mean_centre(images: np.ndarray) -> tuple[float, float, float]:
    """Where the objects are that the oracle reads.

    Returns:
        mean x and y of their centres in pixels, NaN without objects, and the share of the pictures
        that hold one.
    """
    found = [read(image).things for image in images]
    places = [(thing.x, thing.y) for things in found for thing in things]
    x, y = np.mean(places, axis=0) if places else (np.nan, np.nan)
    return float(x), float(y), float(np.mean([bool(things) for things in found]))


@torch.inference_mode()
def draw_divided(
    pipeline: DiffusionPipeline, texts: Sequence[str], recipe: Recipe, n: int
) -> np.ndarray:
    """Pictures of an SDXL pipeline whose three texts come from three prompts.

    Args:
        texts: for the tokens of the first encoder, those of the second, and the pooled text.
        recipe: without a negative prompt; guidance starts from zeros.
        n: pictures, from seeds 0 to n − 1.

    Returns:
        (n, H, W, 3) uint8; for three equal texts what :func:`~unet_atlas.sampling.sample` draws.
    """
    tokens, _, pooled, _ = pipeline.encode_prompt(list(texts), do_classifier_free_guidance=False)
    cut = pipeline.text_encoder.config.hidden_size
    told = torch.cat([tokens[:1, :, :cut], tokens[1:2, :, cut:]], dim=2).repeat(n, 1, 1)
    whole = pooled[2:].repeat(n, 1)
    with quiet(), scheduled(pipeline, recipe):
        images = pipeline(
            prompt_embeds=told,
            pooled_prompt_embeds=whole,
            negative_prompt_embeds=torch.zeros_like(told),
            negative_pooled_prompt_embeds=torch.zeros_like(whole),
            num_inference_steps=recipe.steps,
            guidance_scale=recipe.guidance,
            generator=[torch.Generator().manual_seed(seed_of(0, i)) for i in range(n)],
            output_type="np",
        ).images
    return as_uint8(images, "The pipeline's pictures")


@torch.inference_mode()
def starting_text(pipeline: DiffusionPipeline, negative: str | None) -> list[Tensor]:
    """What guidance starts from under a negative prompt, or under none.

    Returns:
        the tokens (1, length, width); for SDXL the pooled text (1, width) as well.
    """
    _, tokens, *pooled = pipeline.encode_prompt(
        ["a circle"],
        device=pipeline.device,
        num_images_per_prompt=1,
        do_classifier_free_guidance=True,
        negative_prompt=None if negative is None else [negative],
    )
    return [tokens, *pooled[1:]]
