"""A UNet's MACs and parameters by closed formula, from the configuration alone.

No torch, no modules: arithmetic on the configuration, so that the counter has an independent
witness (and a page can compute it without a kernel). Covers the block types of Stable Diffusion:
``DownBlock2D``, ``CrossAttnDownBlock2D``, their ``Up`` twins and ``UNetMidBlock2DCrossAttn``.
Book: *Counting correctly*.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from unet_atlas.errors import AtlasError

BLOCKS = ("DownBlock2D", "CrossAttnDownBlock2D", "UpBlock2D", "CrossAttnUpBlock2D")
PLAIN = {  # what the formula takes for granted
    "only_cross_attention": False,
    "dual_cross_attention": False,
    "encoder_hid_dim_type": None,
    "time_cond_proj_dim": None,
    "time_embedding_type": "positional",
    "time_embedding_dim": None,
    "attention_type": "default",
    "class_embeddings_concat": False,
    "resnet_time_scale_shift": "default",
    "reverse_transformer_layers_per_block": None,
    "cross_attention_norm": None,
    "num_class_embeds": None,
}
CELLS = 9  # of a 3 × 3 kernel
FEED_FORWARD_WIDTH = 4
CONV_TRANSFORMER = "CrossAttn"


def params(config: Mapping[str, Any]) -> int:
    """Number of parameters of a checked configuration.

    Raises:
        AtlasError: the configuration has a part that the formula does not cover.
    """
    return sum(n for _, n, _ in _terms(config, (1, 1), 1, 1))


def macs(
    config: Mapping[str, Any], latent: tuple[int, int], batch: int = 1, tokens: int = 77
) -> Counter[str]:
    """MACs of one forward pass by operation (names as in :mod:`unet_atlas.roles`).

    Args:
        latent: height and width; each must be divisible by the UNet's total downsampling.
    """
    result: Counter[str] = Counter()
    for operation, _, n in _terms(config, latent, batch, tokens):
        result[operation] += n
    return +result


def transformer_block(
    config: Mapping[str, Any], level: int, latent: tuple[int, int], batch: int = 1, tokens: int = 77
) -> tuple[int, Counter[str]]:
    """The price of one transformer block at a level: its parameters, and its MACs by operation.

    Args:
        latent: height and width at level 0; the block works at 1 / 2^level of them.
    """
    shape = _Shape(config, batch, tokens, 4 * config["block_out_channels"][0])
    width, area = config["block_out_channels"][level], latent[0] * latent[1] // 4**level
    terms = shape.block(width, shape.context[level], area)
    priced: Counter[str] = Counter()
    for operation, _, n in terms:
        priced[operation] += n
    return sum(n for _, n, _ in terms), +priced


Term = tuple[str, int, int]  # operation, parameters, MACs


def _terms(
    config: Mapping[str, Any], latent: tuple[int, int], batch: int, tokens: int
) -> list[Term]:
    _check(config)
    channels = config["block_out_channels"]
    levels, time = len(channels), 4 * channels[0]
    layers = _per_level(config["layers_per_block"], levels)
    shape = _Shape(config, batch, tokens, time)
    area = [latent[0] * latent[1] // 4**i for i in range(levels)]
    terms = shape.conv(
        "other conv", config["in_channels"], channels[0], area[0], config["conv_in_kernel"] ** 2
    )
    terms += shape.embeddings()
    down, skips = _down(config, shape, layers, area)
    terms, width = terms + down, channels[-1]
    if config["mid_block_type"]:
        terms += 2 * shape.resnet(width, width, area[-1])
        terms += shape.transformer(levels - 1, width, area[-1])
    for i, kind in zip(reversed(range(levels)), config["up_block_types"], strict=True):
        for _ in range(layers[i] + 1):
            terms += shape.resnet(width + skips.pop(), channels[i], area[i])
            terms += shape.transformer(i, channels[i], area[i]) if CONV_TRANSFORMER in kind else []
            width = channels[i]
        terms += shape.conv("other conv", width, width, area[i - 1]) if i else []
    terms += shape.norm(channels[0])
    return terms + shape.conv(
        "other conv", channels[0], config["out_channels"], area[0], config["conv_out_kernel"] ** 2
    )


def _down(
    config: Mapping[str, Any], shape: _Shape, layers: Sequence[int], area: Sequence[int]
) -> tuple[list[Term], list[int]]:
    """The terms of the way down, and the widths that its layers leave for the way up."""
    channels = config["block_out_channels"]
    terms, width, skips = [], channels[0], [channels[0]]
    for i, kind in enumerate(config["down_block_types"]):
        for _ in range(layers[i]):
            terms += shape.resnet(width, channels[i], area[i])
            terms += shape.transformer(i, channels[i], area[i]) if CONV_TRANSFORMER in kind else []
            width = channels[i]
            skips.append(width)
        if i < len(channels) - 1:
            terms += shape.conv("other conv", width, width, area[i + 1])
            skips.append(width)
    return terms, skips


class _Shape:
    """What all layers share: batch, text, time width and the per-level attention settings."""

    def __init__(self, config: Mapping[str, Any], batch: int, tokens: int, time: int):
        levels = len(config["block_out_channels"])
        self.config, self.batch, self.tokens, self.time = config, batch, tokens, time
        self.depth = _per_level(config["transformer_layers_per_block"], levels)
        self.context = _per_level(config["cross_attention_dim"], levels)

    def linear(
        self, operation: str, width: int, out: int, rows: int, bias: bool = True
    ) -> list[Term]:
        return [(operation, out * (width + bias), self.batch * rows * width * out)]

    def conv(
        self, operation: str, width: int, out: int, cells: int, kernel: int = CELLS
    ) -> list[Term]:
        return [(operation, out * (width * kernel + 1), self.batch * cells * width * out * kernel)]

    def norm(self, width: int) -> list[Term]:
        return [("norm", 2 * width, 0)]

    def resnet(self, width: int, out: int, area: int) -> list[Term]:
        """norm, conv, time, norm, conv, and a 1 × 1 shortcut where the width changes."""
        terms = self.norm(width) + self.norm(out) + self.linear("embeddings", self.time, out, 1)
        terms += self.conv("res conv", width, out, area) + self.conv("res conv", out, out, area)
        return terms + (self.conv("res conv", width, out, area, 1) if width != out else [])

    def transformer(self, level: int, width: int, area: int) -> list[Term]:
        """norm, projection in, ``depth`` blocks, projection out."""
        terms = self.norm(width) + 2 * self.linear("proj in/out", width, width, area)
        return terms + self.depth[level] * self.block(width, self.context[level], area)

    def block(self, width: int, context: int, area: int) -> list[Term]:
        """self-attention, cross-attention and a gated feed-forward, each behind a norm."""
        inner, op = FEED_FORWARD_WIDTH * width, "qkv/out proj"
        terms = 3 * self.norm(width)
        terms += 3 * self.linear(op, width, width, area, bias=False) + self.linear(
            op, width, width, area
        )
        terms += self.linear(op, width, width, area, bias=False) + self.linear(
            op, width, width, area
        )
        terms += 2 * self.linear(op, context, width, self.tokens, bias=False)
        terms += self.linear("feed-forward", width, 2 * inner, area)
        terms += self.linear("feed-forward", inner, width, area)
        terms.append(("self-attention", 0, 2 * self.batch * area * area * width))
        terms.append(("cross-attention", 0, 2 * self.batch * area * self.tokens * width))
        return terms

    def embeddings(self) -> list[Term]:
        """Timestep MLP, and one of the same shape for class labels or added conditions."""
        widths = [self.config["block_out_channels"][0]]
        if (
            "projection" in (self.config["class_embed_type"] or "")
            or self.config["addition_embed_type"]
        ):
            widths.append(self.config["projection_class_embeddings_input_dim"])
        terms = []
        for width in widths:
            terms += self.linear("embeddings", width, self.time, 1)
            terms += self.linear("embeddings", self.time, self.time, 1)
        return terms


def _check(config: Mapping[str, Any]) -> None:
    kinds = {*config["down_block_types"], *config["up_block_types"]} - {*BLOCKS}
    if kinds:
        raise AtlasError(
            f"The formula does not cover {sorted(kinds)[0]}; count it with cost.count."
        )
    choices = {
        "mid_block_type": (None, "UNetMidBlock2DCrossAttn"),
        "class_embed_type": (None, "projection"),
        "addition_embed_type": (None, "text_time"),
        **{key: (value,) for key, value in PLAIN.items()},
    }
    for key, allowed in choices.items():
        if config[key] not in allowed:
            raise AtlasError(
                f"The formula does not cover {key} = {config[key]!r}; count it with cost.count."
            )


def _per_level(value: Any, levels: int) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,) * levels
