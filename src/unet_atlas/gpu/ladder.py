"""The ladder: one guided step of one image by every recipe, from plain fp32 upwards.

A rung that fails is a row with a note, and the ladder goes on. Book: *The speed ladder*.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from unet_atlas import catalog
from unet_atlas.build import VAE_FACTOR
from unet_atlas.catalog import Part
from unet_atlas.gpu.bench import Bench, Job, Row, attempt, cells
from unet_atlas.gpu.guided import Shop, guided, measured, step_macs
from unet_atlas.gpu.recipes import (
    REGIONAL,
    WHOLE,
    Recipe,
    eight_bits,
    ladder,
    quick_ladder,
    settings,
)
from unet_atlas.gpu.run import SAME

NEEDS = {"": 3.0, REGIONAL: 20.0, WHOLE: 45.0}  # seconds of an H100 with SDXL
NO_TIME = "no time left"


@dataclass(frozen=True)
class Work:
    """A model at a size, and the VAE that decodes its latents."""

    name: str
    model: str
    latent: int
    vae: Part

    @property
    def resolution(self) -> int:
        """Pixels of a side."""
        return VAE_FACTOR * self.latent


def from_catalogue(name: str, model: str) -> Work:
    """A model of the catalogue at its own resolution."""
    entry = catalog.get(model)
    label = f"{name}, {entry.resolution} px"
    return Work(label, model, entry.resolution // VAE_FACTOR, entry.vae)


def jobs(bench: Bench, works: Sequence[Work]) -> list[Job]:
    """One job a work and rung: the first work's, then those of all others.

    Within each part what needs no compiler comes first, and what takes longest to compile last.
    """
    shop, references, all_rungs = Shop(bench), {}, rungs(bench)
    phases = (
        [r for r in all_rungs if not r.compiled],
        [r for r in all_rungs if r.compiled and not r.quantised],
        [r for r in all_rungs if r.compiled and r.quantised],
    )
    parts = (works[:1], works[1:])
    order = [(w, r) for part in parts for phase in phases for w in part for r in phase]
    return [
        Job(
            f"{w.name}: {r.name}",
            partial(_row, bench, shop, references, w, r),
            partial(_needs, bench, shop, w, r),
            partial(_cells, w, r, None, NO_TIME),
        )
        for w, r in order
    ]


def rungs(bench: Bench) -> tuple[Recipe, ...]:
    """The recipes that a session tries on its device."""
    return quick_ladder() if bench.quick else ladder(eight_bits(bench))


def _needs(bench: Bench, shop: Shop, work: Work, recipe: Recipe) -> float:
    """Seconds without which a rung is not begun; less where its UNet is compiled already."""
    if shop.holds(work.model, recipe):
        return NEEDS[""]
    return NEEDS[recipe.compiled] / (4 if bench.quick else 1)


def best(rows: Sequence[Row], name: str, among: Sequence[Recipe]) -> Recipe | None:
    """A work's fastest recipe whose output hardly differs from fp32's; ``None`` without rows."""
    known = {r.name: r for r in among}
    found = [
        row
        for row in rows
        if row["work"] == name and row["rung"] in known and row["milliseconds"]
        if row["difference"] is None or row["difference"] <= SAME
    ]
    fastest = min(found, key=lambda row: row["milliseconds"], default=None)
    return known[fastest["rung"]] if fastest else None


def _row(
    bench: Bench, shop: Shop, references: dict[str, Tensor], work: Work, recipe: Recipe
) -> Iterator[Row]:
    """The row of a rung; the fp32 rung leaves its output as the reference of its work."""
    found, note = attempt(lambda: _climb(bench, shop, references, work, recipe))
    if note:
        shop.clear()
    yield _cells(work, recipe, found, note)


def _cells(work: Work, recipe: Recipe, found: Row | None, note: str) -> dict[str, Any]:
    """A row of what was found, or of nothing and why."""
    empty = {
        "milliseconds": None,
        "samples": [],
        "compile_seconds": 0,
        "peak": None,
        "difference": None,
    }
    return {
        "work": work.name,
        "model": work.model,
        "latent": work.latent,
        "rung": recipe.name,
        "dtype": recipe.dtype,
        **(found or empty),
        "macs": step_macs(work.model, work.latent).total,
        "note": note,
    }


def _climb(
    bench: Bench, shop: Shop, references: dict[str, Tensor], work: Work, recipe: Recipe
) -> dict[str, Any]:
    with settings(recipe):
        unet, fresh = shop.take(work.model, recipe)
        step = guided(bench, unet, work.latent)
        found = measured(bench, step, recipe.graphs)
    if recipe.dtype == "fp32":
        references[work.name] = found.output
    reference = references.get(work.name)
    return {
        **cells(found.timing),
        "compile_seconds": found.first if fresh and recipe.compiled else 0,
        "peak": found.peak,
        "difference": None if reference is None else distance(found.output, reference),
    }


def distance(output: Tensor, reference: Tensor) -> float:
    """‖output − reference‖ ÷ ‖reference‖."""
    return float((output - reference).norm() / reference.norm())
