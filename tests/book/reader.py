"""A reader of the finished site: the server, and a tab that notes every fault."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import browse

ROOT = Path(__file__).resolve().parents[2]
SITE = Path(os.environ.get("UNET_ATLAS_SITE", ROOT / "_build" / "html"))
SMALL = {"width": 390, "height": 844}


def pages() -> list[str]:
    """All pages of the site, as paths below its root."""
    return sorted(
        path.relative_to(SITE).as_posix()
        for path in SITE.rglob("*.html")
        if not path.relative_to(SITE).as_posix().startswith("_static/")
    )


@contextmanager
def serving(handler: type[browse.Quiet] = browse.Quiet) -> Iterator[str]:
    """The address of the site on a free port of this machine; skips the test if it is not built."""
    if not (SITE / "index.html").is_file():
        pytest.skip("there is no built site: run `make book` first")
    with browse.served(SITE, handler) as address:
        yield address


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
