"""Sentences from records: they say what the numbers say, also the opposite of what was hoped."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from made_up_runs import run, study

from unet_atlas.placement import words
from unet_atlas.placement.protocol import CPU


@pytest.fixture(scope="module")
def whole():
    return study({"low": -0.02, "high": -0.02, "middle": 0.02})


def test_each_hypothesis_gets_its_sentence_in_order(whole):
    told = words.verdicts(CPU, whole)
    assert re.findall(r"H\d", told) == ["H1", "H2", "H3", "H4"]
    one, two, three, four = re.split(r" (?=H\d)", told)
    assert "smaller loss than even" in one
    assert one.endswith("as expected.")
    assert "−10.0 % [−10.1 to −9.9]" in one
    assert two.endswith("the opposite of what was expected.")
    assert "larger loss than even" in three
    assert "not told apart from even" in four


def test_the_short_form_groups_the_arms(whole):
    assert words.short(CPU, whole) == (
        "In this setting, “low” and “high” are better than even; “middle” is worse than even; "
        "“low, more parameters” is not told apart from even."
    )


def test_three_arms_are_listed_with_commas():
    told = words.short(CPU, study({"high": 0.02}))
    assert "“low”, “middle” and “low, more parameters” are not told apart" in told


def test_a_part_of_the_runs_has_no_verdict(whole):
    for told in (words.verdicts(CPU, whole[:-1]), words.short(CPU, whole[:-1])):
        assert told.startswith("So far 14 of 15 runs are recorded.")
        assert "%" not in told
    assert "no interval yet" in words.pictures(CPU, whole[:5])
    assert "no interval yet" in words.pictures(CPU, [])


def test_exploratory_answers_say_whether_zero_is_left_out(whole):
    told = words.exploratory(CPU, whole)
    assert "the noisier half less the cleaner half −" in told
    assert "which leaves out zero; relation and objects less shapes 0.0" in told
    assert told.count("holds zero") == 1
    assert "no interval yet" in words.exploratory(CPU, whole[:5])


def test_a_run_that_failed_is_named(whole):
    failed = replace(whole[1], rows=({**whole[1].rows[0], "failed": True},))
    told = words.verdicts(CPU, [whole[0], failed, *whole[2:]])
    assert told.endswith("Failed twice, its loss not finite: low with seed 1.")
    gone = [replace(r, rows=({**r.rows[0], "failed": True},)) if r.rows[0]["arm"] == "low" else r
            for r in whole]  # fmt: skip
    assert "H2: high has too few runs" in words.verdicts(CPU, gone)


def test_intervals_without_zero_are_counted_beside_what_chance_would_give():
    alike = study({})
    assert words.pictures(CPU, alike).startswith("Of 56 intervals 0 leave out zero. If nothing "
                                                 "differed, about 3 would")  # fmt: skip
    answers = {1: "1100-1", 2: "1110-1", 3: "1100-1"}
    better = [
        run(r.rows[0]["arm"], s := r.rows[0]["seed"], 0.1,
            answers[s] if r.rows[0]["arm"] == "low" else "0" + answers[s][1:])
        for r in alike
    ]  # fmt: skip
    told = words.pictures(CPU, better)
    assert "H6" not in told
    assert "2 leave out zero" in told
    assert "low, right relation on the exam: +20.0 points" in told


def test_a_share_next_to_nothing_brings_a_warning():
    poor = [run(r.rows[0]["arm"], r.rows[0]["seed"], 0.1, "0000-0") for r in study({})]
    told = words.pictures(CPU, poor)
    assert "the even arm gets 50.0 % of the exam right in everything and 0.0 % of its rel" in told
    assert told.endswith("can't answer H6.")


def test_seconds_are_told_from_the_record(tmp_path, monkeypatch):
    monkeypatch.setattr("unet_atlas.shelf.records_dir", lambda: tmp_path)
    assert words.times(CPU) == ""
    rows = [{"kind": "time", "arm": arm.name, "step": 0, "seconds": 0.2 if arm.name == "high" else
             0.05 if arm.name == "middle" else 0.1} for arm in CPU.arms]  # fmt: skip
    record = {"experiment": "placement-cpu-times", "device": "a CPU", "dtype": "fp32",
              "versions": {"torch": "2"}, "date": "2026-01-01", "seconds": 1.0,
              "rows": rows}  # fmt: skip
    (tmp_path / "times.json").write_text(json.dumps(record))
    assert "a step of high takes 2.00 times" in words.times(CPU)
    assert "a step of middle 0.50 times" in words.times(CPU)
