"""What a reader works with still works on the lightened site: menus, theme, search, tips, folds."""

from __future__ import annotations

import re

import pytest
from reader import SITE, SMALL, Visit, pages

pytestmark = pytest.mark.browser

CITATION = re.compile(r'<a class="[^"]*reference[^"]*" data-ua-tip="[^"]*" href="[^"]*bibliography')
ICON = """(icon) => getComputedStyle(icon, "::before").content.codePointAt(1) > 0xe000 &&
  document.fonts.check(`${getComputedStyle(icon).fontWeight} 16px "Font Awesome 6 Free"`)"""


@pytest.fixture
def opened(browser, address: str):
    """A function that opens a page in a fresh context and gives the tab; faults fail the test."""
    contexts, visits = [], []

    def go(page: str, **settings):
        contexts.append(browser.new_context(**settings))
        visits.append(Visit(contexts[-1], address))
        visits[-1].tab.goto(f"{address}/{page}", wait_until="load")
        return visits[-1].tab

    yield go
    for context in contexts:
        context.close()
    assert [fault for visit in visits for fault in visit.faults] == []


def test_the_theme_goes_round(opened) -> None:
    """Three presses: each theme shows its own icon and colours, and the choice is kept."""
    tab = opened("book/start.html", color_scheme="light")
    button = tab.locator("button.theme-switch-button:visible")
    seen = []
    for _ in range(3):
        button.click()
        mode = tab.evaluate("document.documentElement.dataset.mode")
        paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert button.locator("[data-mode]:visible").get_attribute("data-mode") == mode
        assert button.locator("[data-mode]:visible").evaluate(ICON)
        seen.append((mode, paper))
    assert {mode for mode, _ in seen} == {"auto", "dark", "light"}
    assert len({paper for _, paper in seen}) == 2


def test_the_search_box_opens_with_the_keyboard(opened) -> None:
    """Ctrl+K opens it with the cursor in it, Escape shuts it, Enter leads to the results."""
    tab = opened("book/start.html")
    dialog = tab.locator("#pst-search-dialog")
    assert not dialog.is_visible()
    tab.keyboard.press("Control+k")
    assert dialog.is_visible()
    assert tab.evaluate("document.activeElement.name") == "q"
    tab.keyboard.press("Escape")
    assert not dialog.is_visible()
    tab.keyboard.press("Control+k")
    tab.keyboard.type("latent")
    tab.keyboard.press("Enter")
    tab.locator("#search-results li").first.wait_for()


@pytest.mark.parametrize("words", ["attention_head_dim", "ViT-bigG", "v-prediction"])
def test_the_search_finds_the_fields_own_words(opened, words: str) -> None:
    """Each word leads to pages that hold it, and the first result is one of them."""
    tab = opened(f"search.html?q={words}")
    tab.locator("#search-results li a").first.wait_for()
    tab.wait_for_function("!document.querySelector('#search-results h2').innerText.includes('ing')")
    links = tab.locator("#search-results li > a").evaluate_all("all => all.map((a) => a.href)")
    assert links
    first = links[0].partition("#")[0].partition("?")[0]
    assert words.lower() in (SITE / first.split("/", 3)[3]).read_text("utf8").lower()


def test_menus_open_and_shut(opened) -> None:
    """The downloads, on a desk; the contents, on a telephone."""
    tab = opened("book/start.html")
    menu = tab.locator(".dropdown-download-buttons")
    assert not menu.locator(".dropdown-menu").is_visible()
    menu.locator("button").first.click()
    assert menu.locator(".dropdown-menu").is_visible()
    tab.mouse.move(0, 0)  # the menu also opens under the mouse
    tab.keyboard.press("Escape")
    assert not menu.locator(".dropdown-menu").is_visible()
    tab = opened("book/start.html", viewport=SMALL)
    contents = tab.locator("#pst-primary-sidebar-modal")
    assert not contents.is_visible()
    tab.locator("button.primary-toggle:visible").click()
    assert contents.is_visible()
    tab.keyboard.press("Escape")
    assert not contents.is_visible()


def test_folded_parts_open(opened) -> None:
    """Code that is folded away, by a press of Enter."""
    folded = [page for page in pages() if "<details" in (SITE / page).read_text("utf8")]
    tab = opened(folded[0])
    part = tab.locator("article details").first
    inside = part.locator("> :not(summary)").first
    assert not inside.is_visible()
    part.locator("summary").first.focus()
    tab.keyboard.press("Enter")
    assert inside.is_visible()


def test_a_folded_box_gets_its_tab_stop_when_it_is_opened(opened) -> None:
    """On a telephone, where code is wider than its box."""
    tab = opened("book/architecture/stages.html", viewport=SMALL)
    wide = "e => e.scrollWidth > e.clientWidth"
    tab.evaluate("document.querySelectorAll('article details').forEach((d) => { d.open = true; })")
    tab.wait_for_function(
        """() => [...document.querySelectorAll("article details pre")].every(
          (box) => (box.scrollWidth > box.clientWidth) === (box.tabIndex === 0))"""
    )
    assert any(box.evaluate(wide) for box in tab.locator("article details pre").all())


def test_code_can_be_copied(opened) -> None:
    """A button on each cell, seen when the mouse is over it."""
    tab = opened("book/architecture/stages.html")
    cell = tab.locator("div.highlight:visible").first
    cell.hover()
    assert cell.locator("button.copybtn").get_attribute("data-tooltip") == "Copy"


def test_a_citation_tells_what_it_cites(opened) -> None:
    """On keyboard focus as on hover, in the reader's own window; gone when the focus goes."""
    cited = [page for page in pages() if CITATION.search((SITE / page).read_text("utf8"))]
    assert cited
    tab = opened(cited[0])
    link = tab.locator("a[data-ua-tip][href*='bibliography']:visible").first
    tip = "e => getComputedStyle(e, '::after').content"
    assert link.evaluate(tip) == "none"
    link.evaluate("e => e.focus({focusVisible: true})")
    assert link.get_attribute("data-ua-tip") in link.evaluate(tip)
    link.evaluate("e => e.blur()")
    assert link.evaluate(tip) == "none"
    link.hover()
    assert link.get_attribute("data-ua-tip") in link.evaluate(tip)
