"""The losses, against what they should be where that is known."""

from __future__ import annotations

import math

import pytest
import torch

from unet_atlas.mini import lessons, networks
from unet_atlas.mini.words import tokenizer


class Perfect(torch.nn.Module):
    """A "UNet" that answers with the target itself, by inverting the forward process."""

    def __init__(self, scheduler, clean, off=0.0):
        super().__init__()
        self.scheduler, self.clean, self.off, self.told = scheduler, clean, off, {}

    def forward(self, noisy, t, text, **extra):
        self.told = {"text": text, **extra}
        alpha = self.scheduler.alphas_cumprod[t].view(-1, 1, 1, 1)
        clean = self.clean.expand_as(noisy)
        noise = (noisy - alpha.sqrt() * clean) / (1 - alpha).sqrt()
        v_target = self.scheduler.config.prediction_type == "v_prediction"
        target = alpha.sqrt() * noise - (1 - alpha).sqrt() * clean if v_target else noise
        return type("Out", (), {"sample": target + self.off})


def lesson(n=6, **extra):
    clean = torch.full((n, 4, 16, 16), 0.5)
    return lessons.Lesson(clean, torch.randn(4, 24, 8), torch.arange(n) % 3, **extra)


@pytest.mark.parametrize("name", ["mini-sd", "mini-sd2"])
def test_the_target_of_each_objective(name):
    scheduler = networks.training_scheduler(name)
    perfect = Perfect(scheduler, torch.tensor(0.5))
    draw = torch.Generator().manual_seed(0)
    assert lessons.denoising(perfect, scheduler, lesson(), 16, draw) < 1e-8
    perfect.off = 1.0
    assert lessons.denoising(perfect, scheduler, lesson(), 16, draw) > 0.01


def test_weights_of_the_steps():
    noise, v = (networks.training_scheduler(n) for n in ("mini-sd", "mini-sd2"))
    t = torch.tensor([0, 999])
    alpha = noise.alphas_cumprod[t]
    snr = alpha / (1 - alpha)
    assert torch.allclose(lessons.step_weight(noise, t), snr**-0.5)
    assert torch.allclose(lessons.step_weight(v, t), snr.sqrt() / (snr + 1))


def test_three_quarters_of_the_steps_are_noisy():
    scheduler = networks.training_scheduler("mini-sd")
    t = lessons.draw_steps(scheduler, 4000, torch.Generator().manual_seed(3))
    assert (t >= 500).float().mean() == pytest.approx(lessons.NOISY, abs=0.03)
    assert t.min() < 10
    assert 990 < t.max() <= 999


def test_a_tenth_of_the_captions_is_dropped():
    scheduler = networks.training_scheduler("mini-sd")
    perfect, data = Perfect(scheduler, torch.tensor(0.5)), lesson()
    lessons.denoising(perfect, scheduler, data, 2000, torch.Generator().manual_seed(1))
    empty = (perfect.told["text"] == data.texts[-1]).all(dim=(1, 2)).float().mean()
    assert empty == pytest.approx(lessons.DROP, abs=0.03)


def test_sdxl_and_unclip_get_their_conditions():
    scheduler = networks.training_scheduler("mini-sd")
    perfect = Perfect(scheduler, torch.tensor(0.5))
    sizes, pooled = torch.arange(36.0).view(6, 6), torch.randn(4, 5)
    data = lesson(pooled=pooled, sizes=sizes)
    lessons.denoising(perfect, scheduler, data, 10, torch.Generator().manual_seed(2))
    added = perfect.told["added_cond_kwargs"]
    assert added["text_embeds"].shape == (10, 5)
    assert all(any(torch.equal(row, s) for s in sizes) for row in added["time_ids"])

    embedded = {"images": torch.randn(6, 5), "mean": torch.ones(1, 5), "std": torch.ones(1, 5)}
    noise = networks.image_noise_scheduler("mini-unclip")
    draw = torch.Generator().manual_seed(2)
    lessons.denoising(perfect, scheduler, lesson(**embedded), 1000, draw, noise)
    labels = perfect.told["class_labels"]
    assert labels.shape == (1000, 10)
    assert (labels == 0).all(dim=1).float().mean() == pytest.approx(lessons.DROP, abs=0.03)


def test_equal_captions_are_no_negatives_of_each_other():
    words = tokenizer()
    torch.manual_seed(0)
    model = networks.clip("clip-s", words)
    tokens = words(["a red ring"] * 4, padding="max_length", return_tensors="pt").input_ids
    pixels = torch.randn(4, 3, 64, 64)
    alone = lessons.contrastive(model, pixels, tokens, torch.zeros(4))
    assert alone.item() == pytest.approx(0, abs=1e-6)
    mixed = lessons.contrastive(model, pixels, tokens, torch.arange(4))
    assert mixed.item() > math.log(4) / 2


def test_reconstruction_counts_error_and_divergence():
    torch.manual_seed(0)
    vae = networks.vae()
    pixels, noise = torch.zeros(2, 3, 64, 64), torch.zeros(2, 4, 16, 16)
    plain = lessons.reconstruction(vae, pixels, noise, kl=0)
    assert lessons.reconstruction(vae, pixels, noise, kl=1) > plain > 0
