"""Rebuild the book while it is being written, and show it: `make serve`.

Saved prose is shown soon after, and open pages load themselves anew. Chapters run only
if their cells changed; prose takes every result from the execution cache. Faults are printed and
do not stop the server. `make book` has the last word: it builds strictly and from the start.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml

from build_book import WARNING, export_explorer, set_environment
from check_site import check_site
from finish_site import finish_site
from make_notebooks import write_executed
from run_chapters import ANSI, TREES, drop_stale_cache, fingerprint, run_chapters, source_files

QUESTION = "/which-build"
RELOAD = f"""<script>
(function () {{
  let seen;
  setInterval(async () => {{
    const answer = await fetch("{QUESTION}").catch(() => null);
    const now = answer && (await answer.text());
    if (seen && now && seen !== now) location.reload();
    seen = now || seen;
  }}, 1000);
}})();
</script></body>"""


def main() -> int:
    """Build, serve, and build again whenever a source changes, until Ctrl+C."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = Path(__file__).resolve().parent.parent
    parser.add_argument("--root", type=Path, default=here, help="the folder of _config.yml")
    parser.add_argument("--port", type=int, default=8000, help="0 takes any free port")
    options = parser.parse_args()
    root = options.root.resolve()
    set_environment(root / "_build")
    try:
        server = serve(root / "_build" / "html", options.port)
    except OSError as error:
        print(f"Port {options.port}: {error.strerror}; try another: --port", file=sys.stderr)
        return 1
    print(f"The book will be at http://localhost:{server.server_port}/ (Ctrl+C ends)", flush=True)
    try:
        watch(root, server)
    except KeyboardInterrupt:
        print()
    server.shutdown()
    return 0


class Handler(SimpleHTTPRequestHandler):
    """Serves the site; adds to each page a script that loads it anew after a build."""

    def do_GET(self) -> None:
        """A page, a file, or the number of the build."""
        path = Path(self.translate_path(self.path))
        path = path / "index.html" if path.is_dir() else path
        if self.path == QUESTION:
            self.answer(str(self.server.builds), "text/plain")
        elif path.suffix == ".html" and path.is_file():
            self.answer(path.read_text("utf8").replace("</body>", RELOAD), "text/html")
        else:
            super().do_GET()

    def answer(self, text: str, kind: str) -> None:
        """Send a text that must not be kept."""
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing about requests."""


def serve(site: Path, port: int) -> ThreadingHTTPServer:
    """Start to serve `site` on this machine only, in threads of its own."""
    site.mkdir(parents=True, exist_ok=True)
    handler = partial(Handler, directory=str(site))
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads, server.builds = True, 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def watch(root: Path, server: ThreadingHTTPServer) -> None:
    """Build now and after every change of a source."""
    built: dict[str, int] = {}
    while True:
        now = stamps(root)
        if now != built:
            start = time.perf_counter()
            try:
                faults = refresh(root)
            except (OSError, yaml.YAMLError) as error:  # a file that is being written
                faults = [str(error)]
            server.builds += 1
            print("\n".join(faults), end="\n" if faults else "")
            seconds = time.perf_counter() - start
            print(f"[{time.strftime('%H:%M:%S')}] built in {seconds:.1f} s", flush=True)
            built = now
        time.sleep(0.3)


def stamps(root: Path) -> dict[str, int]:
    """When each source was last written."""
    trees = [root / tree for tree in ("book", *TREES)]
    files = [root / "_config.yml", root / "_toc.yml", *(f for t in trees for f in source_files(t))]
    return {str(f): f.stat().st_mtime_ns for f in files if f.is_file() and f.suffix != ".ipynb"}


def refresh(root: Path) -> list[str]:
    """Run the chapters whose cells changed, write the pages that changed, and tell the faults."""
    folder = root / "_build"
    (folder / "stamp.json").unlink(missing_ok=True)
    state = fingerprint(root)
    if changed := drop_stale_cache(folder, state):
        print(f"All chapters run, since these changed: {', '.join(changed)}", flush=True)
    faults = run_chapters(root, folder, workers=2)
    if faults:
        return faults
    faults = write_changed(root)
    if (root / "book" / "explorer.md").is_file():
        faults += export_explorer(folder, state)
    if not faults:
        faults = write_executed(root, folder)
    finish_site(folder / "html")
    return faults + check_site(folder / "html")


def write_changed(root: Path) -> list[str]:
    """Let Jupyter Book write what changed since its last run; its warnings."""
    book = "from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", book, "build", "--keep-going", "-n", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    lines = ANSI.sub("", done.stdout + done.stderr).replace(f"{root}/", "").splitlines()
    found = [line for line in lines if WARNING.search(line)]
    return found or (lines[-20:] if done.returncode else [])


if __name__ == "__main__":
    sys.exit(main())
