"""Read a picture of the world back, without learning, and judge it against its caption.

Pixels are unmixed into background and one palette colour, joined into blobs, and each blob is
compared with the five shapes as ``render`` paints them, at the place and radius that fit best. A
blob that is like none of them, or halfway between two, is called doubtful, never guessed.
``validate`` measures how often the oracle itself is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from io import BytesIO
from itertools import permutations, product
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage

from unet_atlas.errors import AtlasError
from unet_atlas.shapes.captions import read_caption
from unet_atlas.shapes.render import coverage, render, signed_distance
from unet_atlas.shapes.world import (
    BACKGROUND,
    COLOURS,
    RADII,
    SHAPES,
    SIDE,
    SPLITS,
    Request,
    Scene,
    Thing,
    Wanted,
    draw_scene,
    holds,
)

LEVEL = 0.45  # a pixel that is coloured to this share belongs to an object; paler is not seen
GROUND = 0.4  # objects leave at least this share of a picture empty; else it is none of this world
SPECK = 16  # blobs of fewer pixels are dropped
CROWD = 12  # with more blobs than this the picture is noise, and no blob is worth a long look
MISFIT = 0.34  # a readable blob differs from its shape by less (L2, relative to the blob)
RIVAL = 0.75  # … and by less than this share of what it differs from every other shape
OFF_PALETTE = 42.0  # sRGB levels by which a blob's mean colour may miss the palette's line
STRENGTH = (0.7, 1.25)  # how far along that line it may lie; 1 is the palette's colour
RADIUS = (0.8 * RADII["small"][0], 1.2 * RADII["large"][1])  # pixels
BLURS = (0.0, 0.7, 1.2)  # pixels, sigma: a soft picture is compared with soft shapes
AREA = {"circle": 3.142, "square": 3.098, "triangle": 1.871, "cross": 2.650, "ring": 2.614}  # r = 1
SURE = 0.12  # a misfit so small that nothing else need be tried
SEVERAL = 0.18  # several shapes fit more easily than one, so less is forgiven
SHOWN = 0.45  # of an object at least this share must be in view
SHIFTS = np.array([-5, -2.5, 0, 2.5, 5])  # pixels, around the centre of what is in view
NUDGE = 0.25  # pixels, for slopes
STILL = 0.03  # pixels: a shorter step is not taken
MARGIN = 4  # pixels around a blob that its shape must leave empty
REACH = 2  # pixels around another blob where this one's share can't be told


@dataclass(frozen=True)
class Blob:
    """A connected patch of one colour and the shape that fits it best.

    ``misfit`` is the L2 distance to that shape over the blob's own norm (what noise alone would
    leave is taken off); ``rival`` the same for the best of the other four shapes.
    """

    thing: Thing
    misfit: float
    rival: float
    readable: bool


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
    mixture = _unmix(_pixels(image))
    masks = list(_masks(mixture))
    patches = [_patch(mixture, masks, i) for i in range(len(masks))]
    patient = len(patches) <= CROWD and mixture.ground > GROUND
    found = [_look(patch, patient) for patch in patches]
    if patient:
        found = _rejoin(mixture, masks, found)
    flat = [blob for group in found for blob in group]
    return tuple(replace(b, readable=b.readable and not _entwined(b, flat, mixture)) for b in flat)


def _entwined(blob: Blob, found: Sequence[Blob], mixture: _Mixture) -> bool:
    """Whether a blob would have to lie both over and under another one: then it is no whole."""
    a = blob.thing
    for b in (other.thing for other in found if other.readable and other.thing.colour != a.colour):
        if np.hypot(a.x - b.x, a.y - b.y) < a.radius + b.radius:
            common = mixture.colour[(coverage(a) > 0.5) & (coverage(b) > 0.5)]
            tops = [(common == list(COLOURS).index(thing.colour)).sum() for thing in (a, b)]
            if min(tops) > max(SPECK / 2, common.size / 4):
                return True
    return False


# --- pixels → blobs ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Mixture:
    """Each pixel as background and a share of one colour.

    ``share`` (64, 64, 6) is the pixel's projection on the line from the background to each colour,
    ``colour`` (64, 64) the line it lies nearest to, ``offset`` (64, 64, 3) the pixel less the
    background, ``noise`` the standard deviation of the background in levels, ``ground`` the share
    of the picture that is background.
    """

    share: np.ndarray
    colour: np.ndarray
    offset: np.ndarray
    lines: np.ndarray
    noise: float
    ground: float


def _pixels(image: Any) -> np.ndarray:
    if isinstance(image, Image.Image):
        image = image.convert("RGB")
    pixels = np.asarray(image)
    if pixels.shape != (SIDE, SIDE, 3) or pixels.dtype != np.uint8:
        raise AtlasError(
            f"the oracle can't read a picture of shape {pixels.shape} and type {pixels.dtype}; "
            f"give it {SIDE} × {SIDE} pixels of RGB as uint8, or a PIL image of that size."
        )
    return pixels.astype(np.float32)


def _unmix(pixels: np.ndarray) -> _Mixture:
    ground = np.array(BACKGROUND, np.float32)
    offset = pixels - ground
    empty = (offset**2).sum(-1) < 40**2
    noise = 0.0
    if empty.sum() > SIDE:
        offset = offset - offset[empty].mean(0)
        noise = float(offset[empty].std())
    lines = np.array(list(COLOURS.values()), np.float32) - ground
    squares = (lines**2).sum(1)
    share = offset @ (lines / squares[:, None]).T  # (64, 64, 6)
    held = share.clip(0, 1.2)
    miss = squares * held * (held - 2 * share)  # plus the pixel's own square, the same for all
    return _Mixture(share, miss.argmin(-1), offset, lines, noise, float(empty.mean()))


def _masks(mixture: _Mixture) -> Iterator[tuple[int, np.ndarray]]:
    """(colour, (64, 64) bool) of each blob: connected, larger than a speck, thicker than a line."""
    best = np.take_along_axis(mixture.share, mixture.colour[..., None], -1)[..., 0]
    strong = np.where(best > LEVEL, mixture.colour, -1)
    for colour in range(len(COLOURS)):
        mask = strong == colour
        if mask.sum() < SPECK:
            continue
        labels, count = ndimage.label(mask)
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        for label in np.flatnonzero(sizes >= SPECK):
            blob = labels == label
            if label and _thick(blob):
                yield colour, blob


def _thick(mask: np.ndarray) -> bool:
    """Whether a 2 × 2 square fits in often: the fringe between two colours is a line."""
    squares = mask[1:, 1:] & mask[1:, :-1] & mask[:-1, 1:] & mask[:-1, :-1]
    return int(squares.sum()) >= SPECK // 2


@dataclass(frozen=True)
class _Patch:
    """The surroundings of one blob.

    ``share`` (h, w) of its colour from 0 up, ``weight`` (h, w) 0 where another blob may hide it,
    ``mask`` (h, w) its own pixels, ``top`` and ``left`` the place in the picture, ``noise`` the
    standard deviation of the share, ``honest`` whether the colour is one of the palette.
    """

    colour: str
    share: np.ndarray
    weight: np.ndarray
    mask: np.ndarray
    top: int
    left: int
    noise: float
    honest: bool

    @property
    def partial(self) -> bool:
        """Whether a part of the object may be hidden: by another, or beyond the border."""
        rows, columns = self.mask.any(1).nonzero()[0], self.mask.any(0).nonzero()[0]
        first = min(self.top + rows[0], self.left + columns[0])
        last = max(self.top + rows[-1], self.left + columns[-1])
        near = ndimage.binary_dilation(self.mask, iterations=REACH)
        return bool(first == 0 or last == SIDE - 1 or (near & (self.weight == 0)).any())


def _patch(mixture: _Mixture, masks: Sequence[tuple[int, np.ndarray]], *mine: int) -> _Patch:
    """The patch of blob ``mine`` (several: the pieces of one object)."""
    colour = masks[mine[0]][0]
    mask = np.logical_or.reduce([masks[i][1] for i in mine])
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left = max(rows[0] - MARGIN, 0), max(columns[0] - MARGIN, 0)
    box = slice(top, rows[-1] + MARGIN + 1), slice(left, columns[-1] + MARGIN + 1)
    others = [m[box] for i, (_, m) in enumerate(masks) if i not in mine and m[box].any()]
    weight = np.ones(mask[box].shape, np.float32)
    if others:
        other = np.logical_or.reduce(others)
        weight[ndimage.binary_dilation(other, iterations=REACH) & ~mask[box]] = 0
    share = mixture.share[..., colour][box].clip(0, None)
    return _Patch(
        list(COLOURS)[colour],
        share,
        weight,
        mask[box],
        top,
        left,
        mixture.noise / float(np.linalg.norm(mixture.lines[colour])),
        _honest(mixture, colour, mask),
    )


def _honest(mixture: _Mixture, colour: int, mask: np.ndarray) -> bool:
    """Whether the blob's stronger half has a colour of the palette, on the world's background."""
    share = mixture.share[..., colour]
    core = mask & (share >= np.median(share[mask]))
    mean, line = mixture.offset[core].mean(0), mixture.lines[colour]
    strength = float(mean @ line / (line @ line))
    low, high = STRENGTH
    off = float(np.linalg.norm(mean - strength * line))
    return mixture.ground > GROUND and low < strength < high and off < OFF_PALETTE


# --- blob → shape --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Fit:
    """Shapes with their (x, y, radius), the blur of the picture, and the distance that is left."""

    shapes: tuple[str, ...]
    places: np.ndarray  # (K, 3) pixels
    blur: float
    misfit: float


def _look(patch: _Patch, patient: bool) -> list[Blob]:
    """The objects of a patch: one; with patience, a hidden one, or several that touch."""
    found = [_alone(patch)]
    if patient and patch.honest:
        if found[0].misfit > SURE and patch.partial:
            found.append(_hidden(patch))
        found.sort(key=lambda blob: (not blob.readable, blob.misfit))
        if not found[0].readable:
            return _several(patch) or found[:1]
    return found[:1]


def _alone(patch: _Patch) -> Blob:
    """One object in full view: its centre of mass is its centre, its area gives its radius."""
    fits = sorted(_firsts(patch), key=lambda fit: fit.misfit)
    fits[0] = _refine(fits[0], patch)
    if fits[0].misfit > SURE or fits[0].misfit > RIVAL / 2 * fits[1].misfit:
        fits = [_sharpen(_refine(fit, patch), patch) for fit in fits]
    best, rival = sorted(fits, key=lambda fit: fit.misfit)[:2]
    return _blob(best, 0, rival.misfit, patch)


def _hidden(patch: _Patch) -> Blob:
    """One object of which a part can't be seen: places all around are tried."""
    x, y, _ = _moments(patch)
    places = np.array(list(product(x + SHIFTS, y + SHIFTS, (6.5, 8.5, 10.5))))
    fits = []
    for shape in SHAPES:
        misfits = _misfit(_soften(_paint(shape, places, patch), BLURS[1]), patch)
        for i in np.argsort(misfits)[:2]:
            fit = _Fit((shape,), places[i, None], BLURS[1], float(misfits[i]))
            fits.append(_sharpen(_refine(fit, patch, 4), patch))
    best = min(fits, key=lambda fit: fit.misfit)
    rival = min(fit.misfit for fit in fits if fit.shapes != best.shapes)
    return _blob(best, 0, rival, patch)


