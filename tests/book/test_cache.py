"""What is run again and what is not."""

from __future__ import annotations

import platform
from collections.abc import Callable

import pytest
from tiny_book import TinyBook

import run_chapters


@pytest.mark.slow
def test_results_are_kept_until_something_changes(tiny: TinyBook) -> None:
    """One book through its life: cold, unchanged, text, data, code; then the site is damaged."""
    cold = tiny.build()
    assert cold.returncode == 0, cold.stdout + cold.stderr
    assert tiny.runs == 1
    page = (tiny.site / "book/start.html").read_text("utf8")
    assert "six times seven is 42" in page
    assert "Run in" in page
    assert "Not taken from the cache" not in cold.stdout

    unchanged = tiny.build()
    assert unchanged.returncode == 0
    assert "Nothing changed" in unchanged.stdout

    tiny.edit("book/start.md", lambda text: text.replace("a formula", "a short formula"))
    assert tiny.build().returncode == 0
    assert "a short formula" in (tiny.site / "book/start.html").read_text("utf8")
    assert tiny.runs == 1

    tiny.edit("records/one.json", lambda text: '{"seconds": 2}\n')
    result = tiny.build()
    assert result.returncode == 0
    assert "records" in result.stdout
    assert tiny.runs == 2

    tiny.edit("book/start.md", lambda text: text.replace("6 * 7", "7 * 7"))
    assert tiny.build().returncode == 0
    assert tiny.runs == 3
    assert "six times seven is 49" in (tiny.site / "book/start.html").read_text("utf8")

    (tiny.site / "book/glossary.html").unlink()
    assert tiny.build().returncode == 0
    status = (tiny.site / "book/glossary.html").read_text("utf8")
    assert "all cells ran" in status
    assert "jupyter-book" in status
    assert tiny.runs == 3


CHANGES: dict[str, Callable[[TinyBook], None]] = {
    "src": lambda book: book.edit("src/package/code.py", lambda _: "VALUE = 2\n"),
    "records": lambda book: book.edit("records/one.json", lambda _: "[]\n"),
    "models": lambda book: (book.root / "models/new.safetensors").write_bytes(b"1"),
    "requirements.txt": lambda book: book.edit("requirements.txt", lambda _: "torch==9\n"),
    "constraints.txt": lambda book: (book.root / "constraints.txt").unlink(),
    "execution settings": lambda book: book.edit(
        "_config.yml", lambda text: text.replace("timeout: 600", "timeout: 5")
    ),
}


@pytest.mark.parametrize("part", CHANGES)
def test_a_changed_file_changes_its_part_of_the_fingerprint(tiny: TinyBook, part: str) -> None:
    """Each source of results has its own part, and no other part moves with it."""
    before = run_chapters.fingerprint(tiny.root)
    assert run_chapters.fingerprint(tiny.root) == before
    CHANGES[part](tiny)
    assert run_chapters.changes(before, run_chapters.fingerprint(tiny.root)) == [part]


def test_the_machine_is_part_of_the_fingerprint(tiny: TinyBook, monkeypatch) -> None:
    """Python, the installed packages, CUDA and the choice of weights."""
    before = run_chapters.fingerprint(tiny.root)
    monkeypatch.setattr(platform, "python_version", lambda: "3.99.0")
    monkeypatch.setattr(run_chapters, "installed", lambda: ["torch==9"])
    monkeypatch.setattr(run_chapters, "cuda", lambda: "a large GPU")
    monkeypatch.setenv("UNET_ATLAS_WEIGHTS", "some/weights")
    changed = run_chapters.changes(before, run_chapters.fingerprint(tiny.root))
    assert changed == ["CUDA", "UNET_ATLAS_WEIGHTS", "installed packages", "python"]


def test_files_in_passing_do_not_count(tiny: TinyBook) -> None:
    """A run of the package leaves bytecode behind, a model is written next to its place; that
    changes nothing."""
    before = run_chapters.fingerprint(tiny.root)
    (tiny.root / "models/.mini-sd.x/mini-sd").mkdir(parents=True)
    (tiny.root / "models/.mini-sd.x/mini-sd/exam.json").write_text("{}", "utf8")
    (tiny.root / "src/package/__pycache__").mkdir()
    (tiny.root / "src/package/__pycache__/code.pyc").write_bytes(b"1")
    assert run_chapters.fingerprint(tiny.root) == before


def test_another_fingerprint_drops_the_cache(tiny: TinyBook) -> None:
    """The cache goes with the fingerprint under which it was filled, and stays with it."""
    build = tiny.root / "_build"
    kept = build / ".jupyter_cache" / "kept"
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert run_chapters.drop_stale_cache(build, {"src": "1", "python": "3"}) == ["python", "src"]
    assert not kept.exists()
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert run_chapters.drop_stale_cache(build, {"src": "1", "python": "3"}) == []
    assert kept.exists()
    assert run_chapters.drop_stale_cache(build, {"src": "2", "python": "3"}) == ["src"]
    assert not kept.exists()


def test_a_broken_fingerprint_file_counts_as_none(tiny: TinyBook) -> None:
    """A half-written file must never keep a stale cache alive."""
    build = tiny.root / "_build"
    build.mkdir()
    (build / "fingerprint.json").write_text('{"src": ', "utf8")
    assert run_chapters.drop_stale_cache(build, {"src": "1"}) == ["src"]


def test_the_contents_are_read_in_order_and_in_depth(tiny: TinyBook) -> None:
    """Parts, chapters and sections; a missing page is left to Sphinx."""
    toc = {
        "root": "a",
        "parts": [{"chapters": [{"file": "b", "sections": [{"file": "c"}]}, {"url": "x"}]}],
    }
    assert list(run_chapters.toc_files(toc)) == ["a", "b", "c"]
    names = [path.name for path in run_chapters.toc_paths(tiny.root)]
    assert names == ["start.md", "glossary.md"]


def test_only_pages_with_cells_are_run(tiny: TinyBook) -> None:
    """A page of text is no chapter to run; unreadable front matter is told with its page."""
    root = tiny.root
    assert run_chapters.read_chapter(root, root / "book/glossary.md") is None
    assert run_chapters.read_chapter(root, root / "book/start.md").name == "book/start.md"
    bad = "```{code-cell} python\n:tags: [open\n1\n```"
    tiny.edit("book/start.md", lambda text: f"{text}\n{bad}\n")
    with pytest.raises(run_chapters.ChapterError, match=r"book/start.md: cannot be read"):
        run_chapters.read_chapter(root, root / "book/start.md")
