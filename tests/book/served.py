"""The finished site as a web host serves it, compressed, with what measures it from npm."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import reader

import browse
from atlas_book import node_program

TOOLS = Path(__file__).resolve().parents[1] / "site" / "node_modules"
INSTALL = "install it with `npm ci --prefix tests/site`, as .ci/run does"
# To evaluate in a tab that holds axe.min.js: one line a fault.
AXE = """async () => (
  await axe.run(document, {resultTypes: ["violations"]})
).violations.map(
  (fault) => `${fault.id}: ${fault.nodes.length} × ${fault.nodes[0].target} (${fault.help})`
)"""


def serving() -> AbstractContextManager[str]:
    """The address of the compressed site on a free port of this machine."""
    return reader.serving(browse.Gzip)


def tool(name: str) -> Path:
    """A file of an npm package of tests/site; where it is not installed the test is skipped, but
    fails under continuous integration."""
    path = TOOLS / name
    if not path.is_file():
        end = pytest.fail if os.environ.get("CI") else pytest.skip
        end(f"{name.split('/')[0]} is not installed: {INSTALL}")
    return path


def node() -> str:
    """The Node that comes with the requirements."""
    return node_program()