def _sharpen(fit: _Fit, patch: _Patch) -> _Fit:
    """The same fit with the blur that suits best."""
    misfits = _misfits_by_blur(_variants(fit.shapes, fit.places, patch, False), patch)[:, 0]
    best = int(misfits.argmin())
    return _refine(replace(fit, blur=BLURS[best], misfit=float(misfits[best])), patch, 1)


def _several(patch: _Patch) -> list[Blob]:
    """Two or three objects of one colour that touch, or nothing."""
    mass = _moments(patch)[2]
    for count in (2, 3):
        if mass < count * AREA["triangle"] * RADIUS[0] ** 2:
            break
        starts = [_joint(cells, patch) for cells in _cells(patch, count)]
        fit = min(starts, key=lambda f: f.misfit)
        if fit.misfit < 2 * SEVERAL:
            found = _exchange(fit, patch)
            if all(b.readable for b in found) and _separate(found) and found[0].misfit < SEVERAL:
                return found
    return []


def _cells(patch: _Patch, count: int) -> Iterator[np.ndarray]:
    """Ways to part a patch: (count, h, w) bool each, around the centres that k-means finds."""
    points = np.argwhere(patch.mask).astype(float)
    grid = np.indices(patch.mask.shape).transpose(1, 2, 0).astype(float)
    middle = points.mean(0)
    axis = np.linalg.eigh(np.cov((points - middle).T))[1]
    for direction in axis.T[::-1]:
        along = (points - middle) @ direction
        centres = np.array(
            [points[np.abs(along - q).argmin()] for q in np.quantile(along, _spread(count))]
        )
        for _ in range(8):
            nearest = ((points[:, None] - centres) ** 2).sum(-1).argmin(1)
            centres = np.array(
                [
                    points[nearest == k].mean(0) if (nearest == k).any() else centres[k]
                    for k in range(count)
                ]
            )
        owner = ((grid[:, :, None] - centres) ** 2).sum(-1).argmin(-1)
        yield owner == np.arange(count)[:, None, None]


