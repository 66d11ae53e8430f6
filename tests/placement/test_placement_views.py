"""The study on a page: from whole and from partial sets of runs, and from none."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from made_up_runs import run, study

from unet_atlas.placement import views
from unet_atlas.placement.protocol import CPU, GPU
from unet_atlas.records import Record


@pytest.fixture(scope="module")
def whole() -> list[Record]:
    return study({"low": -0.02, "high": -0.02, "middle": 0.02})


def test_every_arm_has_a_hypothesis_and_every_study_a_table():
    for protocol in (CPU, GPU):
        assert set(views.EXPECTED) == {arm.name for arm in protocol.arms[1:]}
        table = views.arms_table(protocol).shown.set_index("arm")
        assert table.loc["even", "less even's"] == "0.0 %"
        assert len(table) == len(protocol.arms)


def test_verdicts_say_whether_the_expectation_held(whole):
    table = views.primary_table(CPU, whole).data.set_index("arm")
    assert table.verdict.to_dict() == {
        "low": "smaller, as expected",
        "middle": "larger, as expected",
        "high": "smaller, contrary",
        "low, more parameters": "no difference shown",
    }
    assert table.difference["low"] == pytest.approx(-10, abs=0.1)  # of a mean of 0.2
    assert list(table.hypothesis) == ["H1", "H3", "H2", "H4"]


def test_a_part_of_the_runs_makes_a_part_of_the_tables(whole):
    part = [r for r in whole if views.about_run(r)["arm"] in ("even", "low")][:2]
    table = views.primary_table(CPU, part)
    assert list(table.data.arm) == ["low"]
    assert table.shown.loc[0, "95 % interval"] == "–"
    assert table.shown.loc[0, "verdict"] == "too few seeds"
    assert not views.complete(CPU, part)
    assert views.complete(CPU, whole)
    assert "2 of 15 runs" in views.provenance(CPU, part)
    assert views.provenance(CPU, []) == "none of 15 runs recorded"
    assert "7.5 hours" in views.provenance(CPU, whole)


def test_no_p_is_told_before_the_family_is_whole(whole):
    part = [r for r in whole if views.about_run(r)["arm"] != "middle"]
    table = views.primary_table(CPU, part)
    assert set(table.shown["p (Holm)"]) == {"–"}
    assert table.shown["95 % interval"].str.contains("to").all()


def test_figures_show_all_arms_in_percent_of_the_even_arm(whole):
    alt = views.loss_figure(CPU, whole).alt
    assert "low: −9.98 (−10.1 to −9.9), from −10" in alt
    noise = views.noise_figure(CPU, whole).alt
    assert "low: from 0 at 1 to −9.9" in noise
    assert "even: 0.4 at 1, 0.2 at 2" in views.curves_figure(whole).alt


def test_pictures_are_compared_in_their_own_units(whole):
    changed = [*whole[1:], run("even", 1, 0.1, relation="11-1")]
    table = views.pictures_table(CPU, changed, "test").shown.set_index("outcome")
    assert table.loc["right relation, %", "even"] == "77.8"  # 100, 66.7, 66.7
    assert table.loc["right relation, %", "low"].startswith("−11.1 [")
    assert table.loc["FD", "low"] == "0.0 [0.0 to 0.0]"


def test_exploratory_hypotheses_are_paired_contrasts(whole):
    table = views.exploratory_table(CPU, whole).shown.set_index("outcome")
    rows = {r.rows[0]["seed"]: r for r in whole if r.rows[0]["arm"] in ("even",)}
    low = {r.rows[0]["seed"]: r for r in whole if r.rows[0]["arm"] == "low"}

    def noisy(record):
        return (4 + record.rows[2]["loss"]) / 5  # nine levels of 1, and the last one's

    by_hand = np.mean([100 * np.log(noisy(low[s]) / noisy(rows[s])) for s in rows])
    assert table.loc["H5: noisier half less cleaner half, points", "low"].startswith(
        views.signed(by_hand)
    )
    assert table.loc["loss, cleaner half, %", "low"] == "0.0 [0.0 to 0.0]"
    assert table.loc["H6: relation and objects less shapes, points", "low"] == "0.0 [0.0 to 0.0]"
    changed = [r for r in whole if r.rows[0] != low[1].rows[0]] + [run("low", 1, 0.1, "1111")]
    table = views.exploratory_table(CPU, changed).shown.set_index("outcome")
    # the relation of one of three runs is right in all, not in two of three: a sixth of a third
    assert table.loc["H6: relation and objects less shapes, points", "low"].startswith("+5.6 [")


def test_a_run_that_failed_is_a_run_without_outcomes(whole):
    failed = replace(whole[1], rows=({**whole[1].rows[0], "failed": True},))
    runs = [whole[0], failed, *whole[2:]]
    assert views.complete(CPU, runs)
    table = views.primary_table(CPU, runs).data.set_index("arm")
    assert table.seeds[failed.rows[0]["arm"]] == 2


def test_what_was_not_recorded_is_said_and_what_was_is_boxed(tmp_path):
    assert "no record" in views.pilot_table(CPU, tmp_path).words
    assert "no record" in views.times_table(CPU, tmp_path).words
    rows = {
        "pilot": [{"rate": r, "seed": 900, "step": 500, "loss": r, "kind": "pilot"}
                  for r in CPU.rates],
        "times": [{"kind": "time", "arm": arm.name, "step": i, "seconds": 0.1 * (j + 1)}
                  for j, arm in enumerate(CPU.arms) for i in range(4)],
    }  # fmt: skip
    for name, made in rows.items():
        record = Record(
            f"placement-cpu-{name}", "a CPU", "fp32", {"torch": "2"}, "2026-01-01", 1.0, tuple(made)
        )
        content = {k: v for k, v in asdict(record).items() if k != "file"}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    assert "seed 900" in views.pilot_table(CPU, tmp_path).words
    words = views.times_table(CPU, tmp_path).words
    assert "arms timed in turn" in words
    assert (
        next(line for line in words.splitlines() if line.startswith("low ")).split()[-1] == "2.00"
    )


@pytest.mark.parametrize(
    ("value", "words"), [(0.04, "0.0"), (-0.04, "0.0"), (1.25, "+1.2"), (-3.0, "−3.0")]
)
def test_differences_carry_their_sign(value, words):
    assert views.signed(value) == words


def test_runs_are_found_among_other_records(tmp_path, whole):
    for i, record in enumerate([whole[0], *whole[:1]]):
        content = {k: v for k, v in asdict(record).items() if k != "file"}
        content["experiment"] = ("placement-cpu", "placement-cpu-pilot")[i]
        (tmp_path / f"{i}.json").write_text(json.dumps(content))
    assert len(views.runs(CPU, tmp_path)) == 1
    assert isinstance(views.arms_table(CPU).data, pd.DataFrame)
