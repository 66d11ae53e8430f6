"""What the picture world holds: shapes, colours, sizes, relations, and how a scene is drawn by lot.

A scene is a pure function of ``(seed, index)``. Some combinations are never drawn for training.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from unet_atlas.errors import AtlasError

SIDE = 64  # pixels
SHAPES = ("circle", "square", "triangle", "cross", "ring")
COLOURS = {  # sRGB, 0–255
    "red": (214, 39, 40),
    "green": (44, 160, 44),
    "blue": (31, 80, 214),
    "yellow": (240, 196, 25),
    "purple": (148, 60, 189),
    "cyan": (30, 190, 207),
}
BACKGROUND = (244, 243, 238)
RADII = {"small": (6.0, 7.2), "large": (9.5, 11.5)}  # pixels
RELATIONS = ("left of", "right of", "above", "below")
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
FRINGE = {"circle": 1.0, "square": 1.27, "triangle": 1.2, "cross": 1.16, "ring": 1.08}
DOMINANCE = 1.3  # the distance along a relation's axis, over the one across it, is at least this
SPLITS = ("train", "test", "unseen")
GAP = 2.0  # pixels between two objects, and to the border

UNSEEN_PAIRS = frozenset(
    {
        ("red", "ring"),
        ("green", "triangle"),
        ("blue", "cross"),
        ("yellow", "circle"),
        ("purple", "square"),
    }
)
_UNSEEN_ARRANGEMENTS = (
    ("circle", "above", "square"),
    ("triangle", "left of", "cross"),
    ("ring", "above", "triangle"),
    ("cross", "left of", "circle"),
)
# "circle above square" and "square below circle" are one arrangement
UNSEEN_RELATIONS = frozenset(_UNSEEN_ARRANGEMENTS) | frozenset(
    (b, OPPOSITE[relation], a) for a, relation, b in _UNSEEN_ARRANGEMENTS
)


@dataclass(frozen=True)
class Wanted:
    """One object of a request; None is left open."""

    shape: str | None = None
    colour: str | None = None
    size: str | None = None


@dataclass(frozen=True)
class Request:
    """What a caption asks for: objects in the order of the words, and how the first stands to
    the second."""

    objects: tuple[Wanted, ...]
    relation: str | None = None


@dataclass(frozen=True)
class Thing:
    """One object of a scene: centre and radius in pixels, x to the right and y downwards."""

    shape: str
    colour: str
    x: float
    y: float
    radius: float

    @property
    def size(self) -> str:
        """``small`` or ``large``."""
        return "small" if self.radius < (RADII["small"][1] + RADII["large"][0]) / 2 else "large"


@dataclass(frozen=True)
class Scene:
    """A request and the objects that meet it, in the same order."""

    request: Request
    things: tuple[Thing, ...]


def split_of(request: Request) -> str:
    """``unseen`` (a combination that training never holds), ``test`` (this caption is kept out
    of training, its combinations are not) or ``train``.

    Captions are told apart by their words: the one that says the same backwards ("b right of a")
    may be in training.
    """
    if novelty(request):
        return "unseen"
    reserved = len(request.objects) > 1 and zlib.crc32(repr(request).encode()) % 10 == 0
    return "test" if reserved else "train"


def _triple(request: Request) -> tuple:
    first, second = request.objects
    return first.shape, request.relation, second.shape


def novelty(request: Request) -> str | None:
    """What training never held in an unseen request: ``pair`` (a colour with a shape),
    ``arrangement`` (shapes in a relation), ``both``, or None."""
    pair = any((w.colour, w.shape) in UNSEEN_PAIRS for w in request.objects)
    arrangement = request.relation is not None and _triple(request) in UNSEEN_RELATIONS
    return ("both" if arrangement else "pair") if pair else "arrangement" if arrangement else None


def draw_request(rng: np.random.Generator, split: str, count: int | None = None) -> Request:
    """A complete request of ``split``, with ``count`` objects (default: one, two or three).

    One-object requests are too few to keep captions out: those of ``test`` are the ones of
    ``train``.

    Raises:
        AtlasError: there is no such split.
    """
    if split not in SPLITS:
        raise AtlasError(f"there is no split {split!r}; take one of {', '.join(SPLITS)}.")
    count = count or int(rng.choice([1, 2, 3], p=[0.3, 0.5, 0.2]))
    while True:
        objects = tuple(
            Wanted(
                str(rng.choice(SHAPES)),
                str(rng.choice(list(COLOURS))),
                str(rng.choice(list(RADII))),
            )
            for _ in range(count)
        )
        relation = str(rng.choice(RELATIONS)) if count == 2 else None
        request = Request(objects, relation)
        found = split_of(request)
        if found == split or (count == 1 and {found, split} == {"train", "test"}):
            return request


def loosen(rng: np.random.Generator, request: Request) -> Request:
    """The request with some words left out, as captions of real pictures leave things unsaid."""
    loose = []
    for wanted in request.objects:
        if rng.random() < 0.3:
            wanted = replace(wanted, size=None)
        missing = rng.random()
        if missing < 0.06:
            wanted = replace(wanted, colour=None)
        elif missing < 0.10:
            wanted = replace(wanted, shape=None)
        loose.append(wanted)
    relation = request.relation if rng.random() < 0.85 else None
    return Request(tuple(loose), relation)


def place(rng: np.random.Generator, request: Request) -> Scene:
    """A scene that meets a request: what it leaves open is drawn by lot, no two objects touch."""
    while True:
        things = tuple(_draw_thing(rng, wanted) for wanted in request.objects)
        if apart(things) and (
            request.relation is None or holds(request.relation, *things[:2], DOMINANCE)
        ):
            return Scene(request, things)


def _draw_thing(rng: np.random.Generator, wanted: Wanted) -> Thing:
    shape = wanted.shape or str(rng.choice(SHAPES))
    radius = rng.uniform(*RADII[wanted.size or str(rng.choice(list(RADII)))])
    reach = radius * FRINGE[shape] + GAP
    x, y = rng.uniform(reach, SIDE - reach, size=2)
    return Thing(shape, wanted.colour or str(rng.choice(list(COLOURS))), x, y, radius)


def apart(things: Sequence[Thing]) -> bool:
    """Whether no two objects come closer than ``GAP``."""
    return all(
        np.hypot(a.x - b.x, a.y - b.y)
        >= a.radius * FRINGE[a.shape] + b.radius * FRINGE[b.shape] + GAP
        for i, a in enumerate(things)
        for b in things[:i]
    )


def holds(relation: str, a: Thing, b: Thing, dominance: float = 1.0) -> bool:
    """Whether ``a`` is ``relation`` ``b``: the distance along the relation's axis has the right
    sign and is at least ``dominance`` times the one across."""
    dx, dy = b.x - a.x, b.y - a.y
    along, across = {
        "left of": (dx, dy),
        "right of": (-dx, dy),
        "above": (dy, dx),
        "below": (-dy, dx),
    }[relation]
    return bool(along > 0 and along >= dominance * abs(across))


def draw_scene(seed: int, index: int, split: str = "train", count: int | None = None) -> Scene:
    """Scene number ``index`` of the data set ``(seed, split)``; its request is complete."""
    stream = () if split == "train" else (zlib.crc32(split.encode()),)
    rng = np.random.default_rng([seed, index, *stream])
    return place(rng, draw_request(rng, split, count))
