"""From a patch to the shape that fits it: place and radius by Gauss–Newton, the rival beside it.

A patch in full view is fitted where its mass is; a hidden one, or several shapes that touch, are
looked for only where that fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product

import numpy as np

from unet_atlas.shapes.patches import Mixture, Patch, patch_of
from unet_atlas.shapes.render import signed_distance
from unet_atlas.shapes.world import RADII, SHAPES, Thing

MISFIT = 0.34  # a readable blob differs from its shape by less (L2, relative to the blob)
RIVAL = 0.75  # … and by less than this share of what it differs from every other shape
RADIUS = (0.8 * RADII["small"][0], 1.2 * RADII["large"][1])  # pixels
BLURS = (0.0, 0.7, 1.2)  # pixels, sigma: a soft picture is compared with soft shapes
AREA = {"circle": 3.142, "square": 3.098, "triangle": 1.871, "cross": 2.650, "ring": 2.614}  # r = 1
SURE = 0.12  # a misfit so small that nothing else need be tried
SEVERAL = 0.18  # several shapes fit more easily than one, so less is forgiven
SHOWN = 0.45  # of an object at least this share must be in view
SHIFTS = np.array([-5, -2.5, 0, 2.5, 5])  # pixels, around the centre of what is in view
NUDGE = 0.25  # pixels, for slopes
STILL = 0.03  # pixels: a shorter step is not taken


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
class _Fit:
    """Shapes with their (x, y, radius), the blur of the picture, and the distance that is left."""

    shapes: tuple[str, ...]
    places: np.ndarray  # (K, 3) pixels
    blur: float
    misfit: float


def look(patch: Patch, patient: bool) -> list[Blob]:
    """The objects of a patch: one; with patience, a hidden one, or several that touch."""
    found = [_alone(patch)]
    if patient and patch.honest:
        if found[0].misfit > SURE and patch.partial:
            found.append(_hidden(patch))
        found.sort(key=lambda blob: (not blob.readable, blob.misfit))
        if not found[0].readable:
            return _several(patch) or found[:1]
    return found[:1]


def _alone(patch: Patch) -> Blob:
    """One object in full view: its centre of mass is its centre, its area gives its radius."""
    fits = sorted(_firsts(patch), key=lambda fit: fit.misfit)
    fits[0] = _refine(fits[0], patch)
    if fits[0].misfit > SURE or fits[0].misfit > RIVAL / 2 * fits[1].misfit:
        fits = [_sharpen(_refine(fit, patch), patch) for fit in fits]
    best, rival = sorted(fits, key=lambda fit: fit.misfit)[:2]
    return _blob(best, 0, rival.misfit, patch)


def _hidden(patch: Patch) -> Blob:
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


def _sharpen(fit: _Fit, patch: Patch) -> _Fit:
    """The same fit with the blur that suits best."""
    misfits = _misfits_by_blur(_variants(fit.shapes, fit.places, patch, False), patch)[:, 0]
    best = int(misfits.argmin())
    return _refine(replace(fit, blur=BLURS[best], misfit=float(misfits[best])), patch, 1)


def _several(patch: Patch) -> list[Blob]:
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


def _cells(patch: Patch, count: int) -> Iterator[np.ndarray]:
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


def _joint(cells: np.ndarray, patch: Patch) -> _Fit:
    """The best shape within each cell, then all places fitted together."""
    firsts = []
    for cell in cells:
        part = replace(patch, weight=patch.weight * cell)
        firsts.append(min(_firsts(part), key=lambda fit: fit.misfit))
    shapes = tuple(fit.shapes[0] for fit in firsts)
    places = np.concatenate([fit.places for fit in firsts])
    return _refine(_Fit(shapes, places, BLURS[1], np.inf), patch, 4)


def _exchange(fit: _Fit, patch: Patch) -> list[Blob]:
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


def _others(fit: _Fit, k: int, patch: Patch) -> Iterator[_Fit]:
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


def rejoin(
    mixture: Mixture, masks: Sequence[tuple[int, np.ndarray]], found: Sequence[list[Blob]]
) -> list[list[Blob]]:
    """Unreadable blobs of one colour that are together one object, which another one divides."""
    lost = [i for i, group in enumerate(found) if not all(blob.readable for blob in group)]
    joined: list[list[Blob]] = []
    for colour in sorted({masks[i][0] for i in lost}):
        pieces = [i for i in lost if masks[i][0] == colour]
        whole = _hidden(patch_of(mixture, masks, *pieces)) if len(pieces) > 1 else None
        if whole and whole.readable:
            joined.append([whole])
            found = [[] if i in pieces else group for i, group in enumerate(found)]
    return [*found, *joined]


def _firsts(patch: Patch) -> list[_Fit]:
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


def _misfits_by_blur(pictures: np.ndarray, patch: Patch) -> np.ndarray:
    return np.stack([_misfit(_soften(pictures, blur), patch) for blur in BLURS])


def _moments(patch: Patch) -> tuple[float, float, float]:
    """Centre of mass and mass of what is coloured, in pixels of the picture."""
    share = np.where(patch.share > 0.15, patch.share.clip(None, 1), 0) * patch.weight
    mass = max(float(share.sum()), 1.0)
    x = float(share.sum(0) @ (np.arange(share.shape[1]) + 0.5)) / mass + patch.left
    y = float(share.sum(1) @ (np.arange(share.shape[0]) + 0.5)) / mass + patch.top
    return x, y, mass


def _paint(shape: str, places: np.ndarray, patch: Patch) -> np.ndarray:
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


def _misfit(pictures: np.ndarray, patch: Patch) -> np.ndarray:
    """Distance of each picture (P, h, w) to the patch, at the colour strength that suits best."""
    flat, weight = pictures.reshape(len(pictures), -1), patch.weight.ravel()
    seen = patch.share.ravel() * weight
    common, norm = flat @ seen, (flat * flat) @ weight
    strength = (common / np.maximum(norm, 1e-6)).clip(0.75, 1.2)
    own = max(float(seen @ patch.share.ravel()), 1.0)
    noise = patch.noise**2 * float(weight.sum()) / 2  # half of it is below 0, and cut off
    rest = own - noise + strength * (strength * norm - 2 * common)
    return np.sqrt(np.maximum(rest, 0) / own)


def _refine(fit: _Fit, patch: Patch, steps: int = 2) -> _Fit:
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
    shapes: tuple[str, ...], places: np.ndarray, patch: Patch, nudged: bool
) -> np.ndarray:
    """The picture of all shapes, then that with each coordinate nudged: (1 + 3K, h, w)."""
    nudges = np.vstack([np.zeros(3), NUDGE * np.eye(3)]) if nudged else np.zeros((1, 3))
    parts = [_paint(s, p + nudges, patch) for s, p in zip(shapes, places, strict=True)]
    if len(parts) == 1:
        return parts[0]
    whole = sum(part[0] for part in parts)
    changed = [whole - part[0] + part[1:] for part in parts]
    return np.concatenate([whole[None], *changed]).clip(0, 1)


def _newton(pictures: np.ndarray, patch: Patch) -> np.ndarray:
    now = pictures[0]
    slopes = ((pictures[1:] - now) / NUDGE * patch.weight).reshape(len(pictures) - 1, -1)
    rest = ((patch.share - now) * patch.weight).ravel()
    normal = slopes @ slopes.T + 0.5 * np.eye(len(slopes))
    return np.linalg.solve(normal, slopes @ rest).clip(-2, 2)


def _blob(fit: _Fit, k: int, rival: float, patch: Patch) -> Blob:
    x, y, radius = map(float, fit.places[k])
    thing = Thing(fit.shapes[k], patch.colour, x, y, radius)
    clear = fit.misfit < MISFIT and fit.misfit < RIVAL * rival
    shown = float((_paint(thing.shape, fit.places[k, None], patch)[0] * patch.weight).sum())
    sized = RADIUS[0] < radius < RADIUS[1] and shown > SHOWN * AREA[thing.shape] * radius**2
    return Blob(thing, fit.misfit, rival, bool(clear and sized and patch.honest))
