"""What is drawn: a pure function of the seed, held-out combinations kept out, objects apart."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, astuple
from itertools import combinations

import numpy as np
import pytest

from unet_atlas.errors import AtlasError
from unet_atlas.shapes.captions import caption
from unet_atlas.shapes.world import (
    COLOURS,
    DOMINANCE,
    FRINGE,
    GAP,
    OPPOSITE,
    RADII,
    SHAPES,
    SIDE,
    SPLITS,
    UNSEEN_PAIRS,
    UNSEEN_RELATIONS,
    Request,
    Thing,
    Wanted,
    draw_request,
    draw_scene,
    holds,
    loosen,
    place,
    split_of,
)

N = 150


@pytest.fixture(scope="module")
def scenes() -> dict[str, list]:
    return {split: [draw_scene(7, i, split) for i in range(N)] for split in SPLITS}


def test_a_scene_depends_on_nothing_but_seed_and_index(scenes) -> None:
    backwards = [draw_scene(7, i, "test") for i in reversed(range(20))]
    assert backwards[::-1] == scenes["test"][:20]
    assert draw_scene(8, 0) != draw_scene(7, 0) != draw_scene(7, 1)


def test_scene_three_is_the_one_the_models_were_trained_on() -> None:
    """A change of what (seed, index) draws would make the shipped checkpoints' data another."""
    scene = draw_scene(0, 3)
    assert caption(scene.request) == (
        "a large cyan ring, a small yellow square and a large green ring"
    )
    assert [round(v, 4) for v in astuple(scene.things[0])[2:]] == [46.3305, 51.2482, 9.7196]


@pytest.mark.parametrize("split", SPLITS)
def test_a_scene_meets_its_request(scenes, split: str) -> None:
    for scene in scenes[split]:
        drawn = tuple(Wanted(t.shape, t.colour, t.size) for t in scene.things)
        assert drawn == scene.request.objects
        if scene.request.relation:
            assert holds(scene.request.relation, *scene.things, DOMINANCE)


@pytest.mark.parametrize("split", SPLITS)
def test_objects_keep_clear_of_each_other_and_of_the_border(scenes, split: str) -> None:
    for scene in scenes[split]:
        for t in scene.things:
            reach = t.radius * FRINGE[t.shape] + GAP
            assert reach <= min(t.x, t.y)
            assert max(t.x, t.y) <= SIDE - reach
        for a, b in combinations(scene.things, 2):
            room = a.radius * FRINGE[a.shape] + b.radius * FRINGE[b.shape] + GAP
            assert np.hypot(a.x - b.x, a.y - b.y) >= room


def test_every_split_gives_what_it_says(scenes) -> None:
    for split in SPLITS:
        for scene in scenes[split]:
            single = len(scene.request.objects) == 1 and split != "unseen"
            assert split_of(scene.request) == ("train" if single else split)


def test_held_out_combinations_are_never_drawn_for_training(scenes) -> None:
    for scene in scenes["train"] + scenes["test"]:
        assert not UNSEEN_PAIRS & {(t.colour, t.shape) for t in scene.things}
        if scene.request.relation:
            a, b = (w.shape for w in scene.request.objects)
            assert (a, scene.request.relation, b) not in UNSEEN_RELATIONS


def test_captions_kept_for_the_test_are_none_of_the_training_ones(scenes) -> None:
    several = {
        split: {s.request for s in scenes[split] if len(s.things) > 1}
        for split in ("train", "test")
    }
    assert several["test"]
    assert not several["train"] & several["test"]


def test_training_holds_every_word_and_all_but_the_unseen_pairs() -> None:
    seen = {
        (w.colour, w.shape)
        for i in range(1000)
        for w in draw_request(np.random.default_rng(i), "train").objects
    }
    assert seen == {(c, s) for c in COLOURS for s in SHAPES} - UNSEEN_PAIRS


