"""A sampling run on disk: PNGs, ``captions.csv`` and ``provenance.json``; it can be gone on with.

The two tables are written before the first picture, so that a folder always says what its pictures
are; a picture is written whole or not at all, and carries its caption, seed and recipe as PNG text.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from diffusers import DiffusionPipeline

from unet_atlas.errors import AtlasError
from unet_atlas.files import write_text
from unet_atlas.images import Captions, read_facts, read_image, write_png
from unet_atlas.sampling.pictures import (
    Recipe,
    Sampled,
    bar,
    check_batch,
    chosen,
    per_prompt,
    provenance,
    sample,
    seed_of,
    truncated,
)
from unet_atlas.tables import Table

CAPTIONS, PROVENANCE = "captions.csv", "provenance.json"
MUST_AGREE = ("model", "pipeline", "scheduler", "recipe", "conditioning", "dtype", "device")
MUST_AGREE += ("versions", "base_seed")
FORBIDDEN = set('/\\:*?"<>|\0')

Row = dict[str, Any]  # file, caption, seed


def sample_into(
    folder: str | Path,
    pipeline: DiffusionPipeline,
    captions: Captions,
    recipe: Recipe | None = None,
    base_seed: int = 0,
    batch: int = 16,
    resume: bool = False,
    progress: bool = False,
    **conditioning: Any,
) -> dict[str, Any]:
    """Draw a picture a caption into a folder; returns the provenance that it writes.

    Args:
        folder: made where it is missing; must be empty unless ``resume``.
        resume: keep the pictures that are there and draw the others, as an unbroken run would. The
            run may be longer than before; everything else must be the same.
        conditioning: as :func:`sample` takes it; where there is an image a caption, each stays with
            its own, whatever the batch.

    Raises:
        AtlasError: the folder holds something else, the run differs from the one to resume, or
            what :func:`sample` refuses.
    """
    folder, recipe = Path(folder), recipe or Recipe()
    check_batch(batch)
    rows = rows_of(captions, base_seed)
    conditioned = per_prompt(pipeline, conditioning, len(rows))
    facts = provenance(pipeline, recipe, **conditioning) | {
        "base_seed": base_seed,
        "pictures": len(rows),
        "truncated": truncated(pipeline, captions.texts),
        "seconds": _open(folder, rows, resume),
        "complete": False,
    }
    try:
        if (folder / PROVENANCE).exists():
            check_same(folder, facts)
        todo = [i for i, row in enumerate(rows) if not _drawn(folder, row)]
        for start in bar(range(0, len(todo), batch), progress):
            places = todo[start : start + batch]
            part = [rows[i] for i in places]
            drawn = _draw(pipeline, part, recipe, chosen(conditioned, places))
            facts["seconds"] = round(facts["seconds"] + drawn.provenance["seconds"], 3)
            write_tables(folder, rows, facts)
            for row, image in zip(part, drawn.images, strict=True):
                write_png(folder / row["file"], image, _text(row, facts))
    finally:
        with suppress(OSError):
            folder.rmdir()  # which does nothing unless it is still empty
    facts |= {"complete": True, "digest": digest_of(folder, rows)}
    write_tables(folder, rows, facts)
    return facts


def _draw(
    pipeline: DiffusionPipeline, rows: Sequence[Row], recipe: Recipe, conditioning: dict[str, Any]
) -> Sampled:
    texts, seeds = [r["caption"] for r in rows], [r["seed"] for r in rows]
    return sample(pipeline, texts, recipe, seeds, batch=len(rows), **conditioning)


def run_table(folder: str | Path, facts: dict[str, Any]) -> Table:
    """The provenance of a run as a table, one row a fact."""
    rows = {"folder": Path(folder).resolve().name}
    for key, value in facts.items():
        if isinstance(value, dict):
            rows |= {f"{key}: {name}": inner for name, inner in value.items()}
        else:
            rows[key] = value
    plain = [v if isinstance(v, str | int | float) else json.dumps(v) for v in rows.values()]
    data = pd.DataFrame({"fact": list(rows), "value": pd.Series(plain, dtype=object)})
    caption = f"{facts['pictures']:,} pictures in {rows['folder']}"
    return Table("run", caption, data.astype(str), data)


def rows_of(captions: Captions, base_seed: int) -> list[Row]:
    """What is drawn: file, caption and seed of each prompt, in the order of the captions.

    Raises:
        AtlasError: a name that no file can have.
    """
    ids = captions.ids or [f"{i:05d}" for i in range(len(captions))]
    for name in ids:
        if FORBIDDEN & set(name) or name.startswith("."):
            raise AtlasError(f"{captions.source}: {name!r} can't be a file's name; rename it.")
    return [
        {"file": f"{name}.png", "caption": text, "seed": seed_of(base_seed, index)}
        for index, (name, text) in enumerate(zip(ids, captions.texts, strict=True))
    ]


def _open(folder: Path, rows: Sequence[Row], resume: bool) -> float:
    """Make or check the folder; returns the seconds that were spent on it before."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        filled = any(folder.iterdir())
    except OSError as error:
        raise AtlasError(f"'{folder}' can't be made a folder: {error.strerror}.") from None
    if not filled:
        return 0.0
    if not resume:
        raise AtlasError(
            f"The folder '{folder}' is not empty; name another one, or resume the run."
        )
    old = _read(folder, CAPTIONS)
    if not as_csv(rows).startswith(old):
        raise AtlasError(f"'{folder / CAPTIONS}' has other captions or seeds; name another folder.")
    return float(read_provenance(folder).get("seconds", 0.0))


