"""What ships in models/: complete, small, in agreement with the code that made it."""

from __future__ import annotations

import hashlib

import pytest
from safetensors import safe_open

from unet_atlas import cards, compare
from unet_atlas.build import build_unet
from unet_atlas.errors import AtlasError
from unet_atlas.mini import MEMBERS, folder, networks
from unet_atlas.mini.members import SCORER, home
from unet_atlas.sampling import Recipe, load_pipeline, sample

ALL = (*MEMBERS, SCORER)


def files(name):
    return [f for f in folder(name).rglob("*") if f.is_file()]


def test_everything_together_is_at_most_30_mb():
    weights = [f for f in home().rglob("*") if f.is_file() and not f.name.startswith("exam")]
    assert sum(f.stat().st_size for f in weights) <= 30e6
    assert {f.suffix for f in home().rglob("*") if f.is_file()} <= {
        ".json", ".txt", ".safetensors", ".md", ".png",
    }  # fmt: skip


def test_the_autoencoder_is_one():
    digests = {
        hashlib.sha256(
            (folder(n) / "vae/diffusion_pytorch_model.safetensors").read_bytes()
        ).digest()
        for n in MEMBERS
    }
    assert len(digests) == 1


@pytest.mark.parametrize("name", ALL)
def test_weights_are_half_precision(name):
    for file in (f for f in files(name) if f.suffix == ".safetensors"):
        with safe_open(file, "pt") as weights:
            kinds = {weights.get_slice(key).get_dtype() for key in weights.keys()}  # noqa: SIM118
        assert kinds <= {"F16", "I64"}


@pytest.mark.parametrize("name", ALL)
def test_each_has_a_card(name):
    card = (folder(name) / "README.md").read_text("utf-8")
    assert f"# {name}" in card
    assert "## Training" in card
    if name in MEMBERS:
        assert f"{cards.size(name)[0]:,} parameters" in card
        assert "| unseen pair | unseen arrangement |" in card


@pytest.mark.parametrize("name", MEMBERS)
def test_the_shipped_unet_is_the_one_of_the_code(name):
    built = build_unet(name)
    mine = networks.unet(name)
    assert {k: v.shape for k, v in built.state_dict().items()} == {
        k: v.shape for k, v in mine.state_dict().items()
    }


def test_members_compare_by_name():
    paired = compare.compare([build_unet("mini-sd"), build_unet("mini-sdxl")])
    assert paired.labels == ("mini-sd", "mini-sdxl")


@pytest.mark.parametrize(
    ("name", "recipe", "message"),
    [
        ("mini-sd2", Recipe("ddim", 1000), "DDIMScheduler can't take 1000 of 1000 steps"),
        ("mini-sd", Recipe("own", 1), "PNDM can't sample in one step"),
    ],
)
def test_steps_that_diffusers_would_stumble_over(name, recipe, message):
    with pytest.raises(AtlasError, match=message):
        sample(load_pipeline(name, "cpu"), ["a red ring"], recipe)


def test_nothing_is_drawn_on_meta():
    with pytest.raises(AtlasError, match="Nothing can be drawn on 'meta'"):
        load_pipeline("mini-sd", "meta")
