"""A folder of pictures and its captions → one table of scores, each with its interval and protocol.

FID and KID compare with a reference, CLIP score with the captions, and the oracle reads pictures of
the picture world. Beside each value stand the number of pictures, the features, what they were
resized to, and, in the caption, the recipe and the versions.

Book: *FID from the ground up*, *CLIP score*.
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import transformers

from unet_atlas import __version__
from unet_atlas.errors import AtlasError, first_sentence
from unet_atlas.images import Captions, ImageFolder, open_folder, read_captions
from unet_atlas.metrics.bootstrap import Estimate, interval, interval_of, wilson
from unet_atlas.metrics.clipscore import clip_score_hessel, clip_score_percent, cosines
from unet_atlas.metrics.features import clip_features, inception_features
from unet_atlas.metrics.frechet import Moments, frechet_from_features, frechet_gaussians
from unet_atlas.metrics.kernels import kid
from unet_atlas.mini.members import SCORER, folder
from unet_atlas.sampling.folders import CAPTIONS, PROVENANCE
from unet_atlas.sampling.pipelines import PICKLED, quiet
from unet_atlas.tables import NONE, Table

FEATURES = ("clip", "inception")
HELD = 256  # pictures in memory at once
ORACLE = ("right", "objects", "relation", "count", "shapes", "colours", "sizes")


@dataclass(frozen=True)
class Score:
    """One value with all that it depends on.

    Attributes:
        metric: its name and convention.
        value, low, high: with the ends of the 95 % interval; NaN where there is no interval.
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
    pictures: int
    reference: int
    features: str
    resized: str
    library: str


@dataclass(frozen=True)
class Scorer:
    """A CLIP model with what belongs to it."""

    model: Any
    tokenizer: Any
    processor: Any
    label: str

    @property
    def resized(self) -> str:
        """``64 px, bicubic``: what the image processor makes of a picture."""
        size = self.model.config.vision_config.image_size
        kinds = {0: "nearest", 1: "Lanczos", 2: "bilinear", 3: "bicubic"}
        if not self.processor.do_resize:
            return f"not ({size} px)"
        return f"{size} px, {kinds.get(int(self.processor.resample), 'other')}"


@dataclass(frozen=True)
class Reference:
    """What pictures are compared with: features (n, d), or only their mean and covariance."""

    n: int
    features: np.ndarray | None
    mean: np.ndarray | None = None
    covariance: np.ndarray | None = None


def load_scorer(source: str | Path = SCORER, device: str | torch.device = "cpu") -> Scorer:
    """A CLIP model that scores, from the mini family or a folder of transformers' (safetensors).

    Raises:
        AtlasError: no such folder, pickled or broken weights, or another kind of model.
    """
    path = Path(source)
    if not path.is_dir():
        if str(source) != SCORER:
            raise AtlasError(f"There is no folder '{source}' with a CLIP model; save one there.")
        path = folder(SCORER)
    names = [f.name for f in path.iterdir()]
    if any(n.endswith(PICKLED) for n in names) and not any(".safetensors" in n for n in names):
        raise AtlasError(
            f"The folder '{path}' holds pickled weights, which can run code when they are opened; "
            "where you trust them, load them and write model.save_pretrained(folder)."
        )
    options = {"local_files_only": True}
    try:
        with quiet():  # the import too: it speaks of torchvision
            from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

            model = CLIPModel.from_pretrained(path, use_safetensors=True, **options)
            tokenizer = CLIPTokenizer.from_pretrained(path, **options)
            processor = CLIPImageProcessor.from_pretrained(path, **options)
    except Exception as error:  # of transformers, tokenizers, safetensors and the file system
        raise AtlasError(f"'{path}' is no CLIP model: {first_sentence(error)}") from None
    return Scorer(model.float().eval().to(device), tokenizer, processor, path.resolve().name)


