"""From a checked configuration to a live UNet, and the inputs that it takes.

Book: *Building the UNets*. Upstream: diffusers, ``models/unets/unet_2d_condition.py``.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from unet_atlas import config as configs
from unet_atlas.errors import AtlasError, first_sentence

VAE_FACTOR = 8  # pixels a latent cell, in every version of Stable Diffusion
MAX_LATENT = 4_096
MAX_BATCH = 65_536
MAX_TOKENS = 1_000_000


def build_unet(
    source: str | Path, device: str | torch.device = "meta", dtype: torch.dtype = torch.float32
) -> UNet2DConditionModel:
    """A live UNet: real modules, random weights (none on ``meta``).

    Args:
        source: an id of the catalogue, a ``config.json``, a saved UNet or pipeline folder.
        device: ``meta`` costs no memory and no time; ``cpu`` or ``cuda`` allocate the weights.
        dtype: of the weights.

    Raises:
        AtlasError: the source names nothing, or its configuration can't be built.
    """
    label, config = configs.resolve(source)
    return from_config(config, label, device, dtype)


def load_unet(
    folder: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> UNet2DConditionModel:
    """A UNet with the weights saved in a UNet or pipeline folder (safetensors only, offline).

    Raises:
        AtlasError: the folder holds no UNet, or no safetensors weights.
    """
    home = configs.config_file(Path(folder)).parent
    configs.check(configs.read_json(home / "config.json"), str(home))
    if not any(home.glob("*.safetensors")):
        raise AtlasError(
            f"The folder '{home}' holds no .safetensors weights; save the UNet there first."
        )
    unet = UNet2DConditionModel.from_pretrained(
        home,
        torch_dtype=dtype,
        use_safetensors=True,
        local_files_only=True,
        low_cpu_mem_usage=False,  # else diffusers complains where accelerate is not installed
    )
    return unet.to(device).eval()


def from_config(
    config: dict[str, Any],
    label: str = "configuration",
    device: str | torch.device = "meta",
    dtype: torch.dtype = torch.float32,
) -> UNet2DConditionModel:
    """A live UNet from a checked configuration (see :func:`unet_atlas.config.check`)."""
    try:
        with torch.device(device), _default_dtype(dtype), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, before diffusers' own error
            unet = UNet2DConditionModel(**_listed(config))
    except torch.OutOfMemoryError:
        raise AtlasError(f"{label}: not enough memory on '{device}'; build it on 'meta'.") from None
    except Exception as error:  # diffusers checks little: also IndexError, ZeroDivisionError, ...
        raise AtlasError(f"{label}: diffusers can't build it: {first_sentence(error)}") from None
    unet.atlas_label = label
    return unet.eval()


def example_inputs(
    unet: UNet2DConditionModel,
    resolution: int | None = None,
    latent: int | None = None,
    batch: int = 1,
    tokens: int = 77,
) -> dict[str, Any]:
    """Inputs that this UNet's ``forward`` accepts, on its device and in its dtype.

    Args:
        resolution: pixels of a square image behind the eightfold VAE; or give ``latent``.
        latent: side of the square latent; by default the configuration's ``sample_size``.
        batch: images at once. A guided step is a batch of two an image.
        tokens: length of the text, 77 for CLIP.

    Returns:
        ``sample`` (B, C, h, w), ``timestep`` (B,), ``encoder_hidden_states`` (B, T, D), and, where
        the configuration asks for them, ``class_labels``, ``timestep_cond``, ``added_cond_kwargs``.

    Raises:
        AtlasError: a size that is not positive, not a multiple of 8 or far too large.
    """
    side = latent_side(unet, resolution, latent)
    _in_range("batch", batch, MAX_BATCH)
    _in_range("tokens", tokens, MAX_TOKENS)
    config, kwargs = unet.config, {"device": unet.device, "dtype": unet.dtype}
    inputs = {
        "sample": torch.zeros(batch, _sample_channels(unet), *side, **kwargs),
        "timestep": torch.zeros(batch, device=unet.device),
        "encoder_hidden_states": torch.zeros(batch, tokens, _text_dim(config), **kwargs),
    }
    if config.time_cond_proj_dim:
        inputs["timestep_cond"] = torch.zeros(batch, config.time_cond_proj_dim, **kwargs)
    if (labels := _class_labels(unet, batch, kwargs)) is not None:
        inputs["class_labels"] = labels
    if added := _added_conditions(config, batch, side, kwargs):
        inputs["added_cond_kwargs"] = added
    return inputs


def latent_side(
    unet: UNet2DConditionModel, resolution: int | None = None, latent: int | None = None
) -> tuple[int, int]:
    """Height and width of the latent, from pixels, from latent cells or from the configuration."""
    if resolution is not None and latent is not None:
        raise AtlasError("Both resolution and latent are given; give one of them.")
    if resolution is not None:
        if resolution % VAE_FACTOR:
            raise AtlasError(
                f"resolution is {resolution}; it takes a multiple of {VAE_FACTOR} pixels."
            )
        latent = resolution // VAE_FACTOR
    if latent is None:
        size = unet.config.sample_size or 64
        return tuple(size) if isinstance(size, tuple | list) else (size, size)
    if not 1 <= latent <= MAX_LATENT:
        asked = f"resolution {resolution}" if resolution is not None else f"latent {latent}"
        raise AtlasError(
            f"{asked} is out of range; the latent takes 1 to {MAX_LATENT} cells a side."
        )
    return latent, latent


def _sample_channels(unet: UNet2DConditionModel) -> int:
    """Channels of ``sample``; a Kandinsky hint fills the rest of what ``conv_in`` takes."""
    if unet.config.addition_embed_type != "image_hint":
        return unet.config.in_channels
    channels = unet.config.in_channels - unet.add_embedding.input_hint_block[-1].out_channels
    if channels < 1:
        raise AtlasError(
            f"in_channels {unet.config.in_channels} leaves no room beside an image_hint; raise it."
        )
    return channels


def _class_labels(unet: UNet2DConditionModel, batch: int, kwargs: dict) -> torch.Tensor | None:
    config = unet.config
    if config.class_embed_type in ("projection", "simple_projection"):
        return torch.zeros(batch, config.projection_class_embeddings_input_dim, **kwargs)
    if config.class_embed_type == "identity":
        return torch.zeros(batch, unet.time_embedding.linear_2.out_features, **kwargs)
    if config.class_embed_type == "timestep":
        return torch.zeros(batch, device=unet.device)
    if config.num_class_embeds is not None:
        return torch.zeros(batch, dtype=torch.long, device=unet.device)
    return None


def _added_conditions(
    config: Any, batch: int, side: tuple[int, int], kwargs: dict
) -> dict[str, Any]:
    kind, added = config.addition_embed_type, {}
    if kind == "text_time":
        numbers, pooled = _size_numbers(config)
        added["text_embeds"] = torch.zeros(batch, pooled, **kwargs)
        added["time_ids"] = torch.zeros(batch, numbers, **kwargs)
    if kind == "text_image":
        added["text_embeds"] = torch.zeros(batch, config.cross_attention_dim, **kwargs)
        added["image_embeds"] = torch.zeros(batch, config.cross_attention_dim, **kwargs)
    if config.encoder_hid_dim_type == "text_image_proj":
        added["image_embeds"] = torch.zeros(batch, config.cross_attention_dim, **kwargs)
    if kind in ("image", "image_hint") or config.encoder_hid_dim_type == "image_proj":
        added["image_embeds"] = torch.zeros(batch, config.encoder_hid_dim, **kwargs)
    if kind == "image_hint":
        added["hint"] = torch.zeros(batch, 3, VAE_FACTOR * side[0], VAE_FACTOR * side[1], **kwargs)
    return added


def _size_numbers(config: Any) -> tuple[int, int]:
    """How SDXL-like UNets split the added vector: (size/crop numbers, pooled text width).

    The pooled text is as wide as its encoder (1280 for bigG), and the configuration holds only the
    sum; 6 numbers as in SDXL base and 5 as in the refiner leave 1280, other sums keep 6.
    """
    total, each = config.projection_class_embeddings_input_dim, config.addition_time_embed_dim
    fitting = [n for n in (6, 5, 4, 3, 2, 1) if each and total > n * each]
    if not fitting:
        raise AtlasError(
            f"addition_time_embed_dim {each} leaves no room for a text in a "
            f"projection_class_embeddings_input_dim of {total}; correct one of them."
        )
    numbers = next((n for n in fitting[:2] if total - n * each == 1280), fitting[0])
    return numbers, total - numbers * each


def _text_dim(config: Any) -> int:
    if config.encoder_hid_dim_type in ("text_proj", "text_image_proj"):
        return config.encoder_hid_dim
    dim = config.cross_attention_dim
    if isinstance(dim, tuple | list):
        if len(set(dim)) > 1:
            raise AtlasError(
                f"cross_attention_dim differs by level ({', '.join(map(str, dim))}), "
                "so no one text fits; only its anatomy can be shown."
            )
        return dim[0]
    return dim


def _in_range(name: str, value: int, most: int) -> None:
    if not 1 <= value <= most:
        raise AtlasError(
            f"{name} {value} is out of range; it takes a whole number from 1 to {most}."
        )


def _listed(config: dict[str, Any]) -> dict[str, Any]:
    # diffusers' own checks of per-level values look for `list`, not for `tuple`
    def listed(value: Any) -> Any:
        return [listed(v) for v in value] if isinstance(value, tuple) else value

    return {key: listed(value) for key, value in config.items()}


@contextmanager
def _default_dtype(dtype: torch.dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
