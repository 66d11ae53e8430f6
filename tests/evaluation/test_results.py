"""What is written and shown: a record that is read back, and tables of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unet_atlas import records
from unet_atlas.errors import AtlasError
from unet_atlas.evaluation import results
from unet_atlas.evaluation.protocol import PERCENT, Options, options_of
from unet_atlas.images import open_folder, write_png
from unet_atlas.scoring import Score

NAN = float("nan")
FACTS = {
    "model": "mini-sd",
    "pipeline": "StableDiffusionPipeline",
    "weights": "ab",
    "pictures": 20,
    "recipe": {"sampler": "ddim", "steps": 2, "guidance": 5.0, "negative": ""},
    "base_seed": 0,
    "batch": 4,
    "latents": None,
    "truncated": 0,
    "device": "cpu",
    "dtype": "float32",
    "versions": {"torch": "2"},
}
COMPARED = {"captions_digest": "c", "reference_digest": None, "reference_pictures": 0, "parts": 10}
COMPARED |= {"size": "1024 × 1024", "clip": "224 px, patches of 32 px, 512 wide"}
SPEED = {
    "processes": 2,
    "batch": 4,
    "smallest_batch": 2,
    "drawn": 20,
    "found": 0,
    "seconds": 4.0,
    "images_per_second": 5.0,
    "by_process": [2.5, 2.5],
    "gpu_bytes": 2_000_000_000,
    "scoring_seconds": 1.0,
}
SCORES = [
    Score("FID", 23.5, 23.0, 24.0, "jackknife over parts", 20, 30, "x (4)", "64 px", "ours"),
    Score("KID × 1,000", NAN, NAN, NAN, "none: no features", 20, 0, "x (4)", "64 px", "ours"),
    Score(PERCENT, 31.7, 31.0, 32.0, "bootstrap", 20, 0, "x (4)", "64 px", "ours"),
]


def options(**more: Any) -> Options:
    given = {"source": "mini-sd", "captions": Path("a/c.csv"), "output": Path("run")}
    return options_of(given | more)


def record(chosen: Options, **changes: Any) -> records.Record:
    facts = FACTS | changes
    rows = results.rows_of_record(chosen, facts, SCORES, COMPARED, SPEED)
    return results.record_of(facts, rows, 6.25)


def test_a_record_is_read_back(tmp_path: Path) -> None:
    made = record(options(reference=tmp_path))
    results.write(made, tmp_path / "evaluation.json")
    read = records.load(tmp_path)[0]
    assert (read.experiment, read.dtype, read.seconds) == ("evaluation", "float32", 6.2)
    assert "CPU with" in read.device
    assert read.rows == made.rows
    assert [row["kind"] for row in read.rows] == ["run", "score", "score", "score", "throughput"]
    run, kid = read.rows[0], read.rows[2]
    assert (run["captions"], run["reference"], run["steps"]) == ("c.csv", tmp_path.name, 2)
    assert (kid["value"], kid["method"]) == (None, "none: no features")
    assert "accelerate" in read.versions


def test_the_protocols_window_stands_in_record_and_table(tmp_path: Path) -> None:
    chosen = options(protocol="mlperf", latents=Path("l.npy"))
    xl = record(chosen, pipeline="StableDiffusionXLPipeline", pictures=5000)
    assert [row["inside"] for row in xl.rows if row["kind"] == "window"] == [True, True]
    assert [row["inside"] for row in record(chosen).rows[-2:]] == [None, None]
    write_png(tmp_path / "0.png", np.zeros((8, 8, 3), np.uint8))
    images = open_folder(tmp_path)
    shown = "\n".join(t.to_text() for t in results.tables(xl, SCORES, images, 10))
    assert "inside" in shown
    assert "23.01086 to 23.95008" in shown
    assert "2.00 GB" in shown
    assert "2.5, 2.5" in shown
    other = "\n".join(t.to_text() for t in results.tables(record(chosen), SCORES, images, 10))
    assert "the window is of SDXL, the pictures of StableDiffusionPipeline" in other


def test_no_verdict_on_another_clip_model_or_size(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = options(protocol="mlperf", latents=Path("l.npy"))
    as_asked = {"pipeline": "StableDiffusionXLPipeline", "pictures": 5000}
    monkeypatch.setitem(COMPARED, "clip", "64 px, patches of 8 px, 72 wide")
    fid, clip = record(chosen, **as_asked).rows[-2:]
    assert (fid["inside"], clip["inside"]) == (True, None)
    assert "64 px, patches of 8 px, 72 wide" in clip["reason"]
    monkeypatch.setitem(COMPARED, "size", "512 × 512")
    for row in record(chosen, **as_asked).rows[-2:]:
        assert (row["inside"], "512 × 512" in row["reason"]) == (None, True)


def test_a_score_that_is_absent_is_a_dash(tmp_path: Path) -> None:
    write_png(tmp_path / "0.png", np.zeros((8, 8, 3), np.uint8))
    table = results.tables(record(options()), SCORES, open_folder(tmp_path), 10)[0]
    kid = next(line for line in table.to_text().splitlines() if line.startswith("KID"))
    assert "nan" not in kid
    assert kid.split()[3] == "–"


def test_a_record_that_cant_be_written(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="can't be written"):
        results.write(record(options()), tmp_path / "none" / "r.json")


def test_rows_are_plain_json() -> None:
    assert json.loads(json.dumps(record(options()).rows, allow_nan=False))
