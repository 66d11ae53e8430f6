"""Faulty scenes: exactly one respect differs, and the oracle sees it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from unet_atlas.errors import AtlasError
from unet_atlas.shapes.captions import caption
from unet_atlas.shapes.faults import (
    FAULTS,
    POSES,
    blurred,
    has_room,
    one_missing,
    one_twice,
    painted,
    pairs,
    posed,
    reversed_relation,
    stranger,
    swapped_colours,
    unrelated,
    wrong_size,
)
from unet_atlas.shapes.oracle import judge, read
from unet_atlas.shapes.render import render
from unet_atlas.shapes.world import RELATIONS, Request, Scene, Thing, Wanted, draw_scene, holds

RED = Thing("circle", "red", 16, 30, 6.5)
BLUE = Thing("square", "blue", 44, 34, 10)


def wanted(thing: Thing) -> Wanted:
    return Wanted(thing.shape, thing.colour, thing.size)


def scene(*things: Thing, relation: str | None = None) -> Scene:
    return Scene(Request(tuple(map(wanted, things)), relation), things)


LEFT_OF = scene(RED, BLUE, relation="left of")


def lots() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_oracle_tells_the_twins_apart_both_ways(fault: str) -> None:
    for right, wrong in pairs(fault, 5):
        for asked, shown in ((right, right), (wrong, wrong), (right, wrong), (wrong, right)):
            verdict = judge(asked.request, read(render(shown)))
            assert (verdict.right and verdict.sizes) == (asked is shown)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_scene_keeps_the_rules_of_the_world(fault: str) -> None:
    for right, wrong in pairs(fault, 12):
        assert has_room(right.things)
        assert has_room(wrong.things)
        assert [wanted(t) for t in wrong.things] == list(wrong.request.objects)
        if wrong.request.relation:
            assert holds(wrong.request.relation, *wrong.things[:2])


def test_pairs_are_the_same_every_time_and_of_the_split() -> None:
    assert pairs("wrong colour", 4, seed=3) == pairs("wrong colour", 4, seed=3)
    assert pairs("wrong colour", 4, seed=3) != pairs("wrong colour", 4, seed=4)
    assert pairs("wrong shape", 2, split="unseen")[0][0] == draw_scene(0, 0, "unseen")
    with pytest.raises(AtlasError, match="no fault 'typo'; take one of wrong colour"):
        pairs("typo", 1)


@pytest.mark.parametrize("relation", RELATIONS)
def test_reversing_twice_gives_the_scene_back(relation: str) -> None:
    before = scene(RED, BLUE, relation=relation)
    assert reversed_relation(lots(), reversed_relation(lots(), before)) == before


def test_reversing_mirrors_only_the_axis_of_the_relation() -> None:
    wrong = reversed_relation(lots(), LEFT_OF)
    assert [(t.x, t.y) for t in wrong.things] == [(48, 30), (20, 34)]
    below = reversed_relation(lots(), scene(RED, BLUE, relation="above"))
    assert [(t.x, t.y) for t in below.things] == [(16, 34), (44, 30)]


def test_swapping_colours_uses_the_same_words() -> None:
    wrong = swapped_colours(lots(), LEFT_OF)
    assert caption(wrong.request) == "a small blue circle left of a large red square"
    assert sorted(caption(wrong.request).split()) == sorted(caption(LEFT_OF.request).split())


def test_what_a_scene_has_no_use_for_is_none() -> None:
    twins = scene(RED, replace(RED, x=48), replace(RED, x=32, y=50))
    assert reversed_relation(lots(), scene(RED, BLUE)) is None
    assert swapped_colours(lots(), twins) is None
    assert one_missing(lots(), scene(RED)) is None
    for counts in (one_missing, one_twice, stranger):
        assert counts(lots(), LEFT_OF) is None
    assert one_twice(lots(), twins) is None


def test_a_full_scene_takes_no_more_and_grows_no_object() -> None:
    full = scene(Thing("circle", "red", 32, 32, 29))
    assert stranger(lots(), full) is None
    tight = scene(replace(RED, x=9), replace(BLUE, radius=6.5, x=25, y=30))
    assert wrong_size(lots(), tight) is None


def test_one_twice_repeats_an_object_and_a_stranger_is_new() -> None:
    assert len(set(one_twice(lots(), scene(RED)).request.objects)) == 1
    new = stranger(lots(), scene(RED, BLUE)).things[-1]
    assert new.shape not in ("circle", "square")
    assert new.colour not in ("red", "blue")


def test_painted_and_unrelated_change_the_words_too() -> None:
    green = painted(LEFT_OF, "green")
    assert caption(green.request) == "a small green circle left of a large green square"
    assert {t.colour for t in green.things} == {"green"}
    assert caption(unrelated(LEFT_OF).request) == "a small red circle and a large blue square"


@pytest.mark.parametrize("pose", POSES)
def test_a_posed_scene_still_meets_its_request(pose: int | str) -> None:
    large = [Thing("square", c, 0, 0, 11.4) for c in ("red", "green", "blue")]
    relation = pose if isinstance(pose, str) else None
    posing = posed(scene(*large[: 2 if relation else pose], relation=relation))
    assert has_room(posing.things)
    assert judge(posing.request, read(render(posing))).right
    assert posed(posing) == posing


def test_blurring_keeps_the_mean_and_softens_edges() -> None:
    image = render(LEFT_OF)
    soft = blurred(image, 1.5)
    assert soft.dtype == np.uint8
    assert abs(soft.mean() - image.mean()) < 0.2
    assert (
        np.abs(np.diff(soft.astype(int), axis=1)).max()
        < 0.6 * np.abs(np.diff(image.astype(int), axis=1)).max()
    )
    assert (blurred(image, 0) == image).all()
