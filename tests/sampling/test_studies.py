"""Studies: the same pictures as ``sample`` draws, counted passes, order and geometry."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_pipelines import stable_diffusion

from unet_atlas import catalog, schedules
from unet_atlas.errors import AtlasError
from unet_atlas.sampling import Recipe, sample, scheduler_for, studies

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
