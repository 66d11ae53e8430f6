"""Scenes that are wrong in one known respect: what a metric is shown to learn whether it notices.

A fault turns a scene into another one *whose request describes the faulty picture*, so that each
pair can be read both ways: a right and a wrong picture for one caption, a right and a wrong caption
for one picture. A fault that a scene has no room or no use for gives None.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from unet_atlas.errors import AtlasError
from unet_atlas.shapes.damage import soften, to_bytes
from unet_atlas.shapes.world import (
    COLOURS,
    FRINGE,
    GAP,
    OPPOSITE,
    RADII,
    SHAPES,
    SIDE,
    Request,
    Scene,
    Thing,
    Wanted,
    apart,
    draw_scene,
)

TRIES = 40  # places for one more object before a scene counts as full
POSES = {  # pixels; where ``posed`` puts the objects, by their number or relation
    1: ((32.0, 32.0),),
    2: ((17.5, 32.0), (46.5, 32.0)),
    3: ((16.5, 16.5), (47.5, 16.5), (32.0, 47.5)),
    "left of": ((17.5, 32.0), (46.5, 32.0)),
    "right of": ((46.5, 32.0), (17.5, 32.0)),
    "above": ((32.0, 17.5), (32.0, 46.5)),
    "below": ((32.0, 46.5), (32.0, 17.5)),
}

Fault = Callable[[np.random.Generator, Scene], Scene | None]


def reversed_relation(rng: np.random.Generator, scene: Scene) -> Scene | None:
    """Every place mirrored along the relation's axis: left becomes right, nothing else changes."""
    relation = scene.request.relation
    if relation is None:
        return None
    if relation in ("left of", "right of"):
        things = tuple(replace(t, x=SIDE - t.x) for t in scene.things)
    else:
        things = tuple(replace(t, y=SIDE - t.y) for t in scene.things)
    return Scene(replace(scene.request, relation=OPPOSITE[relation]), things)


def swapped_colours(rng: np.random.Generator, scene: Scene) -> Scene | None:
    """Two objects of different shape and colour exchange their colours: the same words in
    another order."""
    for i, j in combinations(range(len(scene.things)), 2):
        a, b = scene.things[i], scene.things[j]
        if a.shape != b.shape and a.colour != b.colour:
            return _with(_with(scene, i, colour=b.colour), j, colour=a.colour)
    return None


def wrong_colour(rng: np.random.Generator, scene: Scene) -> Scene | None:
    """One object in a colour that the scene does not hold."""
    i = int(rng.integers(len(scene.things)))
    held = {t.colour for t in scene.things}
    return _with(scene, i, colour=str(rng.choice([c for c in COLOURS if c not in held])))


def wrong_shape(rng: np.random.Generator, scene: Scene) -> Scene | None:
    """One object with a shape that the scene does not hold, where there is room for it."""
    held = {t.shape for t in scene.things}
    others = [str(s) for s in rng.permutation([s for s in SHAPES if s not in held])]
    changed = [_with(scene, i, shape=s) for i in range(len(scene.things)) for s in others]
    return next((s for s in changed if has_room(s.things)), None)


def wrong_size(rng: np.random.Generator, scene: Scene) -> Scene | None:
    """One small object large, or one large object small."""
    for i in rng.permutation(len(scene.things)):
        size = "large" if scene.things[i].size == "small" else "small"
        changed = _with(scene, int(i), radius=float(rng.uniform(*RADII[size])))
        if has_room(changed.things):
            return changed
    return None


def one_twice(rng: np.random.Generator, scene: Scene) -> Scene | None:
    """One of the objects a second time, elsewhere: what is asked for, but too many."""
    thing = scene.things[int(rng.integers(len(scene.things)))]
    return _with_another(rng, scene, thing)


def stranger(rng: np.random.Generator, scene: Scene) -> Scene | None:
    """One more object, of a shape and a colour that the scene does not hold."""
    shapes = [s for s in SHAPES if s not in {t.shape for t in scene.things}]
    colours = [c for c in COLOURS if c not in {t.colour for t in scene.things}]
    radius = float(rng.uniform(*RADII["small"]))
    new = Thing(str(rng.choice(shapes)), str(rng.choice(colours)), 0, 0, radius)
    return _with_another(rng, scene, new)