def _spread(count: int) -> np.ndarray:
    return (np.arange(count) + 0.5) / count


def _joint(cells: np.ndarray, patch: _Patch) -> _Fit:
    """The best shape within each cell, then all places fitted together."""
    firsts = []
    for cell in cells:
        part = replace(patch, weight=patch.weight * cell)
        firsts.append(min(_firsts(part), key=lambda fit: fit.misfit))
    shapes = tuple(fit.shapes[0] for fit in firsts)
    places = np.concatenate([fit.places for fit in firsts])
    return _refine(_Fit(shapes, places, BLURS[1], np.inf), patch, 4)


def _exchange(fit: _Fit, patch: _Patch) -> list[Blob]:
    """Tries every other shape for every object; what loses is the rival."""
    rivals = [np.inf] * len(fit.shapes)
    for _ in range(3):
        before = fit
        for k in range(len(fit.shapes)):
            other = min(_others(fit, k, patch), key=lambda f: f.misfit)
            rivals[k] = max(other.misfit, fit.misfit)
            fit = min(fit, other, key=lambda f: f.misfit)
        if fit is before:
            break
    fit = _sharpen(fit, patch)
    return [_blob(fit, k, rival, patch) for k, rival in enumerate(rivals)]


def _others(fit: _Fit, k: int, patch: _Patch) -> Iterator[_Fit]:
    """The fit with another shape of the same area for object ``k``."""
    for shape in SHAPES:
        if shape != fit.shapes[k]:
            shapes, places = list(fit.shapes), fit.places.copy()
            places[k, 2] *= np.sqrt(AREA[shapes[k]] / AREA[shape])
            shapes[k] = shape
            yield _refine(_Fit(tuple(shapes), places, fit.blur, np.inf), patch)


