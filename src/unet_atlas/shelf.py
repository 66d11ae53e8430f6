"""The folder ``records/``: where it is, and what each of its files holds, read as JSON once.

What a file means is decided elsewhere: :mod:`unet_atlas.records` knows one format,
:mod:`unet_atlas.gpu.reading` the other. A file that neither takes is a :class:`LeftOut`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_FILE_BYTES = 2_000_000
MOST_WORDS = 300  # characters


@dataclass(frozen=True)
class LeftOut:
    """A file of ``records/`` that no page shows, and why."""

    file: str
    reason: str

    @property
    def words(self) -> str:
        """One line for a page, with a question mark for what a page can't hold."""
        line = f"records/{self.file} is left out: {self.reason}"
        line = line if len(line) <= MOST_WORDS else line[: MOST_WORDS - 1] + "…"
        return f"{line}.".encode("utf-8", "replace").decode()


@dataclass(frozen=True)
class File:
    """A file of ``records/`` as JSON; with a fault, ``content`` is None."""

    name: str
    content: Any
    fault: str = ""


def records_dir() -> Path | None:
    """The book's ``records/`` folder, from the current folder or the package upwards; or none."""
    for start in (Path.cwd(), Path(__file__).resolve().parent):
        for folder in (start, *start.parents):
            if (folder / "_toc.yml").is_file() and (folder / "records").is_dir():
                return folder / "records"
    return None


def files(folder: Path | None = None) -> tuple[File, ...]:
    """The ``.json`` files of a folder, by default the book's, in the order of their names."""
    folder = records_dir() if folder is None else folder
    return tuple(_read(path) for path in sorted(folder.glob("*.json"))) if folder else ()


def finite(value: Any) -> bool:
    """Whether a JSON value is a number that arithmetic can use (``true`` is none)."""
    return type(value) in (int, float) and abs(value) <= 1e300  # false for a NaN


def speakable(value: Any) -> bool:
    """Whether a JSON value is text that a page can hold: half a surrogate can't be written."""
    return isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value)


def _read(path: Path) -> File:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return File(path.name, None, f"it is over {MAX_FILE_BYTES // 10**6} MB")
        return File(path.name, json.loads(path.read_text("utf-8")))
    except json.JSONDecodeError:
        return File(path.name, None, "it is not valid JSON")
    except UnicodeDecodeError:
        return File(path.name, None, "it is not text in UTF-8")
    except RecursionError:
        return File(path.name, None, "it is nested too deeply")
    except (OSError, ValueError) as error:  # ValueError: a number of thousands of digits
        words = getattr(error, "strerror", None) or "it holds a number that is too long"
        return File(path.name, None, words)
