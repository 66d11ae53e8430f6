"""Rebuild the book while it is being written, and show it: `make serve`.

Saved prose is shown soon after, and open pages load themselves anew. Chapters run only
if their cells changed; prose takes every result from the execution cache. Faults are printed and
do not stop the server. `make book` has the last word: it builds strictly and from the start.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from browse import Quiet, Server
from browse import serve as serve_folder
from build_book import WARNING, export_explorer, set_environment
from check_site import check_site
from finish_site import finish_site
from make_notebooks import write_executed
from run_chapters import (
    ANSI,
    TREES,
    book_root,
    drop_stale_cache,
    fingerprint,
    run_chapters,
    source_files,
)
from unet_atlas.errors import AtlasError, first_sentence

QUESTION = "/which-build"
PAUSE = 0.3  # seconds between two looks at the sources
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
    try:
        root = book_root(options.root)
        server = serve(root / "_build" / "html", options.port)
    except AtlasError as error:
        print(f"serve_book: {error}", file=sys.stderr)
        return 2
    set_environment(root / "_build")
    print(f"The book will be at http://localhost:{server.server_port}/ (Ctrl+C ends)", flush=True)
    try:
        watch(root, server)
    except KeyboardInterrupt:
        print()
    server.shutdown()
    return 0


class Handler(Quiet):
    """Serves the site; adds to each page a script that loads it anew after a build."""

    def do_GET(self) -> None:
        """A page, a file, or the number of the build."""
        path = Path(self.translate_path(self.path))
        path = path / "index.html" if path.is_dir() else path
        if self.path == QUESTION:
            self.answer(str(self.server.builds), "text/plain")
        elif (page := content(path)) is not None:
            self.answer(page.replace("</body>", RELOAD), "text/html")
        else:
            super().do_GET()

    def answer(self, text: str, kind: str) -> None:
        """Send a text that must not be kept."""
        body = text.encode("utf8", "replace")
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)


def content(page: Path) -> str | None:
    """The text of a page; None for what is no page, or is gone since a build has begun."""
    if page.suffix == ".html":
        with suppress(OSError):
            return page.read_text("utf8", "replace")
    return None


def serve(site: Path, port: int) -> Server:
    """Start to serve `site` on this machine only, in threads of its own.

    Raises:
        AtlasError: the port is in use, not allowed, or none.
    """
    site.mkdir(parents=True, exist_ok=True)
    try:
        server = serve_folder(site, port, Handler)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or "there is no such port"
        raise AtlasError(f"port {port} can't be used: {reason}; name another: --port.") from error
    server.builds = 0
    return server


def watch(root: Path, server: Server) -> None:
    """Build now and after every change of a source."""
    built: dict[str, int] = {}
    while True:
        now = stamps(root)
        if now != built:
            start = time.perf_counter()
            faults = tried(root)
            server.builds += 1
            print("\n".join(faults), end="\n" if faults else "")
            seconds = time.perf_counter() - start
            outcome = "the next save builds again" if faults else f"built in {seconds:.1f} s"
            print(f"[{time.strftime('%H:%M:%S')}] {outcome}", flush=True)
            built = now
        time.sleep(PAUSE)


def tried(root: Path) -> list[str]:
    """The faults of a build; one that breaks off is a fault too, since a half-saved file can
    break it anywhere. Saving the file again mends it."""
    try:
        return refresh(root)
    except Exception as error:
        return [f"The book can't be built: {type(error).__name__}: {first_sentence(error)}"]


def stamps(root: Path) -> dict[str, int]:
    """When each source was last written; a file that goes meanwhile is left out."""
    trees = [root / tree for tree in ("book", *TREES)]
    files = [root / "_config.yml", root / "_toc.yml", *(f for t in trees for f in source_files(t))]
    found = {}
    for file in files:
        if file.suffix != ".ipynb" and not file.name.startswith("."):
            with suppress(OSError):
                found[str(file)] = file.stat().st_mtime_ns
    return found


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
