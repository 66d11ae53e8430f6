"""A traced run is the pipeline's own, and every step of it says what it is made of."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_pipelines as tiny
import torch

from unet_atlas import schedules
from unet_atlas.errors import AtlasError
from unet_atlas.sampling import Recipe, sample
from unet_atlas.sampling.trace import decode, denoise_trace, encode, latent_pictures

RECIPE = Recipe("ddim", 3, 4.0)
KINDS = {"sd": tiny.stable_diffusion, "unclip": tiny.unclip, "xl": tiny.xl}
EXTRA = {"unclip": {"image": torch.zeros(1, 3, 32, 32), "noise_level": 10}}


@pytest.fixture(params=KINDS)
def made(request: pytest.FixtureRequest, tmp_path):
    return tiny.quiet(KINDS[request.param](tmp_path)), EXTRA.get(request.param, {})


def test_it_ends_with_the_picture_that_sample_draws(made) -> None:
    pipeline, extra = made
    shipped = pipeline.scheduler
    trace = denoise_trace(pipeline, tiny.CAPTIONS[0], RECIPE, 7, **extra)
    drawn = sample(pipeline, tiny.CAPTIONS[:1], RECIPE, [7], **extra).images
    assert np.abs(decode(pipeline, trace.result).astype(int) - drawn).max() <= 1
    assert pipeline.scheduler is shipped


def test_every_step_mixes_what_it_said_anew(made) -> None:
    pipeline, extra = made
    trace = denoise_trace(pipeline, tiny.CAPTIONS[0], RECIPE, **extra)
    bar = pipeline.scheduler.alphas_cumprod
    later = [*trace.noisy[1:], trace.result]
    times = zip(trace.timesteps, [*trace.timesteps[1:], 0], strict=True)
    latents = zip(trace.noisy, trace.clean, later, strict=True)
    for (t, after), (noisy, clean, follows) in zip(times, latents, strict=True):
        noise = schedules.split("sample", clean, noisy, bar[t])[1]
        assert torch.allclose(schedules.add_noise(clean, noise, bar[after]), follows, atol=1e-3)


def test_velocity_is_read_as_velocity(tmp_path) -> None:
    pipeline = tiny.quiet(tiny.stable_diffusion(tmp_path, prediction_type="v_prediction"))
    trace = denoise_trace(pipeline, ["a"], Recipe("ddim", 1, 1.0))
    assert torch.isfinite(trace.clean).all()
    assert trace.clean.abs().max() < 100


def test_several_captions_each_have_their_seed(tmp_path) -> None:
    pipeline = tiny.quiet(tiny.stable_diffusion(tmp_path))
    both = denoise_trace(pipeline, ["a", "b"], RECIPE, [3, 4])
    assert both.noisy.shape == both.clean.shape == (3, 2, 4, 16, 16)
    alone = denoise_trace(pipeline, "b", RECIPE, 4)
    assert torch.allclose(both.result[1:], alone.result, atol=1e-4)
    assert torch.equal(both.noisy[0, 1:], alone.noisy[0])


def test_refusals(tmp_path) -> None:
    pipeline = tiny.stable_diffusion(tmp_path)
    with pytest.raises(AtlasError, match="euler can't be traced"):
        denoise_trace(pipeline, "a", Recipe("euler", 3))
    with pytest.raises(AtlasError, match="1 seeds for 2 captions"):
        denoise_trace(pipeline, ["a", "b"], RECIPE, 1)


def test_encode_undoes_the_scale_and_takes_no_chance(tmp_path) -> None:
    pipeline = tiny.stable_diffusion(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    latents = encode(pipeline, images)
    assert latents.shape == (2, 4, 16, 16)
    assert torch.equal(latents, encode(pipeline, images))
    decoded = decode(pipeline, latents)
    pipeline.vae.register_to_config(scaling_factor=2 * pipeline.vae.config.scaling_factor)
    assert torch.allclose(encode(pipeline, images), 2 * latents)
    assert np.array_equal(decode(pipeline, 2 * latents), decoded)


def test_latent_pictures_are_grey_at_zero() -> None:
    shown = latent_pictures(torch.tensor([[[0.0, 3.0, -3.0, 9.0]]]))
    assert shown.shape == (1, 1, 4, 3)
    assert shown.dtype == np.uint8
    assert shown[0, 0, :, 0].tolist() == [128, 255, 0, 255]
