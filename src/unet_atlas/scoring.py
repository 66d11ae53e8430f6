"""A folder of pictures and its captions → one table of scores, each with its interval and protocol.

FID and KID compare with a reference, CLIP score with the captions, and the oracle reads pictures of
the picture world. Beside each value stand the number of pictures, the features, what they were
resized to, how the interval was taken, and, in the caption, the recipe and the versions.

Book: *FID from the ground up*, *CLIP score*.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from unet_atlas import __version__
from unet_atlas.errors import AtlasError
from unet_atlas.images import ImageFolder, open_folder, read_captions
from unet_atlas.metrics.bootstrap import LEAST_OF_KID, Estimate, interval, interval_of, wilson
from unet_atlas.metrics.clipscore import agreement, clip_score_hessel, clip_score_percent
from unet_atlas.metrics.clipscore import text_features as clip_text_features
from unet_atlas.metrics.frechet import Moments, frechet_from_features, frechet_gaussians
from unet_atlas.metrics.kernels import kid
from unet_atlas.mini.members import SCORER
from unet_atlas.reference import (
    HELD,
    Extractor,
    Reference,
    check_count,
    check_file,
    extractor_of,
    read_reference,
    write_reference,
)
from unet_atlas.sampling.folders import CAPTIONS, PROVENANCE
from unet_atlas.scorer import LIBRARY, Scorer, load_scorer
from unet_atlas.tables import NONE, Table

OURS = f"unet-atlas {__version__}"
ORACLE = ("right", "objects", "relation", "count", "shapes", "colours", "sizes")
CENTRED, PERCENTILE = "bootstrap, centred", "bootstrap, percentile"


@dataclass(frozen=True)
class Score:
    """One value with all that it depends on.

    Attributes:
        metric: its name and convention.
        value, low, high: with the ends of the 95 % interval; NaN where there is no interval.
        method: how the interval was taken, or why there is none.
        pictures: that it was computed from.
        reference: pictures in the reference; 0 where there is none.
        features: extractor and dimension.
        resized: what the extractor turns a picture into.
        library: that computes it.
    """

    metric: str
    value: float
    low: float
    high: float
    method: str
    pictures: int
    reference: int
    features: str
    resized: str
    library: str


def score(
    pictures: str | Path,
    *,
    captions: str | Path | None = None,
    reference: str | Path | None = None,
    save_reference: str | Path | None = None,
    clip: str | Path | Scorer = SCORER,
    features: str = "clip",
    inception: str | Path | None = None,
    device: str | torch.device = "cpu",
    oracle: bool = False,
    subset: bool = False,
    prefix: str = "",
    resamples: int = 200,
    seed: int = 0,
) -> Table:
    """Score a folder of pictures, or store its features as a reference, or both.

    Args:
        pictures: the folder.
        captions: their captions file; by default the folder's own ``captions.csv``.
        reference: a folder of images of the same size, or an ``.npz`` of ``save_reference`` or
            pytorch-fid (``mu``, ``sigma``). Without it there is no FID and no KID.
        save_reference: an ``.npz`` to store this folder's features in.
        clip: the CLIP model, by default the shipped one.
        features: of FID and KID: ``clip`` (before the projection) or ``inception``.
        inception: a file of torch-fidelity's weights.
        device: where the models run; a :class:`Scorer` stays where it is.
        oracle: also read the pictures with the picture world's oracle.
        subset: allow captions without a picture.
        prefix: put before each caption for the CLIP score; Hessel et al. use "A photo depicts ".
        resamples, seed: of the intervals.

    Returns:
        the scores; for a folder that has nothing to be compared with, what was stored.

    Raises:
        AtlasError: anything that can't be read or doesn't fit, or nothing to do.
    """
    shown = open_folder(pictures)
    texts = _captions(shown, captions, subset)
    _check_job(shown, texts, reference, save_reference, oracle)
    compared = reference is not None or save_reference is not None
    if not isinstance(clip, Scorer) and (texts is not None or features == "clip"):
        clip = load_scorer(clip, device)
    scorer = clip if isinstance(clip, Scorer) else None
    extractor = extractor_of(features, scorer, inception, device) if compared else None
    known = None if reference is None else read_reference(reference, extractor, shown.size)
    found = extractor.over(shown) if compared else None
    if save_reference is not None:
        write_reference(save_reference, found, extractor, shown.size)
    rows: list[Score] = []
    if known is not None:
        rows += _against_reference(found, known, extractor, resamples, seed)
    if texts is not None:
        same = compared and features == "clip"
        pooled = found if same else extractor_of("clip", scorer).over(shown)
        rows += _against_captions(pooled, texts, scorer, prefix, resamples, seed)
        rows += _by_oracle(shown, texts) if oracle else []
    if not rows:
        return stored_table(shown, found, extractor, Path(save_reference))
    note = f"95 % intervals from {resamples} resamples of the pictures"
    note += f", captions after {prefix!r}" if prefix else ""
    note += f"; features stored in {Path(save_reference).name}" if save_reference else ""
    return scores_table(rows, shown, note)


def scores_table(rows: Sequence[Score], images: ImageFolder, note: str) -> Table:
    """The scores as a table; its caption has the recipe of the folder and the versions."""
    recipe = _recipe(images.path)
    data = pd.DataFrame([asdict(r) for r in rows])
    data = data.assign(**{k: recipe[k] for k in ("sampler", "steps", "guidance") if k in recipe})
    shown = pd.DataFrame(
        {
            "metric": data["metric"],
            "value": [_number(v) for v in data["value"]],
            "95 % interval": [
                f"{_number(low)} to {_number(high)}" if math.isfinite(low) else NONE
                for low, high in zip(data["low"], data["high"], strict=True)
            ],
            "interval by": data["method"],
            "pictures": [f"{n:,}" for n in data["pictures"]],
            "reference": [f"{n:,}" if n else NONE for n in data["reference"]],
            "features": data["features"],
            "resized to": data["resized"],
            "library": data["library"],
        }
    )
    drawn = (
        f" by {recipe['model']}, {recipe['sampler']}, {recipe['steps']} steps, "
        f"guidance {recipe['guidance']:g}"
        if recipe
        else ""
    )
    caption = (
        f"{_described(images)}{drawn}; {note}; {OURS}, torch {torch.__version__}, "
        f"numpy {np.__version__}"
    )
    return Table("scores", caption, shown, data)


def stored_table(
    images: ImageFolder, features: np.ndarray, extractor: Extractor, file: Path
) -> Table:
    """What was stored as a reference: one row."""
    facts = {
        "stored in": str(file),
        "pictures": len(features),
        "features": f"{extractor.name} ({features.shape[1]})",
        "resized to": extractor.resized,
        "library": extractor.library,
    }
    data = pd.DataFrame([facts])
    caption = f"Features of {_described(images)}, stored as a reference; {OURS}"
    return Table("reference", caption, data.assign(pictures=f"{len(features):,}"), data)


def _captions(
    shown: ImageFolder, captions: str | Path | None, subset: bool
) -> tuple[str, ...] | None:
    """The caption of each picture; ``None`` where no file is named and the folder has none."""
    own = shown.path / CAPTIONS
    if captions is None and not own.is_file():
        return None
    return read_captions(own if captions is None else captions).for_images(shown.ids, subset)


def _check_job(
    shown: ImageFolder,
    texts: Sequence[str] | None,
    reference: str | Path | None,
    save_reference: str | Path | None,
    oracle: bool,
) -> None:
    """Refuse, before any work, what can't be done."""
    check_count(shown)
    if oracle and texts is None:
        raise AtlasError(f"The oracle needs the captions of '{shown.path}'; name them.")
    if save_reference is not None:
        check_file(save_reference)
    elif texts is None and reference is None:
        raise AtlasError(
            f"There is nothing to compare '{shown.path}' with; name captions, a reference or both."
        )


