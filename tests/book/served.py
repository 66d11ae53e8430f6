"""The finished site as a web host serves it, compressed, with what measures it from npm."""

from __future__ import annotations

import gzip
import http.server
from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path

import pytest
import reader

from atlas_book import node_program

TOOLS = Path(__file__).resolve().parents[1] / "site" / "node_modules"
INSTALL = "install it with `npm ci --prefix tests/site`, as .ci/run does"
# To evaluate in a tab that holds axe.min.js: one line a fault.
AXE = """async (only) => (
  await axe.run(document, {resultTypes: ["violations"], ...(only ? {runOnly: only} : {})})
).violations.map(
  (fault) => `${fault.id}: ${fault.nodes.length} × ${fault.nodes[0].target} (${fault.help})`
)"""
COMPRESSED = (".html", ".css", ".js", ".json", ".svg", ".txt", ".csv")


class GzipHandler(http.server.SimpleHTTPRequestHandler):
    """A static server that compresses text, as GitHub Pages does, and says nothing."""

    protocol_version = "HTTP/1.1"

    def send_head(self):
        """Answer with the compressed file, where it is text."""
        path = Path(self.translate_path(self.path))
        if path.suffix not in COMPRESSED or not path.is_file():
            return super().send_head()
        content = gzip.compress(path.read_bytes(), 6, mtime=0)
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "max-age=600")
        self.end_headers()
        return BytesIO(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def serving() -> AbstractContextManager[str]:
    """The address of the compressed site on a free port of this machine."""
    return reader.serving(GzipHandler)


def tool(name: str) -> Path:
    """A file of an npm package of tests/site; skips the test if it is not installed."""
    path = TOOLS / name
    if not path.is_file():
        pytest.skip(f"{name.split('/')[0]} is not installed: {INSTALL}")
    return path


def node() -> str:
    """The Node that comes with the requirements."""
    return node_program()