def score(
    pictures: str | Path,
    captions: str | Path | None = None,
    reference: str | Path | None = None,
    clip: str | Path | Scorer = SCORER,
    features: str = "clip",
    oracle: bool = False,
    subset: bool = False,
    prefix: str = "",
    resamples: int = 200,
    seed: int = 0,
    inception: str | Path | None = None,
) -> Table:
    """Score a folder of pictures.

    Args:
        pictures: the folder.
        captions: their captions file; by default the folder's own ``captions.csv``.
        reference: a folder of images of the same size, or an ``.npz`` of :func:`save_reference` or
            pytorch-fid (``mu``, ``sigma``). Without it there is no FID and no KID.
        clip: the CLIP model, by default the shipped one.
        features: of FID and KID: ``clip`` (before the projection) or ``inception``.
        oracle: also read the pictures with the picture world's oracle.
        subset: allow captions without a picture.
        prefix: put before each caption for the CLIP score; Hessel et al. use "A photo depicts ".
        resamples, seed: of the intervals.
        inception: a file of torch-fidelity's weights.

    Raises:
        AtlasError: anything that can't be read or doesn't fit, or nothing to compare with.
    """
    shown = open_folder(pictures)
    texts = _captions(shown, captions, subset)
    if texts is None and reference is None:
        raise AtlasError(
            f"There is nothing to compare '{pictures}' with; name captions, a reference or both."
        )
    _check_count(shown)
    scorer = clip if isinstance(clip, Scorer) else None
    if scorer is None and (texts is not None or features == "clip"):
        scorer = load_scorer(clip)
    rows: list[Score] = []
    if reference is not None:
        extractor = extractor_of(features, scorer, inception)
        known = read_reference(reference, extractor, shown.size)
        rows += _against_reference(shown, known, extractor, resamples, seed)
    if texts is not None:
        rows += _against_captions(shown, texts, scorer, prefix, resamples, seed)
        rows += _by_oracle(shown, texts) if oracle else []
    elif oracle:
        raise AtlasError(f"The oracle needs the captions of '{pictures}'; name them.")
    note = f"95 % intervals from {resamples} resamples of the pictures"
    return scores_table(rows, shown, f"{note}, captions after {prefix!r}" if prefix else note)


@dataclass(frozen=True)
class Extractor:
    """Pictures → features for FID and KID: what it is called, what it does to a picture."""

    name: str
    resized: str
    library: str
    call: Callable[[np.ndarray], np.ndarray]

    def over(self, images: ImageFolder) -> np.ndarray:
        """The features of a folder, (n, d) float64, never more than ``HELD`` pictures at once."""
        return np.concatenate([self.call(part) for part in images.batches(HELD)])


def extractor_of(
    features: str, scorer: Scorer | None = None, inception: str | Path | None = None
) -> Extractor:
    """The extractor of a name in :data:`FEATURES`.

    Raises:
        AtlasError: the name is unknown, or ``clip`` comes without a model.
    """
    if features == "inception":
        return Extractor(
            "Inception, pool 3",
            "299 px, bilinear of TensorFlow 1",
            "torch-fidelity",
            lambda images: inception_features(images, weights=inception),
        )
    if features != "clip" or scorer is None:
        raise AtlasError(f"{features!r} are no features; use {' or '.join(FEATURES)}.")
    return Extractor(
        f"{scorer.label}, before the projection",
        scorer.resized,
        f"transformers {transformers.__version__}",
        lambda images: clip_features(scorer.model, scorer.processor, images, projected=False),
    )


def save_reference(images: str | Path, file: str | Path, extractor: Extractor) -> Reference:
    """Write the features of a folder as ``.npz``: they needn't be computed again.

    Raises:
        AtlasError: the folder or the file can't be read or written.
    """
    opened = open_folder(images)
    _check_count(opened)
    features = extractor.over(opened)
    _write_npz(
        Path(file),
        features=features,
        extractor=extractor.name,
        size=np.array(opened.size),
    )
    return Reference(len(features), features)


def read_reference(
    source: str | Path, extractor: Extractor, size: tuple[int, int] | None = None
) -> Reference:
    """A reference from a folder of images, or from an ``.npz``.

    Args:
        source: a folder, a file of :func:`save_reference`, or one with ``mu`` and ``sigma``.
        extractor: of the features; a file that names another one is refused.
        size: (width, height) that the reference's pictures must have, where that is known: FID
            changes when only one of two sets is resized.

    Raises:
        AtlasError: unreadable, made by another extractor, or of another size.
    """
    if Path(source).suffix.lower() != ".npz":
        images = open_folder(source)
        _check_count(images)
        _check_size(images.size, size, source)
        features = extractor.over(images)
        return Reference(len(features), features)
    stored = _read_npz(Path(source))
    made_by = str(stored.get("extractor", extractor.name))
    if made_by != extractor.name:
        raise AtlasError(
            f"'{source}' has features of {made_by!r}, these are of {extractor.name!r}; "
            "take both from the same extractor."
        )
    if "size" in stored:
        _check_size(tuple(map(int, stored["size"])), size, source)
    if "features" in stored:
        return Reference(len(stored["features"]), stored["features"])
    if not {"mu", "sigma"} <= set(stored):
        raise AtlasError(f"'{source}' has neither 'features' nor 'mu' and 'sigma'; write it anew.")
    return Reference(int(stored.get("n", 0)), None, stored["mu"], stored["sigma"])


