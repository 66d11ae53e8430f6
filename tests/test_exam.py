"""The exam: fixed captions, sheets of pictures, marks; the models are those that ship."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from unet_atlas import cards, exam, mini
from unet_atlas.errors import AtlasError
from unet_atlas.sampling import Recipe, load_pipeline
from unet_atlas.shapes.captions import read_caption
from unet_atlas.shapes.oracle import judge_all
from unet_atlas.shapes.world import split_of

MEMBERS = tuple(mini.MEMBERS)


def weekly(names):
    return [pytest.param(name, marks=pytest.mark.weekly) for name in names]


@pytest.mark.parametrize("split", ["test", "unseen"])
def test_the_paper_is_fixed_and_of_its_split(split):
    asked = exam.paper(40, split)
    assert asked.captions == exam.paper(60, split).captions[:40]
    assert [int(n) for n in np.bincount(asked.counts)] == [0, 12, 20, 8]
    splits = {
        split_of(read_caption(c))
        for c, n in zip(asked.captions, asked.counts, strict=True)
        if n > 1
    }
    assert splits == {split}
    verdicts = judge_all(asked.captions, asked.references).assign(asked=asked.counts)
    assert verdicts.right.all()


def test_a_question_that_was_not_asked_has_no_mark():
    nothing = pd.DataFrame({"objects": [], "relation": [], "right": [], "asked": []})
    assert exam.marks(nothing) == {}


def test_marks_count_what_the_verdicts_say():
    asked = exam.paper(40)
    images = asked.references.copy()
    images[asked.counts == 2] = images[asked.counts == 1][0]
    verdicts = judge_all(asked.captions, images).assign(asked=asked.counts)
    marks = exam.marks(verdicts)
    assert marks["one object: shape and colour"].value == 1
    assert marks["two objects: both right"].value == 0
    assert marks["two objects: relation"].value == 0
    assert marks["all captions: everything"].value == 0.5


def test_sheets_are_cut_as_they_were_pasted():
    images = np.random.default_rng(0).integers(0, 255, (31, 64, 64, 3), np.uint8)
    sheet = exam.paste(images)
    assert sheet.shape == (128, 25 * 64, 3)
    assert np.array_equal(exam.cut(sheet, 31), images)


@pytest.mark.parametrize("name", [MEMBERS[0], *weekly(MEMBERS[1:])])
def test_the_recorded_exam_is_the_one_that_its_facts_tell(name):
    kept = exam.recorded(name)
    assert kept.images.shape == (500, 64, 64, 3)
    assert kept.captions == exam.paper(500).captions
    marks = exam.marks(kept.verdicts())
    told = kept.facts["marks"]["test"]
    assert {k: m.value for k, m in marks.items()} == {k: m["value"] for k, m in told.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", MEMBERS)
def test_the_same_pictures_come_out_again(name):
    places = [7, 123, 250]
    again = exam.redraw(name, places).images.astype(int)
    apart = np.abs(again - exam.recorded(name).images[places])
    assert np.percentile(apart, 99) <= 2
    assert apart.mean() < 0.5


@pytest.mark.parametrize("spoil", ["missing", "changed", "torn", "other captions"])
def test_a_spoilt_exam_is_refused(spoil, tmp_path, monkeypatch):
    target = tmp_path / "mini-sd"
    target.mkdir()
    for file in ("exam.png", "exam.json"):
        shutil.copy(mini.folder("mini-sd") / file, target)
    monkeypatch.setenv("UNET_ATLAS_MODELS", str(tmp_path))
    sheet = target / "exam.png"
    if spoil == "missing":
        sheet.unlink()
    elif spoil == "torn":
        sheet.write_bytes(sheet.read_bytes()[:1000])
    elif spoil == "other captions":
        told = target / "exam.json"
        told.write_text(told.read_text().replace(exam.paper(500).digest(), "0" * 64))
    else:
        pixels = np.array(Image.open(sheet))
        pixels[0, 0] ^= 1
        Image.fromarray(pixels).save(sheet)
    messages = {
        "changed": "not the one that was drawn",
        "other captions": "asked other captions than today's; run scripts/train_mini.py mini-sd",
    }
    message = messages.get(spoil, "no exam that can be read")
    with pytest.raises(AtlasError, match=message):
        exam.recorded("mini-sd")


@pytest.mark.slow
def test_assess_leaves_pictures_facts_and_a_card(tmp_path, monkeypatch):
    target = tmp_path / "mini-unclip"
    shutil.copytree(mini.folder("mini-unclip"), target)
    monkeypatch.setattr(exam, "STEPS", 2)
    monkeypatch.setattr(exam, "GUIDANCES", (2.0, 3.0))
    facts = exam.assess(target, {"date": "2026-01-01"}, n=10)
    assert facts == json.loads((target / "exam.json").read_text(), parse_float=float) | {
        "search": facts["search"]
    }
    monkeypatch.setenv("UNET_ATLAS_MODELS", str(tmp_path))
    assert exam.recorded("mini-unclip").recipe == Recipe(
        "dpm++", 2, max(facts["search"], key=facts["search"].get)
    )
    trained = facts_of_training()
    card = cards.member_card("mini-unclip", trained, facts)
    assert "10 captions" in card
    assert "from the weights of mini-sd2" in card
    assert f"{cards.size('mini-unclip')[0]:,} parameters" in card


def facts_of_training() -> dict:
    """What training says of itself, shortened."""
    return {
        "plan": {"rate": 1e-3, "seed": 1, "batch": 8},
        "outcome": {"steps": 5, "seconds": 2.0, "loss": 0.5},
        "pictures": 64,
        "before": [],
        "device": "cpu",
        "torch": "2",
    }


def test_the_scorer_s_card():
    assert "5 steps of 8" in cards.scorer_card("mini-scorer", facts_of_training())


def test_unclip_is_given_a_picture_that_meets_the_caption():
    pipeline = load_pipeline(mini.folder("mini-unclip"))
    asked = exam.paper(500)
    given = exam.given(pipeline, [0, 3, 9])
    captions = [asked.captions[i] for i in (0, 3, 9)]
    images = [np.asarray(i) for i in given["image"]]
    assert judge_all(captions, images).right.all()
    assert not any(
        np.array_equal(i, asked.references[k]) for i, k in zip(images, (0, 3, 9), strict=True)
    )
    assert exam.given(load_pipeline(mini.folder("mini-sd")), [0]) == {}


def test_the_oracle_reads_only_the_picture_world():
    paper = exam.paper(10)
    share = exam.oracle_share(paper.captions, paper.references)
    assert share is not None
    assert share.value >= 0.9
    assert 1 <= exam.shapes_seen(paper.references) <= 5
    other = np.zeros((10, 32, 32, 3), np.uint8)
    assert exam.oracle_share(paper.captions, other) is None
    assert exam.shapes_seen(other) == "–"
