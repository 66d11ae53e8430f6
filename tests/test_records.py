"""Records of measurements: what is read, what is refused, which one is shown."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from unet_atlas import records
from unet_atlas.errors import AtlasError
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
        ("[" * 100_000, "recursion|not valid JSON"),
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
    with pytest.warns(RuntimeWarning, match=rf"(?s)records/bad\.json is left out.*({reason})"):
        assert [r.file for r in records.load(tmp_path)] == [good.name]


def test_bytes_that_are_no_text_and_huge_files_are_left_out(tmp_path: Path, monkeypatch):
    (tmp_path / "bad.json").write_bytes(b"\xff\xfe\x00")
    with pytest.warns(RuntimeWarning, match="bad.json"):
        assert records.load(tmp_path) == ()
    monkeypatch.setattr(records, "MAX_FILE_BYTES", 1)
    with pytest.warns(RuntimeWarning, match="over"):
        assert records.load(tmp_path) == ()


def test_a_record_without_the_columns_asked_for_gives_way_to_an_older_one(tmp_path: Path):
    records.save(GOOD, tmp_path)
    records.save(replace(GOOD, date="2026-05-05", rows=({"model": "sd-1.5"},)), tmp_path)
    columns = {"model": str, "weights": int}
    with pytest.warns(RuntimeWarning, match="2026-05-05.*'weights'"):
        assert records.newest("unet-memory", columns, tmp_path).date == GOOD.date


def test_an_unfit_record_is_not_saved(tmp_path: Path):
    with pytest.raises(AtlasError, match="date"):
        records.save(replace(GOOD, date="31.01.2026"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_no_folder_no_records(tmp_path: Path, monkeypatch):
    assert records.load(tmp_path) == ()
    monkeypatch.setattr(records, "records_dir", lambda: None)
    assert records.load() == ()
    assert records.newest("unet-memory") is None


def test_records_dir_is_the_books(tmp_path: Path, monkeypatch):
    (tmp_path / "records").mkdir()
    (tmp_path / "book").mkdir()
    monkeypatch.chdir(tmp_path / "book")
    assert records.records_dir() != tmp_path / "records"  # a folder of that name is not enough
    (tmp_path / "_toc.yml").touch()
    assert records.records_dir() == tmp_path / "records"


def test_a_box_names_its_source_and_escapes_it():
    frame = pd.DataFrame({"model": ["a"], "weights": ["1"]})
    shown = records.box(replace(GOOD, file="x.json"), Table("t", "caption", frame, frame))
    markup = shown._repr_html_()
    assert markup.startswith('<div class="ua-record"><p>Test &lt;GPU&gt; 1, bf16; torch 2.0')
    assert "2026-01-31, 1.5 s (records/x.json)" in markup
    assert "<table" in markup
    assert "Recorded elsewhere" in repr(shown)


def test_absence_is_one_line():
    shown = records.absent("Memory on a GPU")
    assert "\n" not in repr(shown)
    assert shown._repr_html_().count("<p") == 1
