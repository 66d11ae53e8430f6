"""Text encoders, image encoders, VAE and schedulers against the published figures."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from unet_atlas import components, schedules
from unet_atlas.anatomy import total_params
from unet_atlas.catalog import Model, Part, get, models
from unet_atlas.errors import AtlasError

TEXT = {"clip-l": 123_060_480, "openclip-h": 340_387_840, "openclip-bigg": 694_659_840}
TEXT_GMACS = {"clip-l": 6.649, "openclip-h": 22.564, "openclip-bigg": 48.932}
IMAGE = {"clip-vision-h": 632_076_800, "clip-vision-l": 303_966_208}
VAE = 83_653_863
DECODE_GMACS = {64: 1257, 96: 2877, 128: 5235}
PIPELINES = {
    "sd-1.5": 1_066_235_307,
    "sd-2.1-v": 1_289_952_427,
    "sd-2.1-unclip-h": 1_926_291_627,
    "sd-2.1-unclip-l": 1_597_525_675,
    "sdxl-base-1.0": 3_468_837_867,
    "sdxl-refiner-1.0": 3_037_840_363,
}


def text_encoder(part_id: str) -> Part:
    """A text encoder of the catalogue."""
    return next(p for m in models() for p in m.text_encoders if p.id == part_id)


def image_encoder(part_id: str) -> Part:
    """An image encoder of the catalogue."""
    return next(
        m.image_encoder for m in models() if m.image_encoder and m.image_encoder.id == part_id
    )


@cache
def shapes(model_id: str) -> dict[str, tuple[int, ...]]:
    """Live shapes at the model's own resolution."""
    return components.live_shapes(get(model_id))


@pytest.mark.parametrize("part_id", TEXT)
def test_text_encoders_have_the_published_size(part_id: str) -> None:
    network = components.build_component(text_encoder(part_id))
    assert total_params(network) == TEXT[part_id]


@pytest.mark.parametrize("part_id", TEXT)
def test_text_encoders_cost_the_reference_macs(part_id: str) -> None:
    assert round(components.text_macs(text_encoder(part_id)) / 1e9, 3) == TEXT_GMACS[part_id]


def test_macs_grow_with_the_batch() -> None:
    part = text_encoder("clip-l")
    assert components.text_macs(part, batch=3) == 3 * components.text_macs(part)


@pytest.mark.parametrize("part_id", IMAGE)
def test_image_encoders_have_the_published_size(part_id: str) -> None:
    network = components.build_component(image_encoder(part_id))
    assert total_params(network) == IMAGE[part_id]


@pytest.mark.parametrize("vae", sorted({m.vae.id for m in models()}))
def test_every_vae_is_the_same_network(vae: str) -> None:
    part = next(m.vae for m in models() if m.vae.id == vae)
    network = components.build_component(part)
    split = {name: total_params(child) for name, child in network.named_children()}
    assert split == {
        "encoder": 34_163_592,
        "decoder": 49_490_179,
        "quant_conv": 72,
        "post_quant_conv": 20,
    }
    assert total_params(network) == VAE


@pytest.mark.parametrize(("latent", "gmacs"), DECODE_GMACS.items())
def test_decoding_costs_the_reference_macs(latent: int, gmacs: int) -> None:
    assert round(components.decode_macs(get("sd-1.5").vae, 8 * latent) / 1e9) == gmacs


def test_scaling_factors() -> None:
    factors = {m.id: m.vae.config["scaling_factor"] for m in models()}
    assert {v for k, v in factors.items() if k.startswith("sdxl")} == {0.13025}
    assert {v for k, v in factors.items() if not k.startswith("sdxl")} == {0.18215}


@pytest.mark.parametrize(("model_id", "total"), PIPELINES.items())
def test_components_add_up_to_the_pipeline(model_id: str, total: int) -> None:
    params = components.component_params(get(model_id))
    assert sum(params.values()) == total
    assert list(params)[-2:] == ["UNet", "VAE"]


def test_base_and_refiner_together() -> None:
    both = [
        sum(components.component_params(get(f"sdxl-{m}-1.0")).values()) for m in ("base", "refiner")
    ]
    assert sum(both) == 6_506_678_230


def test_full_tower_of_openclip_h() -> None:
    """The published 354.03M: one more layer and a square projection."""
    network = components.build_component(text_encoder("openclip-h"))
    one_layer = total_params(network.encoder.layers[0])
    assert total_params(network) + one_layer + 1024**2 == 354_032_640


def test_parts_build_on_a_real_device() -> None:
    part = text_encoder("clip-l")
    small = {**part.config, "num_hidden_layers": 1, "vocab_size": 10, "eos_token_id": 9}
    tiny = Part("tiny", part.class_name, small, "file", "", "")
    network = components.build_component(tiny, "cpu")
    out = network(input_ids=torch.zeros(1, 77, dtype=torch.long)).last_hidden_state
    assert out.shape == (1, 77, 768)
    assert not network.training


