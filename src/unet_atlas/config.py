"""From what a reader names (an id, a file, a folder) to a checked UNet configuration.

Nothing in a configuration is executed or fetched: it is parsed as JSON, every key is checked
against the signature of diffusers' ``UNet2DConditionModel``, every number against a range.
Upstream: diffusers, ``models/unets/unet_2d_condition.py``.
"""

from __future__ import annotations

import inspect
import json
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from unet_atlas import catalog
from unet_atlas.errors import AtlasError
from unet_atlas.mini import MEMBERS, folder

MAX_FILE_BYTES = 1_000_000
MAX_CHANNELS = 65_536
MAX_LEVELS = 12
MAX_LAYERS = 64
MAX_BLOCKS = 1_000  # resnets and transformer blocks; SDXL base has 96
MAX_NUMBER = 1e9

CLASS = "UNet2DConditionModel"
DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(UNet2DConditionModel.__init__).parameters.items()
    if name not in ("self", "args", "kwargs")
}
DOWN_BLOCKS = (
    "DownBlock2D",
    "CrossAttnDownBlock2D",
    "SimpleCrossAttnDownBlock2D",
    "AttnDownBlock2D",
    "ResnetDownsampleBlock2D",
    "KDownBlock2D",
    "KCrossAttnDownBlock2D",
)
MID_BLOCKS = ("UNetMidBlock2DCrossAttn", "UNetMidBlock2DSimpleCrossAttn", "UNetMidBlock2D")
UP_BLOCKS = tuple(
    name.replace("Down", "Up", 1) if "Resnet" not in name else "ResnetUpsampleBlock2D"
    for name in DOWN_BLOCKS
)
WORDS = {
    "down_block_types": DOWN_BLOCKS,
    "mid_block_type": (None, *MID_BLOCKS),
    "up_block_types": UP_BLOCKS,
    "class_embed_type": (None, "timestep", "identity", "projection", "simple_projection"),
    "addition_embed_type": (None, "text", "text_image", "text_time", "image", "image_hint"),
    "encoder_hid_dim_type": (None, "text_proj", "text_image_proj", "image_proj"),
    "time_embedding_type": ("positional", "fourier"),
    "attention_type": ("default", "gated", "gated-text-image"),
    "resnet_time_scale_shift": ("default", "scale_shift", "ada_group", "spatial"),
    "act_fn": ("silu", "swish", "mish", "gelu", "relu"),
    "time_embedding_act_fn": (None, "silu", "swish", "mish", "gelu", "relu"),
    "timestep_post_act": (None, "silu", "swish", "mish", "gelu", "relu"),
    "cross_attention_norm": (None, "layer_norm", "group_norm"),
}
PER_LEVEL = (
    "up_block_types",
    "block_out_channels",
    "only_cross_attention",
    "layers_per_block",
    "cross_attention_dim",
    "transformer_layers_per_block",
    "attention_head_dim",
    "reverse_transformer_layers_per_block",
)
NESTING = {  # how deep lists may stand in each other; keys that are not named take no list
    **dict.fromkeys((*PER_LEVEL, "down_block_types", "sample_size"), 1),
    "transformer_layers_per_block": 2,  # one a level, and in it one a layer
    "reverse_transformer_layers_per_block": 2,
}
TOO_DEEP = 1 + max(NESTING.values())
COUNTS = {  # key: largest sensible value; the smallest is 1
    "sample_size": 16_384,
    "in_channels": MAX_CHANNELS,
    "out_channels": MAX_CHANNELS,
    "block_out_channels": MAX_CHANNELS,
    "layers_per_block": MAX_LAYERS,
    "norm_num_groups": MAX_CHANNELS,
    "cross_attention_dim": MAX_CHANNELS,
    "transformer_layers_per_block": MAX_LAYERS,
    "reverse_transformer_layers_per_block": MAX_LAYERS,
    "encoder_hid_dim": MAX_CHANNELS,
    "attention_head_dim": MAX_CHANNELS,
    "addition_time_embed_dim": MAX_CHANNELS,
    "num_class_embeds": 10_000_000,
    "time_embedding_dim": MAX_CHANNELS,
    "time_cond_proj_dim": MAX_CHANNELS,
    "conv_in_kernel": 31,
    "conv_out_kernel": 31,
    "projection_class_embeddings_input_dim": MAX_CHANNELS,
    "addition_embed_type_num_heads": MAX_CHANNELS,
}
ZERO_ALLOWED = ("transformer_layers_per_block", "reverse_transformer_layers_per_block")
FLAGS = (
    "center_input_sample",
    "flip_sin_to_cos",
    "only_cross_attention",
    "dual_cross_attention",
    "use_linear_projection",
    "upcast_attention",
    "resnet_skip_time_act",
    "class_embeddings_concat",
    "mid_block_only_cross_attention",
)


