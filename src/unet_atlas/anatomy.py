"""From a live UNet to rows: one a stage, one a block; parameters add up exactly.

Everything is read from the modules, nothing from the configuration's own words: there,
``attention_head_dim`` is a number of heads (diffusers issue 2011) and SDXL's
``transformer_layers_per_block`` begins with a 1 that no module uses.
Book: *Stage by stage*. Upstream: diffusers, ``models/unets/unet_2d_blocks.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D, ResnetBlockCondNorm2D
from diffusers.models.transformers.dual_transformer_2d import DualTransformer2DModel
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets.unet_2d_blocks import KAttentionBlock
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn

from unet_atlas.build import latent_side

STEM, MID, HEAD = "stem", "mid", "head"
HEAD_MODULES = ("conv_norm_out", "conv_act", "conv_out")
RESNETS = (ResnetBlock2D, ResnetBlockCondNorm2D)
ATTENTIONS = (Transformer2DModel, DualTransformer2DModel, KAttentionBlock, Attention)


@dataclass(frozen=True)
class Stage:
    """One stage of the U: a down block, the middle, an up block, or the stem or head around it.

    ``level`` 0 works at the latent's full size, each further one at half of it. ``depths`` holds
    the number of transformer blocks of each attention module, in order; ``heads``, ``head_dim`` and
    ``cross_attention_dim`` are ``None`` where the stage has no attention. ``params`` sum over the
    stages to the model's total.
    """

    key: str
    block: str
    level: int | None
    size: tuple[int, int] | None
    channels_in: int
    channels_out: int
    resnets: int
    depths: tuple[int, ...]
    heads: int | None
    head_dim: int | None
    cross_attention_dim: int | None
    projection: str | None
    resampler: str | None
    params: int


@dataclass(frozen=True)
class Block:
    """One part of a stage: a resnet, an attention module, a resampler, an embedding or a conv."""

    stage: str
    path: str
    kind: str
    channels_in: int | None
    channels_out: int | None
    transformer_blocks: int
    heads: int | None
    head_dim: int | None
    cross_attention_dim: int | None
    params: int


def total_params(model: nn.Module) -> int:
    """Number of parameters, each counted once."""
    return sum(p.numel() for p in model.parameters())


def stage_of(path: str) -> str:
    """The stage that a module or parameter path belongs to: ``down_blocks.1.…`` → ``down 1``."""
    first, *rest = path.split(".")
    if first in ("down_blocks", "up_blocks"):
        return f"{first.removesuffix('_blocks')} {rest[0]}"
    if first == "mid_block":
        return MID
    return HEAD if first in HEAD_MODULES else STEM


def stages(
    unet: UNet2DConditionModel, resolution: int | None = None, latent: int | None = None
) -> tuple[Stage, ...]:
    """One row a stage, from stem to head.

    Args:
        resolution, latent: size at which ``size`` is given; by default the configuration's own.
    """
    side = latent_side(unet, resolution, latent)
    params = Counter()
    for path, parameter in unet.named_parameters():
        params[stage_of(path)] += parameter.numel()
    return tuple(
        _stage(key, level, modules, side, params[key]) for key, level, modules in _walk(unet)
    )


def blocks(unet: UNet2DConditionModel) -> tuple[Block, ...]:
    """One row a block, in the order of ``named_modules``; parameters add up to the total."""
    parts = dict(_parts(unet))
    params = Counter()
    for path, parameter in unet.named_parameters():
        owner = max((p for p in parts if path == p or path.startswith(p + ".")), key=len)
        params[owner] += parameter.numel()
    return tuple(_block(path, module, params[path]) for path, module in parts.items())


def levels(unet: UNet2DConditionModel) -> dict[str, int]:
    """The resolution level of each stage of the U (stem and head left out)."""
    return {key: level for key, level, _ in _walk(unet) if level is not None}


def attention_modules(module: nn.Module) -> list[Attention]:
    """Every attention layer below a module, self and cross alike."""
    return [m for m in module.modules() if isinstance(m, Attention)]


def is_cross(attention: Attention) -> bool:
    """Whether an attention layer reads its keys and values from the text.

    Layers of the ``SimpleCrossAttn`` blocks read from both; they count as cross-attention only
    where ``only_cross_attention`` leaves the image out.
    """
    if attention.added_kv_proj_dim is not None:
        return bool(attention.only_cross_attention)
    return bool(attention.is_cross_attention)


def context_dim(attention: Attention) -> int | None:
    """Width of the text that an attention layer reads, or ``None`` for pure self-attention."""
    if attention.added_kv_proj_dim is not None:
        return attention.added_kv_proj_dim
    return attention.cross_attention_dim if attention.is_cross_attention else None


def _walk(unet: UNet2DConditionModel) -> Iterator[tuple[str, int | None, tuple[nn.Module, ...]]]:
    """Stages in the order of the forward pass, each with its level and its modules."""
    named = dict(unet.named_children())
    outer = [n for n in named if n not in ("down_blocks", "mid_block", "up_blocks")]
    yield STEM, None, tuple(named[n] for n in outer if n not in HEAD_MODULES)
    level = 0
    for i, block in enumerate(unet.down_blocks):
        yield f"down {i}", level, (block,)
        level += getattr(block, "downsamplers", None) is not None
    if unet.mid_block is not None:
        yield MID, level, (unet.mid_block,)
    for i, block in enumerate(unet.up_blocks):
        yield f"up {i}", level, (block,)
        level -= getattr(block, "upsamplers", None) is not None
    yield HEAD, None, tuple(named[n] for n in outer if n in HEAD_MODULES)


def _stage(
    key: str, level: int | None, modules: tuple[nn.Module, ...], side: tuple[int, int], params: int
) -> Stage:
    if level is None:
        convs = [m for m in modules if isinstance(m, nn.Conv2d)]
        name = "convolution in, embeddings" if key == STEM else "norm, convolution out"
        return Stage(
            key, name, None, side, convs[0].in_channels, convs[0].out_channels,
            0, (), None, None, None, None, None, params,
        )  # fmt: skip
    block = modules[0]
    resnets = list(block.resnets)
    layers = [a for a in _attention_list(block) if a is not None]
    heads, head_dim, context = _attention_facts(block)
    return Stage(
        key=key,
        block=type(block).__name__,
        level=level,
        size=tuple(-(-s // 2**level) for s in side),
        channels_in=block.resnets[0].in_channels,
        channels_out=block.resnets[-1].out_channels,
        resnets=len(resnets),
        depths=tuple(_depth(a) for a in layers),
        heads=heads,
        head_dim=head_dim,
        cross_attention_dim=context,
        projection=_projection(layers),
        resampler=_resampler(block),
        params=params,
    )


def _attention_list(block: nn.Module) -> nn.ModuleList | list:
    return getattr(block, "attentions", None) or []


def _depth(attention: nn.Module) -> int:
    """Transformer blocks in an attention module; 0 for a bare attention layer."""
    if isinstance(attention, DualTransformer2DModel):
        return sum(len(t.transformer_blocks) for t in attention.transformers)
    return len(getattr(attention, "transformer_blocks", ()))


def _attention_facts(module: nn.Module) -> tuple[int | None, int | None, int | None]:
    """(heads, head dim, cross-attention dim) of the attention layers below a module."""
    found = attention_modules(module)
    if not found:
        return None, None, None
    contexts = [context_dim(a) for a in found if context_dim(a) is not None]
    return found[0].heads, found[0].inner_dim // found[0].heads, next(iter(contexts), None)


def _projection(layers: list[nn.Module]) -> str | None:
    """Whether tokens enter and leave the transformer through 1×1 convolutions or linear layers."""
    for layer in layers:
        for module in layer.modules():
            if isinstance(module, Transformer2DModel):
                return "linear" if isinstance(module.proj_in, nn.Linear) else "conv"
    return None


def _resampler(block: nn.Module) -> str | None:
    for name in ("downsamplers", "upsamplers"):
        if getattr(block, name, None) is not None:
            return name.removesuffix("samplers")
    return None


def _parts(unet: UNet2DConditionModel) -> Iterator[tuple[str, nn.Module]]:
    """The blocks with parameters: outer modules, and each member of a stage's lists."""
    for name, module in unet.named_children():
        if name not in ("down_blocks", "mid_block", "up_blocks"):
            if total_params(module):
                yield name, module
            continue
        stage_list = module if isinstance(module, nn.ModuleList) else [module]
        for i, stage in enumerate(stage_list):
            prefix = f"{name}.{i}" if isinstance(module, nn.ModuleList) else name
            for kind, members in stage.named_children():
                for j, member in enumerate(members) if isinstance(members, nn.ModuleList) else ():
                    yield f"{prefix}.{kind}.{j}", member


def _block(path: str, module: nn.Module, params: int) -> Block:
    heads, head_dim, context = (
        _attention_facts(module) if isinstance(module, ATTENTIONS) else (None, None, None)
    )
    return Block(
        stage=stage_of(path),
        path=path,
        kind=type(module).__name__,
        channels_in=_width(module, "in"),
        channels_out=_width(module, "out"),
        transformer_blocks=_depth(module),
        heads=heads,
        head_dim=head_dim,
        cross_attention_dim=context,
        params=params,
    )


def _width(module: nn.Module, side: str) -> int | None:
    """Channels or features that enter (``in``) or leave (``out``) a block."""
    if isinstance(module, Attention):
        return module.query_dim if side == "in" else module.out_dim
    for attribute in (f"{side}_channels", f"{side}_features", "num_channels", "channels"):
        value = getattr(module, attribute, None)
        if isinstance(value, int):
            return value
    linears = [m for m in module.modules() if isinstance(m, nn.Linear)]
    if not linears:
        return None
    return linears[0].in_features if side == "in" else linears[-1].out_features
