"""Measurements made on other hardware: JSON files under ``records/``, checked and shown as such.

One file is one run of one experiment::

    {"experiment": "unet-memory", "device": "…", "dtype": "bf16", "versions": {"torch": "…"},
     "date": "2026-01-31", "seconds": 41.2, "rows": [{"model": "sd-1.5", "weights": 1719041928}]}

A record is never shown as if it had been measured in the build at hand. Runs of a GPU stand in the
same folder, in a format of their own (:mod:`unet_atlas.gpu.reading`). A file that is neither is
named on the pages that show records, and left out.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from unet_atlas import shelf
from unet_atlas.errors import AtlasError
from unet_atlas.files import write_text
from unet_atlas.gpu import reading
from unet_atlas.shelf import LeftOut, finite, speakable
from unet_atlas.tables import Table

TEXTS = ("experiment", "device", "dtype", "date")
KEYS = {*TEXTS, "versions", "seconds", "rows"}
# What each row of a known experiment must hold.
COLUMNS: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "counters": {
        "tool": (str,),
        "version": (str,),
        "device": (str,),
        "model": (str,),
        "latent": (int,),
        "ratio": (int, float, type(None)),
    }
}


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


def load(folder: Path | None = None) -> tuple[Record, ...]:
    """The valid records of a folder, by default the book's; oldest first."""
    found = (
        Record(**{**f.content, "rows": tuple(f.content["rows"])}, file=f.name)
        for f in shelf.files(folder)
        if not f.fault and not reading.is_run(f.content) and not _fault(f.content)
    )
    return tuple(sorted(found, key=lambda record: (record.date, record.file)))


def newest(experiment: str, folder: Path | None = None) -> Record | None:
    """The newest valid record of an experiment, or ``None``."""
    found = [record for record in load(folder) if record.experiment == experiment]
    return found[-1] if found else None


def left_out(folder: Path | None = None) -> tuple[LeftOut, ...]:
    """The files of a folder, by default the book's, that are neither a record nor a run."""
    found = ((f.name, f.fault or _why_not(f.content)) for f in shelf.files(folder))
    return tuple(LeftOut(name, reason) for name, reason in found if reason)


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
    return boxed(f"{record.provenance} (records/{record.file})", table)


def boxed(source: str, *pieces: Table | Shown) -> Shown:
    """What was recorded elsewhere, in a box that says where it comes from."""
    body = "".join(piece._repr_html_() for piece in pieces)
    markup = f'<div class="ua-record"><p>{html.escape(source)}</p>{body}</div>'
    words = [piece.to_text() if isinstance(piece, Table) else piece.words for piece in pieces]
    return with_left_out(Shown(markup, "\n\n".join([f"Recorded elsewhere: {source}", *words])))


def absent(what: str) -> Shown:
    """One line for a page that has neither measured something nor a record of it."""
    words = f"{what}: not measured in this build, and records/ holds no record of it."
    markup = f'<p class="ua-record-none">{html.escape(words)}</p>'
    return with_left_out(Shown(markup, words))


def with_left_out(shown: Shown) -> Shown:
    """What is shown, and a line below it for each file that is no record."""
    lines = [file.words for file in left_out()]
    markup = "".join(f'<p class="ua-record-none">{html.escape(line)}</p>' for line in lines)
    return Shown(shown.markup + markup, "\n\n".join([shown.words, *lines]))


def _why_not(content: Any) -> str:
    """Why a JSON value is shown on no page; an empty string for a record and for a run."""
    return reading.left_out(content) if reading.is_run(content) else _fault(content)


def _fault(content: Any) -> str:
    """What keeps a JSON value from being a record; an empty string for a record."""
    if not isinstance(content, dict) or set(content) != KEYS:
        found = sorted(KEYS ^ set(content)) if isinstance(content, dict) else sorted(KEYS)
        return f"its keys are not those of a record ({', '.join(map(str, found))})"
    for key in TEXTS:
        if not speakable(content[key]) or not content[key].strip():
            return f"{key} is no text"
    versions, seconds, rows = content["versions"], content["seconds"], content["rows"]
    if (
        not isinstance(versions, dict)
        or not versions
        or not all(speakable(text) for pair in versions.items() for text in pair)
    ):
        return "versions is no table of names and versions"
    if not finite(seconds) or seconds < 0:
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
    return _fault_of_rows(rows, COLUMNS.get(content["experiment"], {}))


def _fault_of_rows(
    rows: Sequence[Mapping[str, Any]], columns: Mapping[str, tuple[type, ...]]
) -> str:
    for row in rows:
        for name, kinds in columns.items():
            if type(row.get(name, ...)) not in kinds:
                return f"'{name}' is missing from a row or of another type"
    return ""
