"""The finished site in a real browser: nothing from elsewhere, nothing missing, no error."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
SITE = Path(os.environ.get("UNET_ATLAS_SITE", ROOT / "_build" / "html"))
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SMALL = {"width": 390, "height": 844}


def chromium() -> str | None:
    """The browser of the system, if there is one."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((found for name in names if (found := shutil.which(name))), None)


def pages() -> list[str]:
    """All pages of the site, as paths below its root."""
    return sorted(
        path.relative_to(SITE).as_posix()
        for path in SITE.rglob("*.html")
        if not path.relative_to(SITE).as_posix().startswith("_static/")
    )


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The site, served on a free port of this machine."""
    if not (SITE / "index.html").is_file():
        pytest.skip("there is no built site: run `make book` first")
    handler = functools.partial(QuietHandler, directory=str(SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """A static server that does not write a line for each request."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def browser(address: str):
    """Chromium without a window."""
    program = chromium()
    if program is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


class Visit:
    """A tab that blocks every other host and writes down whatever goes wrong."""

    def __init__(self, context, address: str) -> None:
        self.faults: list[str] = []
        self.host = urlsplit(address).netloc
        self.tab = context.new_page()
        self.tab.route("**/*", self.gate)
        self.tab.on("requestfailed", lambda r: self.note(f"failed: {r.url} ({r.failure})"))
        self.tab.on("response", lambda r: r.ok or self.note(f"{r.status}: {r.url}"))
        self.tab.on("console", lambda m: m.type == "error" and self.note(f"console: {m.text}"))
        self.tab.on("pageerror", lambda error: self.note(f"script error: {error}"))

    def note(self, fault: str) -> None:
        """Write down a fault, with the page it belongs to."""
        self.faults.append(f"{urlsplit(self.tab.url).path} {fault}")

    def gate(self, route) -> None:
        """Let only the local site and data URLs through."""
        url = route.request.url
        if urlsplit(url).netloc == self.host or url.startswith(("data:", "blob:")):
            route.continue_()
        else:
            self.note(f"asks another host: {url}")
            route.abort()


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
