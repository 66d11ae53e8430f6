"""What a reader's connection carries: budgets for the first page and for the next one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from reader import SITE, pages
from served import serving

pytestmark = pytest.mark.browser

FIRST_BYTES, FIRST_REQUESTS, NEXT_BYTES = 450_000, 30, 80_000


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The site, compressed as a web host does it."""
    with serving() as where:
        yield where


@dataclass
class Load:
    """What one page asked for: number of requests, and bytes of their compressed bodies."""

    requests: int = 0
    bytes: int = 0
    cached: set[str] = field(default_factory=set)


def load(context, url: str) -> Load:
    """Open a page until it is quiet; what comes from the browser's cache weighs nothing."""
    seen, tab = Load(), context.new_page()
    session = context.new_cdp_session(tab)
    session.send("Network.enable")
    session.on("Network.requestServedFromCache", lambda e: seen.cached.add(e["requestId"]))
    session.on("Network.loadingFinished", lambda e: count(seen, e))
    tab.goto(url, wait_until="load")
    tab.wait_for_load_state("networkidle")
    tab.close()
    return seen


def count(seen: Load, event: dict) -> None:
    """Add a finished request that went over the network."""
    if event["requestId"] not in seen.cached and event["encodedDataLength"]:
        seen.requests += 1
        seen.bytes += int(event["encodedDataLength"])


def chapters() -> list[str]:
    """All pages but the one that only sends its reader on."""
    return [page for page in pages() if page != "index.html"]


def test_first_and_next_pages_keep_to_the_budget(browser, address: str) -> None:
    """Each page with an empty cache; and each after the start page, without what is shared."""
    heavy, told = [], []
    for page in chapters():
        first = load_with(browser, [f"{address}/{page}"])
        before = "book/start.html" if page != "book/start.html" else "genindex.html"
        following = load_with(browser, [f"{address}/{before}", f"{address}/{page}"])
        line = (
            f"{page}: first {first.requests} requests, {first.bytes / 1000:.1f} kB; "
            f"next {following.bytes / 1000:.1f} kB"
        )
        told.append(line)
        if (
            first.requests > FIRST_REQUESTS
            or first.bytes > FIRST_BYTES
            or following.bytes > NEXT_BYTES
        ):
            heavy.append(line)
    print(*told, sep="\n")
    assert heavy == []


def load_with(browser, urls: list[str]) -> Load:
    """The load of the last of some pages, opened one after the other in a fresh browser."""
    context = browser.new_context(viewport={"width": 1350, "height": 940})
    loads = [load(context, url) for url in urls]
    context.close()
    return loads[-1]


def test_the_search_index_is_left_to_the_search_page() -> None:
    """It is the heaviest file of the site and no other page needs it."""
    with_index = [page for page in pages() if "searchindex.js" in (SITE / page).read_text("utf8")]
    assert with_index == ["search.html"]
