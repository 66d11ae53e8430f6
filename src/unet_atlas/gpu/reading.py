"""Runs read back from ``records/``: what makes a JSON file a :class:`Run`, which one is shown.

:func:`fault` is the schema, and the recorder's witness as well: it judges what is written and what
is read by the same rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from unet_atlas import catalog, shelf
from unet_atlas.device import DTYPES
from unet_atlas.errors import AtlasError
from unet_atlas.gpu.run import EXPERIMENTS, FORMAT, SAMPLES, Experiment, Run
from unet_atlas.shelf import finite, speakable

KEYS = {"format", "device", "date", "seed", "quick", "versions", "clocks", "experiments"}
DIVISORS = {  # a zero here would be a division by zero on a page
    *("rate", "milliseconds", "macs", "moved", "weights", "batch", "latent", "resolution"),
    *("step", "images_per_second", "tokens", "used"),
}


def newest(*experiments: str, folder: Path | None = None) -> Run | None:
    """The newest run under ``records/`` that holds all of these experiments, or ``None``.

    A full run goes before any quick one.
    """
    found = [run for run in load(folder) if set(experiments) <= set(run.experiments)]
    return max(found, key=lambda run: (not run.quick, run.date, run.file), default=None)


def load(folder: Path | None = None) -> tuple[Run, ...]:
    """The valid runs of a folder, by default the book's, in the order of their files' names."""
    files = shelf.files(folder)
    return tuple(
        run_of(f.content, f.name)
        for f in files
        if not f.fault and is_run(f.content) and not left_out(f.content)
    )


def is_run(content: Any) -> bool:
    """Whether a JSON value means to be a run: it names a format, as records do not."""
    return isinstance(content, dict) and "format" in content


def left_out(content: Any) -> str:
    """Why pages do not show a run: its :func:`fault`, or a model or dtype unknown here."""
    return fault(content) or _stranger(run_of(content))


def run_of(content: Mapping[str, Any], file: str = "") -> Run:
    """The run that a JSON object without :func:`fault` holds."""
    found = content["experiments"].items()
    experiments = {name: Experiment(e["seconds"], tuple(e["rows"])) for name, e in found}
    plain = {key: content[key] for key in KEYS - {"format", "experiments"}}
    return Run(**plain, experiments=experiments, file=file)


def content_of(run: Run) -> dict[str, Any]:
    """A run as a JSON object; :func:`run_of` reads it back."""
    return {
        "format": FORMAT,
        "device": run.device,
        "date": run.date,
        "seed": run.seed,
        "quick": run.quick,
        "versions": dict(run.versions),
        "clocks": dict(run.clocks),
        "experiments": {
            name: {"seconds": e.seconds, "rows": [dict(row) for row in e.rows]}
            for name, e in run.experiments.items()
        },
    }


def fault(content: Any) -> str:
    """What keeps a JSON value from being a run, in words; an empty string for a run."""
    if not isinstance(content, dict) or set(content) != KEYS:
        found = sorted(KEYS ^ set(content)) if isinstance(content, dict) else sorted(KEYS)
        return f"its keys are not those of a run ({', '.join(map(str, found))})"
    if content["format"] != FORMAT:
        return f"its format is not '{FORMAT}'"
    return _fault_of_head(content) or _fault_of_experiments(content["experiments"])


def _fault_of_head(content: Mapping[str, Any]) -> str:
    """What is wrong with everything but the experiments."""
    if not _named(content["device"]):
        return "device is no text"
    if not _is_day(content["date"]):
        return "date is no day as YYYY-MM-DD"
    if type(content["seed"]) is not int:
        return "seed is no whole number"
    if type(content["quick"]) is not bool:
        return "quick is neither true nor false"
    versions, clocks = content["versions"], content["clocks"]
    if not isinstance(versions, dict) or not versions or not _all(speakable, versions):
        return "versions is no table of names and versions"
    if not isinstance(clocks, dict) or not _all(finite, clocks):
        return "clocks is no table of names and numbers"
    return ""


def _fault_of_experiments(experiments: Any) -> str:
    """What is wrong with the experiments: the first fault."""
    if not isinstance(experiments, dict) or not experiments:
        return "experiments is empty"
    for name, experiment in experiments.items():
        if name not in EXPERIMENTS:
            return f"{_short(name)} is no experiment; known are {', '.join(EXPERIMENTS)}"
        if not isinstance(experiment, dict) or set(experiment) != {"seconds", "rows"}:
            return f"{name} holds more or less than seconds and rows"
        if not finite(experiment["seconds"]) or experiment["seconds"] < 0:
            return f"{name}: seconds is no duration"
        rows = experiment["rows"]
        if not isinstance(rows, list | tuple) or not rows:
            return f"{name}: rows is no list of rows"
        if wrong := _first(fault_of_row(name, row) for row in rows):
            return f"{name}: {wrong}"
    return ""


def fault_of_row(experiment: str, row: Any) -> str:
    """What keeps a value from being a row of an experiment, in words; an empty string for a row."""
    columns = EXPERIMENTS[experiment]
    if not isinstance(row, Mapping) or set(row) != set(columns):
        found = sorted(set(columns) ^ set(row)) if isinstance(row, Mapping) else columns
        return f"a row has other columns than it should ({', '.join(map(_short, found))})"
    return _first(_fault_of_cell(name, row[name], kinds) for name, kinds in columns.items())


def _fault_of_cell(name: str, value: Any, kinds: tuple[type, ...]) -> str:
    """What is wrong with one cell: its type, a number that can't be, a text that can't be shown."""
    if type(value) not in kinds and not (kinds == SAMPLES and isinstance(value, tuple)):
        return f"{name} is {_short(value)}, of another type than it should be"
    if isinstance(value, list | tuple):
        return "" if all(finite(v) and v >= 0 for v in value) else f"{name} is no list of times"
    if isinstance(value, str):
        return "" if speakable(value) else f"{name} is no text"
    if value is None:
        return ""
    if not finite(value) or value < 0 or (value == 0 and name in DIVISORS):
        return f"{name} is {_short(value)}, which can't be"
    return ""


def _stranger(run: Run) -> str:
    """A model or dtype of the rows that this version of the book does not know."""
    for name, experiment in run.experiments.items():
        for row in experiment.rows:
            if "model" in row:
                try:
                    catalog.get(row["model"])
                except AtlasError:
                    return f"{name}: {_short(row['model'])} is no model of the catalogue"
            if name == "build" and row["dtype"] not in DTYPES:
                return f"build: {_short(row['dtype'])} is no dtype; known are {', '.join(DTYPES)}"
    return ""


def _named(value: Any) -> bool:
    return speakable(value) and value.isprintable() and bool(value.strip())


def _is_day(value: Any) -> bool:
    try:
        return isinstance(value, str) and date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def _all(holds: Any, table: Mapping[str, Any]) -> bool:
    return all(speakable(name) and holds(value) for name, value in table.items())


def _first(faults: Iterable[str]) -> str:
    return next(filter(None, faults), "")


def _short(value: Any) -> str:
    """A value as it may stand in a sentence."""
    words = repr(value)
    return words if len(words) <= 40 else words[:39] + "…"
