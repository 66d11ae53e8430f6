"""Files that are complete or not there at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from unet_atlas.errors import AtlasError


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 file under a temporary name, then rename it into place.

    A link stays a link: its target is replaced. What is no file (``/dev/null``, a pipe) is
    written to and never replaced.

    Raises:
        AtlasError: the folder is missing or not writable, or the path is a folder.
    """
    path, temporary = Path(path), None
    try:
        if path.exists() and not path.is_file():
            _write_into(path, text)
            return
        file = Path(os.path.realpath(path))
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as opened:
            opened.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, file)
    except (OSError, ValueError) as error:  # ValueError: a NUL or half a surrogate in the name
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or "this can't be a file's name"
        raise AtlasError(f"'{path}' can't be written: {reason}; choose another file.") from None


def _write_into(path: Path, text: str) -> None:
    """Write into a device or a pipe; a pipe that nobody reads is an error instead of a wait."""
    handle = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))
    if hasattr(os, "set_blocking"):
        os.set_blocking(handle, True)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
