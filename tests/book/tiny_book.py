"""A tiny book with the real settings, extension and driver."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

TOC = """\
format: jb-book
root: book/start
chapters:
  - file: book/glossary
"""

START = """\
---
file_format: mystnb
kernelspec:
  name: python3
lane: meta
myst:
  html_meta:
    description: A page of a tiny book.
---

# A tiny book

A {term}`latent` and a formula $a^2$. See {cite}`ho2020ddpm`.

```{code-cell} python
import os

with open(os.environ["TINY_BOOK_RUNS"], "a") as log:
    log.write("run\\n")
print("six times seven is", 6 * 7)
```
"""

GLOSSARY = """\
---
lane: none
myst:
  html_meta:
    description: A page of a tiny book.
---

# Words

:::{glossary}
latent
  A small array that stands for a picture. It has four channels.
:::

:::{bibliography}
:::

:::{atlas-status}
:::
"""


@dataclass
class TinyBook:
    """A book of two pages in a folder whose name has a space."""

    root: Path

    @property
    def site(self) -> Path:
        """The finished site."""
        return self.root / "_build" / "html"

    @property
    def runs(self) -> int:
        """How often the chapter's cells have run."""
        log = self.root / "runs.log"
        return len(log.read_text("utf8").splitlines()) if log.exists() else 0

    def edit(self, name: str, change: Callable[[str], str]) -> None:
        """Change one of its files."""
        path = self.root / name
        path.write_text(change(path.read_text("utf8")), "utf8")

    def build(self) -> subprocess.CompletedProcess[str]:
        """Build it as `make book` does, in a process of its own."""
        script = ROOT / "scripts" / "build_book.py"
        command = [sys.executable, str(script), "--root", str(self.root), "--workers", "1"]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("COV_")}
        environment["TINY_BOOK_RUNS"] = str(self.root / "runs.log")
        return subprocess.run(command, capture_output=True, text=True, env=environment)


def real_settings() -> str:
    """The book's own _config.yml."""
    return (ROOT / "_config.yml").read_text("utf8")


def tiny_book(root: Path) -> TinyBook:
    """Write a fresh tiny book, not yet built."""
    book = root / "book"
    for folder in ("src/package", "records", "models"):
        (root / folder).mkdir(parents=True)
    (root / "src/package/code.py").write_text("VALUE = 1\n", "utf8")
    (root / "records/one.json").write_text("{}\n", "utf8")
    for name in ("requirements.txt", "constraints.txt"):
        (root / name).write_text("# nothing\n", "utf8")
    shutil.copytree(ROOT / "book/_static", book / "_static")
    shutil.copytree(ROOT / "book/_ext", book / "_ext", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "book/references.bib", book)
    (root / "_config.yml").write_text(real_settings(), "utf8")
    (root / "_toc.yml").write_text(TOC, "utf8")
    (book / "start.md").write_text(START, "utf8")
    (book / "glossary.md").write_text(GLOSSARY, "utf8")
    return TinyBook(root)
