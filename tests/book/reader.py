"""A reader of the finished site: the server, the browser, and a tab that notes every fault."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

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


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """A static server that does not write a line for each request."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serving(handler: type[http.server.SimpleHTTPRequestHandler] = QuietHandler) -> Iterator[str]:
    """The address of the site on a free port of this machine; skips the test if it is not built."""
    if not (SITE / "index.html").is_file():
        pytest.skip("there is no built site: run `make book` first")
    here = functools.partial(handler, directory=str(SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), here) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


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
        """Let only the local site, its files and data URLs through."""
        url = route.request.url
        if urlsplit(url).netloc == self.host or url.startswith(("data:", "blob:", "file:")):
            route.continue_()
        else:
            self.note(f"asks another host: {url}")
            route.abort()
