"""Install what the chapters need into the Python that runs this, keeping what is there.

The notebooks' first cell calls it on Colab and Kaggle. A torch that is there stays, whatever its
version: it was built for that machine's GPU. So do numpy and its like. The libraries that decide
the book's numbers come in exactly the versions of requirements.txt.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
EXACT = {"diffusers", "transformers", "torchinfo", "torchmetrics"}
PIN = re.compile(r"^([\w.-]+)==(\S+)", re.M)


def main() -> int:
    """Install, and say what stays; pip's exit code."""
    settings = tomllib.loads((HOME / "pyproject.toml").read_text("utf8"))["project"]
    pins = dict(PIN.findall((HOME / "requirements.txt").read_text("utf8")))
    there = {d.metadata["Name"].lower(): d.version for d in distributions()}
    fit = re.findall(r"(\d+)\.(\d+)", settings["requires-python"])
    low, high = (tuple(map(int, version)) for version in fit)
    if not low <= sys.version_info[:2] < high:
        print(f"UNet Atlas needs Python {settings['requires-python']}", file=sys.stderr)
        return 1
    print("Installing UNet Atlas; this takes a minute or two …", flush=True)
    if there.get("torch", pins["torch"]).partition("+")[0] != pins["torch"]:
        print(f"torch {there['torch']} stays; the book's numbers were proved with {pins['torch']}")
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "kept.txt"
        kept.write_text(f"torch=={there['torch']}\n" if "torch" in there else "", "utf8")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "-c", str(kept)]
        return subprocess.run([*pip, *wanted(settings["dependencies"], pins, there)]).returncode


def wanted(needed: list[str], pins: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    """What pip is asked for: the pins of what is missing or must be exact, then the package."""
    names = [name for name in needed if name in EXACT or name.lower() not in there]
    return [*(f"{name}=={pins[name]}" for name in names), "--editable", str(HOME)]


if __name__ == "__main__":
    sys.exit(main())
