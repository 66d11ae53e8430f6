"""The explorer's data: the same numbers as the tables, one document a model, a fixed schema."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from odd_configs import NO_FORWARD, ODD

from unet_atlas import anatomy, build, catalog, config, cost, explorer
from unet_atlas.errors import AtlasError
from unet_atlas.roles import ATTENTION_PRODUCTS

MINI = {"id": "mini-sd", "name": "mini-sd", "family": "mini", "factor": 4, "tokens": 24}


def odd(name: str):
    return build.from_config(config.check(dict(ODD[name]), name), name)


def records(table: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(zip(table["columns"], row, strict=True)) for row in table["values"]]


@pytest.mark.parametrize("model", ["sd-1.5", "sdxl-base-1.0", "sd-2.1-unclip-l"])
def test_rows_add_up_to_the_tables(model: str) -> None:
    unet = build.build_unet(model)
    counted, memory = cost.count(unet), cost.memory(unet)
    macs: Counter = Counter()
    written: Counter = Counter()
    params: Counter = Counter()
    for row in explorer.rows(unet):
        stage = anatomy.stage_of(row.path)
        macs[stage, row.role] += row.times * row.macs
        written[stage, row.role] += row.times * row.bytes
        params[stage] += row.times * row.params
    assert +macs == Counter(counted.macs)
    assert +written == +Counter(memory.written)
    assert params == {s.key: s.params for s in anatomy.stages(unet)}


def test_equal_transformer_blocks_share_their_rows() -> None:
    found = {r.path: r for r in explorer.rows(build.build_unet("sdxl-base-1.0"))}
    row = found["down_blocks.2.attentions.1.transformer_blocks.0–9.attn2.to_k"]
    assert (row.times, row.at, row.channels_in, row.channels_out) == (10, "text", 2048, 1280)
    assert row.params == 2048 * 1280
    assert row.macs == 77 * 2048 * 1280
    product = found["mid_block.attentions.0.transformer_blocks.0–9.attn1"]
    assert (product.heads, product.head_dim, product.context) == (20, 64, None)
    assert product.macs == 2 * 1024 * 1024 * 1280


def test_blocks_that_differ_keep_rows_of_their_own() -> None:
    row = explorer.rows(odd("plain"))[0]
    first, second = (
        replace(row, path=f"a.transformer_blocks.{i}.norm", params=i) for i in range(2)
    )
    assert list(explorer._joined([first, second])) == [first, second]
    assert [r.path for r in explorer._joined([first, replace(second, params=0)])] == [
        "a.transformer_blocks.0–1.norm"
    ]


def test_products_stand_before_the_projection_out() -> None:
    paths = [r.path for r in explorer.rows(odd("plain"))]
    prefix = "down_blocks.0.attentions.0.transformer_blocks.0.attn1"
    own = [p.removeprefix(prefix) for p in paths if p.startswith(prefix)]
    assert own == [".to_q", ".to_k", ".to_v", "", ".to_out.0"]


@pytest.mark.parametrize(
    ("name", "path", "at"),
    [
        ("plain", "down_blocks.0.downsamplers.0.conv", "1"),
        ("plain", "up_blocks.0.upsamplers.0.conv", "0"),
        ("plain", "up_blocks.0", "1"),
        ("plain", "time_embedding.linear_1", "once"),
        ("five levels", "down_blocks.3.downsamplers.0.conv", "4"),
        ("bare self-attention", "down_blocks.1.attentions.0.group_norm", "1"),
        ("text projected", "encoder_hid_proj", "text"),
        ("text added", "add_embedding.pool.q_proj", "once"),
        ("image and hint added", "add_embedding.input_hint_block.0", "once"),
        ("not square", "mid_block.resnets.0.conv1", "1"),
    ],
)
def test_where_a_layer_is_applied(name: str, path: str, at: str) -> None:
    assert {r.path: r.at for r in explorer.rows(odd(name))}[path] == at


def test_bytes_split_into_a_part_that_grows_and_a_fixed_one() -> None:
    unet = build.build_unet("sd-1.5")
    small, large = ({r.path: r for r in explorer.rows(unet, latent=side)} for side in (32, 64))
    for path, row in small.items():
        grows = row.at not in (explorer.TEXT, explorer.ONCE)
        factor = 4 if grows else 1
        assert large[path].bytes - row.fixed == factor * (row.bytes - row.fixed), path
        assert large[path].fixed == row.fixed


def test_a_forward_pass_that_fails_is_said() -> None:
    unet = build.from_config(config.check(dict(NO_FORWARD["two transformers"]), "two"), "two")
    with pytest.raises(AtlasError, match="two: the forward pass fails"):
        explorer.rows(unet)


def test_document_follows_its_schema() -> None:
    unet = build.build_unet("mini-sdxl")
    found = json.loads(json.dumps(explorer.document(unet, **MINI)))
    assert set(found) == {
        *("schema", "id", "name", "family", "factor", "tokens", "config", "latent"),
        *("stages", "blocks", "rows"),
    }  # fmt: skip
    assert (found["schema"], found["latent"]) == (explorer.SCHEMA, [16, 16])
    assert set(found["config"]) == set(config.DEFAULTS)
    stages = records(found["stages"])
    assert [s["key"] for s in stages] == [s.key for s in anatomy.stages(unet)]
    assert sum(s["params"] for s in stages) == anatomy.total_params(unet)
    assert "size" not in stages[0]
    assert [b["path"] for b in records(found["blocks"])] == [b.path for b in anatomy.blocks(unet)]
    rows = records(found["rows"])
    macs = cost.count(unet, tokens=24)
    assert sum(r["times"] * r["macs"] for r in rows) == macs.total
    products = [r for r in rows if r["role"] in ATTENTION_PRODUCTS]
    assert all(r["kind"] == "Attention" and r["heads"] for r in products)


def test_equal_configurations_are_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    monkeypatch.setattr(explorer, "_entries", lambda: [MINI, MINI | {"id": "mini-sd2"}] * 2)
    monkeypatch.setattr(explorer, "build_unet", lambda source: built.append(source))
    monkeypatch.setattr(explorer, "document", lambda _unet, **facts: {"made for": facts["id"]})
    found = list(explorer.documents())
    assert built == ["mini-sd", "mini-sd2"]
    assert [d["id"] for d in found] == ["mini-sd", "mini-sd2"] * 2


def test_every_model_has_an_entry() -> None:
    found = [e["id"] for e in explorer._entries()]
    assert found[:13] == list(catalog.ids())
    assert found[13:] == ["mini-sd", "mini-sd2", "mini-unclip", "mini-sdxl"]


def test_export_writes_json_scripts_and_an_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(explorer, "_entries", lambda: [MINI])
    folder = tmp_path / "new" / "data"
    assert explorer.main([str(folder)]) == 0
    assert capsys.readouterr().out == "4 files\n"
    assert sorted(p.name for p in folder.iterdir()) == [
        *("index.js", "index.json", "mini-sd.js", "mini-sd.json"),
    ]  # fmt: skip
    plain = (folder / "mini-sd.json").read_text("utf8").strip()
    script = (folder / "mini-sd.js").read_text("utf8")
    assert script == f'UNetAtlas.data["mini-sd"]={plain};\n'
    assert json.loads((folder / "index.json").read_text("utf8")) == [
        {"id": "mini-sd", "name": "mini-sd", "family": "mini", "latent": [16, 16], "factor": 4}
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Name one folder, nothing was named: python -m unet_atlas.explorer FOLDER."),
        (["a", "b"], "Name one folder, not 'a' 'b':"),
        (["--help"], "Name one folder, not '--help':"),
        ([""], "Name one folder, not '':"),
        (["file"], "'file' can't be a folder: File exists; name another one."),
        (["file/data"], "'file/data' can't be a folder: Not a directory; name another one."),
        (["\0"], "can't be a folder: embedded null byte; name another one."),
    ],
)
def test_wrong_use_is_told_in_a_sentence(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(explorer, "_entries", lambda: [MINI])
    Path("file").write_text("kept", "utf8")
    assert explorer.main(arguments) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert Path("file").read_text("utf8") == "kept"


def test_a_file_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(explorer, "_entries", lambda: [MINI])
    (tmp_path / "mini-sd.json").mkdir()
    assert explorer.main([str(tmp_path)]) == 2
    assert "can't be written" in capsys.readouterr().err


def test_nothing_is_written_before_all_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(explorer, "_entries", lambda: [MINI, MINI | {"id": "no-such-model"}])
    assert explorer.main([str(tmp_path)]) == 2
    assert "no-such-model" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_table_for_pages_without_scripts() -> None:
    table = explorer.summary_table()
    named = ", ".join(table.data["model"])
    assert all(m.name in named for m in catalog.models())
    assert len(table.data) == 6  # sets of equal UNets
    sdxl = table.data[table.data["model"] == "SDXL base 1.0"].iloc[0]
    assert sdxl["parameters"] == "2,567.46 M"
    assert sdxl["mid"] == "1280 channels; depth 10; heads 20 × 64; 413.12 M"
    assert sdxl["down 3"] == "–"
