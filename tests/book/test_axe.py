"""No page has a fault that axe finds: light, dark, on a telephone, with all folded parts open."""

from __future__ import annotations

import pytest
from reader import SMALL, Visit, pages
from served import AXE, tool

pytestmark = pytest.mark.browser

VIEWS = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "telephone": {"color_scheme": "light", "viewport": SMALL},
}
# The dark theme changes colours and swaps pictures, and nothing else that axe looks at.
COLOURS = ["color-contrast", "link-in-text-block", "image-alt", "role-img-alt", "svg-img-alt"]
RULES = {"dark": {"type": "rule", "values": COLOURS}}
MEASURED = 500  # milliseconds; 300 after a part is opened, the theme measures its boxes
# A busy machine takes longer; what is not measured after five seconds is a fault for axe to find.
SETTLED = """async () => {
  const measured = (box) => box.tabIndex >= 0
    || (box.scrollWidth <= box.clientWidth && box.scrollHeight <= box.clientHeight);
  const boxes = [...document.querySelectorAll("article pre, .cell_output > .output")];
  for (let turn = 0; turn < 50 && !boxes.every(measured); turn += 1) {
    await new Promise((go) => setTimeout(go, 100));
  }
}"""
OPEN = """() => {
  document.querySelectorAll("button.toggle-button").forEach((button) => button.click());
  document.querySelectorAll("details").forEach((part) => { part.open = true; });
}"""


@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing(browser, address: str, view: str) -> None:
    """On every page; in light and on a telephone by every rule, best practices included."""
    axe = tool("axe-core/axe.min.js").read_text("utf8")
    context = browser.new_context(**VIEWS[view], reduced_motion="reduce")
    visit, faults = Visit(context, address), []
    for page in [page for page in pages() if page != "index.html"]:
        visit.tab.goto(f"{address}/{page}", wait_until="load")
        visit.tab.evaluate(OPEN)
        visit.tab.wait_for_timeout(MEASURED)
        visit.tab.evaluate(SETTLED)
        visit.tab.evaluate(axe)
        faults += [f"{page}: {fault}" for fault in visit.tab.evaluate(AXE, RULES.get(view))]
    context.close()
    assert faults + visit.faults == []
