"""Data sheets and published speeds, and what follows from them with this book's own counts.

The facts stand in ``published.yaml``, with their sources. Book: *The speed ladder*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import pandas as pd
import yaml

from unet_atlas import catalog, components, config, formula
from unet_atlas.build import VAE_FACTOR
from unet_atlas.tables import NONE, Table


@dataclass(frozen=True)
class Card:
    """A card's data sheet: FLOP/s of dense products by dtype, bytes/s, GB, bytes of L2 cache.

    ``device`` is the name by which CUDA knows it.
    """

    name: str
    device: str
    rates: Mapping[str, float]
    bandwidth: float
    memory: float
    cache: float
    source: str

    def ridge(self, dtype: str = "bf16") -> float:
        """FLOPs for each byte at which arithmetic and memory take equally long."""
        return self.rates[dtype] / self.bandwidth


@dataclass(frozen=True)
class System:
    """A published speed: ``steps`` guided steps of one image each took ``seconds``.

    ``pictures`` is how often text encoders and decoder ran in that time, 0 where the UNet alone
    was timed; ``printed`` is the figure as its source prints it.
    """

    name: str
    card: str
    model: str
    dtype: str
    software: str
    printed: str
    steps: float
    seconds: float
    pictures: float
    source: str


@cache
def cards() -> Mapping[str, Card]:
    """The data sheets by the card's short name."""
    return {name: Card(name, **facts) for name, facts in _facts()["cards"].items()}


def card_of(device: str) -> Card | None:
    """The data sheet of a CUDA device; ``None`` for a card or a variant that is not listed."""
    return next((card for card in cards().values() if card.device == device), None)


@cache
def systems() -> tuple[System, ...]:
    """The published speeds, in the order of the file."""
    made: dict[str, dict[str, Any]] = {}
    for entry in _facts()["systems"]:
        own = {key: value for key, value in entry.items() if key != "like"}
        made[entry["name"]] = {**made.get(entry.get("like"), {}), **own}
    return tuple(System(**facts) for facts in made.values())


def rate(system: System) -> float:
    """FLOP/s that a published speed amounts to, by this book's count (FLOPs = 2 × MACs)."""
    step, rest = work(system.model)
    return 2 * (system.steps * step + system.pictures * rest) / system.seconds


@cache
def work(model: str) -> tuple[int, int]:
    """MACs of a guided step of one image, and of its text encoders and decoder together."""
    known = catalog.get(model)
    side = known.resolution // VAE_FACTOR
    step = formula.macs(config.resolve(model)[1], (side, side), batch=2).total()
    text = sum(components.text_macs(part) for part in known.text_encoders)
    return step, text + components.decode_macs(known.vae, known.resolution)


def systems_frame() -> pd.DataFrame:
    """One row a published speed: as printed, in FLOP/s, and as a share of the card's data sheet.

    The share is of the 16-bit rate, whatever the system computes in, so that rows compare.
    """
    rows = [
        {
            "system": s.name,
            "card": s.card,
            "model": s.model,
            "computes in": s.dtype,
            "software": s.software,
            "published": s.printed,
            "guided steps a second": s.steps / s.seconds,
            "timed": "UNet" if s.pictures == 0 else "whole picture",
            "FLOP/s": rate(s),
            "share": rate(s) / cards()[s.card].rates["bf16"],
        }
        for s in systems()
    ]
    return pd.DataFrame(rows)


def systems_table(frame: pd.DataFrame | None = None) -> Table:
    """The published speeds, and what they amount to; or a frame with more rows of that kind."""
    data = systems_frame() if frame is None else frame
    shown = pd.DataFrame(
        {
            "system": data["system"],
            "card": data["card"] + ", " + data["computes in"],
            "software": data["software"],
            "published": data["published"],
            "timed": data["timed"],
            "guided it/s": [f"{v:.2f}" for v in data["guided steps a second"]],
            "TFLOP/s": [f"{v / 1e12:.0f}" for v in data["FLOP/s"]],
            "of 16-bit peak": [NONE if v != v else f"{100 * v:.0f} %" for v in data["share"]],
        }
    )
    caption = (
        "Speeds as printed by their sources, and what they amount to by this book's count; the "
        "16-bit peak is that of the data sheet"
    )
    return Table("published", caption, shown, data)


def _facts() -> dict[str, Any]:
    return yaml.safe_load((files("unet_atlas.gpu") / "published.yaml").read_text("utf-8"))
