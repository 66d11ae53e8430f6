"""A chapter on paper, as `make pdf` prints it: all of its text, nothing cut off, no folded code."""

from __future__ import annotations

import io
import re
import unicodedata

import pytest
from pypdf import PdfReader
from reader import SITE, Visit

import print_book

pytestmark = pytest.mark.browser

# Wide tables and code that stays, code that is folded away, formulas with solutions to unfold.
CHAPTERS = ("book/architecture/versions.html", "book/architecture/counting.html")
PAPER = {"width": int((210 - 2 * 16) / 0.8 / 25.4 * 96), "height": 1200}  # A4, as printed
TEXTS = """() => [...document.querySelectorAll(
    "article :is(h1, h2, h3, p, li, td, th, figcaption, summary, pre)")]
  .filter((e) => e.checkVisibility({visibilityProperty: true, contentVisibilityAuto: true}))
  .filter((e) => !e.querySelector("p, li, .katex, svg") && !e.closest("svg, details.above-input"))
  .map((e) => e.innerText.replace("#", ""))"""
FOLDED = """() => [...document.querySelectorAll("details.above-input pre")]
  .flatMap((e) => e.textContent.split("\\n")).filter((line) => line.length > 40)"""
CUT = """() => [...document.querySelectorAll("article, article *")]
  .filter((e) => !e.closest("svg, .katex") && getComputedStyle(e).overflowX !== "visible")
  .filter((e) => e.clientWidth > 0 && e.scrollWidth > e.clientWidth + 1)
  .map((e) => `${e.tagName}.${e.className}: ${e.scrollWidth} > ${e.clientWidth}`)"""


def letters(text: str) -> str:
    """A text without what a line break changes."""
    return re.sub(r"[\s\u00ad\u200b-]+", "", unicodedata.normalize("NFKC", text))


@pytest.mark.parametrize("page", CHAPTERS)
def test_a_chapter_on_paper(browser, address: str, page: str) -> None:
    """Each word that the print style shows is in the PDF; no box hides a part of itself."""
    if not (SITE / page).is_file():
        pytest.skip(f"this site has no {page}")
    context = browser.new_context(viewport=PAPER, color_scheme="light")
    visit = Visit(context, address)
    visit.tab.goto(f"{address}/{page}", wait_until="load")
    visit.tab.emulate_media(media="print")
    texts, folded, cut = (visit.tab.evaluate(script) for script in (TEXTS, FOLDED, CUT))
    wide = visit.tab.evaluate("document.documentElement.scrollWidth")
    context.close()
    ((_, content),) = print_book.printed_by(browser, address, [page])
    book = PdfReader(io.BytesIO(content))
    title = letters(book.metadata.title)
    leaves = [letters(leaf.extract_text()) for leaf in book.pages]
    paper = "".join(re.sub(rf"{re.escape(title)}·\d+", "", leaf) for leaf in leaves)
    words = {letters(word) for text in texts for word in text.split()}
    assert len(words) > 300
    assert [word for word in sorted(words) if word not in paper] == []
    assert folded
    assert [line for line in folded if letters(line) in paper] == []
    assert cut == []
    assert wide <= PAPER["width"]
    assert visit.faults == []
