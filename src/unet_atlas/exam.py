"""The mini family's exam: fixed captions, drawn, read by the oracle, and measured against renders.

The same 500 captions for every model. Those with several objects were kept out of training word for
word, their combinations were not, nor the caption that says the same backwards; captions with
combinations that training never held are counted apart. Captions with one object are too few to be
kept out: about fifty, drawn three times each.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from diffusers import DiffusionPipeline
from PIL import Image

from unet_atlas.errors import AtlasError
from unet_atlas.files import replacing, write_text
from unet_atlas.metrics.bootstrap import Estimate, wilson
from unet_atlas.mini import folder
from unet_atlas.sampling import Recipe, Sampled, load_pipeline, sample
from unet_atlas.sampling.pictures import pixels_digest
from unet_atlas.shapes.captions import caption, read_caption
from unet_atlas.shapes.oracle import judge_all, read
from unet_atlas.shapes.render import render
from unet_atlas.shapes.world import SIDE, Scene, draw_scene, novelty, place

SEED = 2024  # not the seed of the training pictures
BATCH = 50
COLUMNS = 25  # of the sheet that holds an exam's pictures
STEPS, SAMPLER = 12, "dpm++"
GUIDANCES = (2.0, 3.0, 4.5, 7.0)  # tried on other captions first; the best one sits the exam
REHEARSAL = SEED + 1  # the seed of those other captions
NOISE_LEVEL = 0  # of the picture that unCLIP is given: another scene that meets the caption
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

    def digest(self) -> str:
        """SHA-256 of the captions, in order."""
        return hashlib.sha256("\n".join(self.captions).encode()).hexdigest()


@cache
def paper(n: int = 500, split: str = "test", seed: int = SEED) -> Paper:
    """The first ``n`` captions of ``split`` (``test`` or ``unseen``), mixed as ``COUNTS``."""
    scenes = [_scene(i, split, seed) for i in range(n)]
    return Paper(
        tuple(caption(scene.request) for scene in scenes),
        np.array([len(scene.things) for scene in scenes]),
        np.stack([render(scene) for scene in scenes]),
    )


def _scene(index: int, split: str, seed: int = SEED) -> Scene:
    """Scene ``index``; every ten captions hold the three numbers of objects in their shares."""
    position, total = (index % 10) / 10, sum(COUNTS.values())
    shares = np.cumsum([number / total for number in COUNTS.values()])
    count = list(COUNTS)[int(np.searchsorted(shares, position, side="right"))]
    return draw_scene(seed, index, split, count)


def sit(
    pipeline: DiffusionPipeline,
    recipe: Recipe,
    n: int = 500,
    split: str = "test",
    seed: int = SEED,
    progress: bool = False,
) -> tuple[Sampled, pd.DataFrame]:
    """Draw the exam's captions; returns the pictures and one verdict a row, with ``asked``, the
    number of objects in the caption."""
    asked = paper(n, split, seed)
    extra = given(pipeline, range(n), split, seed)
    drawn = sample(pipeline, asked.captions, recipe, batch=BATCH, progress=progress, **extra)
    verdicts = judge_all(asked.captions, drawn.images)
    return drawn, verdicts.assign(asked=asked.counts)


def marks(verdicts: pd.DataFrame) -> dict[str, Estimate]:
    """Shares of right answers with Wilson intervals, by question.

    A relation counts as right only in a picture whose two objects are right. A question that was
    not asked has no mark.
    """
    found = {}
    for question, (count, column) in QUESTIONS.items():
        answers = verdicts.loc[verdicts.asked == count, column]
        if len(answers):
            found[question] = wilson(int((answers == True).sum()), len(answers))  # noqa: E712
    if len(verdicts):
        found["all captions: everything"] = wilson(int(verdicts.right.sum()), len(verdicts))
    return found


def unseen_marks(verdicts: pd.DataFrame, captions: Sequence[str]) -> dict[str, dict[str, Estimate]]:
    """Marks by what is new to the model: a colour with a shape, shapes in a relation, anything."""
    new = np.array([novelty(read_caption(caption)) for caption in captions])
    return {
        "unseen": marks(verdicts),
        "unseen pair": marks(verdicts[np.isin(new, ("pair", "both"))]),
        "unseen arrangement": marks(verdicts[new == "arrangement"]),
    }


def oracle_share(captions: Sequence[str], images: np.ndarray) -> Estimate | None:
    """The share of pictures that are all right by the oracle, with Wilson's interval; None where
    the pictures are not of the picture world's size, so that nothing can be read."""
    if images.shape[1:] != (SIDE, SIDE, 3):
        return None
    right = judge_all(captions, images).right
    return wilson(int(right.sum()), len(right))


def shapes_seen(images: np.ndarray) -> int | str:
    """How many different shapes the oracle reads in some pictures; a dash for other worlds'."""
    if images.shape[1:] != (SIDE, SIDE, 3):
        return "–"
    return len({thing.shape for image in images for thing in read(image).things})


# --- the exam as it was sat when training ended ---------------------------------------------------