def test_a_scheduler_is_no_network() -> None:
    with pytest.raises(AtlasError, match="has no network"):
        components.build_component(get("sd-1.5").scheduler)


@pytest.mark.parametrize("model", models(), ids=lambda m: m.id)
def test_schedulers_keep_what_the_catalogue_says(model: Model) -> None:
    scheduler = schedules.scheduler(model.scheduler)
    assert type(scheduler).__name__ == model.scheduler.class_name
    assert scheduler.config.prediction_type == model.training.objective
    assert (scheduler.config.beta_start, scheduler.config.beta_end) == (0.00085, 0.012)
    assert scheduler.config.beta_schedule == "scaled_linear"
    assert len(scheduler.alphas_cumprod) == 1000


def test_noising_scheduler_of_unclip() -> None:
    part = get("sd-2.1-unclip-h").noising_scheduler
    assert schedules.scheduler(part).config.beta_schedule == "squaredcos_cap_v2"


@pytest.mark.parametrize(
    ("model_id", "calls"), [("sd-1.5", 51), ("sd-2.1-v", 50), ("sdxl-base-1.0", 50)]
)
def test_pndm_calls_the_unet_once_more(model_id: str, calls: int) -> None:
    """As reported in diffusers issues 1106 and 9090."""
    steps = schedules.timesteps(get(model_id).scheduler, 50)
    assert len(steps) == calls
    assert steps[0] == 981
    assert (steps[1] == steps[2]) == (calls == 51)


@pytest.mark.parametrize(
    ("model_id", "context", "latent"),
    [
        ("sd-1.5", 768, 64),
        ("sd-2.1-v", 1024, 96),
        ("sd-2.1-unclip-l", 1024, 96),
        ("sdxl-base-1.0", 2048, 128),
        ("sdxl-refiner-1.0", 1280, 128),
    ],
)
def test_live_shapes(model_id: str, context: int, latent: int) -> None:
    found = shapes(model_id)
    assert found["token ids"] == (1, 77)
    assert found["UNet in: text"] == (2, 77, context)
    assert found["UNet in: latent"] == found["UNet out"] == (2, 4, latent, latent)
    assert found["guided prediction"] == found["next latent"] == (1, 4, latent, latent)
    assert found["picture"] == (1, 3, 8 * latent, 8 * latent)
    assert list(found) == [name for name in components.FLOW if name in found]


def test_live_shapes_of_the_extra_conditions() -> None:
    base, refiner = shapes("sdxl-base-1.0"), shapes("sdxl-refiner-1.0")
    assert (base["text states 1"][-1], base["text states 2"][-1]) == (768, 1280)
    assert base["pooled text"] == (1, 1280)
    assert (base["UNet in: size numbers"], refiner["UNet in: size numbers"]) == ((2, 6), (2, 5))
    assert shapes("sd-2.1-unclip-l")["UNet in: class"] == (2, 1536)
    assert "UNet in: class" not in base


def test_live_shapes_at_another_size() -> None:
    found = components.live_shapes(get("sd-1.5"), batch=3, resolution=256)
    assert found["UNet in: latent"] == (6, 4, 32, 32)
    assert found["picture"] == (3, 3, 256, 256)


def test_live_shapes_of_unclip_h() -> None:
    found = shapes("sd-2.1-unclip-h")
    assert found["picture for the image encoder"] == (1, 3, 224, 224)
    assert found["image embedding"] == (1, 1024)
    assert found["UNet in: class"] == (2, 2048)


def test_work_of_one_picture() -> None:
    work = components.pipeline_macs(get("sd-1.5"), steps=50)
    assert work["UNet"] == 51 * 2 * 401_636_720_640
    plain = components.pipeline_macs(get("sd-1.5"), steps=50, guided=False)
    assert plain == {**work, "UNet": work["UNet"] // 2}
    assert list(work) == ["text encoders", "UNet", "VAE decoder"]


def test_both_text_encoders_of_sdxl_are_counted() -> None:
    work = components.pipeline_macs(get("sdxl-base-1.0"), steps=1, guided=False)
    assert round(work["text encoders"] / 1e9, 3) == round(6.649252 + 48.931553, 3)
    assert round(work["VAE decoder"] / work["UNet"], 2) == 1.55


@pytest.mark.parametrize(
    ("model_id", "idle"),
    [
        ("sd-1.5", {"clip-l": 0}),
        ("sd-2.1-v", {"openclip-h": 0}),
        ("sdxl-base-1.0", {"clip-l": 12 * 768**2 + 13 * 768 + 2 * 768, "openclip-bigg": 0}),
        ("sdxl-refiner-1.0", {"openclip-bigg": 0}),
    ],
)
def test_only_the_last_layer_of_sdxls_clip_l_is_idle(model_id: str, idle: dict[str, int]) -> None:
    """Its last layer and final norm: SDXL reads the layer before, and pools bigG only."""
    assert components.idle_params(get(model_id)) == idle
