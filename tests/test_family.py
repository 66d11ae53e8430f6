"""The family's tables say what the shipped files and the live networks say."""

from __future__ import annotations

import numpy as np
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
    assert list(family.members_table().shown.columns) == ["member", *MEMBERS]


def run(steps, seconds, device="cpu, 1 threads"):
    return {"outcome": {"steps": steps, "seconds": seconds, "loss": 0.1}, "device": device}


def recorded_with(monkeypatch, **facts):
    """Every member has these facts."""
    recorded = exam.Recorded(np.zeros((0, 64, 64, 3), np.uint8), (), np.zeros(0), facts)
    monkeypatch.setattr(exam, "recorded", lambda name: recorded)


def test_members_count_all_runs_of_their_training(monkeypatch):
    trained = {**run(1500, 600, "a GPU"), "before": [run(3000, 1200), run(10, 60)]}
    recorded_with(monkeypatch, training=trained)
    table = family.members_table()
    first = table.data.iloc[0]
    assert (first.steps, first.minutes) == (4510, 31)
    assert first["trained on"] == "cpu, 1 threads, then a GPU"
    assert table.shown.set_index("member")["mini-sd"]["steps"] == "4,510"
    assert [len(r) for r in family.runs(trained)] == [2, 2, 2]


def test_marks_are_those_of_the_files():
    table = family.exam_table()
    told = exam.recorded("mini-sdxl").facts["marks"]["test"]
    assert dict(zip(table.data.question, table.data["mini-sdxl"], strict=True)) == {
        question: mark["value"] for question, mark in told.items()
    }
    assert table.shown.shape == table.data.shape


@pytest.mark.parametrize(
    ("splits", "rows"),
    [
        (("unseen",), [("either", "two objects: both right")]),
        (
            ("unseen", "unseen pair", "unseen arrangement"),
            [
                ("colour with shape", "two objects: both right"),
                ("shapes in a relation", "two objects: both right"),
            ],
        ),
    ],
)
def test_what_is_unseen_has_rows_of_its_own(monkeypatch, splits, rows):
    marks = {"two objects: both right": {"value": 0.25, "low": 0.1, "high": 0.5}}
    recorded_with(monkeypatch, marks=dict.fromkeys(splits, marks))
    table = family.unseen_table()
    assert list(zip(table.data.new, table.data.question, strict=True)) == rows
    assert set(table.data["mini-sd"]) == {0.25}
    assert set(table.shown["mini-sdxl"]) == {"25 [10,\u00a050]"}


def test_targets_are_those_of_the_exam(monkeypatch):
    assert set(family.TARGETS) <= set(exam.QUESTIONS)
    marks = {q: {"value": 0.93, "low": 0.9, "high": 0.95} for q in exam.QUESTIONS}
    recorded_with(monkeypatch, marks={"test": marks}, captions=500)
    table = family.exam_table()
    assert list(table.data.target) == ["98 %", "93 %", "90 %", "–"]
    met = family.reached()
    assert len(met) == 3 * len(MEMBERS)
    assert {question for question, yes in met if met[question, yes]} == {
        "two objects: both right",
        "two objects: relation",
    }


def test_a_member_that_was_not_asked_has_no_mark():
    assert family.in_brackets(None) == "–"


def test_the_oracle_s_table_has_intervals():
    table = family.oracle_table(3)
    assert (table.data.right >= table.data.low).all()
    assert table.shown["read right, %"].str.match(r"\d+ \[\d+,\s\d+\]").all()


def test_percent():
    assert family.percent(Estimate(0.934, 0.9, 0.956)) == "93 % [90, 96]"
