"""Files that are complete or not there at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unet_atlas.errors import AtlasError, first_sentence


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary file beside ``path``, with its suffix, that takes its place when the block ends.

    A block that fails leaves the old file as it was, and no other. A link stays a link: its target
    is replaced. What is no file (``/dev/null``, a pipe) is written to and never replaced.

    Raises:
        AtlasError: the folder is missing or not writable, the path is a folder, or the system
            refuses what the block writes.
    """
    path, temporary = Path(path), None
    try:
        file, special = _target(path)
        handle, name = tempfile.mkstemp(
            dir=None if special else file.parent, prefix=f".{file.name}.", suffix=file.suffix
        )
        os.close(handle)
        temporary = Path(name)
        yield temporary
        if special:
            _write_into(path, temporary.read_bytes())
            return
        os.chmod(temporary, 0o644)
        os.replace(temporary, file)
    except OSError as error:
        reason = error.strerror or first_sentence(error).rstrip(".")
        raise AtlasError(f"'{path}' can't be written: {reason}; choose another file.") from None
    finally:
        if temporary:
            temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """A new folder of the same name that takes the place of ``path`` when the block ends.

    A block that fails leaves the old folder as it was.

    Raises:
        AtlasError: the folder around it is not writable.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as around:
            made = Path(around) / path.name
            made.mkdir()
            yield made
            if path.exists():
                path.rename(Path(around) / "old")
            made.rename(path)
    except OSError as error:
        reason = error.strerror or first_sentence(error).rstrip(".")
        raise AtlasError(f"'{path}' can't be written: {reason}; choose another folder.") from None


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 file as :func:`replacing` does; half a surrogate becomes a question mark.

    Raises:
        AtlasError: see :func:`replacing`.
    """
    with replacing(path) as part:
        part.write_bytes(text.encode("utf-8", "replace"))


def _target(path: Path) -> tuple[Path, bool]:
    """The file behind a path's links, and whether it is something special: a device or a pipe.

    Raises:
        OSError: it is a folder, or no file can have that name.
    """
    try:
        os.fsencode(path)
        file = Path(os.path.realpath(path))
    except ValueError:  # half a surrogate, or a NUL
        raise OSError(errno.EINVAL, "this can't be a file's name") from None
    if path.is_dir():
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    return file, path.exists() and not path.is_file()


def _write_into(path: Path, content: bytes) -> None:
    """Write into a device or a pipe; a pipe that nobody reads is an error instead of a wait."""
    handle = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))
    if hasattr(os, "set_blocking"):
        os.set_blocking(handle, True)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