def scores_table(rows: Sequence[Score], images: ImageFolder, note: str = "") -> Table:
    """The scores as a table; its caption has the recipe of the folder and the versions."""
    recipe = _recipe(images.path)
    data = pd.DataFrame([asdict(r) for r in rows])
    data = data.assign(**{k: recipe[k] for k in ("sampler", "steps", "guidance") if k in recipe})
    shown = pd.DataFrame(
        {
            "metric": data["metric"],
            "value": [_number(v) for v in data["value"]],
            "95 % interval": [
                f"{_number(low)} to {_number(high)}" if np.isfinite(low) else NONE
                for low, high in zip(data["low"], data["high"], strict=True)
            ],
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
        f"{len(images):,} pictures of {images.size[0]} × {images.size[1]} in "
        f"{images.path.resolve().name}{drawn}; {note}; unet-atlas {__version__}, "
        f"torch {torch.__version__}, numpy {np.__version__}"
    )
    return Table("scores", caption, shown, data)


def _captions(
    shown: ImageFolder, captions: str | Path | None, subset: bool
) -> tuple[str, ...] | None:
    """The caption of each picture; ``None`` where no file is named and the folder has none."""
    own = shown.path / CAPTIONS
    if captions is None and not own.is_file():
        return None
    found: Captions = read_captions(own if captions is None else captions)
    return found.for_images(shown.ids, subset)


def _against_reference(
    images: ImageFolder, reference: Reference, extractor: Extractor, resamples: int, seed: int
) -> Iterator[Score]:
    """FID, and KID where the reference has features."""
    x, y = extractor.over(images), reference.features
    facts = (len(x), reference.n, f"{extractor.name} ({x.shape[1]})", extractor.resized)
    facts += (f"unet-atlas {__version__} on {extractor.library}",)
    if y is None:
        yield _score("FID", interval_of(x, x, _to_gaussian(reference), resamples, seed), *facts)
        return
    yield _score("FID", interval_of(x, y, frechet_from_features, resamples, seed), *facts)
    with np.errstate(invalid="ignore"):  # resamples of one picture alone, where there are few
        found = interval_of(x, y, kid, resamples, seed)
    yield _score("KID × 1,000", _times(found, 1000), *facts)


def _to_gaussian(reference: Reference) -> Callable[[np.ndarray, np.ndarray], float]:
    """FID from the mean and covariance of a reference whose features are not known."""

    def distance(x: np.ndarray, _: np.ndarray) -> float:
        mine = Moments.of(x, x.mean(axis=0))
        return frechet_gaussians(mine.mean, mine.covariance, reference.mean, reference.covariance)

    return distance


def _against_captions(
    images: ImageFolder,
    captions: Sequence[str],
    scorer: Scorer,
    prefix: str,
    resamples: int,
    seed: int,
) -> list[Score]:
    """CLIP score in both conventions, from the same cosines."""
    parts = [
        cosines(
            scorer.model,
            scorer.tokenizer,
            scorer.processor,
            part,
            captions[at : at + HELD],
            prefix=prefix,
        )
        for at, part in zip(range(0, len(images), HELD), images.batches(HELD), strict=True)
    ]
    found = np.concatenate(parts)
    dimension = scorer.model.config.projection_dim
    facts = (len(found), 0, f"{scorer.label}, projected ({dimension})", scorer.resized)
    facts += (f"unet-atlas {__version__} on transformers {transformers.__version__}",)
    hessel = interval(clip_score_hessel(found), np.mean, max(resamples, 1), seed)
    percent = interval(found, clip_score_percent, max(resamples, 1), seed)
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
            facts = (len(asked), 0, "the picture world's oracle", "not")
            rows.append(_score(f"oracle: {aspect}", share, *facts, f"unet-atlas {__version__}"))
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


def _check_count(images: ImageFolder) -> None:
    if len(images) < 2:
        raise AtlasError(f"The folder '{images.path}' holds one picture; scores need two or more.")


def _check_size(found: tuple[int, int], wanted: tuple[int, int] | None, source: str | Path) -> None:
    if wanted is not None and found != wanted:
        raise AtlasError(
            f"The reference '{source}' is of {found[0]} × {found[1]} pixels and the pictures of "
            f"{wanted[0]} × {wanted[1]}; bring both to one size with one resize."
        )


def _number(value: float) -> str:
    return f"{value:,.4g}".replace("-", "−") if abs(value) < 1000 else f"{value:,.1f}"


def _read_npz(file: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        raise AtlasError(f"There is no file '{file}'.") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError):
        raise AtlasError(f"'{file}' is no .npz file of plain arrays; write it anew.") from None


def _write_npz(file: Path, **arrays: Any) -> None:
    """Write an ``.npz`` whole or not at all."""
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        with os.fdopen(handle, "wb") as opened:
            np.savez_compressed(opened, **arrays)
        os.chmod(temporary, 0o644)
        os.replace(temporary, file)
    except (OSError, ValueError) as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or "this can't be a file's name"
        raise AtlasError(f"'{file}' can't be written: {reason}; choose another file.") from None
