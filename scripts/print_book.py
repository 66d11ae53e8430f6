"""Print the finished book as one PDF: `make pdf`, or this script after `make book`.

Chromium prints each page with the book's own print style; the pages are joined in reading order,
with an outline. Links between them lead to their places in the PDF; those to pages that are not
printed become plain words. It is written into the site, whose start page then offers it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup
from pypdf import PageObject, PdfReader, PdfWriter
from pypdf.generic import ArrayObject, DictionaryObject, FloatObject, NameObject, NullObject

if TYPE_CHECKING:
    from playwright.sync_api import Browser

from browse import FLAGS, chromium, served
from build_book import addition
from unet_atlas.errors import AtlasError
from unet_atlas.files import replacing, write_text

PAPER = {
    "format": "A4",
    "scale": 0.8,
    "print_background": True,
    "margin": {"top": "16mm", "bottom": "16mm", "left": "16mm", "right": "16mm"},
    "display_header_footer": True,
    "header_template": "<span></span>",
    "footer_template": '<div style="width:100%;text-align:center;font-size:8px">'
    '<span class="title"></span> · <span class="pageNumber"></span></div>',
}
NAME = "unet-atlas.pdf"
SLOT = '<span class="ua-pdf"></span>'  # where the start page offers the PDF, once there is one
OFFER = f'<span class="ua-pdf">, or take <a href="../{NAME}">one PDF</a> along</span>'
MAX_PDF = 15_000_000  # bytes
OUTSIDE = ("http", "https", "mailto")  # what a link in the PDF may lead to beside its own pages
THIS_MACHINE = ("127.0.0.1", "localhost", "::1", "0.0.0.0")
UNPRINTED = ("explorer",)  # works only with a script


def main() -> int:
    """Print the book; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--site", type=Path, default=Path("_build/html"))
    site = parser.parse_args().site.resolve()
    try:
        pages = reading_order(site)
        with addition(site.parent.parent):
            count = print_book(site, pages, site / NAME)
            offer(site)
    except AtlasError as error:
        print(f"print_book: {error}", file=sys.stderr)
        return 2
    print(f"{NAME}: {len(pages)} chapters, {count} pages")
    return 0


def reading_order(site: Path) -> list[str]:
    """The chapters of a site, first to last, as its pages' own `next` links name them.

    Raises:
        AtlasError: there is no built book.
    """
    start = site / "book/start.html"
    if not start.is_file():
        raise AtlasError(f"'{site}' holds no book; run `make book` first.")
    order, path = [], start
    while path.is_file() and path not in order:
        order.append(path)
        following = BeautifulSoup(path.read_text("utf8"), "html.parser").select_one(
            "link[rel=next]"
        )
        if following is None:
            break
        path = (path.parent / following["href"]).resolve()
    names = [path.relative_to(site).as_posix() for path in order]
    return [name for name in names if Path(name).stem not in UNPRINTED]


def offer(site: Path) -> None:
    """Link the PDF from the start page; a second time changes nothing."""
    start = site / "book/start.html"
    write_text(start, start.read_text("utf8").replace(SLOT, OFFER))


def print_book(site: Path, pages: list[str], output: Path, limit: int = MAX_PDF) -> int:
    """Print the pages into one file of at most `limit` bytes; returns its number of pages.

    Raises:
        AtlasError: there is no Chromium, or the file is too large or can't be written.
    """
    program = chromium()
    if program is None:
        raise AtlasError("Chromium is not installed; install it (apt-get install chromium).")
    with served(site) as address:
        book = joined(dict(print_pages(program, address, pages)), address)
    with replacing(output) as temporary:
        book.write(temporary)
        size = temporary.stat().st_size
        if size > limit:
            told = f"{size / 1e6:.1f} MB, more than {limit / 1e6:.1f}"
            raise AtlasError(f"the PDF has {told}; show smaller pictures in the book.")
    return len(book.pages)


def print_pages(program: str, address: str, pages: list[str]) -> Iterator[tuple[str, bytes]]:
    """Each page with its PDF, printed by a browser that is started for it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program, args=FLAGS)
        yield from printed_by(browser, address, pages)
        browser.close()


def printed_by(browser: Browser, address: str, pages: list[str]) -> Iterator[tuple[str, bytes]]:
    """Each page with its PDF, in the light theme."""
    context = browser.new_context(color_scheme="light")
    tab = context.new_page()
    for page in pages:
        tab.goto(f"{address}/{page}", wait_until="load")
        yield page, tab.pdf(**PAPER)
    context.close()


def joined(printed: dict[str, bytes], address: str) -> PdfWriter:
    """One PDF of all pages, with an outline; links between pages lead to their places in it."""
    book, places, owners = PdfWriter(), {}, []
    for page, content in printed.items():
        reader, start = PdfReader(BytesIO(content)), len(book.pages)
        book.append(reader, outline_item=(reader.metadata.title or page).split(" — ")[0])
        places[page] = place(book.pages[start])
        for name, found in reader.named_destinations.items():
            leaf = book.pages[start + reader.get_destination_page_number(found)]
            places[f"{page}#{name.lstrip('/')}"] = place(leaf, found.get("/Top"))
        owners += [page] * len(reader.pages)
    for page, leaf in zip(owners, book.pages, strict=True):
        links = leaf.get("/Annots", ())
        kept = [link for link in links if lead(link.get_object(), page, places, address)]
        leaf[NameObject("/Annots")] = ArrayObject(kept)
    book.metadata = {"/Title": "UNet Atlas"}
    book.compress_identical_objects()  # each page brought its own fonts
    return book


def place(leaf: PageObject, top: float | None = None) -> ArrayObject:
    """A place in the PDF: a height on a leaf, in points, or the top of the leaf."""
    height = FloatObject(leaf.mediabox.top if top is None else top)
    view = [NameObject("/XYZ"), NullObject(), height, NullObject()]
    return ArrayObject([leaf.indirect_reference, *view])


def lead(link: DictionaryObject, page: str, places: dict[str, ArrayObject], address: str) -> bool:
    """Lead a link of a printed page to its place in the PDF; False where it leads to nothing that
    a reader of the PDF has."""
    url = urlsplit(str(link.get("/A", {}).get("/URI", "")))
    if isinstance(link.get("/Dest"), str):
        goal, part = page, link["/Dest"].lstrip("/")
    elif f"{url.scheme}://{url.netloc}" == address:
        goal, part = url.path.lstrip("/"), unquote(url.fragment)
    else:
        return url.scheme in OUTSIDE and url.hostname not in THIS_MACHINE
    target = places.get(f"{goal}#{part}", places.get(goal))
    if target is None:
        return False
    link.pop("/Dest", None)
    go = {NameObject("/S"): NameObject("/GoTo"), NameObject("/D"): target}
    link[NameObject("/A")] = DictionaryObject(go)
    return True


if __name__ == "__main__":
    sys.exit(main())
