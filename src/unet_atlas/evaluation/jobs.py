"""Everything that is read and checked before the first picture: files first, models after.

The first process reads the small files for all; each process loads its own models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from unet_atlas.device import parse_dtype
from unet_atlas.errors import AtlasError
from unet_atlas.evaluation import stopping
from unet_atlas.evaluation.blocks import Artist, check_folder
from unet_atlas.evaluation.conditions import scoring
from unet_atlas.evaluation.latents import check_fit, read_latents
from unet_atlas.evaluation.protocol import Options
from unet_atlas.images import ImageFolder, open_folder, read_captions
from unet_atlas.reference import (
    Extractor,
    Reference,
    check_count,
    check_size,
    extractor_of,
    read_reference,
)
from unet_atlas.sampling import load_pipeline
from unet_atlas.sampling.folders import Row, rows_of
from unet_atlas.scorer import Scorer, load_scorer

PROBE = np.zeros((1, 64, 64, 3), np.uint8)


@dataclass(frozen=True)
class Job:
    """What the first process read for all.

    Attributes:
        rows: file, caption and seed of each prompt.
        latents: fixed ones, or None.
        real: the reference, where it is a folder of images.
    """

    rows: list[Row]
    latents: np.ndarray | None
    real: ImageFolder | None


@dataclass(frozen=True)
class Tools:
    """The models that score, on this process's device.

    Attributes:
        extractor: for FID and KID; None without a reference, ``pooled`` itself for CLIP's features.
        pooled: CLIP's features before the projection.
        stored: the reference, where it is an ``.npz``.
    """

    scorer: Scorer
    extractor: Extractor | None
    pooled: Extractor
    stored: Reference | None


def prepare(options: Options) -> Job:
    """Read and check everything that needs no model.

    Raises:
        AtlasError: anything that can't be read, or doesn't fit together.
    """
    captions = read_captions(options.captions)
    rows = rows_of(captions.first(options.limit), options.seed)
    if len(rows) < 2:
        raise AtlasError(f"{captions.source} holds one caption; scores need two or more.")
    latents = _latents(options, len(rows))
    if options.record is not None and not options.record.parent.is_dir():
        raise AtlasError(f"There is no folder for the record '{options.record}'; make it first.")
    check_folder(options.output, rows)
    job = Job(rows, latents, _real(options.reference))
    stopping.forget(options.output)
    return job


@scoring()
def tools_of(options: Options, device: torch.device) -> Tools:
    """Load what scores, try it on a black picture, and read a reference's file.

    Raises:
        AtlasError: no CLIP model, no Inception, a reference of other features, or too little
            memory.
    """
    scorer = load_scorer(options.clip, device)
    pooled = extractor_of("clip", scorer)
    if options.reference is None:
        return Tools(scorer, None, pooled, None)
    extractor = pooled
    if options.features != "clip":
        extractor = extractor_of(options.features, None, options.inception, device)
    width, stored = extractor.call(PROBE).shape[1], None
    if _is_file(options.reference):
        stored = read_reference(options.reference, extractor, None)
        check_stored(stored, width, options.reference)
    return Tools(scorer, extractor, pooled, stored)


def check_stored(stored: Reference, width: int, file: Path) -> None:
    """Refuse a reference's file that features of this width can't be compared with.

    Raises:
        AtlasError: one picture, arrays of wrong shapes, or of another number of features.
    """
    arrays, wanted = [stored.mean, stored.covariance], [(width,), (width, width)]
    if stored.features is not None:
        arrays, wanted = [stored.features], [(stored.n, width)]
    shapes = [np.shape(array) for array in arrays]
    if shapes != wanted:
        raise AtlasError(
            f"'{file}' holds arrays of shape {' and '.join(map(str, shapes))}, but these features "
            f"are {width} wide; take both from the same extractor."
        )
    if stored.n == 1:
        raise AtlasError(f"'{file}' holds one picture's features; scores need two or more.")


def artist_of(
    options: Options, job: Job, tools: Tools, device: torch.device, say: Callable[[str], None]
) -> Artist:
    """The pipeline, checked against the latents and the reference.

    Raises:
        AtlasError: no pipeline, latents of another shape, a reference of other pictures.
    """
    dtype = parse_dtype(options.dtype) if options.dtype else None
    pipeline = load_pipeline(options.source, device, dtype)
    if job.latents is not None:
        check_fit(job.latents, pipeline, options.latents)
    side = pipeline.unet.config.sample_size * getattr(pipeline, "vae_scale_factor", 1)
    check_against_reference((side, side), options, job, tools)
    return Artist(pipeline, options.recipe, job.latents, options.batch, say)


def check_against_reference(
    size: tuple[int, int], options: Options, job: Job, tools: Tools
) -> None:
    """Raise an AtlasError where the reference is of another size than the pictures."""
    known = job.real or tools.stored
    check_size(known.size if known else None, size, options.reference)


def _latents(options: Options, captions: int) -> np.ndarray | None:
    if options.latents is None:
        return None
    found = read_latents(options.latents, captions)
    if options.preset and len(found) != 1:
        raise AtlasError(
            f"The protocol {options.preset.name} starts every picture from one fixed latent, "
            f"'{options.latents}' holds {len(found):,}; give one of shape (1, channels, height, "
            "width)."
        )
    return found


def _real(reference: Path | None) -> ImageFolder | None:
    if reference is None:
        return None
    if _is_file(reference):
        if not reference.is_file():
            raise AtlasError(f"There is no reference '{reference}'.")
        return None
    images = open_folder(reference)
    check_count(images)
    return images


def _is_file(reference: Path) -> bool:
    return reference.suffix.lower() == ".npz"