def resolve(source: str | Path) -> tuple[str, dict[str, Any]]:
    """Label and checked configuration of an id, a ``config.json`` or a saved folder.

    Ids are the catalogue's and the mini family's.

    A folder may be a saved UNet (``config.json`` in it) or a saved pipeline (``unet/`` in it).
    The configuration holds every argument of ``UNet2DConditionModel``, defaults filled in.

    Raises:
        AtlasError: nothing of that name, or not a configuration that can be built.
    """
    name = str(source)
    if name in catalog.ids():
        return name, check(dict(catalog.get(name).unet.config), name)
    path = folder(name) if name in MEMBERS else Path(source)
    if not _exists(path):
        raise AtlasError(
            f"{name!r} is neither a model of the catalogue nor a file or folder here; "
            f"{catalog.hint(name)}."
        )
    file = config_file(path)
    return label(path), check(read_json(file), str(file))


def config_file(path: Path) -> Path:
    """The UNet's ``config.json`` for a file, a saved UNet folder or a saved pipeline folder."""
    if not path.is_dir():
        return path
    for candidate in (path / "unet" / "config.json", path / "config.json"):
        if candidate.is_file():
            return candidate
    raise AtlasError(
        f"The folder '{path}' holds no UNet: no 'config.json', no 'unet/config.json'; "
        "name a saved UNet, a saved pipeline or a config.json."
    )


