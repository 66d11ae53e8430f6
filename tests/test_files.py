"""Files are complete or not there at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from unet_atlas import files
from unet_atlas.errors import AtlasError


def test_a_file_is_replaced_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "one")
    files.write_text(path, "zwölf")
    assert path.read_text("utf-8") == "zwölf"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def refuse(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", refuse)
    with pytest.raises(AtlasError, match="No space left"):
        files.write_text(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="can't be written"):
        files.write_text(tmp_path, "x")


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target.txt", tmp_path / "link.txt"
    target.write_text("old")
    link.symlink_to(target)
    files.write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name here")
def test_a_device_or_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(AtlasError, match="can't be written"):
        files.write_text(pipe, "nobody reads this")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    files.write_text(pipe, "somebody reads this")
    assert os.read(reader, 100) == b"somebody reads this"
    os.close(reader)
    assert pipe.is_fifo()


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="can't be a file's name"):
        files.write_text(f"{tmp_path}/a\0b", "x")
