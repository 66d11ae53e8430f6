"""Words → request → words."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from unet_atlas.errors import AtlasError
from unet_atlas.shapes.captions import caption, read_caption
from unet_atlas.shapes.world import (
    COLOURS,
    RADII,
    RELATIONS,
    SHAPES,
    SPLITS,
    Request,
    Wanted,
    draw_scene,
    loosen,
)

CASES = {
    "a small red circle left of a blue square": Request(
        (Wanted("circle", "red", "small"), Wanted("square", "blue")), "left of"
    ),
    "a ring": Request((Wanted("ring"),)),
    "a large purple shape": Request((Wanted(None, "purple", "large"),)),
    "a red cross and a green ring": Request((Wanted("cross", "red"), Wanted("ring", "green"))),
    "a red cross, a shape and a green ring": Request(
        (Wanted("cross", "red"), Wanted(), Wanted("ring", "green"))
    ),
}


@pytest.mark.parametrize("text", CASES)
def test_the_words_of_a_request(text: str) -> None:
    assert caption(CASES[text]) == text
    assert read_caption(text) == CASES[text]


def test_every_single_object_there_and_back() -> None:
    words = product((None, *SHAPES), (None, *COLOURS), (None, *RADII))
    requests = [Request((Wanted(*w),)) for w in words]
    assert [read_caption(caption(r)) for r in requests] == requests
    assert len({caption(r) for r in requests}) == len(requests)


@pytest.mark.parametrize("split", SPLITS)
def test_drawn_requests_there_and_back(split: str) -> None:
    rng = np.random.default_rng(0)
    for i in range(100):
        request = draw_scene(3, i, split).request
        assert read_caption(caption(request)) == request
        loose = loosen(rng, request)
        assert read_caption(caption(loose)) == loose


@pytest.mark.parametrize("relation", RELATIONS)
def test_every_relation_there_and_back(relation: str) -> None:
    request = Request((Wanted("circle"), Wanted("square")), relation)
    assert read_caption(caption(request)) == request


def test_case_spaces_full_stop_and_the_other_article_do_not_matter() -> None:
    assert read_caption("  An Red  CIRCLE Above a square. ") == Request(
        (Wanted("circle", "red"), Wanted("square")), "above"
    )


@pytest.mark.parametrize(
    ("text", "blamed"),
    [
        ("a photo of a cat", "a photo of a cat"),
        ("", "''"),
        ("a red circle beside a square", "a red circle beside a square"),
        ("a circle left of a pink square", "a pink square"),
        ("a red small circle", "a red small circle"),  # the size comes first
        ("red circle", "red circle"),
    ],
)
def test_words_of_another_world_are_refused_by_name(text: str, blamed: str) -> None:
    with pytest.raises(AtlasError, match="is no caption of the picture world") as error:
        read_caption(text)
    assert blamed in str(error.value)
    assert "write for instance 'a small red circle left of a blue square'" in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "a circle left of a square above a ring",
        "a circle, a square, a ring and a cross",
    ],
)
def test_more_than_the_world_knows_is_refused(text: str) -> None:
    with pytest.raises(AtlasError, match="asks for more than the picture world knows"):
        read_caption(text)
