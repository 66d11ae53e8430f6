"""The printed book: pages in reading order, an outline, links that stay inside."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from pypdf import PdfReader, PdfWriter
from pypdf.annotations import Link
from pypdf.generic import (
    ArrayObject,
    DictionaryObject,
    FloatObject,
    NameObject,
    NullObject,
    TextStringObject,
)

import browse
import build_book
import print_book
import run_chapters
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


def test_links_that_lead_nowhere_on_paper_become_plain_words() -> None:
    """Pages that are not printed, files of the site, this machine; a link on its page stays."""
    urls = ("book/explorer.html#a=sd-1.5", "_sources/book/a.ipynb", "unet-atlas.pdf", "")
    gone = [f"{ADDRESS}/{url}" for url in urls]
    gone += ["http://localhost:8000/", "http://127.0.0.1:9/book/a.html", "file:///tmp/a.html"]
    kept = ["https://example.org/", "mailto:someone@example.org"]
    out = io.BytesIO()
    print_book.joined({"book/a.html": leaf("A", *gone, *kept)}, ADDRESS).write(out)
    notes = [note.get_object() for note in PdfReader(out).pages[0]["/Annots"]]
    assert [note["/A"]["/URI"] for note in notes] == kept
    assert not any(url.encode() in out.getvalue() for url in gone if url not in kept)


def test_links_lead_to_the_heading_that_they_name() -> None:
    """On another page, and on their own where both have a heading of that name."""
    printed = {}
    for name, height in (("a", 150), ("b", 90)):
        page = PdfWriter(clone_from=io.BytesIO(leaf(name, f"{ADDRESS}/book/b.html#summary")))
        top = [page.pages[0].indirect_reference, NameObject("/XYZ"), NullObject()]
        page.add_named_destination_array(
            TextStringObject("/summary"), ArrayObject([*top, FloatObject(height), NullObject()])
        )
        own = {"/Type": "/Annot", "/Subtype": "/Link"}
        own = {NameObject(key): NameObject(value) for key, value in own.items()}
        own[NameObject("/Dest")] = TextStringObject("/summary")
        page.pages[0]["/Annots"].append(page._add_object(DictionaryObject(own)))
        content = io.BytesIO()
        page.write(content)
        printed[f"book/{name}.html"] = content.getvalue()
    out = io.BytesIO()
    print_book.joined(printed, ADDRESS).write(out)
    book = PdfReader(out)
    goals = [[n.get_object()["/A"]["/D"] for n in page["/Annots"]] for page in book.pages]
    numbers = [[book.pages.index(goal[0].get_object()) for goal in each] for each in goals]
    assert numbers == [[1, 0], [1, 1]]
    assert [[float(goal[3]) for goal in each] for each in goals] == [[90, 150], [90, 90]]


def test_the_pdf_belongs_to_the_finished_site(tmp_path: Path) -> None:
    """The next build finds nothing changed; a site that was damaged before stays so."""
    page, stamp = tmp_path / "_build/html/index.html", tmp_path / "_build/stamp.json"
    page.parent.mkdir(parents=True)
    page.write_text("a", "utf8")
    built = {"inputs": {"src": "1"}, "site": build_book.site_digest(tmp_path)}
    run_chapters.write_json(stamp, built)
    with build_book.addition(tmp_path):
        (page.parent / "unet-atlas.pdf").write_bytes(b"1")
    assert build_book.is_current(tmp_path, stamp, built["inputs"])
    page.write_text("damaged", "utf8")
    with build_book.addition(tmp_path):
        (page.parent / "unet-atlas.pdf").write_bytes(b"2")
    assert not build_book.is_current(tmp_path, stamp, built["inputs"])


def test_nothing_is_stamped_where_no_book_was_built(tmp_path: Path) -> None:
    (tmp_path / "_build/html").mkdir(parents=True)
    with build_book.addition(tmp_path):
        (tmp_path / "_build/html/unet-atlas.pdf").write_bytes(b"1")
    assert not (tmp_path / "_build/stamp.json").exists()


def test_a_pdf_that_is_too_heavy_is_not_kept(tmp_path: Path, monkeypatch) -> None:
    """It is told with both sizes; the old one stays as it was."""
    monkeypatch.setattr(print_book, "chromium", lambda: "chromium")
    printed = lambda program, address, pages: [(page, leaf(page)) for page in pages]  # noqa: E731
    monkeypatch.setattr(print_book, "print_pages", printed)
    out = tmp_path / "out.pdf"
    out.write_bytes(b"old")
    with pytest.raises(AtlasError, match=r"the PDF has 0\.0 MB, more than 0\.0; show smaller"):
        print_book.print_book(tmp_path, ["book/a.html"], out, limit=100)
    assert out.read_bytes() == b"old"
    assert print_book.print_book(tmp_path, ["book/a.html"], out) == 1
    assert out.read_bytes().startswith(b"%PDF")


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
    monkeypatch.setattr(browse, "BROWSERS", ())
    with pytest.raises(AtlasError, match="Chromium is not installed"):
        print_book.print_book(tmp_path, [], tmp_path / "out.pdf")
    assert not (tmp_path / "out.pdf").exists()
