"""The README's picture shows what the package draws today."""

from __future__ import annotations

from pathlib import Path

from draw_cover import PICTURE, cover


def test_the_picture_is_up_to_date(tmp_path: Path) -> None:
    fresh = tmp_path / "paired-u.svg"
    cover().save(fresh)
    assert PICTURE.read_text("utf-8") == fresh.read_text("utf-8"), "run scripts/draw_cover.py"


def test_the_readme_shows_it() -> None:
    readme = (PICTURE.parents[2] / "README.md").read_text("utf-8")
    assert PICTURE.relative_to(PICTURE.parents[2]).as_posix() in readme
