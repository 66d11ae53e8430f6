"""The explorer's step in the build, and its links in the check of the site."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

import build_book
from check_site import check_site

ROOT = Path(__file__).resolve().parents[2]
CHAPTER = (ROOT / "book/explorer.md").read_text("utf8")
STATE = {"src": "one"}


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that the step runs, in place of running them."""
    called: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess:
        called.append(command)
        folder = Path(command[-1])
        folder.mkdir(parents=True)
        (folder / "sd-1.5.json").write_text(f"{len(called)}", "utf8")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(build_book.subprocess, "run", run)
    return called


def test_data_are_measured_once_and_copied_into_every_site(tmp_path: Path, runs: list) -> None:
    data = tmp_path / "html/_static/explorer/data/sd-1.5.json"
    assert build_book.export_explorer(tmp_path, STATE) == []
    data.unlink()
    assert build_book.export_explorer(tmp_path, STATE) == []
    assert data.read_text("utf8") == "1"
    assert len(runs) == 1


def test_data_are_measured_anew_when_something_changed(tmp_path: Path, runs: list) -> None:
    build_book.export_explorer(tmp_path, STATE)
    build_book.export_explorer(tmp_path, {"src": "two"})
    assert (tmp_path / "html/_static/explorer/data/sd-1.5.json").read_text("utf8") == "2"


def test_a_failed_export_is_a_fault_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "No room.\n")
    monkeypatch.setattr(build_book.subprocess, "run", lambda *_, **__: failed)
    for _ in range(2):
        faults = build_book.export_explorer(tmp_path, STATE)
        assert faults == ["The explorer's data can't be exported: No room."]
    assert not (tmp_path / "html").exists()


def page(body: str) -> str:
    return f"<html lang='en'><body><article>{body}</article></body></html>"


def test_a_view_of_the_explorer_is_no_dead_link(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(
        page("<a href='x.html#a=sd-1.5&b=sd-2.1-v'>fine</a> <a href='y.html#a=b'>dead</a>"), "utf8"
    )
    (tmp_path / "x.html").write_text(
        page("<div id='ua-explorer'></div><a href='#a=sd-1.4'>fine</a>"), "utf8"
    )
    (tmp_path / "y.html").write_text(page("no explorer here"), "utf8")
    dead = [finding for finding in check_site(tmp_path) if "the link" in finding]
    assert dead == ["index.html: the link y.html#a=b leads to no place on its page"]


def test_the_page_loads_every_script_and_what_uses_the_others_last() -> None:
    loaded = re.findall(r"<script defer src=\"../_static/explorer/([\w.]+)\">", CHAPTER)
    assert sorted(loaded) == sorted(p.name for p in (ROOT / "book/_static/explorer").glob("*.js"))
    assert loaded[0] == "config.js"
    assert loaded[-1] == "explorer.js"


def test_the_chapter_means_something_in_a_notebook() -> None:
    """Each raw block has a sentence for it, and a cell that shows its code draws two UNets."""
    raw = re.findall(r"^`{3}\{raw\} html\n(.*)$", CHAPTER, re.M)
    assert len(raw) == CHAPTER.count("{raw}") == 2
    assert all(re.fullmatch(r"<!-- notebook: .+\.\*? -->", line) for line in raw)
    cells = re.findall(r"^`{3}\{code-cell\} ipython3\n(.*?)^`{3}$", CHAPTER, re.M | re.S)
    shown = [cell for cell in cells if "u_diagram" in cell]
    assert len(shown) == 1
    assert "tags" not in shown[0]
