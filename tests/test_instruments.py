"""Instruments: torchinfo's figures by its own rule, its rows, and the record of other counters."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
import torchinfo
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from record_counters import ROW, jobs
from record_counters import row as recorded_row
from unet_atlas import catalog, cost, instruments, records, tables
from unet_atlas.anatomy import total_params
from unet_atlas.build import build_unet, example_inputs

MODELS = ("sd-1.5", "sd-2.1-v", "sdxl-base-1.0", "sdxl-refiner-1.0")
ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def unets() -> dict:
    return {model: build_unet(model) for model in MODELS}


@pytest.fixture(scope="module")
def summaries(unets: dict) -> dict:
    return {m: instruments.summarise(u, example_inputs(u)) for m, u in unets.items()}


@pytest.mark.parametrize(
    ("model", "giga"),
    zip(MODELS, (222.3, 471.0, 813.9, 1206.4), strict=True),
)
def test_mult_adds_follow_from_the_rule(
    model: str, giga: float, unets: dict, summaries: dict
) -> None:
    reported = summaries[model].total_mult_adds
    assert round(reported / 1e9, 1) == giga
    rule = instruments.mult_adds_by_rule(unets[model], example_inputs(unets[model]))
    assert rule.total() == reported
    assert reported < cost.count(unets[model]).total


def test_torchinfo_forgets_the_tokens_of_a_linear_layer() -> None:
    layer = nn.Linear(320, 320, bias=False)
    tokens = torch.zeros(2, 4096, 320)
    summary = torchinfo.summary(layer, input_data=[tokens], verbose=0)
    assert summary.total_mult_adds == 2 * 320 * 320
    assert cost.dispatched_macs(layer, tokens) == 2 * 4096 * 320 * 320


@pytest.mark.parametrize(
    ("model", "second", "third"),
    [
        ("sd-1.5", 62_277_120, 498_100_160),
        ("sd-2.1-v", 62_277_120, 503_834_560),
        ("sdxl-base-1.0", 62_277_120, 2_108_301_440),
        ("sdxl-refiner-1.0", 89_674_752, 1_569_861_888),
    ],
)
def test_what_the_rows_miss(model: str, second: int, third: int, summaries: dict) -> None:
    found = instruments.parameter_columns(summaries[model])
    assert [c.depth for c in found] == [1, 2, 3, 4, 5, 6]
    assert [c.missing for c in found] == [0, second, third, 0, 0, 0]
    assert summaries[model].formatting.max_depth == 3  # the summary itself is left alone


def test_a_depth_printed_later_is_the_depth_asked_for(unets: dict, summaries: dict) -> None:
    inputs = example_inputs(unets["sd-1.5"])
    asked = [instruments.summarise(unets["sd-1.5"], inputs, depth) for depth in (1, 2, 4)]
    late = instruments.parameter_columns(summaries["sd-1.5"], (1, 2, 4))
    assert tuple(map(instruments.parameter_column, asked)) == late


def test_excerpt_moves_columns_together(summaries: dict) -> None:
    assert instruments.excerpt(summaries["sd-1.5"], 11, 13).splitlines() == [
        "│    └─CrossAttnDownBlock2D: 2-4  [1, 320, 32, 32]  --",
        "│    │    └─ModuleList: 3-3       --                (recursive)",
    ]
    whole = instruments.excerpt(summaries["sd-1.5"]).splitlines()
    original = str(summaries["sd-1.5"]).splitlines()
    assert [" ".join(a.split()).strip("=") for a in whole] == [
        " ".join(b.split()).strip("=") for b in original
    ]
    assert max(map(len, whole)) < 80 < max(map(len, original))


@pytest.mark.parametrize("model", MODELS)
def test_total_params_is_right(model: str, unets: dict, summaries: dict) -> None:
    assert summaries[model].total_params == total_params(unets[model])


def test_attention_counts_as_zero_on_the_cpu_and_in_full_elsewhere() -> None:
    q = torch.zeros(2, 3, 16, 8)
    attend = F.scaled_dot_product_attention
    true = 2 * 2 * 3 * 16 * 16 * 8
    assert cost.dispatched_macs(attend, *[q.to("meta")] * 3) == true
    with sdpa_kernel(SDPBackend.MATH):
        assert cost.dispatched_macs(attend, q, q, q) == true
    # PyTorch 2.13, issue 195460: when this fails, the bug is mended and the chapter must say so.
    assert cost.dispatched_macs(attend, q, q, q) == 0


def test_the_published_figure_for_sdxl(unets: dict) -> None:
    sdxl = unets["sdxl-base-1.0"]
    extra = instruments.elementwise_products(sdxl, example_inputs(sdxl))
    assert extra == {"norm": 469_237_760, "gate": 419_430_400}
    rebuilt = cost.count(sdxl).without_attention + extra.total()
    assert f"{2 * rebuilt / 1e6:.2f}" == "5979098.32"


def test_biased_linear_layers_by_hand() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 6, bias=False), nn.Linear(6, 7))
    with torch.device("meta"):
        inputs = {"input": torch.zeros(2, 3, 4)}
    assert instruments.biased_linear_macs(model.to("meta"), inputs) == 6 * (4 * 5 + 6 * 7)


def test_hooks_are_removed() -> None:
    model = nn.Sequential(nn.Linear(4, 5))
    with pytest.raises(RuntimeError):
        instruments.mult_adds_by_rule(model, {"input": torch.zeros(1, 3)})
    assert not model[0]._forward_hooks


def test_three_counts_and_their_table() -> None:
    counts = {"sd-1.5": instruments.three_counts("sd-1.5", latent=16)}
    assert counts["sd-1.5"].agree
    assert not instruments.Counts((8, 8), 1, 1, 2).agree
    table = instruments.counts_table(counts)
    count = counts["sd-1.5"].dispatcher
    assert table.shown.loc[0].tolist() == ["sd-1.5", "16 × 16", f"{count:,}", "same", "same"]
    assert table.data.loc[0].tolist() == ["sd-1.5", 16, count, count, count]
    off = instruments.counts_table({"a": instruments.Counts((8, 8), 5, 7, 4)})
    assert off.shown.loc[0].tolist() == ["a", "8 × 8", "5", "+2", "-1"]


def test_tables_keep_plain_values(summaries: dict) -> None:
    columns = {"SD 1.5": instruments.parameter_columns(summaries["sd-1.5"])}
    table = instruments.columns_table(columns)
    assert table.data["SD 1.5"].tolist() == [0, 62_277_120, 498_100_160, 0, 0, 0]
    assert table.shown.iloc[:, 1].tolist()[:2] == ["none", "62,277,120"]
    beside = instruments.mult_adds_table({"a": (5 * 10**8, 10**9)})
    assert beside.shown.loc[0].tolist() == ["a", "0.500", "1.000", "0.500"]
    plain = tables.table_of("c", pd.DataFrame({"n": [1234], "t": ["x"]}), {"n": "{:,}".format})
    assert plain.shown.loc[0].tolist() == ["1,234", "x"]
    assert plain.data.loc[0, "n"] == 1234


def test_rule_table_ends_in_totals(unets: dict) -> None:
    rule = instruments.mult_adds_by_rule(unets["sd-1.5"], example_inputs(unets["sd-1.5"]))
    table = instruments.rule_table("SD 1.5", rule, rule)
    assert table.shown.iloc[-1].tolist() == ["total", "222.305", "222.305"]


def row(tool: str, device: str, ratio: float | None, model: str = "sd-1.5") -> dict:
    return {
        "tool": tool,
        "version": "1",
        "device": device,
        "model": model,
        "latent": 64,
        "macs": ratio,
        "ratio": ratio,
    }


def test_counters_table_says_what_failed_and_what_is_missing() -> None:
    rows = (
        row("a", "meta", None),
        row("a", "cpu", 0.84307),
        {**row("b", "cpu", 1.0), "version": "0.1.5.post20221221"},
        row("a", "cpu", 0.9, "sdxl-base-1.0"),
    )
    record = records.Record("counters", "a CPU", "float32", {"x": "1"}, "2026-01-31", 1.0, rows)
    table = instruments.counters_table(record)
    assert table.shown.to_numpy().tolist() == [
        ["a", "1", "fails", "0.8431"],
        ["b", "0.1.5", "–", "1.0000"],
    ]
    assert "2026-01-31" in table.caption


def test_the_record_that_ships_with_the_book() -> None:
    record = records.newest("counters", folder=ROOT / "records")
    assert record is not None
    found = instruments.reported(record)
    assert found["torchinfo", "1.8.0"]["meta"]["macs"] == 222_304_919_424
    true = {r["model"]: r["true_macs"] for r in record.rows}
    for model, macs in true.items():
        assert (
            cost.count(build_unet(model), latent=catalog.get(model).resolution // 8).total == macs
        )
    for r in record.rows:
        assert r["macs"] is None or r["ratio"] == pytest.approx(
            r["macs"] / r["true_macs"], abs=1e-6
        )
        assert (r["macs"] is None) == bool(r["error"])
    assert "/" not in json.dumps([r["error"] for r in record.rows])


def test_the_record_is_what_the_script_writes(tmp_path: Path) -> None:
    record = records.newest("counters", folder=ROOT / "records")
    assert record is not None
    planned = [job for job, _ in jobs(Path("old"))]
    assert [{k: r[k] for k in job} for r, job in zip(record.rows, planned, strict=True)] == planned
    for found, job in zip(record.rows, planned, strict=True):
        result = {k: found[k] for k in ("macs", "params", "error", "seconds", "peak_memory_mib")}
        rebuilt = recorded_row(job, found["version"], result, found["true_macs"])
        assert list(rebuilt.items()) == list(found.items())  # same fields, same order
        assert tuple(found) == ROW
    again = records.save(record, tmp_path)
    assert again.name == record.file
    assert again.read_bytes() == (ROOT / "records" / record.file).read_bytes()


def test_a_row_without_an_answer_has_every_field() -> None:
    job, _ = jobs(None)[0]
    found = recorded_row(job, None, {"error": "no answer in 1800 s"}, 10)
    assert tuple(found) == ROW
    assert (found["macs"], found["ratio"], found["version"]) == (None, None, "not installed")
    assert recorded_row(job, "2.13.0+cpu", {"macs": 5}, 10)["ratio"] == 0.5
    assert recorded_row(job, "2.13.0+cpu", {"macs": 5}, 10)["version"] == "2.13.0"
