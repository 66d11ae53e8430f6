"""Plans and recorded evaluations on a page: what the tables say, and what they leave out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from unet_atlas import records
from unet_atlas.evaluation import plan, views
from unet_atlas.evaluation.plan import Cluster, Work, closed
from unet_atlas.evaluation.protocol import MLPERF, verdicts
from unet_atlas.metrics.bootstrap import Estimate

WORK = Work("big", pictures=30_000, batch=16, draw=1.0, side=1024, weights=7e9)
CHEAP = replace(WORK, name="cheap", draw=0.1)
RUN = {
    "kind": "run", "model": "mini-sd", "pipeline": "StableDiffusionPipeline", "weights": "ab",
    "captions": "captions.csv", "captions_digest": "cd", "pictures": 500, "latents": None,
    "sampler": "dpm++", "steps": 12, "guidance": 3.0, "negative": "", "seed": 0, "batch": 16,
    "protocol": None, "reference": "real", "reference_digest": "ef", "reference_pictures": 500,
    "pictures_digest": "01", "parts": 10, "truncated": 0,
}  # fmt: skip
FAST = {
    "kind": "throughput", "processes": 1, "threads": 1, "batch": 16, "smallest_batch": 16,
    "drawn": 500, "found": 0, "seconds": 200.0, "images_per_second": 2.5, "by_process": [2.5],
    "scoring_seconds": 12.34, "gpu_bytes": None,
}  # fmt: skip
ABOUT = {"pictures": 500, "reference": 500, "features": "f", "resized": "r", "library": "l"}


def score(metric: str, value: float | None, low: float | None = None, high: float | None = None):
    row = {"kind": "score", "metric": metric, "value": value, "low": low, "high": high}
    return {**row, "method": "m", **ABOUT}


SCORES = [score("FID", 1.5, 1.2, 1.8), score("KID × 1,000", None), score("its bias", 0.25)]


def write(folder: Path, name: str, rows: list[dict[str, Any]], **changes: Any) -> None:
    content = {
        "experiment": "evaluation", "device": "a <CPU>", "dtype": "float32",
        "versions": {"torch": "2.0"}, "date": "2026-11-23", "seconds": 300.0, "rows": rows,
    }  # fmt: skip
    (folder / name).write_text(json.dumps(content | changes), "utf-8")


def two(folder: Path, **second: Any) -> None:
    """A run by one process, and the same by two."""
    write(folder, "one.json", [RUN, *SCORES, FAST])
    faster = FAST | {"processes": 2, "seconds": 110.0, "images_per_second": 500 / 110}
    write(folder, "two.json", [RUN | second, *SCORES, faster])


# --- plans ---------------------------------------------------------------------------------


def test_works_take_a_published_speed():
    works = views.works(pictures=100, batch=4)
    assert list(works) == ["SDXL", "SD 1.5"]
    assert works["SDXL"].draw == plan.published_seconds("stable-fast, SDXL")
    assert {(w.pictures, w.batch) for w in works.values()} == {(100, 4)}
    assert works["SDXL"].side == 2 * works["SD 1.5"].side == 1024


def test_speeds_are_floors_published_and_recorded(monkeypatch):
    frame = views.speeds_frame(3600)
    assert list(frame["hours"]) == pytest.approx(list(frame["seconds"]))
    sdxl = frame[frame["model"] == "SDXL"].set_index("speed of")["seconds"]
    assert sdxl.idxmin().startswith("least")
    assert sdxl["MLPerf 4.1, pass of 64, fp8"] == pytest.approx(1 / 2.08)
    assert not any("A100" in name or "record" in name for name in frame["speed of"])
    monkeypatch.setattr(views.plan, "recorded_seconds", lambda model: 0.5)
    more = views.speeds_frame(3600)
    assert list(more[more["speed of"] == "this book's record"]["seconds"]) == [0.5, 0.5]
    assert "0.50" in views.speeds_table(3600).to_text()


def test_phases_are_the_plans():
    frame = views.phases_frame(WORK, gpus=(1, 8))
    eight = closed(WORK, Cluster(processes=8))
    row = frame.set_index("GPUs").loc[8]
    assert row["drawing"] == eight.seconds["drawing"]
    assert row["total"] == pytest.approx(row[list(plan.PHASES)].sum())
    assert row["GPU-hours"] == pytest.approx(8 * eight.total / 3600)
    shown = views.phases_table(WORK, gpus=(1, 1000)).shown.set_index("seconds of")
    assert list(shown.columns) == ["1 GPU", "1,000 GPUs"]
    assert list(shown.index) == [*plan.PHASES, "total", "efficiency", "GPU-hours"]
    assert shown.loc["efficiency", "1 GPU"] == "100 %"
    assert shown.loc["sums", "1 GPU"] == "0"


def test_a_bar_holds_every_phase_once():
    grouped = [phase for group in views.SEGMENTS.values() for phase in group]
    assert sorted(grouped) == sorted(plan.PHASES)
    figure = views.phases_figure({"big": WORK}, gpus=(1, 8))
    minutes = closed(WORK, Cluster(processes=8)).total / 60
    assert f"big, 8 GPUs: {minutes:.4g} minutes, most of it drawing" in figure.alt
    assert "big, 1 GPU: " in figure.alt


def test_scaling_is_simulated_against_one_gpu():
    frame = views.scaling_frame({"big": WORK}, gpus=(1, 8), jitter=0).set_index("GPUs")
    assert frame.loc[1, "efficiency"] == pytest.approx(100)
    assert frame.loc[8, "efficiency"] == pytest.approx(
        100 * closed(WORK, Cluster(processes=8)).efficiency, rel=1e-6
    )
    assert frame.loc[1, "pictures a second"] == pytest.approx(frame.loc[1, "wished"])
    assert frame.loc[8, "wished"] == pytest.approx(8 * frame.loc[1, "wished"])
    assert frame.loc[8, "pictures a second"] < frame.loc[8, "wished"]


def test_the_file_system_caps_the_pictures_a_second():
    slow = Cluster(creations=10.0)
    frame = views.scaling_frame({"cheap": CHEAP}, slow, gpus=(64, 256))
    assert frame["pictures a second"].max() < 10
    assert frame["wished"].min() > 100
    figure = views.files_figure({"cheap": CHEAP}, slow, gpus=(1, 64))
    assert "cheap, wished" in figure.alt
    assert "efficiency" in views.efficiency_figure({"cheap": CHEAP}, gpus=(1, 8)).alt


def test_limits_stand_in_the_order_of_the_first_work():
    table = views.limits_table({"big": WORK, "cheap": CHEAP})
    found = table.data.set_index("from this number of GPUs")
    counts = list(found["big"].dropna())
    assert counts == sorted(counts)
    assert found.loc["some get no block", "big"] == 1876
    assert found.loc["some are idle while features are taken", "big"] == 31
    edge = found.loc["drawing waits for the file system", "cheap"]
    assert edge == plan.saturation(CHEAP, Cluster()) + 1
    half = int(found.loc["half of the GPUs' time is lost", "big"])
    assert closed(WORK, Cluster(processes=half)).efficiency < 0.5
    assert "above 4,096" in set(table.shown["big"])


def test_stragglers_cost_nothing_where_blocks_are_alike():
    even = views.stragglers_table(WORK, jitter=0, gpus=(1, 64)).data
    assert list(even["change"]) == pytest.approx([0, 0])
    table = views.stragglers_table(WORK, jitter=0.2, gpus=(1, 1000))
    changed = table.data.set_index("GPUs")["change"]
    assert abs(changed[1]) < 0.02 < 0.2 < changed[1000]
    assert "spread of 20 %" in table.caption
    assert "−0.0 %" not in table.to_text()


def test_sums_are_rings_and_trees_on_two_networks():
    frame = views.sums_frame(WORK, gpus=(8,)).set_index("network")
    fast = frame.loc["InfiniBand, 400 Gbit/s"]
    assert fast["ring"] == pytest.approx(14 * (33_570_816 / 8 / 50e9 + 5e-6))
    assert frame.loc["Ethernet, 10 Gbit/s, TCP", "tree"] > fast["tree"]
    assert "33.6 MB" in views.sums_table(WORK).caption


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0"), (0.0484, "0.048"), (3.84, "3.8"), (43657.6, "43,658")]
)
def test_seconds_have_the_digits_of_a_plan(seconds: float, words: str):
    assert views.seconds_words(seconds) == words


# --- the window ----------------------------------------------------------------------------


def test_the_protocol_shows_every_setting_and_both_windows():
    shown = dict(views.protocol_table().data.itertuples(index=False))
    assert shown["steps"] == "20"
    assert shown["captions"] == "the first 5,000"
    assert shown["FID"] == "23.01086 to 23.95008"
    assert len(shown) == 7 + len(MLPERF.windows)


def test_a_run_is_held_against_the_window(tmp_path: Path):
    values = {"FID": 23.5, MLPERF.windows[1].metric: 30.0}
    rows = verdicts(MLPERF, values, 5000, "StableDiffusionXLPipeline")
    windows = [{"kind": "window", **row} for row in rows]
    write(tmp_path, "a.json", [RUN, *SCORES, FAST, *windows])
    (record,) = views.runs(tmp_path)
    assert list(views.window_table(record).shown["verdict"]) == ["inside", "outside"]
    assert "Against the window" in repr(views.show_runs(tmp_path))
    other = verdicts(MLPERF, values, 500, "StableDiffusionPipeline")
    write(tmp_path, "a.json", [RUN, *SCORES, FAST, *({"kind": "window", **r} for r in other)])
    (record,) = views.runs(tmp_path)
    assert "the pictures of StableDiffusionPipeline" in views.window_table(record).to_text()


def test_without_a_protocol_there_is_no_window(tmp_path: Path):
    two(tmp_path)
    assert views.window_table(views.runs(tmp_path)[0]) is None


# --- runs that took place ------------------------------------------------------------------


def test_without_a_record_the_page_says_so(tmp_path: Path):
    shown = repr(views.show_runs(tmp_path))
    assert shown.startswith("An evaluation by scripts/evaluate.py: not measured in this build")


def test_runs_of_the_same_pictures_stand_side_by_side(tmp_path: Path):
    two(tmp_path)
    shown = views.show_runs(tmp_path)
    assert shown.markup.count('class="ua-record"') == 1
    assert (
        "<p>a &lt;CPU&gt;, float32; torch 2.0; 2026-11-23, 300.0 s (records/one.json), "
        "300.0 s (records/two.json)</p>"
    ) in shown.markup
    scores = views.scores_table(views.runs(tmp_path))
    assert list(scores.shown.columns) == ["score", "1 process", "2 processes", "apart"]
    assert list(scores.shown["score"]) == ["FID", "its bias"]  # KID has no value
    assert list(scores.shown["apart"]) == ["0", "0"]
    assert list(scores.shown["2 processes"]) == ["1.50 [1.20,\u00a01.80]", "0.25"]
    assert "pictures equal in all runs" in scores.caption
    speed = views.speed_table(views.runs(tmp_path)).shown.set_index("run")
    assert speed.loc["2 processes", "pictures a second"] == "4.55"
    assert speed.loc["1 process", "scoring, s"] == "12.3"


def test_differences_between_runs_are_not_hidden(tmp_path: Path):
    two(tmp_path, pictures_digest="02")
    rows = [RUN, score("FID", 1.5 * (1 + 1e-7), 1.2, 1.8), FAST]
    write(tmp_path, "three.json", rows, date="2026-11-24")
    scores = views.scores_table(views.runs(tmp_path))
    assert "pictures NOT equal" in scores.caption
    assert scores.shown.set_index("score").loc["FID", "apart"] == "1e−07"
    assert "1 process, 2026-11-24, three.json" in scores.shown.columns
    *_, earlier, later = repr(views.show_runs(tmp_path)).split("; a <CPU>")
    assert earlier.endswith("(records/two.json)")
    assert later.startswith(", float32; torch 2.0; 2026-11-24, 300.0 s (records/three.json)")


def test_other_captions_or_recipes_get_a_box_of_their_own(tmp_path: Path):
    two(tmp_path, steps=13)
    assert views.show_runs(tmp_path).markup.count('class="ua-record"') == 2
    (one, _) = views.runs(tmp_path)
    assert "apart" not in views.scores_table([one]).shown
    assert "equal" not in views.scores_table([one]).caption


def test_a_resumed_run_drew_nothing_and_has_no_speed(tmp_path: Path):
    rows = [RUN, *SCORES, FAST | {"drawn": 0, "found": 500, "images_per_second": 0.0}]
    write(tmp_path, "again.json", rows)
    speed = views.speed_table(views.runs(tmp_path)).shown
    assert list(speed["pictures a second"]) == ["–"]


@pytest.mark.parametrize("lost", ["run", "throughput", "score"])
def test_a_record_that_lacks_rows_is_left_out(tmp_path: Path, lost: str):
    rows = [row for row in [RUN, *SCORES, FAST] if row["kind"] != lost]
    write(tmp_path, "part.json", rows)
    assert views.runs(tmp_path) == ()


def test_a_record_that_lacks_a_column_is_left_out(tmp_path: Path):
    bare = {key: value for key, value in FAST.items() if key != "threads"}
    write(tmp_path, "part.json", [RUN, *SCORES, bare])
    write(tmp_path, "whole.json", [RUN, *SCORES, FAST])
    assert [record.file for record in views.runs(tmp_path)] == ["whole.json"]
    assert len(records.load(tmp_path)) == 2


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(1.2, 1.8, 2), (23.1, 25.4, 1), (0.0012, 0.0034, 4), (2.0, 2.0, 6), (0.0, 1e-9, 6)],
)
def test_scores_have_the_digits_of_their_interval(low: float, high: float, expected: int):
    assert views.digits(Estimate(1.0, low, high)) == expected


def test_exported_scores_are_plain_numbers(tmp_path: Path):
    two(tmp_path)
    data = views.scores_table(views.runs(tmp_path)).data
    assert isinstance(data, pd.DataFrame)
    assert list(data[data["score"] == "FID"]["value"]) == [1.5, 1.5]
