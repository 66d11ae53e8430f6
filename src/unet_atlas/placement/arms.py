"""The arms of the study: UNets that differ in where their transformer blocks are.

At fixed channels no two placements have the same MACs *and* the same parameters: a weight at a
level of N positions costs about N MACs, so moving blocks down saves MACs for each parameter. What
can give way is the channels, and :func:`matches` finds by an exact search those that do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

from unet_atlas import config, formula
from unet_atlas.mini.members import LATENT_CHANNELS, LATENT_SIDE, TOKENS

TOLERANCE = 0.02  # of MACs and of parameters, against the even arm
Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Scale:
    """What all arms of one size share.

    Attributes:
        channels, depth: of the even arm: its widths by level, and its blocks a transformer.
        step: widths are multiples of it; also the groups of each norm.
        heads: of every attention layer.
        layers: ResNet blocks a level on the way down; one more on the way up.
    """

    channels: Triple
    depth: int
    step: int
    heads: int
    layers: int = 1


@dataclass(frozen=True)
class Arm:
    """One UNet of the study.

    Attributes:
        depths: transformer blocks in each transformer of a level, from the finest level down. The
            middle has as many as the coarsest level, and one where that has none, as SD 1 and 2.
        channels: by level.
    """

    name: str
    depths: Triple
    channels: Triple


@dataclass(frozen=True)
class Size:
    """Parameters, and MACs of one forward pass on a 16 × 16 latent with 24 tokens of text."""

    params: int
    macs: int

    def off(self, other: Size) -> tuple[float, float]:
        """Relative differences to another size: of parameters, of MACs."""
        return self.params / other.params - 1, self.macs / other.macs - 1


def unet_config(scale: Scale, depths: Triple, channels: Triple) -> dict[str, Any]:
    """What ``UNet2DConditionModel`` is built from."""
    return {
        "sample_size": LATENT_SIDE,
        "in_channels": LATENT_CHANNELS,
        "out_channels": LATENT_CHANNELS,
        "block_out_channels": channels,
        "layers_per_block": scale.layers,
        "norm_num_groups": scale.step,
        "down_block_types": tuple(f"{'CrossAttn' * bool(d)}DownBlock2D" for d in depths),
        "up_block_types": tuple(f"{'CrossAttn' * bool(d)}UpBlock2D" for d in reversed(depths)),
        "transformer_layers_per_block": tuple(max(d, 1) for d in depths),
        "attention_head_dim": scale.heads,  # the number of heads, see the chapter on attention
        "use_linear_projection": True,
        "cross_attention_dim": 48,  # of mini-sd's text encoder
    }


@cache
def size(scale: Scale, depths: Triple, channels: Triple) -> Size:
    """Parameters and MACs by the closed formula."""
    checked = config.check(unet_config(scale, depths, channels), "arm")
    macs = formula.macs(checked, (LATENT_SIDE, LATENT_SIDE), 1, TOKENS)
    return Size(formula.params(checked), sum(macs.values()))


def even(scale: Scale) -> Arm:
    """The arm that all others are matched to: as many blocks at every level."""
    return Arm("even", (scale.depth,) * 3, scale.channels)


def matches(
    scale: Scale, depths: Sequence[Triple], tolerance: float = TOLERANCE
) -> list[tuple[float, Triple, Triple]]:
    """Every (distance, depths, channels) with the even arm's MACs and parameters, nearest first.

    Channels are multiples of ``scale.step`` that don't fall from level to level, each between a
    quarter and the double of the even arm's. The distance is the sum over the levels of
    |ln(channels ÷ even channels)|.
    """
    target = size(scale, even(scale).depths, scale.channels)
    found = []
    for depth in depths:
        for fine, middle in product(*(_widths(scale, level) for level in (0, 1))):
            if fine <= middle:
                for coarse in _fitting(scale, depth, fine, middle, target.params, tolerance):
                    channels = (fine, middle, coarse)
                    macs = size(scale, depth, channels).macs
                    if abs(macs / target.macs - 1) <= tolerance:
                        found.append((_distance(channels, scale.channels), depth, channels))
    return sorted(found)


def equal_macs(
    scale: Scale, depths: Sequence[Triple], tolerance: float = TOLERANCE
) -> list[tuple[float, Triple, Triple]]:
    """Every (distance, depths, channels) that has the even arm's MACs, parameters as they come.

    Each width is the even arm's or one step off. Nearest first, more parameters first among equals.
    """
    target = size(scale, even(scale).depths, scale.channels).macs
    near = [(w - scale.step, w, w + scale.step) for w in scale.channels]
    found = [
        (_distance(channels, scale.channels), depth, channels)
        for depth in depths
        for channels in product(*near)
        if abs(size(scale, depth, channels).macs / target - 1) <= tolerance
    ]
    return sorted(found, key=lambda match: (match[0], -size(scale, *match[1:]).params))


def placements(kind: str, most: int = 8) -> list[Triple]:
    """The depths that an arm of a kind may have: ``low`` [0, a, b] and ``high`` [b, a, 0] with
    a < b, ``middle`` [0, a, 0]."""
    pairs = [(a, b) for b in range(2, most + 1) for a in range(1, b)]
    return {
        "low": [(0, a, b) for a, b in pairs],
        "high": [(b, a, 0) for a, b in pairs],
        "middle": [(0, a, 0) for a in range(1, most + 1)],
    }[kind]


def _widths(scale: Scale, level: int) -> range:
    least = math.ceil(scale.channels[level] / 4 / scale.step) * scale.step
    return range(least, 2 * scale.channels[level] + 1, scale.step)


def _fitting(
    scale: Scale, depths: Triple, fine: int, middle: int, params: int, tolerance: float
) -> Iterator[int]:
    """Widths of the coarsest level at which parameters fit; they only grow with the width."""
    widths = [w for w in _widths(scale, 2) if w >= middle]
    low, high = 0, len(widths)
    while low < high:
        half = (low + high) // 2
        few = size(scale, depths, (fine, middle, widths[half])).params < params * (1 - tolerance)
        low, high = (half + 1, high) if few else (low, half)
    for width in widths[low:]:
        if size(scale, depths, (fine, middle, width)).params > params * (1 + tolerance):
            return
        yield width


def _distance(channels: Triple, other: Triple) -> float:
    return sum(abs(math.log(a / b)) for a, b in zip(channels, other, strict=True))
