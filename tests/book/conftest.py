"""What tests of the book are given: a tiny book, the settings, the finished site in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from reader import serving
from tiny_book import TinyBook, real_settings, tiny_book

from browse import FLAGS, chromium


@pytest.fixture
def tiny(tmp_path: Path) -> TinyBook:
    """A fresh tiny book, not yet built."""
    return tiny_book(tmp_path / "a tiny book")


@pytest.fixture
def settings() -> dict:
    """The book's own settings, read."""
    return yaml.safe_load(real_settings())


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The site, served on a free port of this machine."""
    with serving() as where:
        yield where


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
