"""The catalogue against the gathered reference configurations and published recipes.

``reference_configs.json`` holds, per model, the configurations as they were found (every key that
was spelled out there); the catalogue stores them as bases plus differences.
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from unet_atlas import catalog, schedules
from unet_atlas.catalog import Part
from unet_atlas.components import build_component
from unet_atlas.config import DEFAULTS, check, resolve
from unet_atlas.errors import AtlasError

REFERENCE = json.loads(Path(__file__).with_name("reference_configs.json").read_text("utf-8"))
IDS = tuple(REFERENCE)
SEEN = {"file", "converted", "inferred"}

# (start, objective, captions dropped, [(steps, resolution, punsafe), ...]) as the cards give them
TRAINING = {
    "sd-1.1": ("scratch", "epsilon", None, [(237_000, 256, None), (194_000, 512, None)]),
    "sd-1.2": ("sd-1.1", "epsilon", None, [(515_000, 512, None)]),
    "sd-1.3": ("sd-1.2", "epsilon", 0.1, [(195_000, 512, None)]),
    "sd-1.4": ("sd-1.2", "epsilon", 0.1, [(225_000, 512, None)]),
    "sd-1.5": ("sd-1.2", "epsilon", 0.1, [(595_000, 512, None)]),
    "sd-2.0-base": ("scratch", "epsilon", None, [(550_000, 256, 0.1), (850_000, 512, 0.1)]),
    "sd-2.0-v": ("sd-2.0-base", "v_prediction", None, [(150_000, None, 0.1), (140_000, 768, 0.1)]),
    "sd-2.1-base": ("sd-2.0-base", "epsilon", None, [(220_000, 512, 0.98)]),
    "sd-2.1-v": ("sd-2.0-v", "v_prediction", None, [(55_000, 768, 0.1), (155_000, 768, 0.98)]),
    "sd-2.1-unclip-h": ("sd-2.1-v", "v_prediction", None, [(None, 768, None)]),
    "sd-2.1-unclip-l": ("sd-2.1-v", "v_prediction", None, [(None, 768, None)]),
    "sdxl-base-1.0": (
        "scratch",
        "epsilon",
        None,
        [(600_000, 256, None), (200_000, 512, None), (None, 1024, None)],
    ),
    "sdxl-refiner-1.0": ("unpublished", "epsilon", None, [(None, 1024, None)]),
}


def parts() -> list[Part]:
    """Every component of every model, once."""
    found = {}
    for model in catalog.models():
        for field in dataclasses.fields(model):
            value = getattr(model, field.name)
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, Part):
                    found[part.class_name, part.id] = part
    return list(found.values())


def listed(value: Any) -> Any:
    """Tuples as the lists that JSON has."""
    return [listed(v) for v in value] if isinstance(value, tuple) else value


def test_thirteen_ids_oldest_first() -> None:
    assert catalog.ids() == IDS
    assert len(IDS) == 13
    assert [m.id for m in catalog.models()] == list(IDS)


@pytest.mark.parametrize("model_id", IDS)
def test_unets_equal_the_reference_with_defaults_filled_in(model_id: str) -> None:
    reference = check(REFERENCE[model_id]["unet"], "reference")
    _, mine = resolve(model_id)
    assert mine == reference
    assert set(mine) == set(DEFAULTS)


@pytest.mark.parametrize("model_id", IDS)
def test_the_unet_entry_holds_no_key_that_diffusers_would_ignore(model_id: str) -> None:
    assert set(catalog.get(model_id).unet.config) <= set(DEFAULTS)


@pytest.mark.parametrize("model_id", IDS)
def test_text_encoders_equal_the_reference(model_id: str) -> None:
    mine = catalog.get(model_id).text_encoders
    reference = REFERENCE[model_id]["text_encoders"]
    assert len(mine) == len(reference) == len(catalog.get(model_id).text_layers)
    for part, expected in zip(mine, reference, strict=True):
        assert [part.class_name] == expected["architectures"]
        facts = {k: v for k, v in expected.items() if k != "architectures"}
        assert {k: listed(v) for k, v in part.config.items()} == facts


@pytest.mark.parametrize("model_id", IDS)
def test_vaes_equal_the_reference(model_id: str) -> None:
    mine = build_component(catalog.get(model_id).vae).config
    for key, expected in REFERENCE[model_id]["vae"].items():
        if key == "force_upcast" and expected is None:
            continue  # not in the file
        assert listed(mine[key]) == expected, key


@pytest.mark.parametrize("model_id", IDS)
def test_schedulers_equal_the_reference(model_id: str) -> None:
    part, reference = catalog.get(model_id).scheduler, REFERENCE[model_id]["scheduler"]
    assert part.class_name == reference.get("_class_name", part.class_name)
    made = schedules.scheduler(part).config
    known = {k: v for k, v in reference.items() if k in made and not k.startswith("_")}
    assert {k: made[k] for k in known} == known
    assert {"beta_start", "beta_end", "beta_schedule"} <= set(known)


@pytest.mark.parametrize("model_id", IDS)
def test_hub_repositories(model_id: str) -> None:
    assert catalog.get(model_id).hub == REFERENCE[model_id]["hub"]


@pytest.mark.parametrize("model_id", IDS)
def test_only_unclip_has_image_parts(model_id: str) -> None:
    model, reference = catalog.get(model_id), REFERENCE[model_id]
    image_parts = (model.image_encoder, model.noising_scheduler, model.image_normalizer)
    if "unclip" not in model_id:
        assert image_parts == (None, None, None)
        return
    noising = model.noising_scheduler
    assert {"_class_name": noising.class_name, **noising.config} == reference[
        "image_noising_scheduler"
    ]
    assert dict(model.image_normalizer.config) == reference["image_normalizer"]
    width = model.image_encoder.config["projection_dim"]
    assert model.unet.config["projection_class_embeddings_input_dim"] == 2 * width
    assert model.image_normalizer.config["embedding_dim"] == width


@pytest.mark.parametrize("model_id", IDS)
def test_training_facts(model_id: str) -> None:
    training = catalog.get(model_id).training
    legs = [(s.steps, s.resolution, s.punsafe) for s in training.stages]
    assert (training.start, training.objective, training.text_dropout, legs) == TRAINING[model_id]
    assert training.batch == (None if model_id == "sdxl-refiner-1.0" else 2048)


def test_every_start_is_scratch_unpublished_or_an_older_model() -> None:
    for i, model in enumerate(catalog.models()):
        assert model.training.start in ("scratch", "unpublished", *IDS[:i])


def test_the_last_leg_is_at_the_models_resolution() -> None:
    for model in catalog.models():
        assert model.training.stages[-1].resolution == model.resolution
        assert model.unet.config["sample_size"] * 8 == model.resolution


def test_text_widths_add_up_to_the_context() -> None:
    for model in catalog.models():
        width = sum(p.config["hidden_size"] for p in model.text_encoders)
        assert width == model.unet.config["cross_attention_dim"]


def test_text_layers() -> None:
    layers = {m.id: m.text_layers for m in catalog.models()}
    assert {layers[f"sd-1.{i}"] for i in range(1, 6)} == {("last",)}
    assert {v for k, v in layers.items() if k.startswith("sd-2")} == {("penultimate",)}
    assert layers["sdxl-base-1.0"] == ("penultimate", "penultimate + pooled")
    assert layers["sdxl-refiner-1.0"] == ("penultimate + pooled",)


@pytest.mark.parametrize("part", parts(), ids=lambda p: p.id)
def test_provenance_is_stated(part: Part) -> None:
    assert part.seen in SEEN
    assert len(part.evidence) > 20
    assert part.config
    if part.seen == "inferred":
        assert re.search("taken|analogy|not seen|assumed|sizes are|changes only", part.evidence)


@pytest.mark.parametrize("part", parts(), ids=lambda p: p.id)
def test_sources_named_in_the_evidence_exist(part: Part) -> None:
    named = [s for group in re.findall(r"\[([^\]]+)\]", part.evidence) for s in group.split(", ")]
    assert set(named) <= set(catalog._document()["sources"])


@pytest.mark.parametrize("model_id", IDS)
def test_every_source_is_a_url(model_id: str) -> None:
    model = catalog.get(model_id)
    assert model.sources
    assert all(re.fullmatch(r"https://[^\s]+\.[^\s]+", s) for s in model.sources)


def test_every_source_is_used() -> None:
    text = (Path(catalog.__file__).parent / "catalog.yaml").read_text("utf-8")
    _, used = text.split("\nunets:\n")
    for name, url in catalog._document()["sources"].items():
        assert url.startswith("https://")
        assert re.search(rf"[\[ ,]{re.escape(name)}[\],\s}}]", used), name


@pytest.mark.parametrize("model_id", IDS)
def test_availability(model_id: str) -> None:
    availability = catalog.get(model_id).availability
    if not (model_id == "sd-1.5" or model_id.startswith("sd-2")):
        assert availability == catalog.Availability("online", None, None, None, None)
        return
    assert availability.status == "removed"
    assert availability.since == ("2024-08-30" if model_id == "sd-1.5" else "2025-11-13")
    assert availability.evidence.startswith("https://")
    assert availability.mirror
    assert availability.mirror_is == "community"


def test_models_are_frozen_all_the_way_down() -> None:
    model = catalog.get("sd-1.5")
    for thing, field in ((model, "name"), (model.unet, "config"), (model.training, "start")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(thing, field, "changed")
    with pytest.raises(TypeError):
        model.unet.config["sample_size"] = 1
    assert isinstance(model.unet.config["block_out_channels"], tuple)
    with pytest.raises(TypeError):
        catalog._models()["new"] = model


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("sd-1.6", "sd-1.5"),
        ("SD_2.1_V", "sd-2.1-v"),
        ("sdxl-base", "sdxl-base-1.0"),
        ("sdxl-refiner", "sdxl-refiner-1.0"),
        ("refiner", "sdxl-refiner-1.0"),
        ("runwayml/stable-diffusion-v1-5", "sd-1.5"),
        ("stable-diffusion-v1-5/stable-diffusion-v1-5", "sd-1.5"),
        ("SDXL base 1.0", "sdxl-base-1.0"),
    ],
)
def test_typos_get_a_hint(wanted: str, found: str) -> None:
    message = re.escape(f"There is no model '{wanted}' in the catalogue; did you mean '{found}'.")
    near = found[:4]  # several ids may be equally near a typo
    assert catalog.hint(wanted).startswith(f"did you mean '{near}")
    with pytest.raises(AtlasError) as caught:
        catalog.get(wanted)
    assert re.fullmatch(message.replace(re.escape(found), r"[\w.-]+"), str(caught.value))


@pytest.mark.parametrize("wanted", ["", "flux", "☃"])
def test_what_is_near_nothing_gets_the_list(wanted: str) -> None:
    assert catalog.hint(wanted) == "'unet-atlas list' shows the ids"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A document of three entries, each from the one before."""
    things = {
        "a": {"class": "A", "seen": "file", "note": "base", "config": {"x": 1, "y": [1, 2]}},
        "b": {"from": "a", "seen": "inferred", "config": {"y": [3]}},
        "c": {"from": "b", "class": "C", "config": {"z": None}},
        "d": {"from": "a", "config": {}},
    }
    monkeypatch.setattr(catalog, "_document", lambda: {"things": things})


def test_differences_are_laid_over_the_base(small: None) -> None:
    assert catalog._inherit("things", "a")["config"] == {"x": 1, "y": [1, 2]}
    assert catalog._inherit("things", "b")["config"] == {"x": 1, "y": [3]}
    last = catalog._inherit("things", "c")
    assert last["config"] == {"x": 1, "y": [3], "z": None}
    assert (last["class"], last["seen"]) == ("C", "inferred")
    assert catalog._inherit("things", "d")["config"] == {"x": 1, "y": [1, 2]}


def test_a_note_is_not_taken_over(small: None) -> None:
    assert [catalog._inherit("things", n).get("note") for n in "abc"] == ["base", "", ""]


def test_the_base_stays_as_it_is(small: None) -> None:
    before = json.dumps(catalog._document())
    catalog._inherit("things", "c")
    assert json.dumps(catalog._document()) == before


def test_configs_are_read_only_views() -> None:
    assert all(isinstance(p.config, MappingProxyType) for p in parts())
