"""A request as words, and words as a request: ``a small red circle left of a blue square``.

``read_caption`` is the exact inverse of ``caption``; what it can't parse is an error that says why.
"""

from __future__ import annotations

import re

from unet_atlas.errors import AtlasError
from unet_atlas.shapes.world import COLOURS, RADII, RELATIONS, SHAPES, Request, Wanted

ANY_SHAPE = "shape"  # the noun of an object whose shape is left open
_OBJECT = re.compile(
    rf"an? (?:({'|'.join(RADII)}) )?(?:({'|'.join(COLOURS)}) )?({'|'.join(SHAPES)}|{ANY_SHAPE})"
)
_RELATION = re.compile(rf" ({'|'.join(RELATIONS)}) ")
_LIST = re.compile(r", | and ")


def caption(request: Request) -> str:
    """The request in words: two related objects, or a list of one to three."""
    phrases = [_phrase(wanted) for wanted in request.objects]
    if request.relation:
        return f"{phrases[0]} {request.relation} {phrases[1]}"
    return " and ".join([", ".join(phrases[:-1]), phrases[-1]] if phrases[1:] else phrases)


def _phrase(wanted: Wanted) -> str:
    words = (wanted.size, wanted.colour, wanted.shape or ANY_SHAPE)
    return "a " + " ".join(word for word in words if word)


def read_caption(text: str) -> Request:
    """The request that a caption of this world makes.

    Raises:
        AtlasError: the words are not of this world.
    """
    clean = " ".join(text.lower().strip().rstrip(".").split())
    parts = _RELATION.split(clean)
    if len(parts) == 3:
        return Request((_wanted(parts[0], text), _wanted(parts[2], text)), parts[1])
    objects = tuple(_wanted(p, text) for part in parts[::2] for p in _LIST.split(part))
    if len(objects) > 3 or len(parts) > 1:
        raise AtlasError(
            f"{text!r} asks for more than the picture world knows: two objects and how the first "
            "stands to the second, or up to three objects."
        )
    return Request(objects)


def _wanted(phrase: str, text: str) -> Wanted:
    match = _OBJECT.fullmatch(phrase)
    if not match:
        raise AtlasError(
            f"{text!r} is no caption of the picture world ({phrase!r} is no object of it); write "
            "for instance 'a small red circle left of a blue square'."
        )
    size, colour, shape = match.groups()
    return Wanted(None if shape == ANY_SHAPE else shape, colour, size)
