"""Building: every device and dtype, folders with and without weights, inputs that fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from odd_configs import ODD
from test_config import TINY, saved

from unet_atlas import build, catalog, config, cost
from unet_atlas.errors import AtlasError, first_sentence


@pytest.mark.parametrize("model", catalog.ids())
def test_every_model_runs_on_meta_at_its_own_size(model: str) -> None:
    unet = build.build_unet(model)
    inputs = build.example_inputs(unet, batch=2)
    assert inputs["sample"].shape[-1] * build.VAE_FACTOR == catalog.get(model).resolution
    with torch.no_grad():
        assert unet(**inputs).sample.shape == inputs["sample"].shape


def test_meta_weights_take_no_memory_and_the_rest_is_in_the_dtype() -> None:
    assert build.build_unet("sd-1.5").device.type == "meta"
    unet = build.from_config(config.check(TINY, "tiny"), "tiny", "cpu", torch.bfloat16)
    assert {p.dtype for p in unet.parameters()} == {torch.bfloat16}
    assert torch.get_default_dtype() == torch.float32
    assert not unet.training


def test_added_conditions_have_the_widths_of_sdxl() -> None:
    for model, numbers in (("sdxl-base-1.0", 6), ("sdxl-refiner-1.0", 5)):
        added = build.example_inputs(build.build_unet(model))["added_cond_kwargs"]
        assert added["text_embeds"].shape == (1, 1280)
        assert added["time_ids"].shape == (1, numbers)


def test_class_labels_have_the_widths_of_unclip() -> None:
    for model, width in (("sd-2.1-unclip-h", 2048), ("sd-2.1-unclip-l", 1536)):
        assert build.example_inputs(build.build_unet(model))["class_labels"].shape == (1, width)


def test_a_saved_unet_comes_back_with_its_weights(tmp_path: Path) -> None:
    unet = build.from_config(config.check(TINY, "tiny"), "tiny", "cpu")
    unet.save_pretrained(tmp_path / "unet")
    again = build.load_unet(tmp_path)
    assert all(
        torch.equal(a, b) for a, b in zip(unet.parameters(), again.parameters(), strict=True)
    )


def test_a_folder_without_weights_says_so(tmp_path: Path) -> None:
    saved(tmp_path, TINY)
    with pytest.raises(AtlasError, match=r"no \.safetensors weights"):
        build.load_unet(tmp_path)


def test_pickled_weights_are_not_loaded(tmp_path: Path) -> None:
    saved(tmp_path, TINY)
    (tmp_path / "diffusion_pytorch_model.bin").write_bytes(b"not even a pickle")
    with pytest.raises(AtlasError, match=r"no \.safetensors weights"):
        build.load_unet(tmp_path)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"resolution": 100}, "multiple of 8"),
        ({"resolution": 0}, "resolution 0 is out of range"),
        ({"resolution": -8}, "resolution -8 is out of range"),
        ({"latent": 0}, "latent 0 is out of range"),
        ({"latent": 10**9}, "out of range"),
        ({"batch": 0}, "batch 0 is out of range"),
        ({"tokens": -1}, "tokens -1 is out of range"),
        ({"resolution": 512, "latent": 64}, "give one of them"),
    ],
)
def test_sizes_that_make_no_sense(sizes: dict, words: str) -> None:
    unet = build.from_config(config.check(TINY, "tiny"), "tiny")
    with pytest.raises(AtlasError, match=words):
        build.example_inputs(unet, **sizes)


def test_what_diffusers_refuses_is_one_sentence(tmp_path: Path) -> None:
    file = saved(tmp_path, {**TINY, "norm_num_groups": 5})
    with pytest.raises(AtlasError, match="diffusers can't build it") as raised:
        build.build_unet(file)
    assert "\n" not in str(raised.value)


def test_a_config_of_the_catalogue_survives_a_file(tmp_path: Path) -> None:
    part = catalog.get("sdxl-refiner-1.0").unet
    file = tmp_path / "refiner.json"
    file.write_text(json.dumps({"_class_name": part.class_name, **part.config}))
    assert config.resolve(file)[1] == config.resolve("sdxl-refiner-1.0")[1]


@pytest.mark.parametrize(
    "change",
    [
        {"attention_head_dim": 64},  # heads of no width: ZeroDivisionError
        {"transformer_layers_per_block": [[1], [1]], "layers_per_block": 2},  # IndexError
        {"norm_eps": None},
    ],
)
def test_what_diffusers_refuses_is_one_sentence_and_no_warning(
    change: dict, recwarn: pytest.WarningsRecorder
) -> None:
    with pytest.raises(AtlasError, match=r"diffusers can't build it|forward pass fails") as raised:
        cost.count(build.from_config(config.check({**TINY, **change}, "odd"), "odd"))
    assert "\n" not in str(raised.value)
    assert not recwarn.list


def test_a_hint_that_leaves_no_channel_for_the_latent() -> None:
    hinted = {**ODD["image and hint added"], "in_channels": 1}
    unet = build.from_config(config.check(hinted, "hinted"))
    with pytest.raises(AtlasError, match="in_channels 1 leaves no room"):
        build.example_inputs(unet)


def test_an_error_without_words_has_a_sentence() -> None:
    assert first_sentence(AssertionError()) == "AssertionError."
