"""From captions to pictures, one seed a prompt, with everything that a reader needs to redo them.

Picture k is drawn from its own caption, its own seed and the recipe; batch size, order and process
don't enter. Only the last bits of a float do depend on the batch, because matrix products are cut
into blocks by size: a value on the edge between two of the 256 levels may then round either way.

Book: *From noise to picture*. Upstream: diffusers, ``pipelines/``.
"""

from __future__ import annotations

import hashlib
import inspect
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import diffusers
import numpy as np
import torch
import transformers
from diffusers import DiffusionPipeline, SchedulerMixin
from PIL import Image

from unet_atlas import __version__
from unet_atlas.errors import AtlasError, first_sentence
from unet_atlas.images import as_uint8
from unet_atlas.sampling.pipelines import quiet
from unet_atlas.sampling.samplers import check_sampler, essentials, scheduler_for, using

SEEDS = 2**32  # torch's generator on the CPU reads no more than 32 bits of a seed
STRIDE = 0x9E3779B1  # odd, and far from 0: runs of different base seeds don't overlap
MAX_STEPS = 1000
OURS = ("self", "num_inference_steps", "guidance_scale", "num_images_per_prompt", "generator")
OURS += ("latents", "timesteps", "sigmas", "output_type", "return_dict", "kwargs")
PER_PROMPT = ("image", "image_embeds")  # one for all, or one a prompt


class OutOfMemory(AtlasError):
    """So many pictures at once are too many; fewer may do."""


@dataclass(frozen=True)
class Recipe:
    """How to sample; the rest is the pipeline's own.

    Attributes:
        sampler: a key of :data:`unet_atlas.sampling.SAMPLERS`, or ``own`` for the pipeline's own.
        steps: denoising steps; PNDM and Heun evaluate the UNet more often than that.
        guidance: w of ε(∅) + w (ε(c) − ε(∅)); 1 is no guidance.
        negative: the text that takes the place of ∅; empty for what the pipeline was trained with.

    Raises:
        AtlasError: an unknown sampler or a number out of range.
    """

    sampler: str = "ddim"
    steps: int = 25
    guidance: float = 5.0
    negative: str = ""

    def __post_init__(self) -> None:
        check_sampler(self.sampler)
        if type(self.steps) is not int or not 1 <= self.steps <= MAX_STEPS:
            raise AtlasError(f"{self.steps!r} steps can't be taken; use 1 to {MAX_STEPS}.")
        if self.sampler == "pndm" and self.steps < 2:
            raise AtlasError("PNDM can't sample in one step; take 2 or more.")
        if not math.isfinite(self.guidance) or self.guidance < 1:
            raise AtlasError(
                f"Guidance {self.guidance:g} is below 1, which diffusers takes for 1 (none); "
                "use 1 or more, and an empty caption for an unconditional picture."
            )


@dataclass(frozen=True)
class Sampled:
    """Pictures with what they were drawn from.

    Attributes:
        images: (n, h, w, 3) uint8.
        captions, seeds: n of each.
        provenance: see :func:`provenance`; plus ``batch``, ``seconds`` and ``truncated``, the
            captions that are longer than the text encoder reads.
    """

    images: np.ndarray
    captions: tuple[str, ...]
    seeds: tuple[int, ...]
    provenance: dict[str, Any]

    def digest(self) -> str:
        """sha256 of the decoded pixels: equal digests, equal pictures."""
        return pixels_digest(self.images)


def pixels_digest(images: np.ndarray) -> str:
    """sha256 of the shape and the bytes of uint8 pixels."""
    digest = hashlib.sha256(str(images.shape).encode())
    digest.update(np.ascontiguousarray(images))
    return digest.hexdigest()


def seed_of(base_seed: int, index: int) -> int:
    """The seed of prompt ``index`` in a run: distinct within a run; ``index`` itself for base 0."""
    return (base_seed * STRIDE + index) % SEEDS


