"""Studies: the same pictures as ``sample`` draws, counted passes, order and geometry."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_pipelines import quiet, stable_diffusion
from tiny_pipelines import xl as sdxl

from unet_atlas import catalog, schedules
from unet_atlas.errors import AtlasError
from unet_atlas.sampling import Recipe, sample, scheduler_for, studies
from unet_atlas.shapes import render, world

CAPTIONS = ["a red circle", "a blue square", "red"]


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    made = stable_diffusion(tmp_path_factory.mktemp("sd"))
    made.set_progress_bar_config(disable=True)
    return made


@pytest.fixture(scope="module")
def shipped():
    return schedules.scheduler(catalog.get("sd-1.5").scheduler)


@pytest.mark.parametrize("recipe", [Recipe("dpm++", 3, 4.0), Recipe("ddim", 2, 3.0, "blue")])
def test_draw_gives_the_pictures_of_sample(pipe, recipe) -> None:
    before = pipe.scheduler
    drawn = studies.draw(pipe, CAPTIONS, recipe, batch=2)
    assert np.array_equal(drawn.images, sample(pipe, CAPTIONS, recipe, batch=2).images)
    assert drawn.latents.shape[0] == 3
    assert drawn.clipped.shape == (3,)
    assert pipe.scheduler is before
    assert not pipe.unet._forward_pre_hooks


@pytest.mark.parametrize(("name", "passes"), [("dpm++", 3), ("pndm", 4), ("heun", 5)])
def test_passes_are_counted(pipe, name, passes) -> None:
    assert studies.draw(pipe, CAPTIONS, Recipe(name, 3, 1.0), batch=2).passes == passes
    assert studies.draw(pipe, CAPTIONS[:1], Recipe(name, 3, 2.0)).passes == 2 * passes


def test_settings_reach_the_scheduler(pipe) -> None:
    recipe, leading = Recipe("ddim", 4, 2.0), {"timestep_spacing": "leading"}
    euler = studies.draw(pipe, CAPTIONS, replace(recipe, sampler="euler"), **leading)
    ddim = studies.draw(pipe, CAPTIONS, recipe, set_alpha_to_one=True)
    plain = studies.draw(pipe, CAPTIONS, recipe)
    assert studies.distance(euler.latents, ddim.latents).max() < 1e-3
    assert studies.distance(plain.latents, ddim.latents).min() > 1e-3


def test_what_cannot_be_drawn(pipe) -> None:
    for captions, seeds in (([], None), (CAPTIONS, [1])):
        with pytest.raises(AtlasError, match="one a caption"):
            studies.draw(pipe, captions, Recipe(), seeds)
    with pytest.raises(AtlasError, match="batch of 1"):
        studies.draw(pipe, CAPTIONS, Recipe(), batch=0)


def test_clipped_counts_what_the_decoder_puts_outside(pipe, monkeypatch) -> None:
    pixels = torch.tensor([-1.5, -0.5, 0.5, 1.5]).reshape(1, 1, 2, 2).expand(1, 3, 2, 2)
    monkeypatch.setattr(pipe.vae, "decode", lambda latents, return_dict: (pixels,))
    images, clipped = studies._decoded(pipe, torch.zeros(1, 4, 1, 1), 1)
    assert clipped.tolist() == [0.5]
    assert sorted(images[0, ..., 0].ravel()) == [0, 64, 191, 255]


def test_distance_is_a_root_mean_square() -> None:
    a = torch.zeros(2, 4, 3, 3)
    b = torch.stack([torch.full((4, 3, 3), 2.0), torch.zeros(4, 3, 3)])
    assert studies.distance(a, b).tolist() == [2.0, 0.0]
    assert studies.spread(b) == pytest.approx(2.0)
    with pytest.raises(AtlasError, match="two pictures"):
        studies.spread(b[:1])


def test_slope_is_the_power() -> None:
    assert studies.slope([5, 10, 20], [3 / 25, 3 / 100, 3 / 400]) == pytest.approx(2)


@pytest.mark.parametrize(
    ("name", "settings", "low", "high"),
    [
        ("ddim", {}, 0.8, 1.2),
        ("euler", {}, 0.8, 1.2),
        ("dpm++", {"use_lu_lambdas": True, "final_sigmas_type": "sigma_min"}, 1.7, 2.4),
    ],
)
def test_order_on_a_gaussian(shipped, name, settings, low, high) -> None:
    steps = [20, 40, 100]
    made = studies.respaced(scheduler_for(name, shipped), **settings)
    errors = [studies.gaussian_error(made, n) for n in steps]
    assert low < studies.slope(steps, errors) < high
    assert errors[-1] < 0.03


def test_pndm_is_nearly_exact_on_a_gaussian(shipped) -> None:
    assert studies.gaussian_error(scheduler_for("pndm", shipped), 100) < 1e-3


def test_noise_levels_end_where_the_scheduler_does(shipped) -> None:
    for name, end in (("ddim", 0.0292), ("euler", 0.0)):
        made = scheduler_for(name, shipped)
        made.set_timesteps(10)
        levels = studies.noise_levels(made)
        assert len(levels) == 11
        assert levels[-1] == pytest.approx(end, abs=1e-4)
        assert levels == sorted(levels, reverse=True)


def test_geometry_of_guidance(pipe) -> None:
    found = studies.guidance_geometry(pipe, CAPTIONS, Recipe("ddim", 3, 4.0))
    assert list(found.timestep) == sorted(found.timestep, reverse=True)
    assert len(found) == 3
    assert (found.across <= found.difference + 1e-6).all()
    assert not pipe.unet._forward_hooks
    with pytest.raises(AtlasError, match="above 1"):
        studies.guidance_geometry(pipe, CAPTIONS, Recipe("ddim", 3, 1.0))


def test_geometry_by_hand() -> None:
    empty, told = torch.tensor([[2.0, 0.0]]), torch.tensor([[3.0, 2.0]])
    found = studies._geometry(empty, told)
    assert found["difference"] == pytest.approx(5**0.5 / 2)
    assert found["across"] == pytest.approx(1)
    assert found["cosine"] == pytest.approx(3 / 13**0.5)


def test_altered_scenes_differ_in_one_thing() -> None:
    scene = world.draw_scene(5, 3, "test", count=3)
    twins = studies.altered(scene)
    first = scene.things[0]
    for twin, name in zip(twins.values(), ("colour", "shape", "x"), strict=True):
        assert getattr(twin.things[0], name) != getattr(first, name)
        assert twin.things[2] == scene.things[2]
        assert not np.array_equal(render.render(twin), render.render(scene))
    assert replace(twins["another colour"].things[0], colour=first.colour) == first
    assert replace(twins["another shape"].things[0], shape=first.shape) == first


def test_the_best_observer_is_as_often_right_as_one_that_takes_the_nearer() -> None:
    draws = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 1, 4, 3, 3, generator=draws)
    bars = torch.tensor([0.9999, 0.1, 0.01, 1e-9])
    said = studies.told_apart(a, b, bars)
    for bar, share in zip(bars, said, strict=True):
        noise = torch.randn(20_000, 4, 3, 3, generator=draws)
        seen = schedules.add_noise(a, noise, bar)
        far, near = ((seen - bar.sqrt() * c).square().flatten(1).sum(1) for c in (b, a))
        assert float((near < far).float().mean()) == pytest.approx(float(share), abs=0.015)
    assert float(said[0]) == pytest.approx(1)
    assert float(said[-1]) == pytest.approx(0.5, abs=1e-3)


def test_settled_means_that_it_stays() -> None:
    shares = pd.DataFrame(
        {"late": [50, 0, 50, 50], "never": [9, 9, 0, 0], "early": [46, 50, 48, 50]},
        index=[1, 3, 7, 25],
    )
    assert studies.settled_by(shares) == {"early": 1, "late": 7}


@pytest.fixture(scope="module")
def xl(tmp_path_factory):
    return quiet(sdxl(tmp_path_factory.mktemp("xl")))


def scene_of(*things: tuple[str, str, float, float]) -> np.ndarray:
    return render.render([world.Thing(shape, colour, x, y, 10) for shape, colour, x, y in things])


def test_objects_are_read_from_left_to_right() -> None:
    images = [scene_of(("square", "blue", 50, 20), ("circle", "red", 14, 44)), scene_of()]
    assert studies.objects_read(images) == [[("red", "circle"), ("blue", "square")], []]


def test_the_mean_centre_counts_what_is_read() -> None:
    images = [scene_of(("square", "blue", 20, 20)), scene_of(("circle", "red", 40, 30)), scene_of()]
    assert studies.mean_centre(images) == pytest.approx((30, 25, 2 / 3), abs=0.2)
    x, y, share = studies.mean_centre(images[2:])
    assert np.isnan([x, y]).all()
    assert share == 0


def test_three_equal_texts_are_one_prompt(xl) -> None:
    recipe = Recipe("dpm++", 2, 4.0)
    whole = sample(xl, ["a red circle"] * 2, recipe).images.astype(int)
    divided = studies.draw_divided(xl, ["a red circle"] * 3, recipe, 2)
    assert np.abs(divided - whole).max() <= 1
    for place in range(3):
        texts = ["a red circle"] * 3
        texts[place] = "a blue square"
        assert not np.array_equal(studies.draw_divided(xl, texts, recipe, 2), divided)


def test_no_negative_prompt_is_zeros_in_sdxl_only(pipe, xl) -> None:
    for made, zeros in ((pipe, False), (xl, True)):
        none, empty = (studies.starting_text(made, negative) for negative in (None, ""))
        assert len(none) == len(empty) == 1 + zeros
        assert all(torch.equal(a, b) != zeros for a, b in zip(none, empty, strict=True))
        assert any(bool(a.any()) for a in none) != zeros