def _separate(found: Sequence[Blob]) -> bool:
    """Whether objects stand side by side: two discs on one spot make any oval."""
    things = [blob.thing for blob in found]
    return all(
        np.hypot(a.x - b.x, a.y - b.y) > 0.7 * (a.radius + b.radius)
        for i, a in enumerate(things)
        for b in things[:i]
    )


def _rejoin(
    mixture: _Mixture, masks: Sequence[tuple[int, np.ndarray]], found: Sequence[list[Blob]]
) -> list[list[Blob]]:
    """Unreadable blobs of one colour that are together one object, which another one divides."""
    lost = [i for i, group in enumerate(found) if not all(blob.readable for blob in group)]
    joined: list[list[Blob]] = []
    for colour in sorted({masks[i][0] for i in lost}):
        pieces = [i for i in lost if masks[i][0] == colour]
        whole = _hidden(_patch(mixture, masks, *pieces)) if len(pieces) > 1 else None
        if whole and whole.readable:
            joined.append([whole])
            found = [[] if i in pieces else group for i, group in enumerate(found)]
    return [*found, *joined]


def _firsts(patch: _Patch) -> list[_Fit]:
    """Each shape at the centre of mass, with the radius of the same area and the best blur."""
    x, y, mass = _moments(patch)
    places = [np.array([[x, y, np.sqrt(mass / AREA[shape])]]) for shape in SHAPES]
    pictures = [_paint(shape, at, patch) for shape, at in zip(SHAPES, places, strict=True)]
    misfits = _misfits_by_blur(np.concatenate(pictures), patch)  # (blurs, shapes)
    best = misfits.argmin(0)
    return [
        _Fit((shape,), places[k], BLURS[best[k]], float(misfits[best[k], k]))
        for k, shape in enumerate(SHAPES)
    ]


