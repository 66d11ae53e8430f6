"""Pipelines from disk: the mini family and real Stable Diffusion through one ``from_pretrained``.

safetensors only, no pickles, no code from a repository. The Hub is asked only for the id that
``UNET_ATLAS_WEIGHTS`` names.
"""

from __future__ import annotations

import inspect
import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import DiffusionPipeline

from unet_atlas.device import best_device, default_dtype
from unet_atlas.errors import AtlasError, first_sentence
from unet_atlas.mini import MEMBERS, folder

WEIGHTS = "UNET_ATLAS_WEIGHTS"
PICKLED = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
NEEDED = {"prompt", "generator", "num_inference_steps", "guidance_scale", "output_type"}
# no censor (its weights are a download of their own), no watermark that only some machines apply
LEFT_OUT = {"safety_checker": None, "requires_safety_checker": False, "add_watermarker": False}


def source() -> str | None:
    """The folder or Hub id that ``UNET_ATLAS_WEIGHTS`` names, else ``None``."""
    return os.environ.get(WEIGHTS, "").strip() or None


def load_pipeline(
    source: str | Path,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> DiffusionPipeline:
    """A text-to-image pipeline, ready to sample.

    Args:
        source: a member of the mini family, a folder in diffusers layout, or the Hub id that
            ``UNET_ATLAS_WEIGHTS`` names (downloaded unless ``HF_HUB_OFFLINE`` is set).
        device: by default the best one here.
        dtype: by default bf16 on cuda, fp16 on mps, fp32 elsewhere.

    Raises:
        AtlasError: nothing of that name, no text-to-image pipeline, pickled, missing or broken
            weights, or not enough memory.
    """
    where, label = _locate(source)
    device = torch.device(device or best_device())
    if device.type == "meta":
        raise AtlasError("Nothing can be drawn on 'meta', which holds no numbers; use 'cpu'.")
    with quiet():
        index = _index(where)
        kind = _class(index, label)
        if isinstance(where, Path):
            _check_weights(where, index)
        pipeline = _from_pretrained(kind, where, label, dtype or default_dtype(device))
        try:
            pipeline = pipeline.to(device)
        except RuntimeError as error:
            raise AtlasError(f"{label} can't go to '{device}': {first_sentence(error)}") from None
    pipeline.set_progress_bar_config(disable=True)
    pipeline.atlas_label = label
    return pipeline


def _locate(source: str | Path) -> tuple[Path | str, str]:
    """Where to load from (a folder, or a Hub id as text) and the name to show."""
    path = Path(source)
    if path.is_dir():
        return path, path.resolve().name
    if path.is_file():
        raise AtlasError(
            f"'{path}' is one file; convert it to a folder with diffusers' "
            "StableDiffusionPipeline.from_single_file(file).save_pretrained(folder) and name that."
        )
    if str(source) in MEMBERS:
        return folder(str(source)), str(source)
    if str(source) == os.environ.get(WEIGHTS, "").strip():
        return str(source), str(source)
    raise AtlasError(
        f"{str(source)!r} is neither a model of the mini family ({', '.join(MEMBERS)}) nor a "
        f"folder here; for an id of the Hub, set {WEIGHTS} to it."
    )


def _index(where: Path | str) -> dict[str, Any]:
    """The pipeline's ``model_index.json``."""
    if isinstance(where, str):
        try:
            return dict(DiffusionPipeline.load_config(where))
        except (OSError, ValueError) as error:
            raise AtlasError(
                f"The Hub can't be asked for {where!r}: {first_sentence(error)} Download it into "
                f"a folder, or run with HF_HUB_OFFLINE=0."
            ) from None
    file = where / "model_index.json"
    try:
        index = json.loads(file.read_text("utf-8"))
    except OSError:
        raise AtlasError(
            f"The folder '{where}' holds no pipeline (no 'model_index.json'); name one that "
            "pipeline.save_pretrained(folder) wrote."
        ) from None
    except ValueError:
        index = None
    if not isinstance(index, dict):
        raise AtlasError(f"'{file}' is not one JSON object; save the pipeline again.")
    return index


def _class(index: dict[str, Any], label: str) -> type[DiffusionPipeline]:
    """The pipeline's class, which must be diffusers' own and must take prompts."""
    name = index.get("_class_name")
    kind = getattr(diffusers, name, None) if isinstance(name, str) else None
    if not (inspect.isclass(kind) and issubclass(kind, DiffusionPipeline)):
        raise AtlasError(
            f"{label}: {name!r} is no pipeline of diffusers; code of its own isn't run."
        )
    if not set(inspect.signature(kind.__call__).parameters) >= NEEDED:
        raise AtlasError(f"{label}: {name} draws no pictures from text; name a pipeline that does.")
    for part, entry in _parts(index).items():
        library = entry[0]
        if library not in ("diffusers", "transformers") and not hasattr(
            diffusers.pipelines, str(library)
        ):
            raise AtlasError(
                f"{label}: its {part} is code of its own ({library!r}), which isn't run."
            )
    return kind


def _parts(index: dict[str, Any]) -> dict[str, list]:
    """The components that a pipeline loads: name → [library, class]."""
    return {
        k: v
        for k, v in index.items()
        if isinstance(v, list) and len(v) == 2 and v[0] and not k.startswith("_")
        if k not in LEFT_OUT
    }


def _check_weights(where: Path, index: dict[str, Any]) -> None:
    """Refuse a folder that lacks a component, or holds one as a pickle only."""
    for part in _parts(index):
        home = where / part
        if not home.is_dir():
            raise AtlasError(
                f"The folder '{where}' lacks its {part}; save the whole pipeline there."
            )
        files = [f.name for f in home.iterdir()]
        pickled = sorted(f for f in files if f.endswith(PICKLED))
        if pickled and not any(f.endswith(".safetensors") for f in files):
            raise AtlasError(
                f"'{home / pickled[0]}' is a pickle, which can run code when it is opened; where "
                "you trust it, load the pipeline with diffusers and write it anew with "
                "pipeline.save_pretrained(folder, safe_serialization=True)."
            )


def _from_pretrained(
    kind: type[DiffusionPipeline], where: Path | str, label: str, dtype: torch.dtype
) -> DiffusionPipeline:
    accepted = inspect.signature(kind.__init__).parameters
    try:
        return kind.from_pretrained(
            where,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=isinstance(where, Path),
            low_cpu_mem_usage=diffusers.utils.is_accelerate_available(),
            variant=_variant(where),
            **{k: v for k, v in LEFT_OUT.items() if k in accepted},
        )
    except torch.OutOfMemoryError:
        raise AtlasError(f"{label}: not enough memory; name a smaller dtype or device.") from None
    except Exception as error:  # of two libraries, safetensors and the file system
        raise AtlasError(f"{label} can't be loaded: {first_sentence(error)}") from None


def _variant(where: Path | str) -> str | None:
    """``fp16`` for a folder whose UNet has no other weights than ``….fp16.safetensors``."""
    if isinstance(where, str):
        return None
    files = [f.name for f in (where / "unet").glob("*.safetensors")]
    return "fp16" if files and all(".fp16." in f for f in files) else None


@contextmanager
def quiet() -> Iterator[None]:
    """Without the two libraries' progress bars and warnings, which are about other uses."""
    logs = [lib.utils.logging for lib in (diffusers, transformers)]
    before = [(log, log.get_verbosity(), log.is_progress_bar_enabled()) for log in logs]
    for log in logs:
        log.set_verbosity_error()
        log.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, verbosity, bar in before:
            log.set_verbosity(verbosity)
            if bar:
                log.enable_progress_bar()
