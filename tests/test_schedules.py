"""Noise schedules and targets against diffusers' own schedulers."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from itertools import product

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler

from unet_atlas import schedules
from unet_atlas.catalog import get, ids, models
from unet_atlas.errors import AtlasError

STEPS = (0, 1, 250, 500, 998, 999)


@pytest.fixture
def latents() -> tuple[torch.Tensor, torch.Tensor]:
    """A clean latent and noise, (2, 4, 8, 8) float64."""
    draws = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 2, 4, 8, 8, generator=draws, dtype=torch.float64)
    return clean, noise


@pytest.fixture
def alpha_bar() -> torch.Tensor:
    """The shared schedule, (1000,) float64."""
    return schedules.alphas_cumprod(get("sd-1.5").scheduler)


@pytest.mark.parametrize("model_id", ids())
def test_all_models_share_one_schedule(model_id: str, alpha_bar: torch.Tensor) -> None:
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    mine = schedules.alphas_cumprod(get(model_id).scheduler)
    assert torch.equal(mine, alpha_bar)
    torch.testing.assert_close(mine, torch.cumprod(1 - betas, 0), rtol=2e-5, atol=0)


@pytest.mark.parametrize("model_id", ids())
def test_schedulers_are_built_as_the_catalogue_says(model_id: str) -> None:
    part = get(model_id).scheduler
    made = schedules.scheduler(part)
    assert type(made).__name__ == part.class_name
    known = {k: v for k, v in part.config.items() if k in made.config}
    assert {k: made.config[k] for k in known} == known
    assert made.config.prediction_type == get(model_id).training.objective


def test_the_last_step_still_holds_signal(alpha_bar: torch.Tensor) -> None:
    assert float(schedules.signal_std(alpha_bar)[-1]) == pytest.approx(0.0682649, abs=1e-6)
    assert float(schedules.snr(alpha_bar)[-1]) == pytest.approx(0.0046819, abs=1e-6)


def test_the_rescaled_schedule_ends_in_pure_noise() -> None:
    part = get("sd-2.1-v").scheduler
    rescaled = schedules.alphas_cumprod(part, rescale_betas_zero_snr=True)
    assert float(rescaled[-1]) == 0
    assert float(schedules.snr(rescaled[-1])) == 0
    assert float(rescaled[0]) == pytest.approx(float(schedules.alphas_cumprod(part)[0]), rel=1e-5)


def test_signal_and_noise_have_unit_power(alpha_bar: torch.Tensor) -> None:
    power = schedules.signal_std(alpha_bar) ** 2 + schedules.noise_std(alpha_bar) ** 2
    torch.testing.assert_close(power, torch.ones_like(power))


def test_the_image_noise_is_the_squared_cosine() -> None:
    cosine = schedules.alphas_cumprod(get("sd-2.1-unclip-h").noising_scheduler)
    ends = torch.linspace(0, 1, 1001, dtype=torch.float64)[1:]
    start = torch.cos(torch.tensor(0.008 / 1.008) * torch.pi / 2).double() ** 2
    exact = torch.cos((ends + 0.008) / 1.008 * torch.pi / 2) ** 2 / start
    torch.testing.assert_close(
        cosine[:-1], exact[:-1], rtol=1e-3, atol=1e-6
    )  # the cap moves the last step
    assert 0 < float(cosine[-1]) < 1e-8


@pytest.mark.parametrize("t", STEPS)
def test_noising_and_velocity_agree_with_diffusers(
    t: int, latents, alpha_bar: torch.Tensor
) -> None:
    clean, noise = latents
    reference = schedules.scheduler(get("sd-2.1-v").scheduler)
    at = torch.full((2,), t)
    noisy = schedules.add_noise(clean, noise, alpha_bar[t])
    torch.testing.assert_close(noisy, reference.add_noise(clean, noise, at), rtol=1e-5, atol=1e-6)
    velocity = schedules.target("v_prediction", clean, noise, alpha_bar[t])
    torch.testing.assert_close(
        velocity, reference.get_velocity(clean, noise, at), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(("kind", "t"), product(schedules.TARGETS, (1, 501, 981)))
@pytest.mark.parametrize("made", [DDIMScheduler, DDPMScheduler])
def test_the_clean_latent_is_that_of_a_scheduler_step(made, kind: str, t: int, latents) -> None:
    config = get("sd-2.1-v").scheduler.config
    reference = made.from_config({**config, "prediction_type": kind, "clip_sample": False})
    reference.set_timesteps(50)
    output, noisy = latents  # any output will do
    step = reference.step(output, t, noisy)
    clean, _ = schedules.split(kind, output, noisy, reference.alphas_cumprod[t].double())
    torch.testing.assert_close(step.pred_original_sample.double(), clean, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", schedules.TARGETS)
def test_a_ddim_step_follows_from_the_split(kind: str, latents, alpha_bar: torch.Tensor) -> None:
    reference = schedules.scheduler(get("sd-2.1-v").scheduler, prediction_type=kind)
    reference.set_timesteps(50)
    output, noisy = latents
    clean, noise = schedules.split(kind, output, noisy, alpha_bar[501])
    expected = schedules.add_noise(clean, noise, alpha_bar[481])
    moved = reference.step(output, 501, noisy).prev_sample
    torch.testing.assert_close(moved.double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("start", "end"), product(schedules.TARGETS, repeat=2))
@pytest.mark.parametrize("t", STEPS)
def test_conversions_say_the_same(start: str, end: str, t: int, latents, alpha_bar) -> None:
    clean, noise = latents
    noisy = schedules.add_noise(clean, noise, alpha_bar[t])
    given = schedules.target(start, clean, noise, alpha_bar[t])
    wanted = schedules.target(end, clean, noise, alpha_bar[t])
    torch.testing.assert_close(schedules.convert(start, end, given, noisy, alpha_bar[t]), wanted)


def test_a_schedule_broadcasts_over_a_batch(latents, alpha_bar: torch.Tensor) -> None:
    clean, noise = latents
    each = alpha_bar[[3, 700]].view(2, 1, 1, 1)
    both = schedules.target("v_prediction", clean, noise, each)
    for i, t in enumerate((3, 700)):
        one = schedules.target("v_prediction", clean[i], noise[i], alpha_bar[t])
        torch.testing.assert_close(both[i], one)


def test_error_gains_are_the_closed_forms(alpha_bar: torch.Tensor) -> None:
    a, s = schedules.signal_std(alpha_bar), schedules.noise_std(alpha_bar)
    closed = {
        ("epsilon", "sample"): s / a,
        ("v_prediction", "sample"): s,
        ("sample", "sample"): torch.ones_like(a),
        ("epsilon", "epsilon"): torch.ones_like(a),
        ("v_prediction", "epsilon"): a,
        ("sample", "epsilon"): a / s,
    }
    for (start, end), gain in closed.items():
        torch.testing.assert_close(schedules.error_gain(start, end, alpha_bar), gain)


def test_velocity_is_defined_without_any_signal(latents) -> None:
    clean, noise = latents
    nothing = torch.zeros((), dtype=torch.float64)
    velocity = schedules.target("v_prediction", clean, noise, nothing)
    torch.testing.assert_close(velocity, -clean)
    again, _ = schedules.split("v_prediction", velocity, noise, nothing)
    torch.testing.assert_close(again, clean)
    lost, _ = schedules.split("epsilon", noise, noise, nothing)
    assert not torch.isfinite(lost).any()


@pytest.mark.parametrize(
    ("spacing", "first", "last"), [("leading", 981, 1), ("linspace", 999, 0), ("trailing", 999, 19)]
)
def test_time_steps_of_each_spacing(spacing: str, first: int, last: int) -> None:
    part = get("sdxl-base-1.0").scheduler
    path = schedules.timesteps(part, 50, timestep_spacing=spacing)
    assert (path[0], path[-1], len(path)) == (first, last, 50)
    assert list(path) == sorted(path, reverse=True)


def test_pndm_visits_its_second_step_twice() -> None:
    assert schedules.timesteps(get("sd-1.5").scheduler, 50)[:4] == (981, 961, 961, 941)
    assert len(schedules.timesteps(get("sd-1.5").scheduler, 50)) == 51


def test_unknown_targets_are_refused(latents, alpha_bar: torch.Tensor) -> None:
    with pytest.raises(AtlasError, match="epsilon, v_prediction, sample"):
        schedules.target("v", *latents, alpha_bar[0])
    with pytest.raises(AtlasError, match="'x0' is not a target"):
        schedules.split("x0", *latents, alpha_bar[0])


def test_a_network_is_no_scheduler() -> None:
    with pytest.raises(AtlasError, match="kl-f8-512 is a AutoencoderKL"):
        schedules.scheduler(get("sd-1.5").vae)


def test_changes_leave_the_catalogue_alone() -> None:
    part = get("sd-2.1-v").scheduler
    schedules.scheduler(part, prediction_type="epsilon")
    assert part.config["prediction_type"] == "v_prediction"
    with pytest.raises(FrozenInstanceError):
        part.id = "other"
    assert len(models()) == 13
