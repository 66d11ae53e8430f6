"""What pages show of a run: the numbers of every view, and the boxes around them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor
from gpu import sample_run, tiny
from gpu.sample_run import KEYS, STEP, content, run

from unet_atlas import draw, measure, shelf
from unet_atlas.build import build_unet
from unet_atlas.gpu import allocator, published, views
from unet_atlas.tables import Table


def tables(pieces: list) -> list[Table]:
    return [piece for piece in pieces if isinstance(piece, Table)]


def figures(pieces: list) -> list[draw.Figure]:
    return [piece for piece in pieces if isinstance(piece, draw.Figure)]


def words(pieces: list) -> list[str]:
    return [piece for piece in pieces if isinstance(piece, str)]


def with_rows(experiment: str, rows: list[dict]):
    """The sample with other rows in one experiment."""
    made = content()
    made["experiments"][experiment]["rows"] = rows
    return run(experiments=made["experiments"])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    """An empty folder of records in place of the book's, on a machine without CUDA."""
    monkeypatch.setattr(shelf, "records_dir", lambda: tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return tmp_path


@pytest.mark.parametrize("view", views.VIEWS, ids=lambda v: v.title)
def test_without_a_record_a_view_is_one_line_with_the_command(folder: Path, view: views.View):
    shown = views.show(view, views.live(view))
    assert repr(shown) == (
        f"{view.title}: no record yet; python scripts/record_gpu.py "
        "on a machine with CUDA makes one."
    )
    assert shown._repr_html_().count("<p") == 1
    assert "<div" not in shown._repr_html_()
    assert "<code>python scripts/record_gpu.py</code>" in shown._repr_html_()


@pytest.mark.parametrize("view", views.VIEWS, ids=lambda v: v.title)
def test_a_record_is_shown_in_a_box_that_says_where_it_is_from(folder: Path, view: views.View):
    (folder / "h100.json").write_text(json.dumps(content()))
    shown = views.show(view)
    seconds = f"{3.5 * len(view.needs):.1f} s"
    source = (
        "NVIDIA H100 80GB HBM3; torch 2.13.0, diffusers 0.42.1, driver 570.1; 2026-11-24, "
        f"{seconds}, full run, seed 0 (records/h100.json)"
    )
    assert shown._repr_html_().startswith(f'<div class="ua-record"><p>{source}</p>')
    assert repr(shown).startswith(f"Recorded elsewhere: {source}")
    assert "<table" in shown._repr_html_()


def test_a_record_without_an_experiment_is_no_record_of_it(folder: Path):
    some = {k: v for k, v in content()["experiments"].items() if k == "ladder"}
    (folder / "h100.json").write_text(json.dumps(content(experiments=some)))
    assert "no record yet" in repr(views.show(views.LADDER))  # it needs the ceilings too


def test_a_live_run_stands_before_the_record(folder: Path):
    (folder / "h100.json").write_text(json.dumps(content()))
    here = run(device="Test <GPU>", quick=True)
    shown = views.show(views.CEILINGS, here)
    assert shown._repr_html_().startswith(
        '<div class="ua-live"><p>This machine: Test &lt;GPU&gt;; torch'
    )
    assert "quick run" in repr(shown)
    assert "NVIDIA H100" in repr(shown)
    assert repr(shown).index("This machine") < repr(shown).index("Recorded elsewhere")
    alone = {k: v for k, v in content()["experiments"].items() if k == "decode"}
    assert "This machine" not in repr(views.show(views.CEILINGS, run(experiments=alone)))


def test_a_live_run_without_a_record_is_shown_alone(folder: Path):
    (folder / "bad.json").write_text("{")
    shown = views.show(views.DECODE, run())
    assert repr(shown).startswith("This machine")
    assert "Recorded elsewhere" not in repr(shown)
    assert repr(shown).endswith("records/bad.json is left out: it is not valid JSON.")


def test_with_cuda_one_run_serves_all_views(monkeypatch):
    asked = []
    stand_in = SimpleNamespace(live=lambda names: asked.append(names) or "a run")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "unet_atlas.gpu.recorder", stand_in)
    monkeypatch.setattr("unet_atlas.gpu.recorder", stand_in, raising=False)
    assert views.live(views.STAGES, views.LADDER, views.DECODE) == "a run"
    assert asked == [["ceilings", "stages", "ladder", "decode"]]


# --- the numbers of each view --------------------------------------------------------------


