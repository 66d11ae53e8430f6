"""The mini family's exam: fixed captions, drawn, read by the oracle, and measured against renders.

The same 500 captions for every model: none of them was in training, all of their combinations
were. Captions with combinations that training never held are counted apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from diffusers import DiffusionPipeline

from unet_atlas.metrics.bootstrap import Estimate, wilson
from unet_atlas.sampling import Recipe, Sampled, sample
from unet_atlas.shapes.captions import caption
from unet_atlas.shapes.oracle import judge_all
from unet_atlas.shapes.render import render
from unet_atlas.shapes.world import Scene, draw_scene

SEED = 2024  # not the seed of the training pictures
COUNTS = {1: 150, 2: 250, 3: 100}  # captions with one, two, three objects
QUESTIONS = {  # what is asked: (objects in the caption, column of the verdict)
    "one object: shape and colour": (1, "objects"),
    "two objects: both right": (2, "objects"),
    "two objects: relation": (2, "relation"),
    "three objects: all right": (3, "objects"),
}


@dataclass(frozen=True)
class Paper:
    """The captions of an exam with a rendered scene for each, as reference.

    Attributes:
        captions: n captions.
        counts: (n,) objects in each.
        references: (n, 64, 64, 3) uint8, scenes that meet the captions.
    """

    captions: tuple[str, ...]
    counts: np.ndarray
    references: np.ndarray


@cache
def paper(n: int = 500, split: str = "test") -> Paper:
    """The first ``n`` captions of ``split`` (``test`` or ``unseen``), mixed as ``COUNTS``."""
    scenes = [_scene(i, split) for i in range(n)]
    return Paper(
        tuple(caption(scene.request) for scene in scenes),
        np.array([len(scene.things) for scene in scenes]),
        np.stack([render(scene) for scene in scenes]),
    )


def _scene(index: int, split: str) -> Scene:
    """Scene ``index``; every ten captions hold the three numbers of objects in their shares."""
    place, total = (index % 10) / 10, sum(COUNTS.values())
    shares = np.cumsum([number / total for number in COUNTS.values()])
    count = list(COUNTS)[int(np.searchsorted(shares, place, side="right"))]
    return draw_scene(SEED, index, split, count)


def sit(
    pipeline: DiffusionPipeline,
    recipe: Recipe,
    n: int = 500,
    split: str = "test",
    batch: int = 50,
    progress: bool = False,
    **conditioning: object,
) -> tuple[Sampled, pd.DataFrame]:
    """Draw the exam's captions; returns the pictures and one verdict a row, with ``asked``, the
    number of objects in the caption."""
    asked = paper(n, split)
    drawn = sample(pipeline, asked.captions, recipe, batch=batch, progress=progress, **conditioning)
    verdicts = judge_all(asked.captions, drawn.images)
    return drawn, verdicts.assign(asked=asked.counts)


def marks(verdicts: pd.DataFrame) -> dict[str, Estimate]:
    """Shares of right answers with Wilson intervals, by question.

    A relation counts as right only in a picture whose two objects are right.
    """
    found = {}
    for question, (count, column) in QUESTIONS.items():
        answers = verdicts.loc[verdicts.asked == count, column]
        if len(answers):
            found[question] = wilson(int((answers == True).sum()), len(answers))  # noqa: E712
    found["all captions: everything"] = wilson(int(verdicts.right.sum()), len(verdicts))
    return found
