"""What is painted: areas and places as stated, soft edges, crops and enlargements."""

from __future__ import annotations

import numpy as np
import pytest

from unet_atlas.shapes.render import coverage, render, signed_distance
from unet_atlas.shapes.world import BACKGROUND, COLOURS, FRINGE, SHAPES, SIDE, Thing, draw_scene

# Area at radius 1: πr², (2 · 0.88)², 3√3 · 0.6², two bars of 2.2 × 0.72 less their crossing,
# π (1.06² − 0.54²)
AREAS = {
    "circle": np.pi,
    "square": 1.76**2,
    "triangle": 3 * np.sqrt(3) * 0.6**2,
    "cross": 2 * 2.2 * 0.72 - 0.72**2,
    "ring": np.pi * (1.06**2 - 0.54**2),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_covers_its_area_around_its_centre(shape: str) -> None:
    alpha = coverage(Thing(shape, "red", 30.3, 33.8, 10.0))
    assert alpha.sum() == pytest.approx(AREAS[shape] * 100, rel=0.02)
    at = np.arange(SIDE) + 0.5
    assert alpha.sum(0) @ at / alpha.sum() == pytest.approx(30.3, abs=0.05)
    assert alpha.sum(1) @ at / alpha.sum() == pytest.approx(33.8, abs=0.1)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_stays_within_its_reach_and_comes_near_it(shape: str) -> None:
    y, x = np.mgrid[-20:20:0.05, -20:20:0.05]
    inside = signed_distance(shape, x, y, 10.0) <= 0
    farthest = np.hypot(x, y)[inside].max()
    assert 0.97 * FRINGE[shape] * 10 < farthest <= FRINGE[shape] * 10 + 0.05


def test_a_triangle_points_up_and_a_ring_is_hollow() -> None:
    alpha = coverage(Thing("triangle", "red", 32, 32, 10))
    widths = alpha.sum(1)
    assert widths[24] < widths[30] < widths[36]
    assert coverage(Thing("ring", "red", 32, 32, 10))[32, 32] == 0


def test_an_edge_is_one_pixel_wide() -> None:
    row = coverage(Thing("square", "red", 32.25, 32, 10))[32]
    partly = row[(row > 0) & (row < 1)]
    assert 1 <= len(partly) <= 4
    assert np.all(np.diff(np.flatnonzero(row > 0)) == 1)


def test_an_unknown_shape_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown shape 'star'"):
        signed_distance("star", np.zeros(1), np.zeros(1), 1.0)


def test_a_scene_is_painted_in_its_colours_on_the_background() -> None:
    things = [
        Thing("circle", colour, 12 + 20 * (i % 3), 16 + 30 * (i // 3), 7)
        for i, colour in enumerate(COLOURS)
    ]
    image = render(things)
    assert image.shape == (SIDE, SIDE, 3)
    assert image.dtype == np.uint8
    assert tuple(image[0, 0]) == BACKGROUND
    for t in things:
        assert tuple(image[int(t.y), int(t.x)]) == COLOURS[t.colour]


def test_the_same_scene_gives_the_same_bytes_as_scene_or_as_things() -> None:
    scene = draw_scene(1, 4)
    assert render(scene).tobytes() == render(draw_scene(1, 4)).tobytes()
    assert render(scene).tobytes() == render(iter(scene.things)).tobytes()


def test_the_last_object_lies_on_top() -> None:
    under, over = Thing("square", "red", 32, 32, 11), Thing("circle", "blue", 32, 32, 7)
    assert tuple(render([under, over])[32, 32]) == COLOURS["blue"]
    assert tuple(render([over, under])[32, 32]) == COLOURS["red"]


def test_an_empty_scene_is_background() -> None:
    assert (render([]) == np.array(BACKGROUND)).all()


@pytest.mark.parametrize("crop", [(0, 5), (7, 0), (3, 9), (-4, -2)])
def test_a_crop_moves_what_is_seen(crop: tuple[int, int]) -> None:
    things = [Thing("cross", "green", 30, 34, 9)]
    top, left = crop
    moved = np.roll(render(things), (-top, -left), axis=(0, 1))
    assert (render(things, crop=crop) == moved).all()


def test_a_crop_cuts_objects_at_the_border() -> None:
    image = render([Thing("square", "red", 12, 30, 10)], crop=(0, 12))
    assert tuple(image[30, 0]) == COLOURS["red"]


@pytest.mark.parametrize("original", [24, 32, 48])
def test_a_small_original_is_the_same_scene_with_softer_edges(original: int) -> None:
    things = [Thing("square", "blue", 30, 30, 10)]
    sharp, soft = render(things).astype(float), render(things, original=original).astype(float)
    assert soft.shape == sharp.shape
    assert np.abs(np.diff(soft, axis=1)).max() < np.abs(np.diff(sharp, axis=1)).max()
    assert np.abs(soft.mean((0, 1)) - sharp.mean((0, 1))).max() < 3
    assert np.abs(soft[30, 30] - COLOURS["blue"]).max() <= 2


def test_coverage_at_another_size_is_the_same_share_of_the_picture() -> None:
    thing = Thing("circle", "red", 30, 30, 10)
    assert coverage(thing, 32).mean() == pytest.approx(coverage(thing).mean(), rel=0.02)
