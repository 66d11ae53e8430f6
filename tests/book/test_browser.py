"""The finished site in a real browser: nothing from elsewhere, nothing missing, no error."""

from __future__ import annotations

import pytest
from reader import SITE, SMALL, Visit, pages

pytestmark = pytest.mark.browser

VIEWS = {
    "telephone, light": {"color_scheme": "light", "viewport": SMALL},
    "desk, dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 800}},
}
VERSIONS = "book/architecture/versions.html"
# The names in a table that are broken into pieces: lines of the text of each short second cell.
BROKEN = """() => [...document.querySelectorAll("[aria-label*='What differs'] td:nth-child(2)")]
  .filter((cell) => cell.innerText.length < 9)
  .map((cell) => {
    const text = document.createRange();
    text.selectNodeContents(cell);
    return [cell.innerText, text.getClientRects().length];
  })"""


@pytest.mark.parametrize("view", VIEWS)
def test_every_page_opens_without_a_fault(browser, address: str, view: str) -> None:
    """No request beyond this machine, no failed request, no console error, in both themes; wide
    tables, code and formulas scroll inside themselves, not with the page."""
    context = browser.new_context(**VIEWS[view])
    visit, scheme = Visit(context, address), VIEWS[view]["color_scheme"]
    for page in pages():
        visit.tab.goto(f"{address}/{page}", wait_until="load")
        visit.tab.wait_for_load_state("networkidle")
        theme = visit.tab.evaluate("document.documentElement.dataset.theme")
        if page != "index.html" and theme != scheme:
            visit.faults.append(f"{page}: shown in {theme}, not in {scheme}")
        wide = visit.tab.evaluate("document.documentElement.scrollWidth - innerWidth")
        if wide > 0:
            visit.faults.append(f"{page}: {wide} px wider than the window")
    context.close()
    assert visit.faults == []


def test_glossary_tip_appears_with_the_keyboard(browser, address: str) -> None:
    """A focused term shows the first sentence of its definition."""
    with_tip = [page for page in pages() if "data-ua-tip" in (SITE / page).read_text("utf8")]
    if not with_tip:
        pytest.fail("no page of the site has a glossary tip")
    context = browser.new_context()
    visit = Visit(context, address)
    visit.tab.goto(f"{address}/{with_tip[0]}", wait_until="load")
    link = visit.tab.locator("a[data-ua-tip]").first
    tip = "e => getComputedStyle(e, '::after').content"
    assert link.evaluate(tip) == "none"
    link.evaluate("e => e.focus({focusVisible: true})")
    assert link.get_attribute("data-ua-tip") in link.evaluate(tip)
    context.close()
    assert visit.faults == []


def test_names_in_a_table_stay_whole_on_a_telephone(browser, address: str) -> None:
    """Beside a long text, which scrolls: "SD 2.0-v" stands on one line."""
    if not (SITE / VERSIONS).is_file():
        pytest.skip(f"this site has no {VERSIONS}")
    context = browser.new_context(viewport=SMALL)
    visit = Visit(context, address)
    visit.tab.goto(f"{address}/{VERSIONS}", wait_until="load")
    names = visit.tab.evaluate(BROKEN)
    context.close()
    assert len(names) >= 3
    assert [name for name, lines in names if lines > 1] == []
    assert visit.faults == []