def test_an_arrangement_said_the_other_way_round_is_the_same_arrangement() -> None:
    assert len(UNSEEN_RELATIONS) == 8
    for first, relation, second in UNSEEN_RELATIONS:
        assert (second, OPPOSITE[relation], first) in UNSEEN_RELATIONS
        for a, word, b in ((first, relation, second), (second, OPPOSITE[relation], first)):
            colours = [
                next(c for c in COLOURS if (c, shape) not in UNSEEN_PAIRS) for shape in (a, b)
            ]
            request = Request((Wanted(a, colours[0]), Wanted(b, colours[1])), word)
            assert split_of(request) == "unseen"


def test_opposite_relations_hold_for_swapped_objects() -> None:
    a, b = Thing("circle", "red", 20, 30, 6), Thing("square", "blue", 40, 34, 6)
    for relation, opposite in OPPOSITE.items():
        assert OPPOSITE[opposite] == relation
        assert holds(relation, a, b) == holds(opposite, b, a)
    assert [r for r in OPPOSITE if holds(r, a, b)] == ["left of"]


@pytest.mark.parametrize(
    ("dx", "dy", "dominance", "expected"),
    [(10, 0, 1.3, True), (10, 9, 1.0, True), (10, 9, 1.3, False), (-10, 0, 1.0, False)],
)
def test_a_relation_needs_its_axis_to_dominate(
    dx: float, dy: float, dominance: float, expected: bool
) -> None:
    a, b = Thing("circle", "red", 30, 30, 6), Thing("circle", "red", 30 + dx, 30 + dy, 6)
    assert holds("left of", a, b, dominance) is expected
    assert holds("above", replace_axes(a), replace_axes(b), dominance) is expected


def replace_axes(t: Thing) -> Thing:
    return Thing(t.shape, t.colour, t.y, t.x, t.radius)


def test_objects_at_one_place_stand_in_no_relation() -> None:
    a = Thing("circle", "red", 30, 30, 6)
    assert not any(holds(relation, a, a) for relation in OPPOSITE)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_count_can_be_asked_for(count: int) -> None:
    for split in SPLITS:
        scene = draw_scene(0, 1, split, count)
        assert len(scene.things) == count
        assert (scene.request.relation is not None) == (count == 2)


def test_sizes_are_told_apart_by_radius() -> None:
    for size, bounds in RADII.items():
        assert {Thing("circle", "red", 0, 0, r).size for r in bounds} == {size}


def test_loosening_only_leaves_words_out(scenes) -> None:
    rng = np.random.default_rng(0)
    dropped = {"shape": 0, "colour": 0, "size": 0, "relation": 0}
    for scene in scenes["train"]:
        loose = loosen(rng, scene.request)
        assert loose.relation in (None, scene.request.relation)
        dropped["relation"] += loose.relation != scene.request.relation
        for before, after in zip(scene.request.objects, loose.objects, strict=True):
            for word in ("shape", "colour", "size"):
                assert getattr(after, word) in (None, getattr(before, word))
                dropped[word] += getattr(after, word) is None
            assert after.shape or after.colour
    assert dropped["size"] > dropped["colour"] > 0
    assert min(dropped.values()) > 0


def test_what_a_request_leaves_open_is_drawn_by_lot() -> None:
    rng = np.random.default_rng(0)
    drawn = [place(rng, Request((Wanted(),))).things[0] for _ in range(80)]
    assert {t.shape for t in drawn} == set(SHAPES)
    assert {t.colour for t in drawn} == set(COLOURS)
    assert {t.size for t in drawn} == set(RADII)


def test_an_unknown_split_is_refused_and_does_not_search_for_ever() -> None:
    with pytest.raises(AtlasError, match=r"no split 'trian'; take one of train, test, unseen"):
        draw_scene(0, 0, "trian")


def test_a_thing_can_not_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        draw_scene(0, 0).things[0].x = 1.0
