"""Files that are complete or not there at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from unet_atlas.errors import AtlasError


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 file under a temporary name, then rename it into place.

    Raises:
        AtlasError: the folder is missing or not writable, or the path is a folder.
    """
    path, temporary = Path(path), None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise AtlasError(
            f"'{path}' can't be written: {error.strerror}; choose another file."
        ) from None
