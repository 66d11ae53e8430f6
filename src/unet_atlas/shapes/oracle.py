"""Read a picture of the world back, without learning, and judge it against its caption.

Pixels are unmixed into background and one palette colour and joined into blobs (``patches``), and
each blob is compared with the five shapes as ``render`` paints them, at the place and radius that
fit best (``fitting``). A blob that is like none of them, or halfway between two, is called
doubtful, never guessed. ``damage`` measures how often the oracle itself is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd

from unet_atlas.errors import AtlasError
from unet_atlas.shapes.captions import read_caption
from unet_atlas.shapes.fitting import Blob, look, rejoin
from unet_atlas.shapes.patches import GROUND, SPECK, Mixture, as_pixels, masks_of, patch_of, unmix
from unet_atlas.shapes.render import coverage
from unet_atlas.shapes.world import COLOURS, Request, Thing, Wanted, holds

CROWD = 12  # with more blobs than this the picture is noise, and no blob is worth a long look


@dataclass(frozen=True)
class Reading:
    """What was read, from left to right, and how many blobs are like no shape."""

    things: tuple[Thing, ...]
    doubtful: int = 0


@dataclass(frozen=True)
class Verdict:
    """Which parts of a request a picture meets.

    A doubtful blob counts as an object, but has neither shape nor colour. ``shapes`` and
    ``colours`` take each by itself; ``objects`` asks for exactly the objects wanted, each shape
    with its colour, and no others; ``sizes`` is about sizes the request states; ``relation`` is
    None where none is asked.
    """

    count: bool
    shapes: bool
    colours: bool
    objects: bool
    sizes: bool
    relation: bool | None

    @property
    def right(self) -> bool:
        """The objects are there and stand as asked; size is left aside."""
        return self.objects and self.relation is not False


def read(image: Any) -> Reading:
    """The objects of a picture.

    Args:
        image: (64, 64, 3) uint8 sRGB, or a PIL image of 64 × 64.

    Raises:
        AtlasError: the picture has another size or kind.
    """
    found = blobs(image)
    things = sorted((b.thing for b in found if b.readable), key=lambda t: (t.x, t.y))
    return Reading(tuple(things), sum(not b.readable for b in found))


def blobs(image: Any) -> tuple[Blob, ...]:
    """Every patch of colour with its best shape and how well that fits; errors as in ``read``."""
    mixture = unmix(as_pixels(image))
    masks = list(masks_of(mixture))
    patches = [patch_of(mixture, masks, i) for i in range(len(masks))]
    patient = len(patches) <= CROWD and mixture.ground > GROUND
    found = [look(patch, patient) for patch in patches]
    if patient:
        found = rejoin(mixture, masks, found)
    flat = [blob for group in found for blob in group]
    return tuple(replace(b, readable=b.readable and not _entwined(b, flat, mixture)) for b in flat)


def _entwined(blob: Blob, found: Sequence[Blob], mixture: Mixture) -> bool:
    """Whether a blob would have to lie both over and under another one: then it is no whole."""
    a = blob.thing
    for b in (other.thing for other in found if other.readable and other.thing.colour != a.colour):
        if np.hypot(a.x - b.x, a.y - b.y) < a.radius + b.radius:
            common = mixture.colour[(coverage(a) > 0.5) & (coverage(b) > 0.5)]
            tops = [(common == list(COLOURS).index(thing.colour)).sum() for thing in (a, b)]
            if min(tops) > max(SPECK / 2, common.size / 4):
                return True
    return False


def judge(request: Request | str, reading: Reading) -> Verdict:
    """What of a request a reading meets; a word the request leaves open is met by anything.

    Objects are matched so that most of them are right, then most sizes, then the relation, which
    must hold between the two matched objects (``world.holds``, dominance 1).

    Raises:
        AtlasError: the caption is none of this world.
    """
    if isinstance(request, str):
        request = read_caption(request)
    wanted, things = request.objects, reading.things
    count = len(wanted) == len(things) + reading.doubtful
    whole = len(wanted) == len(things) and not reading.doubtful
    matches = [_match(request, chosen) for chosen in _assignments(things, len(wanted))]
    right, sized, stands = max(matches)
    objects = whole and right == len(wanted)
    return Verdict(
        count=count,
        shapes=whole and _met(wanted, things, "shape"),
        colours=whole and _met(wanted, things, "colour"),
        objects=objects,
        sizes=sized == sum(w.size is not None for w in wanted),
        relation=(objects and stands) if request.relation else None,
    )


def _assignments(things: Sequence[Thing], count: int) -> Iterator[tuple[Thing | None, ...]]:
    """Every way to give each of ``count`` wanted objects a thing, or none where there are few."""
    padded = [*things, *[None] * (count - len(things))]
    return permutations(padded, count)


def _match(request: Request, chosen: Sequence[Thing | None]) -> tuple[int, int, bool]:
    """(objects right, stated sizes right, relation holds) of one assignment."""
    pairs = [(w, t) for w, t in zip(request.objects, chosen, strict=True) if t is not None]
    right = sum(_fits(w, t, "shape") and _fits(w, t, "colour") for w, t in pairs)
    sized = sum(w.size == t.size for w, t in pairs)
    stands = len(pairs) == 2 and request.relation is not None
    return right, sized, stands and holds(request.relation, pairs[0][1], pairs[1][1])


def _fits(wanted: Wanted, thing: Thing, word: str) -> bool:
    return getattr(wanted, word) in (None, getattr(thing, word))


def _met(wanted: Sequence[Wanted], things: Sequence[Thing], word: str) -> bool:
    return any(
        all(_fits(w, t, word) for w, t in zip(wanted, chosen, strict=True))
        for chosen in permutations(things)
    )


def judge_all(captions: Sequence[str], images: Sequence[Any]) -> pd.DataFrame:
    """One row an image: its caption, the parts of the verdict, and ``right``.

    Raises:
        AtlasError: there are more captions than images or the reverse, or one can't be read.
    """
    if len(captions) != len(images):
        raise AtlasError(
            f"{len(captions)} captions for {len(images)} images; give one caption an image."
        )
    verdicts = [judge(c, read(i)) for c, i in zip(captions, images, strict=True)]
    names = ["count", "shapes", "colours", "objects", "sizes", "relation", "right"]
    rows = [[c, *(getattr(v, n) for n in names)] for c, v in zip(captions, verdicts, strict=True)]
    return pd.DataFrame(rows, columns=["caption", *names])
