"""Measurements made on other hardware: JSON files under ``records/``, checked and shown as such.

One file is one run of one experiment::

    {"experiment": "unet-memory", "device": "…", "dtype": "bf16", "versions": {"torch": "…"},
     "date": "2026-01-31", "seconds": 41.2, "rows": [{"model": "sd-1.5", "weights": 1719041928}]}

A record is never shown as if it had been measured in the build at hand.
"""

from __future__ import annotations

import html
import json
import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from unet_atlas.errors import AtlasError
from unet_atlas.files import write_text
from unet_atlas.tables import Table

MAX_FILE_BYTES = 5_000_000
TEXTS = ("experiment", "device", "dtype", "date")
KEYS = {*TEXTS, "versions", "seconds", "rows"}


@dataclass(frozen=True)
class Record:
    """One run of one experiment, with everything that a reader needs to judge it."""

    experiment: str
    device: str
    dtype: str
    versions: Mapping[str, str]
    date: str
    seconds: float
    rows: tuple[Mapping[str, Any], ...]
    file: str = ""

    @property
    def provenance(self) -> str:
        """Device, dtype, versions, day and duration in one line."""
        libraries = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return f"{self.device}, {self.dtype}; {libraries}; {self.date}, {self.seconds:,.1f} s"


@dataclass(frozen=True)
class Shown:
    """A piece of a page: markup for the book, the same in words for a terminal."""

    markup: str
    words: str

    def _repr_html_(self) -> str:
        return self.markup

    def __repr__(self) -> str:
        return self.words


def records_dir() -> Path | None:
    """The book's ``records/`` folder, from the current folder or the package upwards; or none."""
    for start in (Path.cwd(), Path(__file__).resolve().parent):
        for folder in (start, *start.parents):
            if (folder / "_toc.yml").is_file() and (folder / "records").is_dir():
                return folder / "records"
    return None


def load(folder: Path | None = None) -> tuple[Record, ...]:
    """The valid records of a folder, by default the book's; oldest first.

    A file that is no valid record is named in a warning and left out.
    """
    folder = records_dir() if folder is None else folder
    return tuple(sorted(_valid(folder), key=lambda r: (r.date, r.file))) if folder else ()


def newest(
    experiment: str, columns: Mapping[str, type] | None = None, folder: Path | None = None
) -> Record | None:
    """The newest valid record of an experiment, or ``None``.

    Args:
        columns: what each row must hold, and of which type; a record that lacks it is named in a
            warning and left out.
    """
    for record in reversed(load(folder)):
        if record.experiment != experiment:
            continue
        missing = [
            c for r in record.rows for c, t in (columns or {}).items() if type(r.get(c)) is not t
        ]
        if not missing:
            return record
        _warn(record.file, f"'{missing[0]}' is missing from a row or of another type")
    return None


def save(record: Record, folder: Path) -> Path:
    """Write a record as ``experiment-device-date.json``; returns the file.

    Raises:
        AtlasError: the record would not be read back.
    """
    content = {k: v for k, v in asdict(record).items() if k != "file"}
    if fault := _fault(content):
        raise AtlasError(f"The record can't be saved: {fault}.")
    plain = "".join(c if c.isalnum() else "-" for c in record.device.lower()).strip("-")
    file = folder / f"{record.experiment}-{plain}-{record.date}.json"
    write_text(file, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return file


def box(record: Record, table: Table) -> Shown:
    """A record's table in a box that says where it comes from."""
    source = f"{record.provenance} (records/{record.file})"
    markup = f'<div class="ua-record"><p>{html.escape(source)}</p>{table.to_html()}</div>'
    return Shown(markup, f"Recorded elsewhere: {source}\n\n{table.to_text()}")


def absent(what: str) -> Shown:
    """One line for a page that has neither measured something nor a record of it."""
    words = f"{what}: not measured in this build, and records/ holds no record of it."
    return Shown(f'<p class="ua-record-none">{html.escape(words)}</p>', words)


def _valid(folder: Path) -> Iterator[Record]:
    for file in sorted(folder.glob("*.json")):
        try:
            if file.stat().st_size > MAX_FILE_BYTES:
                raise ValueError(f"it is over {MAX_FILE_BYTES // 10**6} MB")
            content = json.loads(file.read_text("utf-8"))
            if fault := _fault(content):
                raise ValueError(fault)
        except (OSError, ValueError, RecursionError) as error:
            reason = (
                "it is not valid JSON" if isinstance(error, json.JSONDecodeError) else str(error)
            )
            _warn(file.name, reason)
            continue
        yield Record(**{**content, "rows": tuple(content["rows"])}, file=file.name)


def _fault(content: Any) -> str:
    """What keeps a JSON value from being a record; an empty string for a record."""
    if not isinstance(content, dict) or set(content) != KEYS:
        found = sorted(KEYS ^ set(content)) if isinstance(content, dict) else sorted(KEYS)
        return f"its keys are not those of a record ({', '.join(map(str, found))})"
    for key in TEXTS:
        if not isinstance(content[key], str) or not content[key].strip():
            return f"{key} is no text"
    versions, seconds, rows = content["versions"], content["seconds"], content["rows"]
    if (
        not isinstance(versions, dict)
        or not versions
        or not all(isinstance(v, str) for v in versions.values())
    ):
        return "versions is no table of names and versions"
    if type(seconds) not in (int, float) or not math.isfinite(seconds) or seconds < 0:
        return "seconds is no duration"
    if (
        not isinstance(rows, list | tuple)
        or not rows
        or not all(isinstance(r, dict) and r for r in rows)
    ):
        return "rows is no list of rows"
    try:
        date.fromisoformat(content["date"])
    except ValueError:
        return "date is no day as YYYY-MM-DD"
    return ""


def _warn(name: str, reason: str) -> None:
    warnings.warn(f"records/{name} is left out: {reason}", RuntimeWarning, stacklevel=3)
