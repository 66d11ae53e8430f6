"""The finished site in a real browser: nothing from elsewhere, nothing missing, no error."""

from __future__ import annotations

import pytest
from reader import SITE, SMALL, Visit, pages

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_opens_without_a_fault(browser, address: str, scheme: str) -> None:
    """No request beyond this machine, no failed request, no console error, in both themes."""
    context = browser.new_context(color_scheme=scheme)
    visit = Visit(context, address)
    for page in pages():
        visit.tab.goto(f"{address}/{page}", wait_until="load")
        visit.tab.wait_for_load_state("networkidle")
        theme = visit.tab.evaluate("document.documentElement.dataset.theme")
        if page != "index.html" and theme != scheme:
            visit.faults.append(f"{page}: shown in {theme}, not in {scheme}")
    context.close()
    assert visit.faults == []


def test_no_page_is_wider_than_a_telephone(browser, address: str) -> None:
    """Wide tables, code and formulas scroll inside themselves, not with the page."""
    context = browser.new_context(viewport=SMALL)
    visit = Visit(context, address)
    wide = []
    for page in pages():
        if page == "index.html":  # sends its reader on at once
            continue
        visit.tab.goto(f"{address}/{page}", wait_until="load")
        width = visit.tab.evaluate("document.documentElement.scrollWidth")
        if width > SMALL["width"]:
            wide.append(f"{page}: {width} px")
    context.close()
    assert wide == []


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
