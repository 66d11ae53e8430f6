"""Tables: the same facts as text, Markdown, CSV, JSON and HTML; differences marked in words."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import pandas as pd
import pytest

from unet_atlas import anatomy, build, catalog, compare, config, cost, tables


@pytest.fixture(scope="module")
def pair() -> list:
    return [build.build_unet("sd-1.5"), build.build_unet("sdxl-base-1.0")]


@pytest.fixture(scope="module")
def paired(pair: list) -> tables.Table:
    return tables.comparison_table(compare.compare(pair))


def test_cells_that_differ_carry_a_sign_and_a_mark(paired: tables.Table) -> None:
    for i, row in enumerate(paired.shown.itertuples(index=False)):
        for j, text in enumerate(row):
            assert ("≠" in text) == ((i, j) in paired.marked)
    level_1 = paired.shown.set_index("stage").loc["down, level 1"]
    assert level_1["heads × dim"] == "8 × 80 ≠ 10 × 64"
    assert level_1["resnets"] == "2"


def test_html_is_well_formed_with_headers_and_caption(paired: tables.Table) -> None:
    root = ElementTree.fromstring(paired.to_html())
    table = root.find("table")
    assert root.get("aria-label") == table.find("caption").text == paired.caption
    assert {th.get("scope") for th in table.iter("th")} == {"col", "row"}
    assert len(list(table.iter("tr"))) == 1 + len(paired.shown)
    assert sum("ua-diff" in (td.get("class") or "") for td in table.iter("td")) == len(
        paired.marked
    )


def test_html_escapes_what_a_label_may_hold(pair: list) -> None:
    nasty = tables.stage_table("<script>&\"'", anatomy.stages(pair[0]))
    assert "<script>" not in nasty.to_html()
    ElementTree.fromstring(nasty.to_html())


def test_csv_holds_plain_numbers_that_add_up(pair: list) -> None:
    table = tables.stage_table("sd-1.5", anatomy.stages(pair[0]))
    frame = pd.read_csv(io.StringIO(table.to_csv()))
    assert frame["params"].sum() == anatomy.total_params(pair[0])
    assert frame["resnets"].sum() == 22


def test_records_keep_whole_numbers_whole(paired: tables.Table) -> None:
    missing = [r for r in paired.records() if r["place"] == "down, level 3"]
    assert [r["params"] for r in missing] == [62_277_120, None]
    assert [type(r["heads"]) for r in paired.records() if r["place"] == "mid"] == [int, int]


def test_the_stage_table_ends_in_the_total(pair: list) -> None:
    shown = tables.stage_table("sdxl", anatomy.stages(pair[1])).shown
    assert shown.iloc[-1]["stage"] == "total"
    assert shown.iloc[-1]["parameters"] == "2,567,463,684"


def test_block_rows_add_up_too(pair: list) -> None:
    table = tables.block_table("sd-1.5", anatomy.blocks(pair[0]))
    assert table.data["params"].sum() == anatomy.total_params(pair[0])
    assert "down_blocks.0.attentions.0" in table.to_text()


def test_costs_are_exported_to_the_mac(pair: list) -> None:
    counted = cost.count(pair[0])
    table = tables.cost_table("sd-1.5", counted)
    assert table.data["macs"].sum() == counted.total == 401_636_720_640
    assert table.shown.iloc[-1]["total"] == "401.637"


def test_memory_is_in_binary_units(pair: list) -> None:
    used = cost.memory(pair[0])
    assert f"{used.weights / 2**20:,.1f} MiB" in tables.memory_table("sd-1.5", used).to_text()


def test_delta_and_config_tables(pair: list) -> None:
    labels = ("sd-1.5", "sdxl-base-1.0")
    deltas = tables.delta_table(labels, compare.parameter_delta(*pair))
    assert deltas.shown.iloc[-1]["difference"] == "+1,707,942,720"
    keys = tables.config_table(labels, compare.config_delta(*(dict(u.config) for u in pair)))
    assert "[1, 2, 10]" in keys.to_markdown()


def test_parameters_that_round_alike_are_still_told_apart() -> None:
    from test_config import TINY

    narrow = {**TINY, "block_out_channels": [64, 128], "cross_attention_dim": 12}
    wide = {**narrow, "cross_attention_dim": 13}
    both = [build.from_config(config.check(c, "tiny"), n) for c, n in ((narrow, "a"), (wide, "b"))]
    shown = tables.comparison_table(compare.compare(both)).shown.set_index("stage")
    first, second = shown.loc["down, level 0"]["parameters"].split(" ≠ ")
    assert first != second


def test_the_catalogue_has_thirteen_rows() -> None:
    assert len(tables.models_table(catalog.models()).shown) == 13


@pytest.mark.parametrize(("number", "text"), [(6_389_760, "+6,389,760"), (-12, "−12"), (0, "0")])
def test_signs(number: int, text: str) -> None:
    assert tables.signed(number) == text


def test_equal_rows_share_one() -> None:
    frame = pd.DataFrame({"model": ["a", "b", "c"], "predicts": ["v", "noise", "v"]})
    merged = tables.merge_equal_rows(frame)
    assert merged.to_dict("list") == {"model": ["a, c", "b"], "predicts": ["v", "noise"]}


def test_all_stages_of_many_models_are_one_big_table(pair: list) -> None:
    models = {"SD": anatomy.stages(pair[0]), "XL": anatomy.stages(pair[1])}
    table = tables.all_stages_table(models)
    assert len(table.shown) == len(table.data) == sum(map(len, models.values()))
    assert table.data.groupby("model").params.sum().to_dict() == {
        name: sum(s.params for s in stages) for name, stages in models.items()
    }
    root = ElementTree.fromstring(table.to_html())
    assert root.find("table").get("class") == "ua-table ua-big"
    assert root.find("table").get("data-name") == "all-stages"
    assert root.find("script").get("type") == "text/csv"
    read = pd.read_csv(io.StringIO(root.find("script").text))
    assert read.params.tolist() == table.data.params.tolist()


def test_only_big_tables_carry_their_data_and_it_cannot_end_the_script() -> None:
    frame = pd.DataFrame({"a": ["</script><b>"]})
    big = tables.Table("x", "X", frame, frame, big=True).to_html()
    assert big.count("</script") == 1
    assert "<script" not in tables.Table("x", "X", frame, frame).to_html()


def test_a_corner_without_a_name_is_no_header() -> None:
    frame = pd.DataFrame({"": ["row"], "a": ["1"]})
    root = ElementTree.fromstring(tables.Table("x", "X", frame, frame).to_html())
    assert [cell.tag for cell in root.find("table/thead/tr")] == ["td", "th"]