def _misfits_by_blur(pictures: np.ndarray, patch: _Patch) -> np.ndarray:
    return np.stack([_misfit(_soften(pictures, blur), patch) for blur in BLURS])


def _moments(patch: _Patch) -> tuple[float, float, float]:
    """Centre of mass and mass of what is coloured, in pixels of the picture."""
    share = np.where(patch.share > 0.15, patch.share.clip(None, 1), 0) * patch.weight
    mass = max(float(share.sum()), 1.0)
    x = float(share.sum(0) @ (np.arange(share.shape[1]) + 0.5)) / mass + patch.left
    y = float(share.sum(1) @ (np.arange(share.shape[0]) + 0.5)) / mass + patch.top
    return x, y, mass


def _paint(shape: str, places: np.ndarray, patch: _Patch) -> np.ndarray:
    """``render.coverage`` within the patch at several (x, y, radius): (P, 3) → (P, h, w)."""
    height, width = patch.share.shape
    x = np.arange(width) + (patch.left + 0.5) - places[:, 0, None]
    y = np.arange(height) + (patch.top + 0.5) - places[:, 1, None]
    distance = signed_distance(shape, x[:, None, :], y[:, :, None], places[:, 2, None, None])
    return np.clip(0.5 - distance, 0, 1)


def _soften(pictures: np.ndarray, blur: float) -> np.ndarray:
    if not blur:
        return pictures
    _, height, width = pictures.shape
    return _gauss(height, blur) @ pictures @ _gauss(width, blur).T


@lru_cache(maxsize=256)
def _gauss(size: int, blur: float) -> np.ndarray:
    steps = np.arange(size)[:, None] - np.arange(size)
    matrix = np.exp(-((steps / blur) ** 2) / 2)
    return matrix / matrix.sum(1, keepdims=True)


def _misfit(pictures: np.ndarray, patch: _Patch) -> np.ndarray:
    """Distance of each picture (P, h, w) to the patch, at the colour strength that suits best."""
    flat, weight = pictures.reshape(len(pictures), -1), patch.weight.ravel()
    seen = patch.share.ravel() * weight
    common, norm = flat @ seen, (flat * flat) @ weight
    strength = (common / np.maximum(norm, 1e-6)).clip(0.75, 1.2)
    own = max(float(seen @ patch.share.ravel()), 1.0)
    noise = patch.noise**2 * float(weight.sum()) / 2  # half of it is below 0, and cut off
    rest = own - noise + strength * (strength * norm - 2 * common)
    return np.sqrt(np.maximum(rest, 0) / own)