def _against_reference(
    x: np.ndarray, reference: Reference, extractor: Extractor, resamples: int, seed: int
) -> Iterator[Score]:
    """FID of features (n, d), and KID where the reference has features."""
    facts = (len(x), reference.n, f"{extractor.name} ({x.shape[1]})", extractor.resized)
    facts += (f"{OURS} on {extractor.library}",)
    y = reference.features
    if y is None:
        fid = interval_of(x, x, _to_gaussian(reference), resamples, seed)
        yield _score("FID", fid, CENTRED, *facts)
        return
    fid = interval_of(x, y, frechet_from_features, resamples, seed)
    yield _score("FID", fid, CENTRED, *facts)
    found = interval_of(x, y, kid, resamples, seed)
    method = CENTRED if len(x) >= LEAST_OF_KID else f"none below {LEAST_OF_KID} pictures"
    yield _score("KID × 1,000", _times(found, 1000), method, *facts)


def _to_gaussian(reference: Reference) -> Callable[[np.ndarray, np.ndarray], float]:
    """FID from the mean and covariance of a reference whose features are not known."""

    def distance(x: np.ndarray, _: np.ndarray) -> float:
        mine = Moments.of(x, x.mean(axis=0))
        return frechet_gaussians(mine.mean, mine.covariance, reference.mean, reference.covariance)

    return distance