def one_missing(rng: np.random.Generator, scene: Scene) -> Scene | None:
    """One object less, where at least one is left."""
    if len(scene.things) < 2 or scene.request.relation:
        return None
    i = int(rng.integers(len(scene.things)))
    wanted, things = list(scene.request.objects), list(scene.things)
    del wanted[i], things[i]
    return Scene(Request(tuple(wanted)), tuple(things))


FAULTS: dict[str, Fault] = {
    "wrong colour": wrong_colour,
    "wrong shape": wrong_shape,
    "wrong size": wrong_size,
    "one object missing": one_missing,
    "a stranger added": stranger,
    "one object twice": one_twice,
    "colours swapped": swapped_colours,
    "relation reversed": reversed_relation,
}


def pairs(fault: str, n: int, seed: int = 0, split: str = "test") -> list[tuple[Scene, Scene]]:
    """``n`` scenes with their faulty twins.

    Scenes whose relation would have to go with the fault (an object more or less) leave it unsaid
    in both twins, so that nothing but the fault sets them apart.

    Raises:
        AtlasError: there is no such fault.
    """
    if fault not in FAULTS:
        raise AtlasError(f"There is no fault {fault!r}; take one of {', '.join(FAULTS)}.")
    found: list[tuple[Scene, Scene]] = []
    index = 0
    while len(found) < n:
        scene = draw_scene(seed, index, split)
        if fault in ("one object missing", "a stranger added", "one object twice"):
            scene = unrelated(scene)
        wrong = FAULTS[fault](np.random.default_rng([seed, index, 2]), scene)
        if wrong is not None:
            found.append((scene, wrong))
        index += 1
    return found


def unrelated(scene: Scene) -> Scene:
    """The same picture, asked for without the relation."""
    return Scene(replace(scene.request, relation=None), scene.things)


def painted(scene: Scene, colour: str) -> Scene:
    """Every object in one colour."""
    for i in range(len(scene.things)):
        scene = _with(scene, i, colour=colour)
    return scene


def posed(scene: Scene) -> Scene:
    """The same request always met in the same way: fixed places, one radius for each size."""
    places = POSES[scene.request.relation or len(scene.things)]
    things = tuple(
        replace(t, x=x, y=y, radius=sum(RADII[t.size]) / 2)
        for t, (x, y) in zip(scene.things, places, strict=True)
    )
    return Scene(scene.request, things)


def blurred(image: np.ndarray, sigma: float = 1.0) -> np.ndarray:
    """A picture (h, w, 3) uint8 out of focus; ``sigma`` in pixels."""
    return to_bytes(soften(image, sigma))


def has_room(things: Sequence[Thing]) -> bool:
    """Whether the objects stay clear of each other and of the border, as the world's own do."""
    reach = [t.radius * FRINGE[t.shape] + GAP for t in things]
    return apart(things) and all(
        r <= min(t.x, t.y, SIDE - t.x, SIDE - t.y) for t, r in zip(things, reach, strict=True)
    )


def _with(scene: Scene, i: int, **changes: object) -> Scene:
    """The scene and its request with object ``i`` changed."""
    thing = replace(scene.things[i], **changes)
    said = replace(scene.request.objects[i], **_said(changes, thing))
    objects = (*scene.request.objects[:i], said, *scene.request.objects[i + 1 :])
    return Scene(
        replace(scene.request, objects=objects),
        (*scene.things[:i], thing, *scene.things[i + 1 :]),
    )


def _said(changes: dict[str, object], thing: Thing) -> dict[str, str]:
    """Which words of the request the changes of an object touch."""
    names = {"radius": "size"}
    words = (names.get(name, name) for name in changes)
    return {word: getattr(thing, word) for word in words}


def _with_another(rng: np.random.Generator, scene: Scene, thing: Thing) -> Scene | None:
    """The scene with ``thing`` at a free place drawn by lot, if it may hold one more."""
    if len(scene.things) > 2 or scene.request.relation:
        return None
    for x, y in rng.uniform(0, SIDE, size=(TRIES, 2)):
        things = (*scene.things, replace(thing, x=float(x), y=float(y)))
        if has_room(things):
            wanted = Wanted(thing.shape, thing.colour, thing.size)
            return Scene(Request((*scene.request.objects, wanted)), things)
    return None