def check_same(folder: Path, facts: dict[str, Any], keys: Sequence[str] = MUST_AGREE) -> None:
    """The run that is gone on with must be the one that was begun.

    Raises:
        AtlasError: there is none, or it differs in one of the keys.
    """
    old = read_provenance(folder)
    for key in keys:
        if old.get(key) != json.loads(json.dumps(facts[key])):
            raise AtlasError(
                f"The run in '{folder}' was begun with another {key} ({_brief(old.get(key))}, now "
                f"{_brief(facts[key])}); name another folder."
            )


def _read(folder: Path, name: str) -> str:
    try:
        return (folder / name).read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise AtlasError(
            f"The folder '{folder}' holds no run to resume (no readable '{name}'); name another."
        ) from None


def read_provenance(folder: Path) -> dict[str, Any]:
    """The ``provenance.json`` of a folder.

    Raises:
        AtlasError: there is none, or it is no JSON object.
    """
    text = _read(folder, PROVENANCE)
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise AtlasError(f"'{folder / PROVENANCE}' is not one JSON object; name another folder.")
    return content


def _brief(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:120]


def digest_of(folder: Path, rows: Sequence[Row]) -> str:
    """The digest that :class:`Sampled` would have, one file in memory at a time."""
    first = read_image(folder / rows[0]["file"])
    digest = hashlib.sha256(str((len(rows), *first.shape)).encode())
    for row in rows:
        digest.update(np.ascontiguousarray(read_image(folder / row["file"])))
    return digest.hexdigest()


def _drawn(folder: Path, row: Row) -> bool:
    """Whether this picture is there, whole, and drawn from this caption and seed."""
    found = read_facts(folder / row["file"])
    return (found.get("caption"), found.get("seed")) == (row["caption"], str(row["seed"]))


def _text(row: Row, facts: dict[str, Any]) -> dict[str, str]:
    return {
        "caption": row["caption"],
        "seed": str(row["seed"]),
        "recipe": json.dumps(facts["recipe"]),
        "model": facts["model"],
    }


def as_csv(rows: Sequence[Row]) -> str:
    """The text of ``captions.csv``."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ["file", "caption", "seed"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_tables(folder: Path, rows: Sequence[Row], facts: dict[str, Any]) -> None:
    """Write ``captions.csv`` and ``provenance.json``, each whole or not at all."""
    write_text(folder / CAPTIONS, as_csv(rows))
    write_text(folder / PROVENANCE, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
