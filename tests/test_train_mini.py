"""The training script: from nothing to a folder with pictures, marks and a card; errors."""

from __future__ import annotations

import json

import pytest

import train_mini
from unet_atlas import exam


def run(tmp_path, *stages, **options):
    """Run the script on very few pictures; returns its exit code."""
    small = {"steps": 1, "pictures": 16, "captions": 10, "threads": 1, "device": "cpu"} | options
    words = [f"--{name}={value}" for name, value in small.items()]
    places = [f"--work={tmp_path / 'work'}", f"--output={tmp_path / 'models'}"]
    return train_mini.main([*stages, *words, *places])


@pytest.mark.slow
def test_from_nothing_to_a_member_that_has_sat_its_exam(tmp_path, monkeypatch):
    monkeypatch.setattr(exam, "STEPS", 2)
    assert run(tmp_path, "scorer", "clip-s", "vae", "mini-sd") == 0
    target = tmp_path / "models/mini-sd"
    facts = json.loads((target / "exam.json").read_text("utf-8"))
    assert facts["captions"] == 10
    assert facts["training"]["outcome"]["steps"] == 1
    assert facts["device"].startswith("cpu")
    assert "# mini-sd" in (target / "README.md").read_text("utf-8")
    assert "# mini-scorer" in (tmp_path / "models/mini-scorer/README.md").read_text("utf-8")
    monkeypatch.setenv("UNET_ATLAS_MODELS", str(tmp_path / "models"))
    assert len(exam.recorded("mini-sd").images) == 10

    before = (target / "exam.png").stat().st_mtime_ns
    assert run(tmp_path, "mini-sd") == 0  # nothing is left to do
    assert (target / "exam.png").stat().st_mtime_ns == before


@pytest.mark.parametrize("option", ["steps", "pictures", "captions", "threads"])
@pytest.mark.parametrize("value", [0, -3, "many"])
def test_counts_are_whole_and_above_zero(tmp_path, capsys, option, value):
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path, "mini-sd", **{option: value})
    assert stopped.value.code == 2
    assert f"--{option}: '{value}' is no whole number above zero" in capsys.readouterr().err


def test_options_that_make_no_sense(tmp_path, capsys):
    assert run(tmp_path, "mini-sd", captions=9) == 2
    assert "--captions 9 is too few: take 10 or more" in capsys.readouterr().err
    assert run(tmp_path, "mini-sd", "mini-sd2", start=tmp_path) == 2
    assert run(tmp_path, "vae", start=tmp_path) == 2
    assert "--start begins one member" in capsys.readouterr().err


def test_what_has_to_come_first_is_named(tmp_path, capsys):
    assert run(tmp_path, "mini-sd") == 2
    assert (
        "clip-s has to be trained first: python scripts/train_mini.py clip-s."
        in capsys.readouterr().err
    )


def test_a_device_that_is_not_here(tmp_path, capsys):
    assert run(tmp_path, "vae", device="abacus") == 2
    assert "'abacus' is no device" in capsys.readouterr().err


def test_an_unknown_stage(tmp_path):
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path, "mini-sd3")
    assert stopped.value.code == 2
