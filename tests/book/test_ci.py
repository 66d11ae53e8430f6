"""Continuous integration skips nothing in silence, and publishes only what passed."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import served

from run_chapters import read_yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = ROOT / ".github" / "workflows"


def test_a_missing_tool_fails_under_continuous_integration(tmp_path: Path, monkeypatch) -> None:
    """Elsewhere it skips the test, with the remedy either way."""
    monkeypatch.setattr(served, "TOOLS", tmp_path)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="axe-core is not installed: install it with"):
        served.tool("axe-core/axe.min.js")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="axe-core is not installed: install it with"):
        served.tool("axe-core/axe.min.js")


def test_every_visit_tells_its_faults() -> None:
    """Whoever opens a tab looks at what went wrong in it, in the same function."""
    silent = []
    for path in sorted((ROOT / "tests/book").glob("test_*.py")):
        for part in ast.walk(ast.parse(path.read_text("utf8"))):
            if isinstance(part, ast.FunctionDef):
                body = ast.unparse(part)
                if " Visit(" in body and "faults" not in body:
                    silent.append(f"{path.name}: {part.name}")
    assert silent == []


def test_only_what_passed_is_published() -> None:
    """The site of the tests' own run, after all of them; no other job builds one."""
    publish = read_yaml(WORKFLOWS / "publish.yml")["jobs"]
    assert publish["test"]["uses"] == "./.github/workflows/test.yml"
    assert publish["deploy"]["needs"] == "test"
    assert publish.keys() == {"test", "deploy"}
    steps = read_yaml(WORKFLOWS / "test.yml")["jobs"]["all"]["steps"]
    kept = next(step["with"] for step in steps if "upload-artifact" in step.get("uses", ""))
    taken = next(s["with"] for s in publish["deploy"]["steps"] if "download-a" in s.get("uses", ""))
    assert kept["name"] == taken["name"] == "book"
    assert "_build/html" in kept["path"].split()


def test_the_run_checks_the_printed_site_before_it_is_opened() -> None:
    """In this order; the notebook of a chapter is tried at the end."""
    run = (ROOT / ".ci/run").read_text("utf8")
    order = ["make test", "make book", "print_book.py", "check_site.py", "-m browser"]
    places = [run.index(part) for part in [*order, "try_notebooks.py"]]
    assert places == sorted(places)
    tried = run.partition("try_notebooks.py")[2].split("\n")[0].split()
    assert all((ROOT / name).is_file() for name in tried)
    assert tried
