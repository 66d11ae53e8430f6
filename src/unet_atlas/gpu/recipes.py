"""What is done to a UNet to make it fast: one recipe a rung of the ladder, each on top of the last.

A recipe is data; :func:`settings` holds what it changes outside of the model while it runs, and
:func:`place` builds a UNet by it, with the same weights for every recipe. Fused QKV stands before
compilation, so that it needs no compilation of its own. Book: *The speed ladder*. Upstream: the
order and the compiler's settings follow diffusers' guide on fast diffusion.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import diffusers.utils
import torch
import torch._dynamo
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from unet_atlas.build import build_unet
from unet_atlas.errors import AtlasError
from unet_atlas.gpu.bench import Bench, precision, seeded
from unet_atlas.gpu.ceilings import has_fp8
from unet_atlas.gpu.quantised import FP8, INT8, quantise

PLAIN, FUSED, CUDNN = "plain", "fused", "cuDNN"
REGIONAL, WHOLE = "regional", "whole"
RECOMPILATIONS = 64  # kinds of transformer block that one piece of code may be compiled for


@dataclass(frozen=True)
class Recipe:
    """One way to run a UNet.

    ``dtype`` is that of the products as rows name it. ``attention`` is a kind of :func:`attention`.
    ``compiled`` is empty, ``regional`` (each transformer block) or ``whole``. ``any_batch``
    compiles once for all batch sizes.
    """

    name: str
    dtype: str = "fp32"
    attention: str = PLAIN
    channels_last: bool = False
    fused_qkv: bool = False
    compiled: str = ""
    graphs: bool = False
    any_batch: bool = False

    @property
    def weights(self) -> torch.dtype:
        """The dtype of weights and activations."""
        return torch.float32 if self.dtype in ("fp32", "tf32") else torch.bfloat16

    @property
    def quantised(self) -> bool:
        """Whether linear layers are rounded to 8 bits."""
        return self.dtype in (FP8, INT8)


CHANGES = (  # a rung's name, and what it changes in the recipe before
    ("fp32", {}),
    ("tf32", {"dtype": "tf32"}),
    ("bf16", {"dtype": "bf16"}),
    ("fused attention", {"attention": FUSED}),
    ("cuDNN attention", {"attention": CUDNN}),
    ("channels last", {"channels_last": True}),
    ("fused QKV", {"fused_qkv": True}),
    ("compile, regional", {"compiled": REGIONAL}),
    ("compile, whole", {"compiled": WHOLE}),
    ("CUDA graphs", {"graphs": True}),
    ("fp8", {"dtype": FP8}),
)


def ladder(eight_bits: str = FP8) -> tuple[Recipe, ...]:
    """The recipes from fp32 to the last rung, each the one before with one change.

    Args:
        eight_bits: ``fp8``, or ``int8`` where the device has no products in fp8.
    """
    rungs: list[Recipe] = []
    for name, change in CHANGES:
        if name == FP8:
            name, change = eight_bits, {"dtype": eight_bits}
        before = rungs[-1] if rungs else Recipe(name)
        rungs.append(replace(before, name=name, **change))
    return tuple(rungs)


def quick_ladder() -> tuple[Recipe, ...]:
    """The rungs that need no compilation of a whole UNet; CUDA graphs follow regional ones."""
    rungs = [r for r in ladder() if r.compiled != WHOLE]
    return (*rungs, replace(rungs[-1], name="CUDA graphs", graphs=True))


def eager(graphs: bool = True) -> Recipe:
    """bf16 with the best attention and no compiler; as a CUDA graph, launches don't count."""
    return Recipe("eager", "bf16", CUDNN, graphs=graphs)


def eight_bits(bench: Bench) -> str:
    """The kind of 8-bit product that the device has."""
    return FP8 if has_fp8(bench.device) else INT8


