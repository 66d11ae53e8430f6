"""Runs under ``records/``: what is read, what is refused and why, which one is shown."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gpu.sample_run import content, run

from unet_atlas import records, shelf
from unet_atlas.gpu import reading
from unet_atlas.gpu.run import EXPERIMENTS


def write(folder: Path, name: str, **changes: Any) -> None:
    (folder / name).write_text(json.dumps(content(**changes)), "utf-8")


def test_the_sample_holds_every_experiment_and_is_a_run():
    assert set(content()["experiments"]) == set(EXPERIMENTS)
    assert reading.fault(content()) == ""


def test_a_run_is_read_back_as_it_was_written(tmp_path: Path):
    (tmp_path / "a.json").write_text(json.dumps(reading.content_of(run())), "utf-8")
    (found,) = reading.load(tmp_path)
    assert found.file == "a.json"
    assert reading.content_of(found) == content()
    assert records.left_out(tmp_path) == ()


def test_what_is_made_in_python_may_hold_tuples():
    made = content()
    rows = made["experiments"]["ceilings"]["rows"]
    rows[0]["samples"] = tuple(rows[0]["samples"])
    made["experiments"]["ceilings"]["rows"] = tuple(rows)
    assert reading.fault(made) == ""


def cell(experiment: str, name: str, value: Any) -> Callable[[dict], None]:
    """A change of one cell; ``...`` removes it."""

    def change(made: dict) -> None:
        row = made["experiments"][experiment]["rows"][0]
        row[name] = value
        if value is ...:
            del row[name]

    return change


def entry(experiment: str, value: Any) -> Callable[[dict], None]:
    """A change of a whole experiment."""
    return lambda made: made["experiments"].update({experiment: value})


def head(name: str, value: Any) -> Callable[[dict], None]:
    """A change at the top level."""
    return lambda made: made.update({name: value})


FAULTS = [
    (lambda made: made.pop("seed"), r"keys .*\(seed\)"),
    (head("extra", 1), r"keys .*\(extra\)"),
    (head("format", "unet-atlas gpu 2"), "format"),
    (head("device", "  "), "device"),
    (head("device", 3), "device"),
    (head("device", "a\nb"), "device"),
    (head("device", "\ud800"), "device"),
    (head("date", "tomorrow"), "date"),
    (head("date", "20261124"), "date"),
    (head("date", 20261124), "date"),
    (head("seed", 1.5), "seed"),
    (head("seed", True), "seed"),
    (head("quick", 0), "quick"),
    (head("versions", {}), "versions"),
    (head("versions", {"torch": 2}), "versions"),
    (head("versions", []), "versions"),
    (head("clocks", {"sm_mhz": "fast"}), "clocks"),
    (head("clocks", {"sm_mhz": float("inf")}), "clocks"),
    (head("clocks", None), "clocks"),
    (head("experiments", {}), "experiments"),
    (head("experiments", [1]), "experiments"),
    (entry("speed", {"seconds": 1, "rows": [{}]}), "'speed' is no experiment"),
    (entry("build", []), "build holds"),
    (entry("build", {"seconds": 1}), "build holds"),
    (entry("build", {"seconds": -1, "rows": [{}]}), "build: seconds"),
    (entry("build", {"seconds": float("nan"), "rows": [{}]}), "build: seconds"),
    (entry("build", {"seconds": 1, "rows": []}), "build: rows"),
    (entry("build", {"seconds": 1, "rows": {"a": 1}}), "build: rows"),
    (entry("build", {"seconds": 1, "rows": [3]}), "build: a row"),
    (cell("build", "weights", ...), r"build: a row .*'weights'"),
    (cell("build", "colour", "red"), r"build: a row .*'colour'"),
    (cell("build", "weights", 1.5), "build: weights is 1.5"),
    (cell("build", "weights", True), "build: weights is True"),
    (cell("build", "weights", None), "build: weights is None"),
    (cell("build", "weights", 0), "build: weights is 0"),
    (cell("build", "peak", -1), "build: peak is -1"),
    (cell("build", "model", 5), "build: model is 5"),
    (cell("build", "model", "\udfff"), "build: model is no text"),
    (cell("build", "seconds", float("inf")), "build: seconds is inf"),
    (cell("build", "weights", 10**400), "build: weights is 1000"),
    (cell("ladder", "milliseconds", 0.0), "ladder: milliseconds is 0.0"),
    (cell("ladder", "milliseconds", float("nan")), "ladder: milliseconds is nan"),
    (cell("ladder", "samples", None), "ladder: samples is None"),
    (cell("ladder", "samples", ["a"]), "ladder: samples is no list of times"),
    (cell("ladder", "samples", [-1.0]), "ladder: samples is no list of times"),
]


@pytest.mark.parametrize(("change", "words"), FAULTS, ids=[words for _, words in FAULTS])
def test_every_fault_is_named(change: Callable[[dict], None], words: str):
    made = content()
    change(made)
    assert re.search(words, reading.fault(made))


@pytest.mark.parametrize("value", [None, [], "x", 3, {}])
def test_what_is_no_object_is_no_run(value: Any):
    assert "keys" in reading.fault(value)
    assert not reading.is_run(value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (cell("stages", "model", "sd-9"), "stages: 'sd-9' is no model of the catalogue"),
        (cell("build", "dtype", "fp4"), "build: 'fp4' is no dtype"),
        (cell("build", "weights", "much"), "build: weights"),
        (head("format", "unet-atlas gpu 9"), "its format"),
    ],
)
def test_a_run_that_pages_cannot_show_is_named_and_left_out(tmp_path: Path, change, words: str):
    made = content()
    change(made)
    (tmp_path / "bad.json").write_text(json.dumps(made), "utf-8")
    write(tmp_path, "good.json")
    assert [r.file for r in reading.load(tmp_path)] == ["good.json"]
    (left,) = records.left_out(tmp_path)
    assert left.words.startswith(f"records/bad.json is left out: {words}")


def test_a_file_that_is_too_large_is_left_out(tmp_path: Path, monkeypatch):
    write(tmp_path, "a.json")
    monkeypatch.setattr(shelf, "MAX_FILE_BYTES", 1000)
    assert reading.load(tmp_path) == ()
    assert "over" in records.left_out(tmp_path)[0].reason


def test_the_newest_full_run_that_has_the_experiments_is_taken(tmp_path: Path):
    some = {k: v for k, v in content()["experiments"].items() if k == "build"}
    write(tmp_path, "a.json", date="2026-11-20")
    write(tmp_path, "b.json", date="2026-11-22")
    write(tmp_path, "c.json", date="2026-11-22", quick=True)
    write(tmp_path, "d.json", date="2026-11-25", quick=True)
    write(tmp_path, "e.json", date="2026-11-23", experiments=some)
    assert reading.newest("ladder", folder=tmp_path).file == "b.json"
    assert reading.newest("build", folder=tmp_path).file == "e.json"
    assert reading.newest("build", "ladder", folder=tmp_path).file == "b.json"


def test_without_a_full_run_a_quick_one_is_taken(tmp_path: Path):
    write(tmp_path, "a.json", quick=True)
    assert reading.newest("ladder", folder=tmp_path).file == "a.json"
    assert reading.newest("ladder", folder=tmp_path / "nowhere") is None
