"""The thirteen models of the Stable Diffusion family, as typed data.

The facts stand in ``catalog.yaml``, each entry as a base plus its differences; this module
resolves them into frozen dataclasses and computes nothing. Book: *The versions*.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import yaml

from unet_atlas.errors import AtlasError

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Part:
    """One component's configuration, and how it is known.

    ``seen`` is ``file`` (read off the published file), ``converted`` (computed from the
    published yaml by diffusers' converter) or ``inferred``; ``evidence`` says from what.
    """

    id: str
    class_name: str
    config: Config
    seen: str
    evidence: str
    note: str


@dataclass(frozen=True)
class TrainingStage:
    """One leg of training. ``steps`` and ``resolution`` are ``None`` where no source gives them."""

    steps: int | None
    resolution: int | None
    data: str | None
    punsafe: float | None
    note: str


@dataclass(frozen=True)
class Training:
    """How a checkpoint was made, in stages.

    ``start`` is a model id, ``scratch`` or ``unpublished``; ``batch`` counts pictures.
    """

    start: str
    objective: str
    text_dropout: float | None
    stages: tuple[TrainingStage, ...]
    optimizer: str | None
    batch: int | None
    hardware: str | None


@dataclass(frozen=True)
class Availability:
    """Whether the weights are still at the publisher's Hub repository, and where else."""

    status: str
    since: str | None
    evidence: str | None
    mirror: str | None
    mirror_is: str | None


@dataclass(frozen=True)
class Model:
    """One released model: its components, its training, where it can be had."""

    id: str
    name: str
    hub: str
    resolution: int
    unet: Part
    text_encoders: tuple[Part, ...]
    text_layers: tuple[str, ...]
    vae: Part
    scheduler: Part
    image_encoder: Part | None
    noising_scheduler: Part | None
    image_normalizer: Part | None
    training: Training
    availability: Availability
    sources: tuple[str, ...]


def ids() -> tuple[str, ...]:
    """The catalogue's ids, oldest model first."""
    return tuple(_models())


def models() -> tuple[Model, ...]:
    """All models, oldest first."""
    return tuple(_models().values())


def get(model_id: str) -> Model:
    """The model with this id.

    Raises:
        AtlasError: no such id; the message suggests the nearest one.
    """
    try:
        return _models()[model_id]
    except KeyError:
        raise AtlasError(
            f"There is no model {model_id!r} in the catalogue; {hint(model_id)}."
        ) from None


def hint(wanted: str) -> str:
    """What to say to a reader whose id is not in the catalogue."""
    for model in models():
        if wanted in (model.hub, model.name, model.availability.mirror):
            return f"did you mean {model.id!r}"
    plain = wanted.lower().replace("_", "-")
    near = difflib.get_close_matches(plain, ids(), n=1, cutoff=0.5)
    near = near or [model_id for model_id in ids() if plain and plain in model_id]
    return f"did you mean {near[0]!r}" if near else "'unet-atlas list' shows the ids"


@cache
def _document() -> dict[str, Any]:
    return yaml.safe_load(files("unet_atlas").joinpath("catalog.yaml").read_text("utf-8"))


@cache
def _models() -> Mapping[str, Model]:
    return MappingProxyType({name: _model(name) for name in _document()["models"]})


def _inherit(section: str, name: str) -> dict[str, Any]:
    """An entry with what it takes over from its base; ``config`` is merged, the rest replaced."""
    entry = dict(_document()[section][name])
    if "from" not in entry:
        return entry
    base = _inherit(section, entry.pop("from"))
    config = {**base.get("config", {}), **entry.get("config", {})}
    return {**base, "note": "", **entry, **({"config": config} if config else {})}


def _part(section: str, name: str | None) -> Part | None:
    if name is None:
        return None
    entry = _inherit(section, name)
    config = MappingProxyType({k: _frozen(v) for k, v in entry["config"].items()})
    return Part(
        name, entry["class"], config, entry["seen"], entry["evidence"], entry.get("note", "")
    )


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value


def _training(entry: dict[str, Any]) -> Training:
    facts, recipe = entry["training"], _document()["recipes"][entry["recipe"]]
    stages = tuple(
        TrainingStage(s["steps"], s["resolution"], s["data"], s.get("punsafe"), s.get("note", ""))
        for s in facts["stages"]
    )
    return Training(facts["start"], facts["objective"], facts["text_dropout"], stages, **recipe)


def _availability(entry: dict[str, Any]) -> Availability:
    facts = _document()["availability"][entry["availability"]]
    return Availability(
        facts["status"],
        facts.get("since"),
        _document()["sources"].get(facts.get("evidence")),
        entry.get("mirror", facts.get("mirror")),
        facts.get("mirror_is"),
    )


def _model(name: str) -> Model:
    entry = _inherit("models", name)
    return Model(
        id=name,
        name=entry["name"],
        hub=entry["hub"],
        resolution=entry["resolution"],
        unet=_part("unets", entry["unet"]),
        text_encoders=tuple(_part("text_encoders", t) for t in entry["text_encoders"]),
        text_layers=tuple(entry["text_layers"]),
        vae=_part("vaes", entry["vae"]),
        scheduler=_part("schedulers", entry["scheduler"]),
        image_encoder=_part("image_encoders", entry.get("image_encoder")),
        noising_scheduler=_part("noising_schedulers", entry.get("noising_scheduler")),
        image_normalizer=_part("image_normalizers", entry.get("image_normalizer")),
        training=_training(entry),
        availability=_availability(entry),
        sources=tuple(_document()["sources"][s] for s in entry["sources"]),
    )
