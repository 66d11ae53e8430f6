"""The printed book: pages in reading order, an outline, links that stay inside."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from pypdf import PdfReader, PdfWriter
from pypdf.annotations import Link
from pypdf.generic import ArrayObject, DictionaryObject, NameObject, TextStringObject

import print_book
from unet_atlas.errors import AtlasError

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "http://127.0.0.1:1234"


def leaf(title: str, *urls: str) -> bytes:
    """A PDF of one page with links."""
    made = PdfWriter()
    made.add_blank_page(200, 200)
    made.metadata = {"/Title": title}
    for url in urls:
        link = Link(rect=(10, 10, 50, 50), target_page_index=0)
        action = {"/S": NameObject("/URI"), "/URI": TextStringObject(url)}
        link[NameObject("/A")] = DictionaryObject({NameObject(k): v for k, v in action.items()})
        link.pop("/Dest", None)
        made.add_annotation(0, link)
    out = io.BytesIO()
    made.write(out)
    return out.getvalue()


def site(folder: Path, **following: str) -> Path:
    """A site whose pages name the next one."""
    (folder / "book").mkdir()
    for name, link in following.items():
        head = f'<link rel="next" href="{link}">' if link else ""
        (folder / f"book/{name}.html").write_text(f"<html><head>{head}</head></html>")
    return folder


def test_pages_follow_each_other_as_they_say(tmp_path: Path) -> None:
    """By their next links; the explorer, which is nothing on paper, is left out."""
    made = site(tmp_path, start="explorer.html", explorer="a.html", a="b.html", b="", lost="a.html")
    assert print_book.reading_order(made) == ["book/start.html", "book/a.html", "book/b.html"]


def test_pages_that_go_round_are_read_once(tmp_path: Path) -> None:
    """A circle of next links ends."""
    made = site(tmp_path, start="a.html", a="start.html")
    assert print_book.reading_order(made) == ["book/start.html", "book/a.html"]


def test_links_between_pages_stay_in_the_book() -> None:
    """To the first leaf of the page they name; others stay addresses."""
    printed = {
        "book/a.html": leaf("A — UNet Atlas", f"{ADDRESS}/book/b.html#x", "https://example.org/"),
        "book/b.html": leaf("B — UNet Atlas", f"{ADDRESS}/book/a.html"),
    }
    out = io.BytesIO()
    print_book.joined(printed, ADDRESS).write(out)
    book = PdfReader(out)
    assert [entry.title for entry in book.outline] == ["A", "B"]
    first, second = (note.get_object()["/A"] for note in book.pages[0]["/Annots"])
    back = book.pages[1]["/Annots"][0].get_object()["/A"]
    assert isinstance(first["/D"], ArrayObject)
    assert first["/D"][0].get_object() == book.pages[1]
    assert back["/D"][0].get_object() == book.pages[0]
    assert second["/URI"] == "https://example.org/"
    assert ADDRESS.encode() not in out.getvalue()


def test_the_start_page_offers_the_pdf_once_there_is_one(tmp_path: Path) -> None:
    """In its place, and only once."""
    start = site(tmp_path, start="") / "book/start.html"
    start.write_text(f"<p>Read on{print_book.SLOT}.</p>")
    for _ in range(2):
        print_book.offer(tmp_path)
        assert start.read_text("utf8").count('href="../unet-atlas.pdf"') == 1
    assert print_book.SLOT in (ROOT / "book/start.md").read_text("utf8")


def test_what_can_not_be_printed(tmp_path: Path, capsys, monkeypatch) -> None:
    """No book, no browser: one sentence, exit code 2, no file."""
    monkeypatch.setattr("sys.argv", ["print_book.py", "--site", str(tmp_path)])
    assert print_book.main() == 2
    assert "holds no book; run `make book` first" in capsys.readouterr().err
    monkeypatch.setattr(print_book, "BROWSERS", ())
    with pytest.raises(AtlasError, match="Chromium is not installed"):
        print_book.print_book(tmp_path, [], tmp_path / "out.pdf")
    assert not (tmp_path / "out.pdf").exists()
