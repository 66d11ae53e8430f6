"""The table of all stages in a browser: sorted, filtered, downloaded; with mouse and keyboard."""

from __future__ import annotations

from pathlib import Path

import pytest
from reader import SITE, SMALL, Visit

pytestmark = pytest.mark.browser

PAGE = "book/reference/table.html"
ROWS = "table.ua-big tbody tr:not([hidden])"
COLUMN = """(column) => [...document.querySelectorAll("table.ua-big tbody tr:not([hidden])")]
  .map((row) => row.cells[column].textContent.trim())"""
MODEL, STAGE, CONTEXT, PARAMETERS = 0, 1, 8, 9


@pytest.fixture
def visit(browser, address: str):
    """The page of the large table, with nothing done to it yet."""
    if not (SITE / PAGE).is_file():
        pytest.skip(f"this site has no {PAGE}")
    context = browser.new_context()
    visit = Visit(context, address)
    visit.tab.goto(f"{address}/{PAGE}", wait_until="load")
    yield visit
    context.close()
    assert visit.faults == []


def test_a_heading_sorts_both_ways(visit: Visit) -> None:
    """As numbers, with what is missing last; the heading and the status say so."""
    tab = visit.tab
    before = tab.evaluate(COLUMN, MODEL)
    button = tab.get_by_role("button", name="parameters")
    button.focus()
    tab.keyboard.press("Enter")
    up = [int(text.replace(",", "")) for text in tab.evaluate(COLUMN, PARAMETERS)]
    assert up == sorted(up)
    assert tab.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"
    tab.keyboard.press("Enter")
    down = [int(text.replace(",", "")) for text in tab.evaluate(COLUMN, PARAMETERS)]
    assert down == up[::-1]
    assert tab.get_by_role("status").inner_text().endswith("sorted by parameters, largest first")
    tab.get_by_role("button", name="context").click()
    context = tab.evaluate(COLUMN, CONTEXT)
    assert context == sorted(context, key=lambda text: (text == "–", text != "–" and int(text)))
    assert tab.locator("th[aria-sort]").count() == 1
    assert sorted(tab.evaluate(COLUMN, MODEL)) == sorted(before)


def test_rows_are_filtered_by_all_words(visit: Visit) -> None:
    """Without regard to case; the status tells how many are left; cleared, all come back."""
    tab = visit.tab
    everything = tab.locator(ROWS).count()
    field = tab.get_by_role("searchbox", name="Show rows with")
    field.fill("SDXL mid")
    left = tab.locator(ROWS).count()
    assert 0 < left < everything
    assert all("sdxl" in name for name in tab.evaluate(COLUMN, MODEL))
    assert tab.evaluate(COLUMN, STAGE) == ["mid"] * left
    assert tab.get_by_role("status").inner_text() == f"{left} of {everything} rows"
    field.fill("no such words")
    assert tab.locator(ROWS).count() == 0
    field.fill("")
    assert tab.locator(ROWS).count() == everything


def test_the_data_can_be_downloaded(visit: Visit, tmp_path: Path) -> None:
    """As CSV, all rows in their first order, whatever is sorted or filtered."""
    tab = visit.tab
    rows = tab.locator(ROWS).count()
    tab.get_by_role("searchbox", name="Show rows with").fill("mid")
    with tab.expect_download() as started:
        tab.get_by_role("button", name="Download CSV").click()
    assert started.value.suggested_filename == "all-stages.csv"
    started.value.save_as(tmp_path / "data.csv")
    head, *lines = (tmp_path / "data.csv").read_text("utf8").splitlines()
    assert head.startswith("model,key,block,level,")
    assert len(lines) == rows
    assert lines[0].startswith("sd-1.1,stem,")


def test_the_table_scrolls_inside_itself(browser, address: str) -> None:
    """On a telephone: the first column and the head stay, and the page does not scroll aside."""
    if not (SITE / PAGE).is_file():
        pytest.skip(f"this site has no {PAGE}")
    context = browser.new_context(viewport=SMALL)
    visit = Visit(context, address)
    visit.tab.goto(f"{address}/{PAGE}", wait_until="load")
    places = visit.tab.evaluate(
        """() => {
          const frame = document.querySelector(".ua-tall");
          const place = (cell) => frame.querySelector(cell).getBoundingClientRect();
          frame.scrollTo(150, 300);
          return [place("tbody th").left - frame.getBoundingClientRect().left,
                  place("thead th").top - frame.getBoundingClientRect().top,
                  document.documentElement.scrollWidth];
        }"""
    )
    context.close()
    assert visit.faults == []
    left, top, width = places
    assert abs(left) < 2
    assert abs(top) < 2
    assert width <= SMALL["width"]


def test_without_scripts_it_is_a_plain_table(browser, address: str) -> None:
    """All rows, no buttons that do nothing."""
    if not (SITE / PAGE).is_file():
        pytest.skip(f"this site has no {PAGE}")
    context = browser.new_context(java_script_enabled=False)
    visit = Visit(context, address)
    tab = visit.tab
    tab.goto(f"{address}/{PAGE}", wait_until="load")
    assert tab.locator("table.ua-big tbody tr").count() > 100
    assert tab.locator(".ua-tools").count() == 0
    assert tab.locator("table.ua-big button").count() == 0
    context.close()
    assert visit.faults == []