def sample(
    pipeline: DiffusionPipeline,
    captions: Sequence[str],
    recipe: Recipe | None = None,
    seeds: Sequence[int] | None = None,
    base_seed: int = 0,
    batch: int = 16,
    progress: bool = False,
    **conditioning: Any,
) -> Sampled:
    """Draw one picture a caption.

    Args:
        pipeline: of :func:`load_pipeline`; its scheduler is put back afterwards.
        seeds: one a caption, 0 ≤ seed < 2³²; by default :func:`seed_of` the place.
        batch: pictures at once; changes the time and the memory, not the pictures.
        progress: show a bar.
        conditioning: what else the pipeline takes, the same for all prompts: ``original_size``,
            ``crops_coords_top_left``, ``noise_level``, …; ``image`` may be one or one a prompt.

    Raises:
        AtlasError: no captions, wrong seeds, conditioning that the pipeline doesn't take, too
            little memory, or pictures that are not finite.
    """
    recipe = recipe or Recipe()
    captions = (captions,) if isinstance(captions, str) else tuple(captions)
    seeds = _seeds(seeds, base_seed, len(captions))
    check_batch(batch)
    if not captions:
        raise AtlasError("There is nothing to draw; give one caption or more.")
    conditioned = per_prompt(pipeline, conditioning, len(captions))
    facts = provenance(pipeline, recipe, **conditioning)
    begin, images = time.perf_counter(), []
    with quiet(), using(pipeline, scheduler_for(recipe.sampler, pipeline.scheduler)):
        for at in bar(range(0, len(captions), batch), progress):
            here = slice(at, at + batch)
            mine = chosen(conditioned, range(len(captions))[here])
            floats = call(pipeline, captions[here], seeds[here], recipe, "np", mine)
            images.append(as_uint8(floats, "The pipeline's pictures"))
    facts |= {"batch": batch, "seconds": round(time.perf_counter() - begin, 3)}
    facts["truncated"] = truncated(pipeline, captions)
    return Sampled(np.concatenate(images), captions, seeds, facts)


def provenance(pipeline: DiffusionPipeline, recipe: Recipe, **conditioning: Any) -> dict[str, Any]:
    """How the pictures of a recipe are made: JSON-ready, known before the first one is drawn.

    ``evaluations`` counts the UNet's passes for one picture; a guided step has two.
    """
    scheduler = scheduler_for(recipe.sampler, pipeline.scheduler)
    scheduler.set_timesteps(recipe.steps)
    _check_steps(scheduler, recipe.steps)
    device = pipeline.device
    return {
        "model": getattr(pipeline, "atlas_label", "in memory"),
        "pipeline": type(pipeline).__name__,
        "scheduler": essentials(scheduler),
        "recipe": asdict(recipe),
        "conditioning": {k: _plain(v) for k, v in conditioning.items()},
        "evaluations": len(scheduler.timesteps) * (2 if recipe.guidance > 1 else 1),
        "dtype": str(pipeline.unet.dtype).removeprefix("torch."),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "versions": {
            "unet-atlas": __version__,
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
        },
    }


def _check_steps(scheduler: SchedulerMixin, steps: int) -> None:
    """Refuse what diffusers would answer with an index error or with junk."""
    name, trained = type(scheduler).__name__, scheduler.config.num_train_timesteps
    if float(max(scheduler.timesteps)) >= trained:
        raise AtlasError(
            f"{name} can't take {steps} of {trained} steps with this spacing; use fewer steps."
        )
    if name == "PNDMScheduler" and steps < 2:
        raise AtlasError("PNDM can't sample in one step; take 2 or more.")


def truncated(pipeline: DiffusionPipeline, captions: Sequence[str]) -> int:
    """How many captions lose their end, because they have more tokens than the encoder reads."""
    tokenizer = pipeline.tokenizer
    with quiet():
        lengths = [len(ids) for ids in tokenizer(list(captions)).input_ids]
    return sum(n > tokenizer.model_max_length for n in lengths)


def call(
    pipeline: DiffusionPipeline,
    captions: Sequence[str],
    seeds: Sequence[int],
    recipe: Recipe,
    output: str,
    conditioning: dict[str, Any] | None = None,
) -> Any:
    """One call of the pipeline, with the scheduler that it has.

    Args:
        output: ``np`` for pictures (n, h, w, 3) of floats, ``latent`` for latents (n, c, h, w).

    Raises:
        OutOfMemory: too little memory.
        AtlasError: arguments that the pipeline refuses.
    """
    try:
        return pipeline(
            prompt=list(captions),
            # None, not "": SDXL then puts zeros where it was so trained
            negative_prompt=[recipe.negative] * len(captions) if recipe.negative else None,
            num_inference_steps=recipe.steps,
            guidance_scale=recipe.guidance,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            output_type=output,
            **(conditioning or {}),
        ).images
    except RuntimeError as error:
        if not short_of_memory(error):
            raise
        raise OutOfMemory(
            f"Not enough memory for {len(captions)} pictures at once; use a smaller batch."
        ) from None
    except (ValueError, TypeError) as error:  # how diffusers refuses its arguments
        raise AtlasError(f"{type(pipeline).__name__} refuses: {first_sentence(error)}") from None