def place(bench: Bench, source: str, recipe: Recipe) -> UNet2DConditionModel:
    """A UNet by a recipe on the bench's device; nothing is compiled before its first call.

    The weights are drawn in fp32 from the bench's seed and then rounded, so that the outputs of all
    recipes can be compared.
    """
    with seeded(bench.seed), torch.no_grad():
        unet = cast(build_unet(source, bench.device), recipe.weights)
        plain = recipe.attention == PLAIN
        unet.set_attn_processor(AttnProcessor() if plain else AttnProcessor2_0())
        if recipe.channels_last:
            unet.to(memory_format=torch.channels_last)
        if recipe.fused_qkv:
            unet.fuse_qkv_projections()
        if recipe.quantised and not quantise(unet, recipe.dtype):
            raise AtlasError(f"{unet.atlas_label} has no linear layer that {recipe.dtype} fits.")
    if recipe.compiled:
        _compile(bench, unet, recipe)
    return unet.requires_grad_(False)


def cast(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The model in another dtype; diffusers' own ``to`` warns of a loss that is wanted here."""
    return nn.Module.to(model, dtype)


def _compile(bench: Bench, unet: UNet2DConditionModel, recipe: Recipe) -> None:
    how = {"backend": bench.backend, "fullgraph": True}
    # the whole UNet's inputs can be marked (see guided.py); those of its inner blocks can't
    any_size = True if recipe.compiled == REGIONAL else None
    how["dynamic"] = any_size if recipe.any_batch else False
    if recipe.compiled == REGIONAL:
        unet.compile_repeated_blocks(**how)
    else:
        unet.compile(**how)


@contextmanager
def settings(recipe: Recipe) -> Iterator[None]:
    """Everything that a recipe sets outside of the model, and as it was before afterwards."""
    with ExitStack() as stack:
        stack.enter_context(precision(tf32=recipe.dtype != "fp32"))
        stack.enter_context(attention(recipe.attention))
        stack.enter_context(without_adapters())
        if recipe.compiled:
            import torch._inductor.config as inductor  # takes seconds

            stack.enter_context(inductor.patch({"conv_1x1_as_mm": True}))
            stack.enter_context(torch._dynamo.config.patch(recompile_limit=RECOMPILATIONS))
            stack.enter_context(quiet_compiler())
        yield


@contextmanager
def attention(kind: str) -> Iterator[None]:
    """Fused attention in an order of its own, whatever PyTorch would try first on this device.

    ``fused`` is FlashAttention where it fits (16 bits, heads of at most 256 channels), and the
    memory-efficient kernel where it doesn't. ``cuDNN`` tries cuDNN's kernel before these. ``plain``
    writes the scores out and asks for no kernel. Upstream: ``torch.nn.attention.sdpa_kernel``.
    """
    order = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    if kind == CUDNN:
        order.insert(0, SDPBackend.CUDNN_ATTENTION)
    with ExitStack() as stack:
        if kind != PLAIN:
            stack.enter_context(sdpa_kernel(order, set_priority=True))
        yield


@contextmanager
def without_adapters() -> Iterator[None]:
    """As if peft were not installed: diffusers imports it in every forward, which can't compile.

    No model here has an adapter. Upstream: ``diffusers.utils.peft_utils.apply_lora_scale``.
    """
    before = diffusers.utils.USE_PEFT_BACKEND
    diffusers.utils.USE_PEFT_BACKEND = False
    try:
        yield
    finally:
        diffusers.utils.USE_PEFT_BACKEND = before


@contextmanager
def quiet_compiler() -> Iterator[None]:
    """Without the compiler's warning of caches in diffusers, which change nothing here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Dynamo detected a call to a `functools.lru_cache`")
        yield


@contextmanager
def cold_compiler(bench: Bench) -> Iterator[None]:
    """An empty cache for the compiler: what takes how long is then what a first run takes."""
    if not bench.cuda:
        yield
        return
    from torch._inductor.utils import fresh_cache

    with fresh_cache():
        yield