def test_ceilings_stand_beside_the_data_sheet():
    (table,) = views.ceilings(run())
    shown = table.shown.set_index("ceiling")
    bf16 = shown.loc["product, bf16"]
    assert bf16["measured"] == "800.00 TFLOP/s"
    assert bf16["share"] == "81 %"  # of 989
    assert (
        table.shown.set_index("ceiling").loc["copy, read and written", "data sheet"] == "3.35 TB/s"
    )
    (unlisted,) = views.ceilings(run(device="NVIDIA H100 PCIe"))
    assert set(unlisted.shown["data sheet"]) == {"–"}


def test_spread_is_the_middle_half():
    assert views.spread([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(2 / 3)
    assert views.spread([1.0]) is None


def test_weights_are_predicted_as_the_allocator_counts_them():
    (table,) = views.weights(run())
    bf16, fp32 = table.records()
    held = allocator.weights(build_unet("sd-1.5"), 2)
    assert (bf16["sum"], fp32["sum"]) == (2 * 859_520_964, 4 * 859_520_964)
    assert bf16["allocated, predicted"] == held.allocated
    assert bf16["reserved, predicted"] == held.reserved
    ratio = f"{2 * 859_520_964 / held.allocated:.4f}"
    assert table.shown["ratio"][0] == ratio != "1.0000"
    assert table.shown["seconds"][0] == "2.50"
    assert table.shown["sum"][0] == "1,639.4"


def test_peaks_are_predicted_in_either_width():
    (table,) = views.passes(run())
    for row, dtype in zip(table.records(), (torch.bfloat16, torch.float32), strict=True):
        assert row["predicted"] == measure.predict("sd-1.5", dtype, 64, 1).peak
    assert list(table.shown["plain, measured"]) == ["1,049.0 MiB", "no room"]
    # at its top level, a sample has 8 heads of 4096 × 4096 scores, before and after the softmax
    scores = 2 * 8 * 4096**2
    for row, width in zip(table.records(), (2, 4), strict=True):
        assert width * scores < row["plain, predicted"] < 1.1 * width * scores


def test_plain_attention_keeps_scores_in_32_bits_where_the_configuration_asks():
    row = {"model": "sd-2.1-v", "latent": 96, "batch": 1}
    half, full = (views._predicted_plain({**row, "dtype": d}) for d in ("fp16", "fp32"))
    scores = 2 * 5 * 9216**2
    assert 4 * scores < half < full < 1.1 * 4 * scores


@pytest.mark.parametrize("upcast", [False, True])
def test_plain_attention_is_predicted_as_it_is_measured(tmp_path: Path, upcast: bool):
    model = tiny.config(tmp_path, upcast_attention=upcast)
    unet = build_unet(model, "cpu", torch.bfloat16)
    unet.set_attn_processor(AttnProcessor())
    passed = measure.measure_pass(unet, 0, 32, 1, measure.cpu_meter)
    predicted = views._predicted_plain({"model": model, "dtype": "bf16", "latent": 32, "batch": 1})
    assert passed.peak == pytest.approx(predicted, rel=0.05)


def test_a_stage_is_bound_by_launches_memory_or_arithmetic():
    frame = views.stage_frame(run(), list(sample_run.stages()))
    assert list(frame["bound by"][:4]) == ["launches", "memory", "arithmetic", "arithmetic"]
    third = frame.iloc[3]
    assert third["rate"] == pytest.approx(400e12)  # 2 × 0.2 T in a millisecond
    assert third["arithmetic"] == pytest.approx(0.5)  # at 800 TFLOP/s
    assert third["memory"] == pytest.approx(1 / 6)  # 0.5 GB at 3 TB/s
    assert third["of the ceiling"] == pytest.approx(0.5)
    assert frame["time share"].drop("all").sum() == pytest.approx(1)
    assert frame.loc["all", "work share"] == pytest.approx(1)


def test_the_floor_of_the_whole_pass_is_the_sum_of_its_stages():
    frame = views.stage_frame(run(), list(sample_run.stages()))
    parts = frame.drop(index="all")
    assert frame.loc["all", "floor"] == pytest.approx(parts["floor"].sum())
    assert frame.loc["all", "floor"] > parts[["arithmetic", "memory"]].sum().max()


def test_a_faster_rung_with_another_output_is_not_the_best():
    rows = sample_run.ladder()
    rows[2]["difference"] = 0.3
    here = with_rows("ladder", rows)
    assert "“bf16” with 100.0 guided steps" in words(views.ladder(here))[0]
    (table,) = views.beside_published(here)
    ours = table.data[table.data["system"].str.startswith("this book's ladder")]
    assert list(ours["published"]) == ["bf16"]
    for row in rows:
        row["difference"] = 0.3
    other = with_rows("ladder", rows)
    assert words(views.ladder(other)) == [
        "SD 1.5, 512 px: every rung's output differs from fp32's by more than 0.05."
    ]


def test_stages_are_drawn_told_and_summed_up():
    pieces = views.stages(run())
    assert KEYS[1] in figures(pieces)[0].alt
    assert "all" not in figures(pieces)[0].alt.split(".")[2].split(";")[0]
    (table,) = tables(pieces)
    assert list(table.shown["stage"]) == [*KEYS, "all"]
    assert table.shown["kernels"][2] == "–"
    assert "80 %" in table.caption
    assert "by the lower ceiling, reached or not" in table.caption
    n = len(KEYS)
    assert words(pieces) == [
        f"sd-1.5 spends {100 * (n - 2) / n:.0f} % in stages bound by arithmetic, "
        f"{100 / n:.0f} % in stages bound by launches, {100 / n:.0f} % in stages bound by memory."
    ]


@pytest.mark.parametrize("what", ["copy", "product"])
def test_without_a_ceiling_stages_are_a_table_alone(what: str):
    rows = [r for r in sample_run.ceilings() if r["what"] == what]
    here = with_rows("ceilings", rows)
    (piece,) = views.stages(here)
    assert list(piece.shown["bound by"][:2]) == ["launches", "–"]
    assert set(piece.shown["of ceiling"]) == {"–"}
    for view in views.VIEWS:
        assert all(map(views._shown, view.pieces(here)))


def test_the_whole_pass_alone_is_a_table():
    (piece,) = views.stages(with_rows("stages", sample_run.stages()[-1:]))
    assert list(piece.shown["stage"]) == ["all"]


def test_the_ladder_counts_steps_speed_up_and_shares():
    (first, bf16, compiled, failed) = views.ladder_frame(run()).to_dict("records")
    assert bf16["steps a second"] == pytest.approx(100)
    assert (first["speed-up"], compiled["speed-up"]) == (1, pytest.approx(10))
    assert compiled["of the measured peak"] == pytest.approx(STEP / 4e-3 / 800e12)
    assert compiled["of the data sheet"] == pytest.approx(STEP / 4e-3 / 989e12)
    assert failed["speed-up"] != failed["speed-up"]


def test_the_ladder_shows_a_rung_that_failed_with_its_reason():
    pieces = views.ladder(run())
    (table,) = tables(pieces)
    last = table.shown.iloc[-1]
    assert last["note"] == "torchao is not installed"
    assert set(last[["ms", "steps/s", "GiB", "difference"]]) == {"–"}
    assert "fp8" not in figures(pieces)[0].alt
    share = f"{100 * STEP / 4e-3 / 800e12:.0f} %"
    assert words(pieces) == [
        "SD 1.5, 512 px: the fastest rung with the same output is “compiled” with 250.0 guided "
        f"steps a second, {share} of the peak measured in bf16, at a distance of 1e-02 from "
        "fp32's output. "
        f"Of its 4.00 ms, {1000 * STEP / 800e12:.2f} ms are arithmetic at that peak; the rest is "
        "bytes, launches and kernels below the peak."
    ]


def test_without_a_peak_nothing_is_said_of_the_rest():
    rows = [r for r in sample_run.ceilings() if r["dtype"] != "bf16"]
    (told,) = words(views.ladder(with_rows("ceilings", rows)))
    assert told.endswith("from fp32's output.")


@pytest.mark.parametrize(
    "name", ["ladder", "stages", "decode", "throughput", "resolution", "blocks"]
)
def test_the_spread_of_the_samples_is_shown_and_explained(name: str):
    rows = getattr(sample_run, name)()
    for row, samples in zip(rows, ([1.0, 2.0, 3.0, 4.0, 5.0], [1.0]), strict=False):
        row["samples"] = samples
    (table,) = tables(getattr(views, name)(with_rows(name, rows)))
    assert list(table.shown["spread"][:2]) == ["66.7 %", "–"][: len(rows)]
    assert "middle half of the samples" in table.caption
    assert "samples" not in table.data


def test_notes_take_a_column_only_where_there_are_any():
    rows = sample_run.ladder()[:3]
    (table,) = tables(views.ladder(with_rows("ladder", rows)))
    assert "note" not in table.shown


def test_a_ladder_of_failures_is_a_table_alone():
    rows = [{**row, "milliseconds": None} for row in sample_run.ladder()]
    pieces = views.ladder(with_rows("ladder", rows))
    assert len(pieces) == len(tables(pieces)) == 1
    (table,) = views.beside_published(with_rows("ladder", rows))
    assert len(table.data) == len(published.systems()) + 1  # that of throughput


def test_the_best_rung_stands_below_the_published_speeds():
    (table,) = views.beside_published(run())
    own = table.data.iloc[len(published.systems())]
    assert (own["system"], own["card"]) == ("this book's ladder: SD 1.5, 512 px", "H100 SXM")
    assert own["guided steps a second"] == pytest.approx(250)
    (other,) = views.beside_published(run(device="Another card"))
    assert other.shown["of 16-bit peak"].iloc[-1] == "–"
    assert other.shown["card"].iloc[-1] == "Another card, bf16"


def test_the_best_batch_stands_below_the_best_rung():
    rows = sample_run.throughput()
    rows[0]["images_per_second"] = 99.0  # one image is no batch
    rows[1] |= {"images_per_second": 12.0, "step": 7.0}
    (table,) = views.beside_published(with_rows("throughput", rows))
    assert len(table.data) == len(published.systems()) + 2
    last = table.data.iloc[-1]
    assert last["system"] == "this book's throughput: SD 1.5, 512 px, batch 2"
    assert last["guided steps a second"] == pytest.approx(2000 / 7)
    assert last["FLOP/s"] == pytest.approx(2 * STEP / 7e-3)
    assert last["share"] == pytest.approx(2 * STEP / 7e-3 / 989e12)
    assert (last["timed"], last["published"]) == ("UNet", "compiled")


def test_a_run_without_throughput_has_its_ladder_beside_the_published_speeds(folder: Path):
    some = {k: v for k, v in content()["experiments"].items() if k in ("ceilings", "ladder")}
    (folder / "h100.json").write_text(json.dumps(content(experiments=some)))
    assert "this book's ladder" in repr(views.show(views.PUBLISHED))
    assert "this book's throughput" not in repr(views.show(views.PUBLISHED))


def test_throughput_shows_images_utilisation_and_what_did_not_fit():
    pieces = views.throughput(run())
    assert "images a second" in figures(pieces)[0].alt
    (table,) = tables(pieces)
    assert table.shown["of peak"][0] == f"{100 * STEP / 4e-3 / 800e12:.0f} %"
    assert list(table.shown.iloc[-1][["images a second", "note"]]) == ["–", "out of memory"]
    at_most = f"{800e12 / (20 * STEP):.3f}"  # at any batch
    assert list(table.shown["at most"]) == [at_most] * 4
    gone = [{**row, "images_per_second": None} for row in sample_run.throughput()]
    assert not figures(views.throughput(with_rows("throughput", gone)))


def test_resolution_sets_the_measured_beside_the_best_rate():
    pieces = views.resolution(run())
    assert "measured: 2 at 256, 4 at 512, 20 at 1,024" in figures(pieces)[0].alt
    # the best rate is that of 1024 pixels: 4674 GMACs in 20 ms
    assert "at best rate: 0.813 at 256, 3.436 at 512, 20 at 1,024" in figures(pieces)[0].alt
    (table,) = tables(pieces)
    assert table.shown["attention products"][0] == "20 %"
    assert table.shown["ms at least"][1] == "2.01"  # 803 GMACs at 800 TFLOP/s
    assert list(table.shown["of peak"])[1:] == ["50 %", "58 %", "–"]
    assert table.shown["note"].iloc[-1] == "out of memory"
    one = sample_run.resolution()[:1]
    assert not figures(views.resolution(with_rows("resolution", one)))


def test_blocks_have_a_price():
    (table,) = views.blocks(run())
    assert list(table.shown["ms a GMAC"]) == ["0.0500", "0.0500"]
    assert list(table.shown["used × ms"]) == ["2.50", "2.00"]
    assert list(table.shown["ms at least"]) == ["0.025", "0.020"]


def test_the_decoder_has_a_rate():
    (table,) = views.decode(run())
    assert table.shown["TFLOP/s"][0] == "124.0"


def test_a_dtype_without_a_ceiling_takes_the_highest():
    rows = [r for r in sample_run.ceilings() if r["dtype"] != "bf16"]
    assert views._peak(with_rows("ceilings", rows), "bf16") == 790e12


def test_a_work_whose_rungs_all_had_no_time_is_a_table_of_notes():
    rows = [{**r, "milliseconds": None, "peak": None, "difference": None, "samples": [],
             "note": "no time left"} for r in sample_run.ladder()]  # fmt: skip
    (table,) = views.ladder(with_rows("ladder", rows))
    assert set(table.shown["note"]) == {"no time left"}
    assert len(views.beside_published(with_rows("ladder", rows))) == 1
