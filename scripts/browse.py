"""Find Chromium, and serve a folder to it: shared by the printer and the tests of the site.

python scripts/browse.py    # the path of Chromium; exit code 1 where there is none
"""

from __future__ import annotations

import gzip
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
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
COMPRESSED = (".html", ".css", ".js", ".json", ".svg", ".txt", ".csv")


def chromium() -> str | None:
    """The path of the system's browser; None if there is none."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


class Quiet(SimpleHTTPRequestHandler):
    """A static server that writes no line for a request."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Gzip(Quiet):
    """A static server that compresses text, as web hosts do."""

    protocol_version = "HTTP/1.1"

    def send_head(self) -> BytesIO | BinaryIO | None:
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


class Server(ThreadingHTTPServer):
    """A server on this machine only, in threads of its own; a reader who goes is no error."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Tell what went wrong, unless the browser just closed the connection."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def serve(folder: Path, port: int = 0, handler: type[Quiet] = Quiet) -> Server:
    """Serve a folder at once; port 0 takes any free one.

    Raises:
        OSError: the port is in use, or not allowed.
        OverflowError: there is no such port.
    """
    server = Server(("127.0.0.1", port), partial(handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@contextmanager
def served(folder: Path, handler: type[Quiet] = Quiet) -> Iterator[str]:
    """The address of a folder that is served on a free port until the block ends."""
    with serve(folder, handler=handler) as server:
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def main() -> int:
    """Print the path of the browser; 1 if there is none."""
    found = chromium()
    print(found or "Chromium is not installed: apt-get install chromium")
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
