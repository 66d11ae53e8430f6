"""The family's tables say what the shipped files and the live networks say."""

from __future__ import annotations

import pytest

from unet_atlas import exam, family
from unet_atlas.build import build_unet
from unet_atlas.metrics.bootstrap import Estimate
from unet_atlas.mini import MEMBERS


def test_members_are_those_of_the_live_networks():
    data = family.members_table().data.set_index("member")
    assert list(data.index) == list(MEMBERS)
    for name in MEMBERS:
        assert data.parameters[name] == sum(p.numel() for p in build_unet(name).parameters())
        assert data.context[name] == build_unet(name).config.cross_attention_dim


@pytest.mark.parametrize("split", ["test", "unseen"])
def test_marks_are_those_of_the_files(split):
    table = family.exam_table(split)
    told = exam.recorded("mini-sdxl").facts["marks"][split]
    assert dict(zip(table.data.question, table.data["mini-sdxl"], strict=True)) == {
        question: mark["value"] for question, mark in told.items()
    }
    assert table.shown.shape == table.data.shape


def test_the_oracle_s_table_has_intervals():
    table = family.oracle_table(3)
    assert (table.data.right >= table.data.low).all()
    assert table.shown["read right"].str.match(r"\d+ % \[\d+, \d+\]").all()


def test_percent():
    assert family.percent(Estimate(0.934, 0.9, 0.956)) == "93 % [90, 96]"
