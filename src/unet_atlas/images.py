"""Folders of images and files of captions: each fault is one clear sentence.

An image's id is its file name without the suffix; captions find their image by it.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from unet_atlas.errors import AtlasError
from unet_atlas.files import replacing

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")  # what turns into 8-bit RGB without loss
IDS = ("file", "id", "image", "file_name", "filename", "image_id")
TEXTS = ("caption", "text", "prompt")
ORIENTATION = 0x0112  # EXIF; 5 and above swap the sides
# what Pillow raises for broken, truncated and hostile files
BROKEN = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


@dataclass(frozen=True)
class ImageFolder:
    """The images of a folder, all of one size, in the natural order of their names.

    Attributes:
        path: the folder.
        files: its images; other files are left alone.
        size: (width, height) in pixels.
    """

    path: Path
    files: tuple[Path, ...]
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.files)

    @property
    def ids(self) -> tuple[str, ...]:
        """File names without their suffix."""
        return tuple(f.stem for f in self.files)

    def load(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Some or all of the images, (n, h, w, 3) uint8."""
        return np.stack([read_image(f) for f in self.files[start:stop]])

    def batches(self, n: int) -> Iterator[np.ndarray]:
        """All images, n at once, so that a large folder needn't fit into memory."""
        for start in range(0, len(self), n):
            yield self.load(start, start + n)


@dataclass(frozen=True)
class Captions:
    """Captions in the order of their file, with the ids of their images where the file has them."""

    texts: tuple[str, ...]
    ids: tuple[str, ...] | None = None
    source: str = "the captions"

    def __len__(self) -> int:
        return len(self.texts)

    def for_images(self, ids: Sequence[str], subset: bool = False) -> tuple[str, ...]:
        """The caption of each image: by id, else by place.

        Args:
            ids: of the images, in their order.
            subset: allow captions that have no image.

        Raises:
            AtlasError: an image without a caption, or a caption without an image.
        """
        if self.ids is None:
            if len(self) != len(ids) and not (subset and len(self) > len(ids)):
                raise AtlasError(
                    f"{self.source}: {len(self)} captions for {len(ids)} images; give one an image."
                )
            return self.texts[: len(ids)]
        known = dict(zip(self.ids, self.texts, strict=True))
        without = [i for i in ids if i not in known]
        if without:
            raise AtlasError(f"{self.source}: no caption for {_some(without, 'image')}.")
        extra = sorted(set(known) - set(ids))
        if extra and not subset:
            raise AtlasError(
                f"{self.source}: no image for {_some(extra, 'caption')}; remove them, or ask for a "
                "subset."
            )
        return tuple(known[i] for i in ids)

    def first(self, n: int | None) -> Captions:
        """The first n; all for ``None``."""
        ids = None if self.ids is None else self.ids[:n]
        return Captions(self.texts[:n], ids, self.source)


def open_folder(path: str | Path) -> ImageFolder:
    """Look through a folder of png, jpg and webp images; reads no more than their headers.

    Raises:
        AtlasError: no such folder, no image in it, two of one id, an unreadable one, or one whose
            size differs from the others'.
    """
    path = Path(path)
    try:
        found = [f for f in path.iterdir() if f.suffix.lower() in SUFFIXES and f.name[0] != "."]
    except FileNotFoundError:
        raise AtlasError(f"There is no folder '{path}'.") from None
    except OSError as error:
        raise AtlasError(f"'{path}' can't be read as a folder: {error.strerror}.") from None
    files = tuple(sorted(found, key=lambda f: (_natural(f.stem), f.name)))
    if not files:
        raise AtlasError(f"The folder '{path}' holds no png, jpg or webp image.")
    for one, other in itertools.pairwise(files):
        if one.stem == other.stem:
            raise AtlasError(f"'{one}' and '{other}' have one id; remove or rename one of them.")
    sizes = [_size(f) for f in files]
    size = Counter(sizes).most_common(1)[0][0]
    for file, its in zip(files, sizes, strict=True):
        if its != size:
            raise AtlasError(
                f"'{file}' is {its[0]} × {its[1]} pixels, most others are {size[0]} × {size[1]}; "
                "resize or remove it."
            )
    return ImageFolder(path, files, size)


