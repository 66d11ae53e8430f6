"""Every fault fails the build: the first time, and again when nothing has been mended."""

from __future__ import annotations

import pytest
from tiny_book import TinyBook

pytestmark = pytest.mark.slow


FAULTS = {
    "a cell that raises": (
        {"book/start.md": lambda page: page.replace("6 * 7", "6 / 0")},
        ["book/start.md, cell 2 (line 15)", "ZeroDivisionError", "6 / 0"],
    ),
    "a kernel that dies": (
        {"book/start.md": lambda page: page.replace("6 * 7", "__import__('os')._exit(3)")},
        ["book/start.md", "DeadKernelError"],
    ),
    "faults that Sphinx finds, all told at once": (
        {
            "book/start.md": lambda page: (
                f"{page}\nSee {{ref}}`nowhere`, {{cite}}`nobody1999`, {{term}}`unheard` and "
                "{glue:text}`nothing`.\n\n![A picture](missing.png)\n"
            ),
            "book/glossary.md": lambda page: page.replace("lane: none", "order: 2"),
            "_toc.yml": lambda toc: f"{toc}  - file: book/forgotten\n",
        },
        [
            "'nowhere'",
            "nobody1999",
            "unheard",
            "nothing",
            "missing.png",
            "book/glossary.md: WARNING: the front matter says nothing as lane",
            "book/forgotten",
        ],
    ),
    "faults that only the finished page shows": (
        {
            "book/start.md": lambda page: (
                f"{page}\nAn undefined note[^9], bad TeX $\\frac{{$, "
                '<img src="gone.png" alt="x"> and <a href="gone.html">a raw link</a>.\n'
            )
        },
        ["[^9]", "formula", "gone.png", "gone.html"],
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_fails_the_build_twice(tiny: TinyBook, fault: str) -> None:
    """Non-zero exit with the fault named, on the first run and on the second."""
    edits, told = FAULTS[fault]
    for name, change in edits.items():
        tiny.edit(name, change)
    for _ in range(2):
        result = tiny.build()
        assert result.returncode == 1, result.stdout + result.stderr
        missing = [words for words in told if words not in result.stderr]
        assert not missing, result.stdout + result.stderr
        assert not (tiny.root / "_build" / "stamp.json").exists()
