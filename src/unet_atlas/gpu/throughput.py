"""Images a second: so many guided steps and the VAE, by the best recipe, at growing batches.

The compiler is told that the batch may be of any size, so that one compilation serves all; that
may cost a little speed against a compilation for each. Book: *Batch, resolution, throughput*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from unet_atlas.gpu.bench import (
    OUT_OF_MEMORY,
    Bench,
    Job,
    Row,
    attempt,
    highest,
    model_bytes,
    tidy,
    timed,
)
from unet_atlas.gpu.decoding import Way, decode, decoder, random_latents
from unet_atlas.gpu.guided import Measured, Shop, guided, measured, step_macs
from unet_atlas.gpu.ladder import NEEDS, Work
from unet_atlas.gpu.recipes import FUSED, REGIONAL, WHOLE, Recipe, attention, eager, settings

STEPS = 20  # of one picture
BATCHES = (1, 2, 4, 8, 16, 32, 64)
QUICK_BATCHES = (1, 4, 16)
WIDE = 64  # from here on diffusers' upsampling takes another path, which is compiled anew
GRAPHS_BELOW = 8  # images; above, kernels are longer than their launches
PER_IMAGE = 0.6  # seconds of a batch for each of its images
DECODER = Way("channels last", "bf16", channels_last=True)
Choice = Callable[[Work], Recipe]


def jobs(bench: Bench, works: Sequence[Work], choose: Choice, batches: Sequence[int]) -> list[Job]:
    """One job a work and batch.

    Args:
        choose: the recipe of a work, asked when its first job runs.
    """
    state = _State(bench, choose)
    return [
        Job(f"{w.name}, batch {n}", partial(_row, state, w, n), partial(state.needs, w, n))
        for w in works
        for n in batches
    ]


class _State:
    """What one batch leaves to the next: the UNet, the VAE, and whether memory has run out."""

    def __init__(self, bench: Bench, choose: Choice):
        self.bench, self.choose, self.shop = bench, choose, Shop(bench)
        self.recipes: dict[str, Recipe] = {}
        self.full: set[str] = set()
        self.wide: set[tuple[str, int]] = set()
        self.vae: tuple[str, AutoencoderKL] | None = None

    def recipe(self, work: Work) -> Recipe:
        """The recipe of a work, for any batch; blocks alone are compiled where time is short."""
        if work.name not in self.recipes:
            chosen = replace(self.choose(work), any_batch=True)
            if chosen.compiled == WHOLE and self.bench.left < NEEDS[WHOLE]:
                chosen = replace(chosen, name=f"{chosen.name}, regional", compiled=REGIONAL)
            self.recipes[work.name] = chosen
        return self.recipes[work.name]

    def needs(self, work: Work, batch: int) -> float:
        """Seconds without which a batch is not begun; more where something must be compiled."""
        recipe = self.recipes.get(work.name)
        seconds = 2.0
        if recipe is None or not self.shop.holds(work.model, recipe):
            seconds = NEEDS[REGIONAL]
        elif 2 * batch >= WIDE and (work.name, batch) not in self.wide:
            seconds = NEEDS[recipe.compiled]
        return (seconds + PER_IMAGE * batch) / (4 if self.bench.quick else 1)

    def decoder(self, work: Work) -> AutoencoderKL:
        """The VAE of a work; the one of the work before is let go."""
        if self.vae is None or self.vae[0] != work.name:
            self.vae = None
            self.vae = (work.name, decoder(self.bench, work, DECODER))
        return self.vae[1]


def _row(state: _State, work: Work, batch: int) -> Iterator[Row]:
    """The row of a batch; where a smaller one did not fit, it is not tried."""
    found, note = None, OUT_OF_MEMORY
    if work.name not in state.full:
        found, note = attempt(lambda: _measure(state, work, state.recipe(work), batch))
    if note not in ("", OUT_OF_MEMORY) and state.recipes[work.name].compiled:
        state.bench.say(f"  compiled for any batch, {work.name} fails: {note}")
        state.recipes[work.name] = eager(graphs=False)
        found, note = attempt(lambda: _measure(state, work, state.recipe(work), batch))
    if note == OUT_OF_MEMORY:
        state.full.add(work.name)
    recipe = state.recipe(work)
    tidy(state.bench)
    empty = {"step": None, "decode": None, "samples": [], "images_per_second": None, "peak": None}
    yield {
        "work": work.name,
        "model": work.model,
        "latent": work.latent,
        "batch": batch,
        "rung": _rung(recipe, batch),
        "dtype": recipe.dtype,
        **(found or empty),
        "macs": batch * step_macs(work.model, work.latent).total,
        "note": note,
    }


def _rung(recipe: Recipe, batch: int) -> str:
    """The name of what is run at a batch; large ones leave CUDA graphs out."""
    return recipe.name + (", without graphs" if recipe.graphs and batch >= GRAPHS_BELOW else "")


def _measure(state: _State, work: Work, recipe: Recipe, batch: int) -> dict[str, Any]:
    bench, vae = state.bench, state.decoder(work)
    with settings(recipe):
        step = _step(state, work, recipe, batch)
        latents = random_latents(bench, work, vae, batch)
        call = partial(decode, vae, latents)
        with attention(FUSED):
            decoding = timed(bench, [call]).milliseconds
            peak = model_bytes(state.shop.unet) + highest(bench, call)
    return {
        "step": step.timing.milliseconds,
        "decode": decoding,
        "samples": list(step.timing.samples),
        "images_per_second": 1000 * batch / (STEPS * step.timing.milliseconds + decoding),
        "peak": max(step.peak, peak) + model_bytes(vae),
    }


def _step(state: _State, work: Work, recipe: Recipe, batch: int) -> Measured:
    if 2 * batch >= WIDE:
        state.wide.add((work.name, batch))
    unet, _ = state.shop.take(work.model, recipe)
    step = guided(state.bench, unet, work.latent, batch, any_batch=bool(recipe.compiled))
    return measured(state.bench, step, recipe.graphs and batch < GRAPHS_BELOW)
