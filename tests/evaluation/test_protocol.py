"""Options and presets: what contradicts is refused, and a window is only for what it is of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from unet_atlas.errors import AtlasError
from unet_atlas.evaluation.protocol import MLPERF, PERCENT, options_of, verdicts
from unet_atlas.sampling import Recipe

NEEDED = {"source": "mini-sd", "captions": Path("c.csv"), "output": Path("run")}
MLPERF_WORDS = NEEDED | {"protocol": "mlperf", "latents": Path("l.npy")}
XL = "StableDiffusionXLPipeline"


def test_what_is_left_out_has_a_default() -> None:
    options = options_of(NEEDED | {"steps": None, "limit": None})
    assert options.recipe == Recipe()
    assert (options.batch, options.limit, options.features) == (16, None, "clip")
    assert options.preset is None


def test_mlperf_prescribes() -> None:
    options = options_of(MLPERF_WORDS)
    assert options.recipe == Recipe(
        "euler",
        20,
        8.0,
        "normal quality, low quality, worst quality, low res, blurry, nsfw, nude",
    )
    assert (options.limit, options.features, options.preset) == (5000, "inception", MLPERF)
    assert options_of(MLPERF_WORDS | {"steps": 20, "guidance": 8}) == options


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"steps": 25}, "has --steps 20, not 25; leave out --steps or the protocol"),
        ({"sampler": "ddim"}, "has --sampler 'euler', not 'ddim'"),
        ({"guidance": 5.0}, "has --guidance 8.0, not 5.0"),
        ({"negative": "blurry"}, "has --negative 'normal"),
        ({"features": "clip"}, "has --features 'inception', not 'clip'"),
        ({"limit": 100}, "has --limit 5000, not 100"),
        ({"latents": None}, "give it with --fixed-latents"),
        ({"protocol": "coco"}, "'coco' is no protocol; use mlperf"),
    ],
)
def test_what_contradicts_the_protocol_is_refused(words: dict[str, Any], expected: str) -> None:
    with pytest.raises(AtlasError, match=expected):
        options_of(MLPERF_WORDS | words)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"sampler": "turbo"}, "'turbo' is no sampler"),
        ({"steps": 0}, "0 steps can't be taken"),
        ({"guidance": 0.5}, "Guidance 0.5 is below 1"),
        ({"batch": 0}, "0 pictures at once"),
        ({"seed": -1}, "seed -1 is out of range"),
        ({"seed": 2**32}, "seed 4294967296 is out of range"),
        ({"limit": 1}, "first 1 captions can't be scored"),
        ({"features": "dino"}, "'dino' are no features; use clip or inception"),
    ],
)
def test_what_is_out_of_range_is_refused(words: dict[str, Any], expected: str) -> None:
    with pytest.raises(AtlasError, match=expected):
        options_of(NEEDED | words)


@pytest.mark.parametrize(
    ("fid", "clip", "expected"),
    [
        (23.5, 31.7, [True, True]),
        (23.01086, 31.81332, [True, True]),
        (23.0108, 31.8134, [False, False]),
        (23.96, 31.7, [False, True]),
    ],
)
def test_inside_and_outside(fid: float, clip: float, expected: list[bool]) -> None:
    rows = verdicts(MLPERF, {"FID": fid, PERCENT: clip}, 5000, XL)
    assert [row["inside"] for row in rows] == expected
    assert all(row["reason"] == "" and "MLCommons" in row["source"] for row in rows)


@pytest.mark.parametrize(
    ("values", "pictures", "pipeline", "reason"),
    [
        ({"FID": 23.5, PERCENT: 31.7}, 5000, "StableDiffusionPipeline", "the window is of SDXL"),
        ({"FID": 23.5, PERCENT: 31.7}, 4999, XL, "of 5,000 pictures, these are 4,999"),
        ({}, 5000, XL, "it was not measured"),
    ],
)
def test_no_verdict_on_what_the_window_is_not_of(
    values: dict[str, float], pictures: int, pipeline: str, reason: str
) -> None:
    for row in verdicts(MLPERF, values, pictures, pipeline):
        assert row["inside"] is None
        assert reason in row["reason"]
