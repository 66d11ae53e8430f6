"""Comparisons: pairing by level, and deltas that add up to the totals exactly."""

from __future__ import annotations

import pytest
from test_config import TINY

from unet_atlas import anatomy, build, catalog, compare, config, roles
from unet_atlas.errors import AtlasError


@pytest.fixture(scope="module")
def unets() -> dict:
    return {model: build.build_unet(model) for model in catalog.ids()}


def changed(deltas: tuple[compare.Delta, ...]) -> dict[str, int]:
    return {d.role: d.delta for d in deltas if d.delta}


def test_sdxl_is_paired_with_sd_15_by_level(unets: dict) -> None:
    rows = compare.compare([unets["sd-1.5"], unets["sdxl-base-1.0"]]).rows
    assert [row.place for row in rows] == [
        "stem",
        "down, level 0",
        "down, level 1",
        "down, level 2",
        "down, level 3",
        "mid",
        "up, level 3",
        "up, level 2",
        "up, level 1",
        "up, level 0",
        "head",
    ]
    by_place = {row.place: row for row in rows}
    assert by_place["down, level 3"].stages[1] is None
    assert by_place["up, level 3"].stages[1] is None
    assert [s.depths for s in by_place["down, level 2"].stages] == [(1, 1), (10, 10)]
    assert [s.depths for s in by_place["mid"].stages] == [(1,), (10,)]
    assert "block" in by_place["down, level 0"].differs
    assert by_place["head"].differs == ()


def test_one_stage_a_side_and_level_in_every_model(unets: dict) -> None:
    rows = compare.compare(list(unets.values())).rows
    for i, unet in enumerate(unets.values()):
        paired = [row.stages[i] for row in rows if row.stages[i] is not None]
        assert sorted(s.key for s in paired) == sorted(s.key for s in anatomy.stages(unet))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("sd-1.5", "sd-2.1-v", {roles.CROSS_KV: 6_389_760}),
        ("sd-1.5", "sd-2.0-base", {roles.CROSS_KV: 6_389_760}),
        ("sd-2.1-v", "sd-2.1-unclip-h", {"class_embedding": 4_262_400}),
        ("sd-2.1-v", "sd-2.1-unclip-l", {"class_embedding": 3_607_040}),
        ("sd-1.1", "sd-1.5", {}),
        ("sd-2.0-base", "sd-2.1-v", {}),
    ],
)
def test_parameter_deltas_of_the_family(
    unets: dict, first: str, second: str, expected: dict[str, int]
) -> None:
    assert changed(compare.parameter_delta(unets[first], unets[second])) == expected


@pytest.mark.parametrize("other", ["sdxl-base-1.0", "sdxl-refiner-1.0"])
def test_roles_add_up_to_both_totals(unets: dict, other: str) -> None:
    deltas = compare.parameter_delta(unets["sd-1.5"], unets[other])
    assert sum(d.first for d in deltas) == anatomy.total_params(unets["sd-1.5"])
    assert sum(d.second for d in deltas) == anatomy.total_params(unets[other])


def test_roles_of_one_stage_add_up_to_its_row(unets: dict) -> None:
    deltas = compare.parameter_delta(unets["sd-1.5"], unets["sdxl-base-1.0"], "down 1")
    rows = {s.key: s.params for s in anatomy.stages(unets["sdxl-base-1.0"])}
    assert sum(d.second for d in deltas) == rows["down 1"]


def test_the_delta_is_the_key_and_value_widths(unets: dict) -> None:
    widths = sum(
        a.inner_dim
        for a in anatomy.attention_modules(unets["sd-1.5"])
        if anatomy.context_dim(a) is not None
    )
    assert widths == 12_480
    assert 2 * (1024 - 768) * widths == 6_389_760


def test_config_delta_fills_in_defaults() -> None:
    tiny = config.check(TINY, "tiny")
    same = compare.config_delta(tiny, {**TINY, "act_fn": "silu"})
    assert "act_fn" not in same
    delta = compare.config_delta(tiny, {**tiny, "use_linear_projection": True})
    assert delta == {"use_linear_projection": (False, True)}


def test_labels_are_the_sources_by_default(unets: dict) -> None:
    both = [unets["sd-1.5"], unets["sd-2.1-v"]]
    assert compare.compare(both).labels == ("sd-1.5", "sd-2.1-v")
    assert compare.compare(both, ["a", "b"]).labels == ("a", "b")


def test_one_model_is_no_comparison(unets: dict) -> None:
    with pytest.raises(AtlasError, match="two models or more"):
        compare.compare([unets["sd-1.5"]])


def test_a_unet_without_a_middle_has_no_middle_row() -> None:
    plain = build.from_config(config.check(TINY, "tiny"))
    hollow = build.from_config(config.check({**TINY, "mid_block_type": None}, "tiny"))
    by_place = {r.place: r for r in compare.compare([plain, hollow]).rows}
    assert by_place["mid"].stages[1] is None
    assert "mid" not in {r.place for r in compare.compare([hollow, hollow]).rows}
