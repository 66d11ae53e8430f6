"""Each miniature keeps what sets its version apart."""

from __future__ import annotations

import pytest

from unet_atlas import anatomy, build, catalog
from unet_atlas.errors import AtlasError
from unet_atlas.mini import MEMBERS, folder
from unet_atlas.mini.members import SCORER, unet_config

UNETS = {name: build.from_config(unet_config(name), name) for name in MEMBERS}


@pytest.mark.parametrize("name", MEMBERS)
def test_levels_resnets_and_places_of_attention_are_the_version_s(name):
    mini, full = anatomy.stages(UNETS[name]), anatomy.stages(build.build_unet(MEMBERS[name].like))
    assert [(s.key, s.level, s.resnets) for s in mini] == [
        (s.key, s.level, s.resnets) for s in full
    ]
    attended = [[bool(s.depths) for s in stages] for stages in (mini, full)]
    assert attended[0] == attended[1]


@pytest.mark.parametrize("name", MEMBERS)
def test_size_and_objective(name):
    assert 2.5e6 < sum(p.numel() for p in UNETS[name].parameters()) < 4e6
    full = catalog.get(MEMBERS[name].like)
    assert full.scheduler.config.get("prediction_type", "epsilon") == MEMBERS[name].prediction


def test_heads_fixed_in_number_or_in_width():
    heads = {
        name: [(s.heads, s.head_dim) for s in anatomy.stages(u) if s.heads]
        for name, u in UNETS.items()
    }
    assert {count for count, _ in heads["mini-sd"]} == {2}
    assert {width for _, width in heads["mini-sd2"]} == {16}
    assert {width for _, width in heads["mini-unclip"]} == {16}
    assert {width for _, width in heads["mini-sdxl"]} == {8}


def test_depth_grows_downwards_in_mini_sdxl_and_is_one_in_mini_sd():
    assert unet_config("mini-sdxl")["transformer_layers_per_block"] == (1, 1, 3)
    assert not anatomy.stages(UNETS["mini-sdxl"])[1].depths
    assert {d for s in anatomy.stages(UNETS["mini-sd"]) for d in s.depths} == {1}


def test_context_is_as_wide_as_the_encoders():
    widths = {"clip-s": 48, "clip-m": 64}
    for name, member in MEMBERS.items():
        assert unet_config(name)["cross_attention_dim"] == sum(widths[e] for e, _ in member.text)


def test_unknown_and_absent_members(monkeypatch, tmp_path):
    with pytest.raises(AtlasError, match="'mini-x' is not of the mini family; take one of mini-sd"):
        folder("mini-x")
    monkeypatch.setenv("UNET_ATLAS_MODELS", str(tmp_path))
    with pytest.raises(AtlasError, match="mini-scorer is not here"):
        folder(SCORER)
    (tmp_path / SCORER).mkdir()
    assert folder(SCORER) == tmp_path / SCORER
