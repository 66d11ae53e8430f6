"""What an evaluation found: the scores as a table, ``scores.json`` and a record."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import accelerate
import pandas as pd

from unet_atlas.evaluation.protocol import Options, verdicts
from unet_atlas.files import write_text
from unet_atlas.images import ImageFolder
from unet_atlas.records import Record
from unet_atlas.scoring import Score, scores_table
from unet_atlas.tables import NONE, Table

EXPERIMENT, SCORES = "evaluation", "scores.json"
SIGNS = {True: "inside", False: "outside", None: NONE}


def rows_of_record(
    options: Options,
    facts: Mapping[str, Any],
    scores: Sequence[Score],
    compared: Mapping[str, Any],
    speed: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """The rows of a record, by kind: the run, its scores, its speed, the protocol's windows.

    Args:
        facts: the provenance of the run.
        compared: ``captions_digest``, ``reference_digest``, ``reference_pictures``, ``parts``,
            ``pictures_digest``, ``size`` of the pictures, ``clip``, the shape of the CLIP model.
        speed: of this launch.
    """
    run = {
        "kind": "run",
        **{name: facts[name] for name in ("model", "pipeline", "weights", "pictures")},
        "captions": options.captions.name,
        "latents": facts["latents"],
        **facts["recipe"],
        "seed": facts["base_seed"],
        "batch": facts["batch"],
        "truncated": facts["truncated"],
        "protocol": options.protocol,
        "reference": options.reference and options.reference.resolve().name,
        **compared,
    }
    rows = [run, *({"kind": "score", **asdict(score)} for score in scores)]
    rows.append({"kind": "throughput", **speed})
    rows += [{"kind": "window", **row} for row in windows_of(options, facts, scores, compared)]
    return [{key: _plain(value) for key, value in row.items()} for row in rows]


def windows_of(
    options: Options,
    facts: Mapping[str, Any],
    scores: Sequence[Score],
    compared: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Whether the scores fall into the protocol's windows; nothing without a protocol."""
    if options.preset is None:
        return []
    values = {score.metric: score.value for score in scores}
    drawn = (facts["pictures"], facts["pipeline"], compared["size"])
    return verdicts(options.preset, values, *drawn, compared["clip"])


def record_of(facts: Mapping[str, Any], rows: Sequence[dict[str, Any]], seconds: float) -> Record:
    """A launch as a record of :mod:`unet_atlas.records`."""
    device = facts["device"]
    if device == "cpu":
        kind = platform.machine().replace("_", "-")
        device = f"{kind} CPU with {os.cpu_count()} cores"
    versions = facts["versions"] | {"accelerate": accelerate.__version__}
    today = date.today().isoformat()
    return Record(EXPERIMENT, device, facts["dtype"], versions, today, round(seconds, 1), (*rows,))


def write(record: Record, file: Path) -> None:
    """Write a record, a row a line, whole or not at all.

    Raises:
        AtlasError: the file can't be written.
    """
    content = {key: value for key, value in asdict(record).items() if key != "file"}
    text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    write_text(file, text.replace("}, {", "},\n {") + "\n")


def tables(record: Record, scores: Sequence[Score], images: ImageFolder, parts: int) -> list[Table]:
    """The scores, the launch's speed, and how they stand to the protocol's window."""
    note = f"FID's interval by the jackknife over {parts} parts, KID's by Student over them"
    shown = [scores_table(scores, images, note), _speed_table(record)]
    windows = [row for row in record.rows if row["kind"] == "window"]
    return [*shown, _window_table(windows)] if windows else shown


def _speed_table(record: Record) -> Table:
    row = next(row for row in record.rows if row["kind"] == "throughput")
    peak = row["gpu_bytes"]
    facts = {
        "processes": row["processes"],
        "pictures drawn now": row["drawn"],
        "found drawn": row["found"],
        "seconds of drawing": row["seconds"],
        "images a second": row["images_per_second"],
        "of each process": ", ".join(f"{rate:.3g}" for rate in row["by_process"]),
        "seconds of scoring": row["scoring_seconds"],
        "at once, at least": row["smallest_batch"],
        "GPU memory, peak": NONE if peak is None else f"{peak / 1e9:.2f} GB",
    }
    data = pd.DataFrame([facts])
    plain = [f"{v:,.3g}" if isinstance(v, float) else str(v) for v in facts.values()]
    return Table("speed", f"This launch; {record.provenance}", _one_row(facts, plain), data)


def _one_row(facts: Mapping[str, Any], words: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame([dict(zip(facts, words, strict=True))])


def _window_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    data = pd.DataFrame(rows)
    shown = pd.DataFrame(
        {
            "metric": data["metric"],
            "value": [NONE if v is None else f"{v:.5f}" for v in (r["value"] for r in rows)],
            "window": [f"{row['low']} to {row['high']}" for row in rows],
            "verdict": [row["reason"] or SIGNS[row["inside"]] for row in rows],
        }
    )
    return Table("window", f"The protocol's window ({rows[0]['source']})", shown, data)


def _plain(value: Any) -> Any:
    """A value that JSON knows; NaN is none."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
