"""A run from beginning to end, with a tiny protocol: trained, measured, recorded, resumed."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import placement_study
from unet_atlas import records, shelf
from unet_atlas.placement import analysis, runs
from unet_atlas.placement.arms import Arm, Scale
from unet_atlas.placement.protocol import CPU, GPU, PROTOCOLS, words
from unet_atlas.sampling import Recipe

TINY = replace(
    CPU,
    name="tiny",
    scale=Scale((8, 8, 16), depth=1, step=4, heads=2),
    matched=(Arm("low", (0, 1, 2), (8, 8, 16)),),
    same_macs=(),
    steps=4,
    batch=2,
    rates=(1e-3, 2e-3),
    pilot_steps=2,
    seeds=(1,),
    pictures=8,
    held=6,
    validations=2,
    captions=10,
    unseen=10,
    recipe=Recipe("dpm++", 2, 2.0),
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A lab with eight pictures."""
    return runs.open_lab(TINY, tmp_path_factory.mktemp("work"), torch.device("cpu"))


def test_the_loss_is_measured_on_the_same_noise_each_time_and_changes_nothing(lab):
    unet = runs.fresh(lab, TINY.arm("low"), 1)
    state = torch.get_rng_state()
    first, second = (runs.held_losses(lab, unet) for _ in range(2))
    assert first.shape == (runs.LEVELS,)
    assert np.array_equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)
    by_hand = 0.25 * first[:5].mean() + 0.75 * first[5:].mean()
    assert runs.overall(first) == pytest.approx(by_hand)


def test_equal_seeds_begin_alike_and_others_do_not(lab):
    one, same, other = (runs.fresh(lab, TINY.arm("low"), s).conv_in.weight for s in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_training_that_was_stopped_ends_with_the_same_weights_and_curve(lab, tmp_path):
    whole, parts, again = (runs.fresh(lab, TINY.arm("low"), 1) for _ in range(3))
    plan = TINY.plan(1)
    curve, _ = runs.train(lab, whole, plan, tmp_path / "whole", "low", 4)
    assert [point["step"] for point in curve] == [1, 2, 3, 4]

    def killed(*_):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        measure = runs.held_losses
        patch.setattr(runs, "held_losses", lambda lab, unet: (
            killed() if len(runs._measured(tmp_path / "parts")) == 2 else measure(lab, unet)
        ))  # fmt: skip
        with pytest.raises(KeyboardInterrupt):
            runs.train(lab, parts, plan, tmp_path / "parts", "low", 4)
    resumed, _ = runs.train(lab, again, plan, tmp_path / "parts", "low", 4)
    assert resumed == curve
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert runs.train(lab, runs.fresh(lab, TINY.arm("low"), 1), plan, tmp_path / "parts", "low", 4)[
        0] == curve  # fmt: skip


def test_a_checkpoint_beyond_what_was_measured_leaves_a_gap_and_no_false_point(lab, tmp_path):
    unet, plan = runs.fresh(lab, TINY.arm("low"), 1), TINY.plan(1)
    curve, _ = runs.train(lab, unet, plan, tmp_path / "a", "low", 4)
    (tmp_path / "a.curve").unlink()
    again, _ = runs.train(lab, unet, plan, tmp_path / "a", "low", 4)
    assert again == curve[-1:]


def test_a_run_that_diverges_is_repeated_once_and_recorded_as_failed(lab, tmp_path, monkeypatch):
    said, losses = [], runs.held_losses
    monkeypatch.setattr(runs, "held_losses", lambda lab, unet: losses(lab, unet) * float("nan"))
    record = runs.attempt(lab, TINY.arm("low"), 1, tmp_path / "x", said.append)
    assert len(said) == 2
    assert record.rows[0]["failed"]
    assert record.rows[0]["arm"] == "low"
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_study_ends_as_records_that_the_analysis_reads(lab, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(PROTOCOLS, "tiny", TINY)
    work, kept = tmp_path / "work", tmp_path / "records"
    options = ["tiny", "--work", str(work), "--records", str(kept), "--device", "cpu"]
    assert placement_study.main(options) == 0
    assert placement_study.main(options) == 0
    assert capsys.readouterr().out.count("recorded already") == 2
    assert not list(work.glob("*.checkpoint"))
    for job in ("--pilot", "--time"):
        assert placement_study.main([*options, job]) == 0
    loaded = records.load(kept)
    assert {r.experiment for r in loaded} == {
        "placement-tiny", "placement-tiny-pilot", "placement-tiny-times"}  # fmt: skip
    frame = analysis.outcomes([r for r in loaded if r.experiment == "placement-tiny"])
    found = analysis.difference(frame, "low", analysis.LOSS)
    assert set(found.by_seed) == {1}
    assert {"relation, test", "FD, unseen", "CLIP score, test"} <= set(frame.outcome)
    answers = json.loads((kept / "placement-tiny-low-1.json").read_text())["rows"]
    digits = next(r["answers"] for r in answers if r.get("question") == "right")
    assert len(digits) == 10
    assert set(digits) <= {"0", "1"}


def test_the_protocol_that_was_laid_down_is_the_one_that_runs(capsys):
    assert placement_study.main(["cpu", "--protocol"]) == 0
    assert capsys.readouterr().out == words(CPU)
    laid_down = shelf.records_dir() / "placement-cpu-protocol.md"
    assert laid_down.read_text("utf-8") == words(CPU)


def test_the_rate_is_the_best_of_the_pilot():
    rows = records.newest("placement-cpu-pilot").rows
    assert {row["rate"] for row in rows} == set(CPU.rates)
    assert min(rows, key=lambda row: row["loss"])["rate"] == CPU.rate


def test_a_study_without_a_rate_takes_its_pilots(lab, tmp_path, monkeypatch):
    monkeypatch.setitem(PROTOCOLS, "tiny", replace(TINY, rate=None))
    options = ["tiny", "--work", str(tmp_path), "--records", str(tmp_path / "r"), "--seed", "1"]
    seen = []
    monkeypatch.setattr(placement_study, "study", lambda lab, _: seen.append(lab.protocol.rate))
    for _ in range(2):
        assert placement_study.main([*options, "--device", "cpu"]) == 0
    pilot = records.load(tmp_path / "r")
    assert len(pilot) == 1
    assert seen == [min(pilot[0].rows, key=lambda row: row["loss"])["rate"]] * 2
    assert "one learning rate in every arm" in words(GPU)


def test_bad_input_is_named():
    with pytest.raises(SystemExit) as stopped:
        placement_study.main(["none"])
    assert stopped.value.code == 2
