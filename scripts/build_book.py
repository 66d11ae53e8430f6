"""Build the book: run the chapters, write the site, repair it, check it.

`make book` calls this. Every fault ends in a non-zero exit code, the first time and each time
after, until it is mended. When nothing changed since a build without faults, nothing is done.
Needs no network. The site is `_build/html`.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from check_site import check_site
from finish_site import finish_site
from lighten_site import lighten_site
from make_notebooks import write_executed
from run_chapters import (
    ANSI,
    QUIET,
    book_root,
    changes,
    digest_files,
    drop_stale_cache,
    fingerprint,
    read_json,
    run_chapters,
    source_files,
    write_json,
)
from unet_atlas.errors import AtlasError

WARNING = re.compile(r"\b(?:WARNING|ERROR|CRITICAL|SEVERE)\b")
SCRIPTS = (
    "build_book",
    "run_chapters",
    "finish_site",
    "lighten_site",
    "purge_css",
    "check_site",
    "make_notebooks",
    "plain_markdown",
)
CRASH = "Traceback (most recent call last)"
RAN_AGAIN = "Executing notebook using"


def main() -> int:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = Path(__file__).resolve().parent.parent
    parser.add_argument("--root", type=Path, default=here, help="the folder of _config.yml")
    parser.add_argument("--workers", type=int, default=min(4, os.cpu_count() or 1))
    parser.add_argument("--force", action="store_true", help="write the site even if unchanged")
    options = parser.parse_args()
    try:
        return build(book_root(options.root), options.workers, options.force)
    except AtlasError as error:
        print(f"build_book: {error}", file=sys.stderr)
        return 2


def build(root: Path, workers: int = 2, force: bool = False) -> int:
    """Build the book below `root`; 0 when there is no fault."""
    start = time.perf_counter()
    folder = root / "_build"
    set_environment(folder)
    state = fingerprint(root)
    inputs = state | {"book": digest_files(root, book_files(root))}
    stamp = folder / "stamp.json"
    if not force and is_current(root, stamp, inputs):
        print(f"Nothing changed: {shown(root)} is up to date")
        return 0
    stamp.unlink(missing_ok=True)
    faults = build_steps(root, folder, state, workers)
    if not faults and (moved := changes(state, fingerprint(root))):
        (folder / "fingerprint.json").unlink(missing_ok=True)
        faults = [f"{', '.join(moved)} changed while the book was built: run `make book` again"]
    if faults:
        return report(faults)
    write_json(stamp, {"inputs": inputs, "site": site_digest(root)})
    print(f"The book is in {shown(root)} ({time.perf_counter() - start:.0f} s)")
    return 0


def build_steps(root: Path, folder: Path, state: dict[str, str], workers: int) -> list[str]:
    """The steps; the first that finds faults is the last."""
    changed = drop_stale_cache(folder, state)
    if changed and (folder / "html").is_dir():
        print(f"All chapters run again, since these changed: {', '.join(changed)}")
    with step("Running the chapters"):
        faults = run_chapters(root, folder, workers)
    if faults:
        return faults
    with step("Writing the site"):
        faults = write_site(root, folder)
    if faults:
        return faults
    if (root / "book" / "explorer.md").is_file():
        with step("Giving the explorer its data"):
            faults = export_explorer(folder, state)
    if faults:
        return faults
    with step("Finishing and checking the site"):
        faults = write_executed(root, folder)
        finish_site(folder / "html")
        lighten_site(folder / "html")
        return faults + check_site(folder / "html")


@contextmanager
def step(title: str) -> Iterator[None]:
    """Say what is going on, and how long it took."""
    start = time.perf_counter()
    print(f"{title} …", flush=True)
    yield
    print(f"  {time.perf_counter() - start:.1f} s", flush=True)


def set_environment(folder: Path) -> None:
    """The environment of the kernels: offline unless real weights are asked for, and quiet."""
    if not os.environ.get("UNET_ATLAS_WEIGHTS"):
        os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    os.environ |= {**QUIET, "IPYTHONDIR": str(folder / ".ipython")}


def book_files(root: Path) -> list[Path]:
    """The sources of the site: pages, settings, extension and the scripts that build it."""
    scripts = [Path(__file__).with_name(f"{name}.py") for name in SCRIPTS]
    copies = [root / "scripts" / path.name for path in scripts]
    return [root / "_config.yml", root / "_toc.yml", *source_files(root / "book"), *copies]


def site_digest(root: Path) -> str:
    """A digest of the finished site, so that a damaged one is not taken for finished."""
    return digest_files(root, source_files(root / "_build" / "html"))


@contextmanager
def addition(root: Path) -> Iterator[None]:
    """What the block adds to a finished site belongs to it, for the next build as well; a site
    that was not finished when the block began stays so."""
    stamp = root / "_build" / "stamp.json"
    last = read_json(stamp)
    finished = bool(last) and last.get("site") == site_digest(root)
    yield
    if finished:
        write_json(stamp, last | {"site": site_digest(root)})


def is_current(root: Path, stamp: Path, inputs: dict[str, str]) -> bool:
    """Whether the last build had no fault and neither its inputs nor its site have changed."""
    last = read_json(stamp)
    return last.get("inputs") == inputs and last.get("site") == site_digest(root)


def shown(root: Path) -> Path:
    """The path of the site's first page, as short as it can be."""
    page = root / "_build" / "html" / "index.html"
    return page.relative_to(Path.cwd()) if page.is_relative_to(Path.cwd()) else page


def write_site(root: Path, folder: Path) -> list[str]:
    """Run Jupyter Book strictly on a clean slate; its whole output goes to `_build/sphinx.log`."""
    shutil.rmtree(folder / "html", ignore_errors=True)
    book = "from jupyter_book.cli.main import main; main()"
    options = ["build", "--all", "-W", "--keep-going", "-n", str(root)]
    log = folder / "sphinx.log"
    with log.open("w", encoding="utf8") as out:
        command = [sys.executable, "-c", book, *options]
        code = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, cwd=root).returncode
    lines = log.read_text("utf8").splitlines()
    for line in lines:
        if RAN_AGAIN in line:
            print(f"  Not taken from the cache: {line.strip()}")
    if code == 0:
        return []
    return told(root, code, lines)


def export_explorer(folder: Path, state: dict[str, str]) -> list[str]:
    """Copy the explorer's data into the site; measured anew when what they come from changed."""
    kept, stamp = folder / "explorer", folder / "explorer.json"
    if read_json(stamp) != state or not kept.is_dir():
        stamp.unlink(missing_ok=True)
        shutil.rmtree(kept, ignore_errors=True)
        command = [sys.executable, "-m", "unet_atlas.explorer", str(kept)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            return [f"The explorer's data can't be exported: {done.stderr.strip()}"]
        write_json(stamp, state)
    shutil.copytree(kept, folder / "html/_static/explorer/data", dirs_exist_ok=True)
    return []


def told(root: Path, code: int, lines: list[str]) -> list[str]:
    """What Jupyter Book's output says about its failure: the warnings, or else the last lines."""
    lines = [ANSI.sub("", line).replace(f"{root}{os.sep}", "") for line in lines]
    found = [line for line in lines if WARNING.search(line)]
    if found and not any(CRASH in line for line in lines):
        return found
    return [*found, f"jupyter-book ended with code {code}; its last lines were:", *lines[-40:]]


def report(faults: list[str]) -> int:
    """Print the faults and return the exit code."""
    print("\n" + "\n".join(faults), file=sys.stderr)
    number = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    print(f"\nThe book was not built: {number}, listed above.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
