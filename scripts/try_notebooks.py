"""Run the chapters' notebooks as a stranger would: a new environment, an empty folder.

    python scripts/try_notebooks.py                                  # every chapter
    python scripts/try_notebooks.py book/architecture/stages.ipynb   # one

The new environment holds a Jupyter kernel and nothing else; each notebook's first cell clones this
repository and installs what it needs. What is not committed is left out. All notebooks share the
environment, but the package is taken out of it again after each, so that every first cell works.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

ROOT = Path(__file__).resolve().parent.parent
ANSI = re.compile(r"\x1b\[[0-9;]*m")
KERNEL = "clean"
FAILURES = (CellExecutionError, CellTimeoutError, DeadKernelError)


def main() -> int:
    """Make the environment and run the notebooks; 1 if any of them fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="by default all below book/")
    parser.add_argument("--source", default=str(ROOT), help="the repository that is cloned")
    parser.add_argument("--timeout", type=int, default=1800, help="seconds for one cell")
    options = parser.parse_args()
    paths = options.notebooks or sorted((ROOT / "book").rglob("*.ipynb"))
    with tempfile.TemporaryDirectory(prefix="unet-atlas-") as folder:
        python = new_environment(Path(folder))
        os.environ["UNET_ATLAS_SOURCE"] = options.source
        failed = [path for path in paths if not runs(path, Path(folder), python, options.timeout)]
    print(f"{len(paths) - len(failed)} of {len(paths)} notebooks ran from top to bottom")
    return 1 if failed else 0


def new_environment(folder: Path) -> Path:
    """A virtual environment with the book's kernel and nothing else; its Python."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pins = (ROOT / "requirements.txt").read_text("utf8").splitlines()
    kernel = next(line for line in pins if line.startswith("ipykernel=="))
    constraints = ["-c", str(ROOT / "constraints.txt")]
    subprocess.run([python, "-m", "pip", "install", "--quiet", kernel, *constraints], check=True)
    install = ["ipykernel", "install", "--prefix", str(folder), "--name", KERNEL]
    subprocess.run([python, "-m", *install], check=True, capture_output=True)
    os.environ["JUPYTER_PATH"] = str(folder / "share" / "jupyter")
    # The notebook must find its own Python and nothing of the environment that runs this.
    os.environ["PATH"] = os.pathsep.join([str(python.parent), os.environ["PATH"]])
    os.environ.pop("PYTHONPATH", None)
    return python


def runs(path: Path, folder: Path, python: Path, timeout: int) -> bool:
    """Whether a notebook runs in an empty folder; says how long it took, or what went wrong."""
    start = time.perf_counter()
    remove = [python, "-m", "pip", "uninstall", "--quiet", "--yes", "unet-atlas"]
    subprocess.run(remove, check=True, capture_output=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="empty ") as empty:
        notebook = nbformat.read(path, as_version=4)
        client = NotebookClient(
            notebook, timeout=timeout, kernel_name=KERNEL, resources={"metadata": {"path": empty}}
        )
        try:
            client.execute()
        except FAILURES as error:
            print(f"{path}: FAILED\n{ANSI.sub('', str(error))}", flush=True)
            return False
    print(f"{path}: ran in {time.perf_counter() - start:.0f} s", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