def short_of_memory(error: RuntimeError) -> bool:
    """Whether an error of torch says that a GPU's memory is full; its libraries say it as
    ``CUBLAS_STATUS_ALLOC_FAILED`` and the like."""
    return isinstance(error, torch.OutOfMemoryError) or "_ALLOC_FAILED" in str(error)


def _seeds(seeds: Sequence[int] | None, base_seed: int, n: int) -> tuple[int, ...]:
    if seeds is None:
        return tuple(seed_of(base_seed, index) for index in range(n))
    if len(seeds) != n:
        raise AtlasError(f"{len(seeds)} seeds for {n} captions; give one a caption.")
    for seed in seeds:
        if not 0 <= seed < SEEDS:
            raise AtlasError(f"Seed {seed} is out of range; torch tells 0 to 2³² − 1 apart.")
    return tuple(map(int, seeds))


def per_prompt(pipeline: DiffusionPipeline, given: dict[str, Any], n: int) -> dict[str, Any]:
    """The conditioning, checked against what the pipeline takes; images one a prompt.

    diffusers draws the noise on unCLIP's image embeddings with as many generators as there are
    embeddings, so that one image for n prompts would get the first prompt's noise for all.

    Raises:
        AtlasError: a name that the pipeline doesn't take, or neither one image nor n.
    """
    accepted = {
        name
        for name in inspect.signature(pipeline.__call__).parameters
        if name not in OURS and not name.startswith(("prompt", "negative_prompt"))
    }
    for name in given:
        if name not in accepted:
            raise AtlasError(
                f"{type(pipeline).__name__} takes no conditioning {name!r}; "
                f"it takes {', '.join(sorted(accepted))}."
            )
    return {
        k: _one_each(k, v, n) if k in PER_PROMPT and v is not None else v
        for k, v in given.items()
        if not (k in PER_PROMPT and v is None)
    }


def chosen(conditioned: dict[str, Any], prompts: Sequence[int]) -> dict[str, Any]:
    """What :func:`per_prompt` gave, for some of the prompts."""

    def rows(value: Any) -> Any:
        tensor = isinstance(value, torch.Tensor)
        return value[list(prompts)] if tensor else [value[i] for i in prompts]

    return {k: rows(v) if k in PER_PROMPT else v for k, v in conditioned.items()}


def _one_each(name: str, value: Any, n: int) -> Any:
    """n images (PIL, or the rows of a tensor) from one or n of them."""
    if isinstance(value, torch.Tensor):
        rows = value
    else:
        if isinstance(value, Image.Image) or (isinstance(value, np.ndarray) and value.ndim == 3):
            value = [value]
        rows = [v if isinstance(v, Image.Image) else Image.fromarray(v) for v in value]
    if len(rows) not in (1, n):
        raise AtlasError(f"{len(rows)} of {name!r} for {n} captions; give one, or one a caption.")
    if len(rows) == n:
        return rows
    return rows.expand(n, *rows.shape[1:]) if isinstance(rows, torch.Tensor) else rows * n


def _plain(value: Any) -> Any:
    """A value for provenance: itself where JSON knows it, else its kind and a digest."""
    if isinstance(value, np.ndarray | torch.Tensor):
        array = np.asarray(value.float().cpu() if isinstance(value, torch.Tensor) else value)
        return f"array {array.shape}, sha256 {pixels_digest(array)[:16]}"
    if isinstance(value, Image.Image):
        return _plain(np.asarray(value))
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if isinstance(value, str | int | float | None) else type(value).__name__


def check_batch(batch: int) -> None:
    """Raise an AtlasError unless pictures can be drawn so many at once."""
    if type(batch) is not int or batch < 1:
        raise AtlasError(f"{batch!r} pictures at once can't be drawn; give a batch of 1 or more.")


def bar(batches: Sequence[int], progress: bool) -> Sequence[int]:
    """The same batches, behind a progress bar or not."""
    if not progress:
        return batches
    from tqdm.auto import tqdm

    return tqdm(batches, desc="sampling", unit="batch")
