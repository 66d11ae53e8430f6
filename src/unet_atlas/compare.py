"""Two or more UNets side by side: stages paired by level, configurations and parameters as deltas.

Book: *Stage by stage*.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from unet_atlas.anatomy import HEAD, MID, STEM, Stage, stage_of, stages
from unet_atlas.config import DEFAULTS
from unet_atlas.errors import AtlasError
from unet_atlas.roles import parameter_role

FIELDS = (  # what a stage is compared by; `size` and `level` follow from the row
    "block",
    "channels_out",
    "resnets",
    "depths",
    "heads",
    "head_dim",
    "cross_attention_dim",
    "projection",
    "params",
)


@dataclass(frozen=True)
class Row:
    """The stages of all models at one place of the U; ``None`` where a model has none there."""

    place: str
    level: int | None
    stages: tuple[Stage | None, ...]

    @property
    def differs(self) -> tuple[str, ...]:
        """The fields in which not all models agree."""
        return tuple(f for f in FIELDS if len({getattr(s, f, None) for s in self.stages}) > 1)


@dataclass(frozen=True)
class Comparison:
    """The paired stages of two or more models, in the order of the forward pass."""

    labels: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Delta:
    """Parameters with one role in two models."""

    role: str
    first: int
    second: int

    @property
    def delta(self) -> int:
        """second − first."""
        return self.second - self.first


def compare(
    unets: Sequence[UNet2DConditionModel],
    labels: Sequence[str] | None = None,
    resolution: int | None = None,
    latent: int | None = None,
) -> Comparison:
    """Pair the stages of two or more UNets by resolution level.

    Level 0 is the latent's full size. A model with fewer levels has no stage in the lower rows;
    the middle stands in a row of its own, whatever level it works at.

    Raises:
        AtlasError: fewer than two models.
    """
    if len(unets) < 2:
        raise AtlasError("A comparison takes two models or more; name another one.")
    labels = labels or [getattr(u, "atlas_label", f"model {i + 1}") for i, u in enumerate(unets)]
    placed = [
        {_place(stage): stage for stage in stages(unet, resolution, latent)} for unet in unets
    ]
    places = sorted({place for stages_ in placed for place in stages_}, key=_order)
    rows = (Row(_name(p), p[1], tuple(s.get(p) for s in placed)) for p in places)
    return Comparison(tuple(labels), tuple(rows))


def config_delta(*configs: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    """The keys whose effective values (defaults filled in) differ, with each model's value."""
    effective = [{**DEFAULTS, **config} for config in configs]
    keys = [k for k in DEFAULTS if len({repr(c[k]) for c in effective}) > 1]
    return {k: tuple(c[k] for c in effective) for k in keys}


def parameter_delta(
    first: UNet2DConditionModel, second: UNet2DConditionModel, stage: str | None = None
) -> tuple[Delta, ...]:
    """Parameters of two UNets by role; over all roles they add up to each total exactly.

    Args:
        stage: only this stage (``down 1``); by default the whole model.
    """
    a, b = _by_role(first, stage), _by_role(second, stage)
    return tuple(Delta(role, a[role], b[role]) for role in dict.fromkeys([*a, *b]))


def _by_role(unet: UNet2DConditionModel, stage: str | None) -> Counter[str]:
    roles: Counter[str] = Counter()
    for path, parameter in unet.named_parameters():
        if stage is None or stage_of(path) == stage:
            roles[parameter_role(unet, path)] += parameter.numel()
    return roles


def _place(stage: Stage) -> tuple[str, int | None]:
    side = stage.key.split()[0]
    return side, stage.level if side in ("down", "up") else None


def _order(place: tuple[str, int | None]) -> tuple[int, int]:
    side, level = place
    rank = (STEM, "down", MID, "up", HEAD).index(side)
    return rank, (-1 if side == "up" else 1) * (level or 0)


def _name(place: tuple[str, int | None]) -> str:
    side, level = place
    return side if level is None else f"{side}, level {level}"