def read_image(file: str | Path) -> np.ndarray:
    """One image as (h, w, 3) uint8 RGB, turned upright as its EXIF data says.

    Raises:
        AtlasError: missing, unreadable, truncated, animated, transparent, or not of 8 bits.
    """
    try:
        with Image.open(file) as opened:
            _check(opened, file)
            image = ImageOps.exif_transpose(opened)
            alpha = (
                np.asarray(image.convert("RGBA"))[..., 3] if image.has_transparency_data else None
            )
            if alpha is not None and alpha.min() < 255:
                raise AtlasError(f"'{file}' has transparent pixels; put it on a background.")
            return np.asarray(image.convert("RGB"))
    except AtlasError:
        raise
    except BROKEN as error:
        raise AtlasError(_broken(file, error)) from None


def as_uint8(images: Any, what: str = "The images") -> np.ndarray:
    """Images as (n, h, w, 3) uint8, from the same or from floats in [0, 1], rounded to nearest.

    Raises:
        AtlasError: another shape or dtype, not finite, or outside [0, 1].
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape:
        raise AtlasError(f"{what} have the shape {images.shape}, not (n, height, width, 3).")
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        raise AtlasError(f"{what} are {images.dtype}; use uint8, or floats from 0 to 1.")
    broken = np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))
    if broken.size:
        raise AtlasError(
            f"{what} are not finite (NaN or ∞), first number {broken[0]}; "
            "compute in a wider dtype, such as fp32."
        )
    if images.min() < -1e-6 or images.max() > 1 + 1e-6:
        raise AtlasError(
            f"{what} reach from {images.min():g} to {images.max():g}; scale floats to 0 to 1."
        )
    return (images.clip(0, 1) * 255).round().astype(np.uint8)


def write_png(file: str | Path, image: np.ndarray, facts: Mapping[str, str] | None = None) -> None:
    """Write one (h, w, 3) uint8 image whole or not at all, with facts as PNG text.

    Raises:
        AtlasError: the image is none, or the file can't be written.
    """
    pixels = Image.fromarray(as_uint8(np.asarray(image)[None], f"'{file}': the image would")[0])
    text = PngImagePlugin.PngInfo()
    for key, value in (facts or {}).items():
        text.add_itxt(key, value)
    with replacing(file) as part:
        pixels.save(part, "PNG", pnginfo=text)


def read_facts(file: str | Path) -> dict[str, str]:
    """The text that a PNG carries; empty where there is none, or no readable and whole image."""
    try:
        with Image.open(file) as opened:
            opened.verify()  # the checksums, which loading skips
        with Image.open(file) as opened:
            opened.load()
            return {k: str(v) for k, v in getattr(opened, "text", {}).items()}
    except BROKEN:
        return {}


def read_captions(file: str | Path) -> Captions:
    """Captions from ``.csv`` or ``.tsv``, ``.jsonl``, ``.txt`` (one a line) or COCO's ``.json``.

    Tables need a column ``caption`` (or ``text``, ``prompt``), and may have one ``file`` or ``id``
    (or ``image``, ``file_name``, …). Where COCO has several captions an image, the one with the
    lowest id is taken.

    Raises:
        AtlasError: unreadable, of another kind, without captions, an empty one, or an id twice.
    """
    file = Path(file)
    readers = {".csv": _csv, ".tsv": _csv, ".jsonl": _jsonl, ".txt": _txt, ".json": _coco}
    if file.suffix.lower() not in readers:
        raise AtlasError(
            f"'{file}' is no captions file; use .csv, .tsv, .jsonl, .txt or COCO .json."
        )
    try:
        text = file.read_text("utf-8-sig")
    except FileNotFoundError:
        raise AtlasError(f"There is no captions file '{file}'.") from None
    except UnicodeDecodeError:
        raise AtlasError(f"'{file}' is not UTF-8 text; save it as UTF-8.") from None
    except OSError as error:
        raise AtlasError(f"'{file}' can't be read: {error.strerror}.") from None
    pairs = readers[file.suffix.lower()](text, file)
    return _checked(pairs, file)


def _checked(pairs: list[tuple[str | None, Any]], file: Path) -> Captions:
    """Captions of (id, text) pairs; an id is the stem of a file's name."""
    if not pairs:
        raise AtlasError(f"'{file}' holds no captions.")
    for number, (_, text) in enumerate(pairs, start=1):
        if not isinstance(text, str) or not text.strip():
            raise AtlasError(f"'{file}': caption {number} is empty; write it or remove its line.")
    texts = tuple(text.strip() for _, text in pairs)
    if all(i is None for i, _ in pairs):
        return Captions(texts, None, f"'{file}'")
    ids = tuple(_stem(i) for i, _ in pairs)
    if "" in ids:
        raise AtlasError(f"'{file}': caption {ids.index('') + 1} names no image.")
    if len(set(ids)) < len(ids):
        twice = next(i for i in ids if ids.count(i) > 1)
        raise AtlasError(f"'{file}' names the image {twice!r} twice; keep one caption an image.")
    return Captions(texts, ids, f"'{file}'")


