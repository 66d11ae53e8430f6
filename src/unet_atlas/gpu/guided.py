"""One guided step, all of it on the device: two forwards in one batch, guidance, an Euler update.

There is no scheduler around it: its few numbers cost nothing. Book: *The speed ladder*.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from unet_atlas import formula
from unet_atlas.build import build_unet
from unet_atlas.config import resolve
from unet_atlas.cost import count
from unet_atlas.errors import AtlasError
from unet_atlas.gpu.bench import (
    Bench,
    Call,
    Timing,
    captured,
    highest,
    model_bytes,
    random_inputs,
    side_stream,
    tidy,
    time_line,
    timed,
)
from unet_atlas.gpu.recipes import Recipe, cold_compiler, place
from unet_atlas.roles import ATTENTION_PRODUCTS

GUIDANCE, STRIDE = 7.5, -0.05  # how far the text pulls; how far one step goes
LATENTS = 4  # noises in rotation; the weights are larger than any cache


@dataclass(frozen=True)
class Guided:
    """A UNet, its condition for so many images, and noises to begin from."""

    unet: UNet2DConditionModel
    condition: Mapping[str, Any]
    latents: tuple[Tensor, ...]
    any_batch: bool = False

    def step(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """The next latent (B, C, h, w), and the UNet's output for both texts (2B, C, h, w)."""
        with torch.no_grad():
            sample = torch.cat([latent, latent])
            if self.any_batch:
                _mark({"sample": sample, **self.condition})
            output = self.unet(sample, **self.condition, return_dict=False)[0]
            without, with_text = output.chunk(2)
            return latent + STRIDE * (without + GUIDANCE * (with_text - without)), output


@dataclass(frozen=True)
class Measured:
    """A guided step: its times, its first call's seconds, its bytes at most, an output.

    The first call compiles where that is to be done, and then it takes the first step.
    """

    timing: Timing
    first: float
    peak: int
    output: Tensor


def guided(
    bench: Bench, unet: UNet2DConditionModel, latent: int, images: int = 1, any_batch: bool = False
) -> Guided:
    """A guided step of so many images, with random noises and texts."""
    condition = random_inputs(unet, latent, 2 * images, bench.seed)
    shape = (images, *condition.pop("sample").shape[1:])
    generator = torch.Generator(unet.device).manual_seed(bench.seed + 1)
    drawn = [torch.randn(shape, generator=generator, device=unet.device) for _ in range(LATENTS)]
    return Guided(unet, condition, tuple(t.to(unet.dtype) for t in drawn), any_batch)


def measured(bench: Bench, step: Guided, graphs: bool) -> Measured:
    """Run a guided step as long as the bench's effort says.

    With CUDA graphs the step's kernels are captured once; each replay begins with a copy of the
    noise to where the capture found it.
    """
    start = bench.now()
    step.step(step.latents[0])
    time_line(bench).wait()
    first = bench.now() - start
    if graphs and bench.cuda:
        side_stream(bench.device)
    made: list[Call] = []
    peak = highest(bench, lambda: made.extend(_calls(bench, step, graphs)))
    timing = timed(bench, made)
    output = made[0]()[1].float().clone()  # of what was timed; a replay overwrites its own
    if not torch.isfinite(output).all():
        raise ArithmeticError("the output is not finite")
    return Measured(timing, first, peak + model_bytes(step.unet), output)


def _calls(bench: Bench, step: Guided, graphs: bool) -> list[Call]:
    """One call a noise; they run once, or are captured, so that their memory is seen."""
    if not graphs:
        step.step(step.latents[-1])
        return [partial(step.step, latent) for latent in step.latents]
    fixed = step.latents[0].clone()
    replay = captured(bench, partial(step.step, fixed))

    def call(latent: Tensor) -> Any:
        fixed.copy_(latent)
        return replay()

    return [partial(call, latent) for latent in step.latents]


class StepMacs(NamedTuple):
    """MACs of a guided step: all, and those of attention products."""

    total: int
    attention: int


class Shop:
    """Holds one UNet at a time: that of the last recipe.

    A recipe that differs in CUDA graphs only takes over the compiled UNet of the one before. Each
    compiled UNet begins with a cold cache of its own, so that the seconds of its first call, which
    are those of compilation and of the first step, are what a first run takes.
    """

    def __init__(self, bench: Bench):
        self.bench, self.key, self.unet = bench, None, None
        self.cache = ExitStack()
        weakref.finalize(self, self.cache.close)  # a shop may go without being cleared

    def holds(self, source: str, recipe: Recipe) -> bool:
        """Whether the UNet of a recipe is at hand."""
        return self.key == (source, _without_graphs(recipe))

    def take(self, source: str, recipe: Recipe) -> tuple[UNet2DConditionModel, bool]:
        """The UNet of a recipe, and whether it was made anew."""
        if self.holds(source, recipe):
            return self.unet, False
        self.clear()
        if recipe.compiled:
            self.cache.enter_context(cold_compiler(self.bench))
        self.unet = place(self.bench, source, recipe)
        self.key = (source, _without_graphs(recipe))
        return self.unet, True

    def clear(self) -> None:
        """Let go of the UNet, and of what was compiled for it."""
        self.key = self.unet = None
        torch._dynamo.reset()
        self.cache.close()
        tidy(self.bench)


@lru_cache(maxsize=64)
def step_macs(source: str, latent: int) -> StepMacs:
    """MACs of a guided step of one image; twice the images are twice the MACs.

    By the closed formula, which is instant; by the counter where the formula does not reach.
    """
    _, config = resolve(source)
    try:
        if latent % 2 ** len(config["block_out_channels"]):
            raise AtlasError("odd sizes are padded on the way up, which the formula leaves out.")
        macs = formula.macs(config, (latent, latent), batch=2)
    except AtlasError:
        macs = count(build_unet(source), latent=latent, batch=2).by_operation()
    return StepMacs(sum(macs.values()), sum(macs.get(name, 0) for name in ATTENTION_PRODUCTS))


def _without_graphs(recipe: Recipe) -> tuple[Any, ...]:
    fields = {**vars(recipe), "name": "", "graphs": False}
    return tuple(fields.values())


def _mark(inputs: Mapping[str, Any]) -> None:
    """Tell the compiler that the batch, the first side of every input, may be of any size."""
    for value in inputs.values():
        if isinstance(value, Mapping):
            _mark(value)
        elif isinstance(value, Tensor):
            torch._dynamo.maybe_mark_dynamic(value, 0)
