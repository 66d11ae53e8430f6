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


def test_a_block_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def spoil(error: Exception) -> None:
        with files.replacing(path) as part:
            assert (part.parent, part.suffix, part.name[0]) == (tmp_path, ".png", ".")
            part.write_bytes(b"half")
            raise error

    for error in (KeyError("x"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            spoil(error)
    with pytest.raises(AtlasError, match=r"'.*a\.png' can't be written: broken image; choose"):
        spoil(OSError("broken image"))
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_what_is_written_can_be_read_by_all(tmp_path: Path) -> None:
    with files.replacing(tmp_path / "a.npz") as part:
        part.write_bytes(b"new")
    assert (tmp_path / "a.npz").read_bytes() == b"new"
    assert (tmp_path / "a.npz").stat().st_mode & 0o777 == 0o644


def test_half_a_surrogate(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a.txt", "a\ud800b")
    assert (tmp_path / "a.txt").read_text() == "a?b"
    with pytest.raises(AtlasError, match="can't be a file's name"):
        files.write_text(tmp_path / "a\ud800", "x")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