def label(path: Path) -> str:
    """A short name for a path: ``my-unet`` for ``my-unet/unet/config.json``."""
    parts = [p for p in path.resolve().parts if p not in ("unet", "config.json")]
    return Path(parts[-1]).stem if parts[-1].endswith(".json") else parts[-1]


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        AtlasError: the file can't be read, is too large, or is not one JSON object.
    """
    text = ""
    try:
        size = file.stat().st_size if file.is_file() else None
        text = file.read_text("utf-8") if size is not None and size <= MAX_FILE_BYTES else ""
        value = json.loads(text) if text else None
    except OSError as error:
        raise AtlasError(
            f"'{file}' can't be read: {error.strerror}; check its permissions."
        ) from None
    except (ValueError, RecursionError):
        value = None
    if size is None or size > MAX_FILE_BYTES:
        raise AtlasError(f"'{file}' is no file of at most 1 MB; name a config.json.")
    if value is None and text.strip() != "null":
        raise AtlasError(
            f"'{file}' is not valid JSON; save it again, for instance with model.save_config."
        )
    if not isinstance(value, dict):
        raise AtlasError(f"'{file}' holds no JSON object; a config.json begins with '{{'.")
    return value


def check(raw: dict[str, Any], where: str) -> dict[str, Any]:
    """A configuration with defaults filled in, every value checked.

    Keys that start with ``_`` are bookkeeping and dropped; other unknown keys are refused, since a
    network built without them might not be the one that was meant.

    Raises:
        AtlasError: naming the first key that is wrong.
    """
    named = raw.get("_class_name", CLASS)
    if named != CLASS:
        raise AtlasError(
            f"{where}: _class_name is {_short(named)}; only {CLASS} can be compared here."
        )
    given = {k: v for k, v in raw.items() if not k.startswith("_")}
    if unknown := sorted(set(given) - set(DEFAULTS)):
        raise AtlasError(
            f"{where}: unknown key {_short(unknown[0])}; remove it or name a UNet's config.json."
        )
    if not given:
        raise AtlasError(f"{where}: no key of {CLASS} in it; name a UNet's config.json.")
    config = {**DEFAULTS, **{k: _tuples(v) for k, v in given.items()}}
    for key, value in config.items():
        _check_value(key, value, where)
    _check_shape(config, where)
    return config


def _check_value(key: str, value: Any, where: str) -> None:
    if _nesting(value) > NESTING.get(key, 0) and key not in WORDS:
        raise AtlasError(
            f"{where}: {key} is {_short(value)}; it takes "
            + ("a list that is neither empty nor nested so." if key in NESTING else "one value.")
        )
    if key in WORDS:
        _check_words(key, value, where)
    elif key in FLAGS:
        for flag in _leaves(value):
            if flag is not None and not isinstance(flag, bool):
                raise AtlasError(f"{where}: {key} is {_short(flag)}; it takes true or false.")
    elif key in COUNTS:
        _check_counts(key, value, where)
    elif value is not None and (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not -MAX_NUMBER <= value <= MAX_NUMBER
    ):
        raise AtlasError(
            f"{where}: {key} is {_short(value)}; it takes a number of at most {MAX_NUMBER:.0e}."
        )


def _check_words(key: str, value: Any, where: str) -> None:
    many = key.endswith("_types")
    if many and not (isinstance(value, tuple) and 1 <= len(value) <= MAX_LEVELS):
        raise AtlasError(
            f"{where}: {key} is {_short(value)}; it takes a list of 1 to {MAX_LEVELS} block names."
        )
    for word in value if many else (value,):
        plain = word.removeprefix("UNetRes") if isinstance(word, str) and many else word
        if not isinstance(plain, str | None) or plain not in WORDS[key]:
            known = ", ".join(str(w) for w in WORDS[key])
            raise AtlasError(f"{where}: {key} names {_short(word)}; known are {known}.")


def _check_counts(key: str, value: Any, where: str) -> None:
    least = 0 if key in ZERO_ALLOWED else 1
    optional = value is None and (DEFAULTS[key] is None or key == "norm_num_groups")
    optional = optional or key == "attention_head_dim"  # None is one head in a bare layer
    for number in _leaves(value):
        if number is None and optional:
            continue
        whole = isinstance(number, int) and not isinstance(number, bool)
        if not whole or not least <= number <= COUNTS[key]:
            raise AtlasError(
                f"{where}: {key} is {_short(number)}; "
                f"it takes whole numbers from {least} to {COUNTS[key]}."
            )


def _check_shape(config: dict[str, Any], where: str) -> None:
    levels = len(config["down_block_types"])
    for key in PER_LEVEL:
        value = config[key]
        if isinstance(value, tuple) and len(value) != levels:
            raise AtlasError(
                f"{where}: {key} has {len(value)} entries for {levels} down_block_types; "
                "give one a level."
            )
    if not isinstance(config["block_out_channels"], tuple):
        raise AtlasError(f"{where}: block_out_channels takes a list, one number a level.")
    size = config["sample_size"]
    if isinstance(size, tuple) and len(size) != 2:
        raise AtlasError(f"{where}: sample_size is {_short(size)}; it takes a height and a width.")
    if _blocks(config, levels) > MAX_BLOCKS:
        raise AtlasError(
            f"{where}: over {MAX_BLOCKS} resnets and transformer blocks; lower layers or depth."
        )


def _blocks(config: dict[str, Any], levels: int) -> int:
    """Resnets and transformer blocks on the way down and up, if each level has attention."""
    layers = _most_by_level(config["layers_per_block"], levels)
    down = _most_by_level(config["transformer_layers_per_block"], levels)
    reverse = config["reverse_transformer_layers_per_block"]
    up = down[::-1] if reverse is None else _most_by_level(reverse, levels)
    return sum(n * (1 + depth) for n, depth in zip(layers, down, strict=True)) + sum(
        (n + 1) * (1 + depth) for n, depth in zip(layers[::-1], up, strict=True)
    )


def _most_by_level(value: Any, levels: int) -> list[int]:
    each = value if isinstance(value, tuple) else (value,) * levels
    return [max(_leaves(v)) for v in each]


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _tuples(value: Any, left: int = TOO_DEEP) -> Any:
    """Lists as tuples; what is nested deeper than any key takes is left as it is."""
    if isinstance(value, list | tuple) and left:
        return tuple(_tuples(v, left - 1) for v in value)
    return value


def _nesting(value: Any) -> int:
    """How deep tuples stand in each other; a list with nothing in it fits nowhere."""
    if not isinstance(value, tuple):
        return 0
    return 1 + max(map(_nesting, value)) if value else TOO_DEEP


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long, or with a NUL in it
        return False


def _short(value: Any) -> str:
    text = reprlib.repr(value) if isinstance(value, list | tuple | dict) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
