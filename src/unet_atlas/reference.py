"""What FID and KID compare with: features of a set of pictures, computed now or stored as ``.npz``.

Book: *FID from the ground up*.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from unet_atlas.errors import AtlasError
from unet_atlas.files import replacing
from unet_atlas.images import ImageFolder, open_folder
from unet_atlas.metrics.features import inception_features
from unet_atlas.scorer import LIBRARY, Scorer

FEATURES = ("clip", "inception")
HELD = 256  # pictures in memory at once


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


@dataclass(frozen=True)
class Reference:
    """What pictures are compared with: features (n, d), or only their mean and covariance.

    ``n`` is 0 where a file doesn't say it, and ``size``, (width, height), is None.
    """

    n: int
    features: np.ndarray | None
    mean: np.ndarray | None = None
    covariance: np.ndarray | None = None
    size: tuple[int, int] | None = None


def extractor_of(
    features: str,
    scorer: Scorer | None = None,
    inception: str | Path | None = None,
    device: str | torch.device = "cpu",
) -> Extractor:
    """The extractor of a name in :data:`FEATURES`.

    Args:
        scorer: the model of ``clip``, on its own device.
        inception, device: the file of weights of ``inception`` and where it runs.

    Raises:
        AtlasError: the name is unknown, or ``clip`` comes without a model.
    """
    if features == "inception":
        return Extractor(
            "Inception, pool 3",
            "299 px, bilinear of TensorFlow 1",
            "torch-fidelity",
            lambda images: inception_features(images, weights=inception, device=device),
        )
    if features != "clip" or scorer is None:
        raise AtlasError(f"{features!r} are no features; use {' or '.join(FEATURES)}.")
    name = f"{scorer.label}, before the projection"
    return Extractor(name, scorer.resized, LIBRARY, scorer.features)


def check_file(file: str | Path) -> None:
    """Raise an AtlasError unless :func:`read_reference` would take the file for features."""
    if Path(file).suffix.lower() != ".npz":
        raise AtlasError(f"A reference can't be '{file}'; give it a name that ends in .npz.")


def write_reference(
    file: str | Path, features: np.ndarray, extractor: Extractor, size: tuple[int, int]
) -> None:
    """Store features as ``.npz``: they needn't be computed again.

    Args:
        features: (n, d) of the extractor.
        size: (width, height) of the pictures.

    Raises:
        AtlasError: the file can't be written, or its name doesn't end in ``.npz``.
    """
    check_file(file)
    with replacing(file) as part, part.open("wb") as opened:
        np.savez_compressed(
            opened, features=features, extractor=extractor.name, size=np.array(size)
        )


def read_reference(
    source: str | Path, extractor: Extractor, size: tuple[int, int] | None
) -> Reference:
    """A reference from a folder of images, or from an ``.npz``.

    Args:
        source: a folder, a file of :func:`write_reference`, or one with ``mu`` and ``sigma``.
        extractor: of the features; a file that names another one is refused.
        size: (width, height) that its pictures must have, where a file says theirs: FID changes
            when only one of two sets is resized; None where :func:`check_size` comes later.

    Raises:
        AtlasError: unreadable, made by another extractor, or of another size.
    """
    if Path(source).suffix.lower() != ".npz":
        images = open_folder(source)
        check_count(images)
        check_size(images.size, size, source)
        features = extractor.over(images)
        return Reference(len(features), features, size=images.size)
    stored = _read_npz(Path(source))
    made_by = str(stored.get("extractor", extractor.name))
    if made_by != extractor.name:
        raise AtlasError(
            f"'{source}' has features of {made_by!r}, these are of {extractor.name!r}; "
            "take both from the same extractor."
        )
    its = tuple(map(int, stored["size"])) if "size" in stored else None
    check_size(its, size, source)
    if "features" in stored:
        return Reference(len(stored["features"]), stored["features"], size=its)
    if not {"mu", "sigma"} <= set(stored):
        raise AtlasError(f"'{source}' has neither 'features' nor 'mu' and 'sigma'; write it anew.")
    return Reference(int(stored.get("n", 0)), None, stored["mu"], stored["sigma"], its)


def check_count(images: ImageFolder) -> None:
    """Raise an AtlasError for a folder of one picture, which has no covariance."""
    if len(images) < 2:
        raise AtlasError(f"The folder '{images.path}' holds one picture; scores need two or more.")


def check_size(
    found: tuple[int, int] | None, wanted: tuple[int, int] | None, source: str | Path
) -> None:
    """Raise an AtlasError where both sizes are known and differ."""
    if found and wanted and found != wanted:
        raise AtlasError(
            f"The reference '{source}' is of {found[0]} × {found[1]} pixels and the pictures of "
            f"{wanted[0]} × {wanted[1]}; bring both to one size with one resize."
        )


def _read_npz(file: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        raise AtlasError(f"There is no file '{file}'.") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError):
        raise AtlasError(f"'{file}' is no .npz file of plain arrays; write it anew.") from None
