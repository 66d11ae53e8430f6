"""Records of measurements: what is read, what is refused, which one is shown."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from gpu import sample_run

from unet_atlas import records, shelf
from unet_atlas.errors import AtlasError
from unet_atlas.gpu import reading
from unet_atlas.records import Record
from unet_atlas.tables import Table

GOOD = Record(
    experiment="unet-memory",
    device="Test <GPU> 1",
    dtype="bf16",
    versions={"torch": "2.0", "diffusers": "0.1"},
    date="2026-01-31",
    seconds=1.5,
    rows=({"model": "sd-1.5", "weights": 10},),
)


def content(**changes: object) -> dict:
    """A valid record as JSON, with changes; ``...`` removes a key."""
    good = {k: v for k, v in vars(GOOD).items() if k != "file"} | {"rows": list(GOOD.rows)}
    return {k: v for k, v in {**good, **changes}.items() if v is not ...}


def test_a_saved_record_is_read_back(tmp_path: Path):
    file = records.save(GOOD, tmp_path)
    assert file.name == "unet-memory-test--gpu--1-2026-01-31.json"
    assert records.load(tmp_path) == (replace(GOOD, file=file.name),)


def test_the_newest_of_an_experiment_is_taken(tmp_path: Path):
    for day in ("2026-02-01", "2026-03-01", "2025-12-31"):
        records.save(replace(GOOD, date=day), tmp_path)
    records.save(replace(GOOD, experiment="other", date="2027-01-01"), tmp_path)
    assert records.newest("unet-memory", folder=tmp_path).date == "2026-03-01"
    assert records.newest("missing", folder=tmp_path) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "nested|not valid JSON"),
        ("[]", "keys"),
        ("{}", "keys"),
        (json.dumps({"loss": [1, 2]}), "keys"),
        (json.dumps(content(device=...)), "keys"),
        (json.dumps(content(extra=1)), "extra"),
        (json.dumps(content(device=" ")), "device"),
        (json.dumps(content(dtype=16)), "dtype"),
        (json.dumps(content(versions={})), "versions"),
        (json.dumps(content(versions={"torch": 2})), "versions"),
        (json.dumps(content(seconds=-1)), "seconds"),
        (json.dumps(content(seconds=True)), "seconds"),
        (json.dumps(content(seconds=float("nan"))), "seconds"),
        (json.dumps(content(rows=[])), "rows"),
        (json.dumps(content(rows=[1])), "rows"),
        (json.dumps(content(date="yesterday")), "date"),
    ],
)
def test_a_file_that_is_no_record_is_named_and_left_out(tmp_path: Path, text: str, reason: str):
    (tmp_path / "bad.json").write_text(text)
    good = records.save(GOOD, tmp_path)
    assert [r.file for r in records.load(tmp_path)] == [good.name]
    (left,) = records.left_out(tmp_path)
    assert re.search(rf"records/bad\.json is left out: .*({reason}).*\.$", left.words)


def test_files_that_cannot_be_read_are_left_out(tmp_path: Path, monkeypatch):
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "number.json").write_text(json.dumps(content()).replace("1.5", "1" * 5000))
    reasons = {file.file: file.reason for file in records.left_out(tmp_path)}
    assert reasons == {
        "bytes.json": "it is not text in UTF-8",
        "folder.json": "Is a directory",
        "number.json": "it holds a number that is too long",
    }
    records.save(GOOD, tmp_path)
    monkeypatch.setattr(shelf, "MAX_FILE_BYTES", 1)
    assert records.load(tmp_path) == ()
    assert "over" in records.left_out(tmp_path)[-1].reason


def test_a_line_holds_only_what_a_page_can(tmp_path: Path):
    (tmp_path / "bad.json").write_text('{"\\ud800": 1, "' + "x" * 500 + '": 2}')
    (left,) = records.left_out(tmp_path)
    assert left.words.encode("utf-8")
    assert len(left.words) <= 301


def test_rows_of_a_known_experiment_have_its_columns(tmp_path: Path):
    row = {"tool": "a", "version": "1", "device": "cpu", "model": "sd-1.5", "latent": 64}
    good = replace(GOOD, experiment="counters", rows=({**row, "ratio": None, "more": 1},))
    records.save(good, tmp_path)
    bad = content(experiment="counters", date="2026-05-05", rows=[row])
    (tmp_path / "bad.json").write_text(json.dumps(bad))
    assert records.newest("counters", folder=tmp_path).date == GOOD.date
    assert "'ratio'" in records.left_out(tmp_path)[0].reason
    with pytest.raises(AtlasError, match="'ratio'"):
        records.save(replace(good, rows=(row,)), tmp_path)


def test_records_and_runs_share_a_folder(tmp_path: Path):
    (tmp_path / "run.json").write_text(json.dumps(sample_run.content()))
    record = records.save(GOOD, tmp_path)
    assert [r.file for r in records.load(tmp_path)] == [record.name]
    assert [r.file for r in reading.load(tmp_path)] == ["run.json"]
    assert records.left_out(tmp_path) == ()


def test_an_unfit_record_is_not_saved(tmp_path: Path):
    with pytest.raises(AtlasError, match="date"):
        records.save(replace(GOOD, date="31.01.2026"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_no_folder_no_records(tmp_path: Path, monkeypatch):
    assert records.load(tmp_path) == ()
    monkeypatch.setattr(shelf, "records_dir", lambda: None)
    assert records.load() == records.left_out() == ()
    assert records.newest("unet-memory") is None


def test_records_dir_is_the_books(tmp_path: Path, monkeypatch):
    (tmp_path / "records").mkdir()
    (tmp_path / "book").mkdir()
    monkeypatch.chdir(tmp_path / "book")
    assert shelf.records_dir() != tmp_path / "records"  # a folder of that name is not enough
    (tmp_path / "_toc.yml").touch()
    assert shelf.records_dir() == tmp_path / "records"


def test_a_box_names_its_source_and_escapes_it():
    frame = pd.DataFrame({"model": ["a"], "weights": ["1"]})
    shown = records.box(replace(GOOD, file="x.json"), Table("t", "caption", frame, frame))
    markup = shown._repr_html_()
    assert markup.startswith('<div class="ua-record"><p>Test &lt;GPU&gt; 1, bf16; torch 2.0')
    assert "2026-01-31, 1.5 s (records/x.json)" in markup
    assert "<table" in markup
    assert "Recorded elsewhere" in repr(shown)


def test_what_is_left_out_is_named_below_what_is_shown(tmp_path: Path, monkeypatch, recwarn):
    monkeypatch.setattr(shelf, "records_dir", lambda: tmp_path)
    (tmp_path / "a<b.json").write_text("{")
    frame = pd.DataFrame({"model": ["a"], "weights": ["1"]})
    line = "records/a<b.json is left out: it is not valid JSON."
    for shown in (records.box(GOOD, Table("t", "c", frame, frame)), records.absent("Memory")):
        assert repr(shown).endswith(line)
        assert shown._repr_html_().endswith(
            '<p class="ua-record-none">records/a&lt;b.json is left out: it is not valid JSON.</p>'
        )
    assert not recwarn.list  # a warning on stderr would fail the strict build


def test_absence_is_one_line(monkeypatch):
    monkeypatch.setattr(shelf, "records_dir", lambda: None)
    shown = records.absent("Memory on a GPU")
    assert "\n" not in repr(shown)
    assert shown._repr_html_().count("<p") == 1