def _refine(fit: _Fit, patch: _Patch, steps: int = 2) -> _Fit:
    """Gauss–Newton on all places at once; keeps the best place it has seen."""
    places, best = fit.places, fit
    for step in range(steps + 1):
        pictures = _soften(_variants(fit.shapes, places, patch, step < steps), fit.blur)
        misfit = float(_misfit(pictures[:1], patch)[0])
        if misfit < best.misfit:
            best = replace(fit, places=places, misfit=misfit)
        if step < steps:
            move = _newton(pictures, patch).reshape(-1, 3)
            if np.abs(move).max() < STILL:
                break
            places = places + move
            places[:, 2] = places[:, 2].clip(3, 16)
    return best


def _variants(
    shapes: tuple[str, ...], places: np.ndarray, patch: _Patch, nudged: bool
) -> np.ndarray:
    """The picture of all shapes, then that with each coordinate nudged: (1 + 3K, h, w)."""
    nudges = np.vstack([np.zeros(3), NUDGE * np.eye(3)]) if nudged else np.zeros((1, 3))
    parts = [_paint(s, p + nudges, patch) for s, p in zip(shapes, places, strict=True)]
    if len(parts) == 1:
        return parts[0]
    whole = sum(part[0] for part in parts)
    changed = [whole - part[0] + part[1:] for part in parts]
    return np.concatenate([whole[None], *changed]).clip(0, 1)


def _newton(pictures: np.ndarray, patch: _Patch) -> np.ndarray:
    now = pictures[0]
    slopes = ((pictures[1:] - now) / NUDGE * patch.weight).reshape(len(pictures) - 1, -1)
    rest = ((patch.share - now) * patch.weight).ravel()
    normal = slopes @ slopes.T + 0.5 * np.eye(len(slopes))
    return np.linalg.solve(normal, slopes @ rest).clip(-2, 2)


def _blob(fit: _Fit, k: int, rival: float, patch: _Patch) -> Blob:
    x, y, radius = map(float, fit.places[k])
    thing = Thing(fit.shapes[k], patch.colour, x, y, radius)
    clear = fit.misfit < MISFIT and fit.misfit < RIVAL * rival
    shown = float((_paint(thing.shape, fit.places[k, None], patch)[0] * patch.weight).sum())
    sized = RADIUS[0] < radius < RADIUS[1] and shown > SHOWN * AREA[thing.shape] * radius**2
    return Blob(thing, fit.misfit, rival, bool(clear and sized and patch.honest))


# --- reading → verdict ---------------------------------------------------------------------------


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


# --- the oracle's own error ----------------------------------------------------------------------


def validate(n: int = 300, seed: int = 0) -> pd.DataFrame:
    """How often the oracle reads a rendered scene right in every respect, by disturbance.

    Right means: no doubtful blob; count, shapes, colours, sizes and relation as drawn. The scenes
    come in turn from the training, test and unseen combinations.

    Returns:
        one row a disturbance: ``disturbance``, ``scenes``, ``right`` (share), and the ``low`` and
        ``high`` end of its 95 % Wilson interval.
    """
    scenes = [draw_scene(seed, i, SPLITS[i % 3]) for i in range(n)]
    rows = []
    for name, disturb in DISTURBANCES.items():
        draws = np.random.default_rng([seed, n])
        right = sum(_read_right(s, disturb(s, draws)) for s in scenes)
        rows.append([name, n, right / n, *wilson(right, n)])
    return pd.DataFrame(rows, columns=["disturbance", "scenes", "right", "low", "high"])


def _read_right(scene: Scene, image: np.ndarray) -> bool:
    verdict = judge(scene.request, read(image))
    return verdict.right and verdict.sizes