def _against_captions(
    pooled: np.ndarray,
    captions: Sequence[str],
    scorer: Scorer,
    prefix: str,
    resamples: int,
    seed: int,
) -> list[Score]:
    """CLIP score in both conventions, from the same cosines; ``pooled`` is before the projection,
    (n, d)."""
    texts = [prefix + caption for caption in captions]
    text = clip_text_features(scorer.model, scorer.tokenizer, texts)
    found = agreement(scorer.projected(pooled), text)
    label = f"{scorer.label}, projected ({text.shape[1]})"
    facts = (PERCENTILE, len(found), 0, label, scorer.resized, f"{OURS} on {LIBRARY}")
    hessel = interval(clip_score_hessel(found), np.mean, resamples, seed)
    percent = interval(found, clip_score_percent, resamples, seed)
    return [
        _score("CLIP score, 2.5 · max(cos, 0)", hessel, *facts),
        _score("CLIP score, 100 · cos", percent, *facts),
    ]


def _by_oracle(images: ImageFolder, captions: Sequence[str]) -> list[Score]:
    """Shares of pictures that are right, by the picture world's oracle, with Wilson intervals."""
    from unet_atlas.shapes.oracle import judge_all

    parts = [
        judge_all(captions[at : at + HELD], list(part))
        for at, part in zip(range(0, len(images), HELD), images.batches(HELD), strict=True)
    ]
    verdicts = pd.concat(parts)
    rows = []
    for aspect in ORACLE:
        asked = verdicts[aspect].dropna()
        if len(asked):
            share = wilson(int(asked.sum()), len(asked))
            facts = ("Wilson", len(asked), 0, "the picture world's oracle", "not", OURS)
            rows.append(_score(f"oracle: {aspect}", share, *facts))
    return rows


def _score(metric: str, estimate: Estimate, *facts: Any) -> Score:
    return Score(metric, estimate.value, estimate.low, estimate.high, *facts)


def _times(estimate: Estimate, factor: float) -> Estimate:
    return Estimate(estimate.value * factor, estimate.low * factor, estimate.high * factor)


def _recipe(home: Path) -> dict[str, Any]:
    """What a folder of ``unet-atlas sample`` says of itself; empty for another folder."""
    try:
        facts = json.loads((home / PROVENANCE).read_text("utf-8"))
        return {
            "model": str(facts["model"]),
            **{k: facts["recipe"][k] for k in ("sampler", "steps", "guidance")},
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _described(images: ImageFolder) -> str:
    width, height = images.size
    return f"{len(images):,} pictures of {width} × {height} in {images.path.resolve().name}"


def _number(value: float) -> str:
    if math.isnan(value):
        return NONE
    text = f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.1f}"
    return text.replace("-", "−")