def _csv(text: str, file: Path) -> list[tuple[str | None, Any]]:
    try:
        delimiter = "\t" if file.suffix.lower() == ".tsv" else ","
        rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise AtlasError(f"'{file}' is not valid CSV: {error}.") from None
    return [_pair(row, file) for row in rows]


def _jsonl(text: str, file: Path) -> list[tuple[str | None, Any]]:
    pairs = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            row = _json(line, f"'{file}', line {number},")
            if not isinstance(row, dict):
                raise AtlasError(f"'{file}', line {number}, is no JSON object.")
            pairs.append(_pair(row, file))
    return pairs


def _txt(text: str, file: Path) -> list[tuple[str | None, Any]]:
    return [(None, line) for line in text.rstrip("\n").split("\n")] if text.strip() else []


def _coco(text: str, file: Path) -> list[tuple[str | None, Any]]:
    content = _json(text, f"'{file}'")
    try:
        names = {image["id"]: image["file_name"] for image in content["images"]}
        found = sorted(content["annotations"], key=lambda a: a["id"])
        first: dict[str, Any] = {}
        for annotation in found:
            first.setdefault(names[annotation["image_id"]], annotation["caption"])
    except (KeyError, TypeError, AttributeError):
        raise AtlasError(
            f"'{file}' is not COCO's captions file ('images' with 'id' and 'file_name', "
            "'annotations' with 'id', 'image_id' and 'caption')."
        ) from None
    return sorted(first.items(), key=lambda pair: _natural(str(pair[0])))


def _pair(row: Mapping[str, Any], file: Path) -> tuple[str | None, Any]:
    """(id, caption) of one row of a table."""
    text = next((name for name in TEXTS if name in row), None)
    if text is None:
        columns = ", ".join(map(str, row)) or "none"
        raise AtlasError(f"'{file}' has no column 'caption' (it has {columns}).")
    name = next((name for name in IDS if name in row), None)
    return (None if name is None else "" if row[name] is None else str(row[name])), row[text]


def _stem(name: str | None) -> str:
    """``a/00012.png`` → ``00012``; a name whose suffix is no image's keeps it."""
    path = Path((name or "").strip())
    return path.stem if path.suffix.lower() in SUFFIXES else path.name


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise AtlasError(f"{what} is not valid JSON.") from None


def _size(file: Path) -> tuple[int, int]:
    """(width, height) when upright, from the file's header."""
    try:
        with Image.open(file) as opened:
            _check(opened, file)
            width, height = opened.size
            return (height, width) if opened.getexif().get(ORIENTATION, 1) >= 5 else (width, height)
    except AtlasError:
        raise
    except BROKEN as error:
        raise AtlasError(_broken(file, error)) from None


def _check(image: Image.Image, file: str | Path) -> None:
    if getattr(image, "n_frames", 1) > 1:
        raise AtlasError(f"'{file}' is animated; keep one frame.")
    if image.mode not in MODES:
        raise AtlasError(f"'{file}' is of mode {image.mode}; convert it to 8-bit RGB.")


def _broken(file: str | Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"There is no image '{file}'."
    if isinstance(error, UnidentifiedImageError):
        return f"'{file}' is no image; remove it or export it anew."
    if isinstance(error, Image.DecompressionBombError):
        return f"'{file}' has far too many pixels; resize it."
    reason = getattr(error, "strerror", None)
    if reason:
        return f"'{file}' can't be read: {reason}."
    return f"'{file}' is truncated or damaged; copy or export it anew."


def _natural(name: str) -> list[tuple[int, int, str]]:
    """A key that puts 2 before 10."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(p), p) if p.isdecimal() else (1, 0, p) for p in parts if p]


def _some(names: Sequence[str], what: str) -> str:
    more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
    return f"{what} {names[0]!r}{more}"
