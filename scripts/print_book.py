"""Print the finished book as one PDF: `make pdf`, or this script after `make book`.

Chromium prints each page with the book's own print style; the pages are joined in reading order,
with an outline, and links between them lead to their places in the PDF. It is written into the
site, whose start page then offers it.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

from bs4 import BeautifulSoup
from pypdf import PdfReader, PdfWriter
from pypdf.generic import ArrayObject, DictionaryObject, NameObject

from unet_atlas.errors import AtlasError
from unet_atlas.files import replacing, write_text

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu")
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
UNPRINTED = ("explorer",)  # works only with a script


def main() -> int:
    """Print the book; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--site", type=Path, default=Path("_build/html"))
    site = parser.parse_args().site.resolve()
    try:
        pages = reading_order(site)
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


@contextmanager
def served(site: Path) -> Iterator[str]:
    """The address of the site on a free port of this machine."""
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A static server that says nothing."""

    def log_message(self, format: str, *args: object) -> None:
        """Write no line for a request."""


def print_book(site: Path, pages: list[str], output: Path) -> int:
    """Print the pages into one file; returns its number of pages.

    Raises:
        AtlasError: there is no Chromium, or the file can't be written.
    """
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        raise AtlasError("Chromium is not installed; install it (apt-get install chromium).")
    with served(site) as address:
        printed = dict(print_pages(program, address, pages))
    book = joined(printed, address)
    with replacing(output) as temporary:
        book.write(temporary)
    return len(book.pages)


def print_pages(program: str, address: str, pages: list[str]) -> Iterator[tuple[str, bytes]]:
    """Each page with its PDF, in the light theme."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program, args=list(FLAGS))
        tab = browser.new_context(color_scheme="light").new_page()
        for page in pages:
            tab.goto(f"{address}/{page}", wait_until="load")
            yield page, tab.pdf(**PAPER)
        browser.close()


def joined(printed: dict[str, bytes], address: str) -> PdfWriter:
    """One PDF of all pages, with an outline; links between pages lead to their first leaf."""
    book, first = PdfWriter(), {}
    for page, content in printed.items():
        reader = PdfReader(BytesIO(content))
        first[page] = len(book.pages)
        book.append(reader, outline_item=(reader.metadata.title or page).split(" — ")[0])
    for leaf in book.pages:
        for link in leaf.get("/Annots", ()):
            action = link.get_object().get("/A")
            page = place_of(str(action.get("/URI", "")), address) if action else ""
            if page in first:
                target = book.pages[first[page]].indirect_reference
                go = {"/S": NameObject("/GoTo"), "/D": ArrayObject([target, NameObject("/Fit")])}
                go = {NameObject(key): value for key, value in go.items()}
                link.get_object()[NameObject("/A")] = DictionaryObject(go)
    book.metadata = {"/Title": "UNet Atlas"}
    book.compress_identical_objects()  # each page brought its own fonts
    return book


def place_of(url: str, address: str) -> str:
    """The page of the site that a printed link names, or an empty string."""
    return urlsplit(url).path.lstrip("/") if url.startswith(address) else ""


if __name__ == "__main__":
    sys.exit(main())
