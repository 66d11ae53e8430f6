"""No page has a fault that axe finds: light, dark, on a telephone, with all folded parts open."""

from __future__ import annotations

import pytest
from reader import SMALL, Visit, pages
from served import AXE, tool

pytestmark = pytest.mark.browser

# A page that is open in light turns dark under its reader; that saves loading it twice.
VIEWS = {"desk": ["light", "dark"], "telephone": ["light"]}
PARTS = 2  # of the pages, for two processors
# The theme measures its boxes 300 ms after a part is opened, later on a busy machine; what is not
# measured after five seconds is a fault for axe to find.
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
THEME = "(wanted) => document.documentElement.dataset.theme === wanted"


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing(browser, address: str, view: str, part: int) -> None:
    """On every page, by every rule, best practices included."""
    axe = tool("axe-core/axe.min.js").read_text("utf8")
    settings = {"viewport": SMALL} if view == "telephone" else {}
    context = browser.new_context(**settings, reduced_motion="reduce")
    visit, faults = Visit(context, address), []
    for page in [page for page in pages() if page != "index.html"][part::PARTS]:
        visit.tab.emulate_media(color_scheme="light")
        visit.tab.goto(f"{address}/{page}", wait_until="load")
        visit.tab.evaluate(OPEN)
        visit.tab.evaluate(axe)
        for scheme in VIEWS[view]:
            visit.tab.emulate_media(color_scheme=scheme)
            visit.tab.wait_for_function(THEME, arg=scheme)
            visit.tab.evaluate(SETTLED)
            faults += [f"{page}, {scheme}: {fault}" for fault in visit.tab.evaluate(AXE)]
    context.close()
    assert faults + visit.faults == []