@dataclass(frozen=True)
class Recorded:
    """An exam's pictures, drawn once and shipped with the model.

    Attributes:
        images: (n, 64, 64, 3) uint8; captions, counts: n captions and their numbers of objects.
        facts: recipe, marks, device, versions, date, seconds, digest of the pixels.
    """

    images: np.ndarray
    captions: tuple[str, ...]
    counts: np.ndarray
    facts: dict[str, Any]

    @property
    def recipe(self) -> Recipe:
        """How they were drawn."""
        return Recipe(**self.facts["recipe"])

    def verdicts(self) -> pd.DataFrame:
        """The oracle's verdicts, read from the pictures now."""
        return judge_all(self.captions, self.images).assign(asked=self.counts)


def recorded(name: str) -> Recorded:
    """The exam of a member, as shipped in its folder (``exam.png``, ``exam.json``).

    Raises:
        AtlasError: the folder holds no exam, or its pictures are not the ones that were drawn.
    """
    path = folder(name)
    try:
        facts = json.loads((path / "exam.json").read_text("utf-8"))
        with Image.open(path / "exam.png") as sheet:
            images = cut(np.asarray(sheet.convert("RGB")), facts["captions"])
    except (OSError, ValueError, KeyError):
        raise AtlasError(
            f"{name} holds no exam that can be read; run scripts/train_mini.py {name}."
        ) from None
    if pixels_digest(images) != facts["digest"]:
        raise AtlasError(f"The exam of {name} is not the one that was drawn; restore exam.png.")
    asked = paper(facts["captions"])
    if asked.digest() != facts.get("asked"):
        raise AtlasError(
            f"The exam of {name} asked other captions than today's; run scripts/train_mini.py "
            f"{name} again."
        )
    return Recorded(images, asked.captions, asked.counts, facts)


def redraw(name: str, indices: Sequence[int], pipeline: DiffusionPipeline | None = None) -> Sampled:
    """Draw some of a recorded exam's pictures again, here and now."""
    exam = recorded(name)
    pipeline = pipeline or load_pipeline(folder(name))
    captions = [exam.captions[i] for i in indices]
    return sample(pipeline, captions, exam.recipe, seeds=indices, **given(pipeline, indices))


def given(
    pipeline: DiffusionPipeline, indices: Sequence[int], split: str = "test", seed: int = SEED
) -> dict[str, Any]:
    """What a pipeline is given besides the caption: unCLIP a picture of another scene that meets
    it, the others nothing."""
    if not hasattr(pipeline, "image_noising_scheduler"):
        return {}
    scenes = [
        place(np.random.default_rng([seed, i, 2]), _scene(i, split, seed).request) for i in indices
    ]
    images = [Image.fromarray(render(scene)) for scene in scenes]
    return {"image": images, "noise_level": NOISE_LEVEL}


def cut(sheet: np.ndarray, count: int) -> np.ndarray:
    """A sheet of 64-pixel pictures, ``COLUMNS`` a row, as (count, 64, 64, 3)."""
    rows, columns = sheet.shape[0] // SIDE, sheet.shape[1] // SIDE
    cells = sheet.reshape(rows, SIDE, columns, SIDE, 3).swapaxes(1, 2)
    return np.ascontiguousarray(cells.reshape(-1, SIDE, SIDE, 3)[:count])


def paste(images: np.ndarray) -> np.ndarray:
    """The inverse of :func:`cut`; what is left of the last row is black."""
    rows = -(-len(images) // COLUMNS)
    cells = np.zeros((rows * COLUMNS, SIDE, SIDE, 3), np.uint8)
    cells[: len(images)] = images
    grid = cells.reshape(rows, COLUMNS, SIDE, SIDE, 3).swapaxes(1, 2)
    return grid.reshape(rows * SIDE, COLUMNS * SIDE, 3)


def assess(
    path: Path,
    about: dict[str, Any],
    n: int = 500,
    device: torch.device | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Sit the exam with the model in ``path`` and leave ``exam.png`` and ``exam.json`` there.

    Args:
        about: facts to be kept with the marks (device, date, training).
        n: captions of the exam; unseen combinations have two fifths of that, the search over
            guidance a quarter for each value.
        device: where to draw, in single precision everywhere.

    Returns:
        the facts: recipe, marks by split with Wilson intervals, the search over guidance.
    """
    pipeline = load_pipeline(path, device, torch.float32)
    search = {}
    for guidance in GUIDANCES:
        tried = Recipe(SAMPLER, STEPS, guidance)
        _, verdicts = sit(pipeline, tried, n // 4, seed=REHEARSAL, progress=progress)
        search[guidance] = float(verdicts.right.mean())
    recipe = Recipe(SAMPLER, STEPS, max(search, key=search.get))
    drawn, verdicts = sit(pipeline, recipe, n, progress=progress)
    _, unseen = sit(pipeline, recipe, n * 2 // 5, "unseen", progress=progress)
    found = {"test": marks(verdicts)}
    found |= unseen_marks(unseen, paper(n * 2 // 5, "unseen").captions)
    facts = {
        **about,
        "recipe": asdict(recipe),
        "search": search,
        "marks": {
            split: {question: asdict(mark) for question, mark in answers.items()}
            for split, answers in found.items()
        },
        "captions": n,
        "asked": paper(n).digest(),
        "digest": drawn.digest(),
        "drawn": drawn.provenance,
    }
    with replacing(path / "exam.png") as part:
        Image.fromarray(paste(drawn.images)).save(part, "PNG", optimize=True)
    write_text(path / "exam.json", json.dumps(facts, indent=1) + "\n")
    return facts