def wilson(successes: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Interval of a share (Wilson 1927): it stays within 0 … 1, also for none or all of ``n``."""
    share, spread = successes / n, z * z / n
    centre = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * np.sqrt(share * (1 - share) / n + spread / n / 4)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def _soft(scene: Scene, draws: np.random.Generator) -> np.ndarray:
    return _bytes(_blurred(render(scene), draws.uniform(0.4, 1.2)))


def _noisy(scene: Scene, draws: np.random.Generator) -> np.ndarray:
    return _bytes(render(scene) + draws.normal(0, draws.uniform(2, 10), (SIDE, SIDE, 3)))


def _enlarged(scene: Scene, draws: np.random.Generator) -> np.ndarray:
    return render(scene, original=int(draws.integers(32, SIDE)))


def _shifted(scene: Scene, draws: np.random.Generator) -> np.ndarray:
    """By up to 4 pixels; an object stays inside, though the gap to the border may go."""
    return render(scene, crop=_shift(scene, draws))


def _shift(scene: Scene, draws: np.random.Generator) -> tuple[int, int]:
    """A shift after which every object still lies within the picture."""
    alpha = render(scene) != np.array(BACKGROUND, np.uint8)
    rows, columns = (np.flatnonzero(alpha.any(2).any(axis)) for axis in (1, 0))
    low = [max(-4, int(at[-1]) - SIDE + 1) for at in (rows, columns)]
    high = [min(4, int(at[0])) for at in (rows, columns)]
    top, left = draws.integers(low, np.array(high) + 1)
    return int(top), int(left)


def _repainted(scene: Scene, draws: np.random.Generator) -> np.ndarray:
    """A cast of up to 12 levels a channel on everything, and another on each colour."""
    image = render(scene) + draws.uniform(-12, 12, 3)
    paints = draws.uniform(-12, 12, (len(COLOURS), 3))
    for thing in scene.things:
        cast = paints[list(COLOURS).index(thing.colour)]
        image += coverage(thing)[..., None] * cast
    return _bytes(image.clip(0, 255))


def _ringing(scene: Scene, draws: np.random.Generator) -> np.ndarray:
    """Edges that overshoot, as after too much sharpening."""
    image = render(scene).astype(float)
    return _bytes(image + draws.uniform(0.2, 0.6) * (image - _blurred(image, 1.5)))


def _jpeg(scene: Scene, draws: np.random.Generator) -> np.ndarray:
    file = BytesIO()
    Image.fromarray(render(scene)).save(file, "JPEG", quality=int(draws.integers(75, 96)))
    return np.asarray(Image.open(file))


def _everything(scene: Scene, draws: np.random.Generator) -> np.ndarray:
    """Blur, ringing, a colour cast, noise, and a shift at once, each of middling strength."""
    image = _blurred(render(scene, crop=_shift(scene, draws)), draws.uniform(0.3, 0.8))
    image = image + draws.uniform(0.2, 0.4) * (image - _blurred(image, 1.5))
    return _bytes(image + draws.uniform(-8, 8, 3) + draws.normal(0, 5, image.shape))


def _blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(image.astype(float), (sigma, sigma, 0), mode="nearest")


def _bytes(image: np.ndarray) -> np.ndarray:
    return np.round(image).clip(0, 255).astype(np.uint8)


DISTURBANCES: dict[str, Callable[[Scene, np.random.Generator], np.ndarray]] = {
    "none": lambda scene, draws: render(scene),
    "enlarged from 32–63 pixels": _enlarged,
    "shifted by up to 4 pixels": _shifted,
    "blurred, sigma 0.4–1.2 pixels": _soft,
    "noise, sigma 2–10 levels": _noisy,
    "ringing": _ringing,
    "colours off by up to 24 levels": _repainted,
    "JPEG, quality 75–95": _jpeg,
    "several at once": _everything,
}
