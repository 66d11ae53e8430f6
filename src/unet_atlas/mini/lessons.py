"""The losses: contrastive (text and image towers), reconstruction (autoencoder), denoising (UNets).

Sources: CLIP (Radford et al. 2021), latent diffusion (Rombach et al. 2022), v-objective (Salimans &
Ho 2022), debiased weights (Yu et al. 2023), unCLIP's noised image embedding (Ramesh et al. 2022).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from diffusers.models.embeddings import get_timestep_embedding
from torch import Tensor
from transformers import CLIPModel

NOISY = (
    0.75  # share of the batch that comes from the noisier half of the schedule, where what is in
)
# a picture of only 16 × 16 latents is decided
WEIGHTING = "√SNR times the clean latent's error, three of four steps from the noisier half"
DROP = 0.1  # share of captions that are dropped, so that guidance has something to compare with


def contrastive(model: CLIPModel, pixels: Tensor, tokens: Tensor, group: Tensor) -> Tensor:
    """CLIP's symmetric cross-entropy over a batch.

    Args:
        pixels: (B, 3, 64, 64); tokens: (B, T).
        group: (B,) equal numbers for equal captions, which are no negatives of each other.
    """
    logits = model(input_ids=tokens, pixel_values=pixels).logits_per_image
    twins = (group[:, None] == group[None, :]) & ~torch.eye(len(group), dtype=torch.bool)
    logits = logits.masked_fill(twins.to(logits.device), float("-inf"))
    target = torch.arange(len(group), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def reconstruction(model: AutoencoderKL, pixels: Tensor, noise: Tensor, kl: float = 1e-4) -> Tensor:
    """Absolute and squared error of the picture, and a little KL divergence to N(0, 1)."""
    posterior = model.encode(pixels).latent_dist
    decoded = model.decode(posterior.mean + posterior.std * noise).sample
    error = decoded - pixels
    return (
        error.abs().mean() + error.square().mean() + kl * posterior.kl().mean() / noise[0].numel()
    )


@dataclass(frozen=True)
class Lesson:
    """What the UNet of a member is trained on, computed once, all on one device.

    Attributes:
        latents: (N, 4, 16, 16) scaled latents.
        texts: (captions, T, d) text features; the last one is what stands for no caption.
        caption: (N,) which of ``texts`` belongs to a picture.
        pooled: (captions, p) pooled text (SDXL), or None.
        sizes: (N, 6) size and crop (SDXL), or None.
        images: (N, e) normalised image embeddings (unCLIP), or None.
        mean, std: (1, e) of the embeddings (unCLIP), or None.
    """

    latents: Tensor
    texts: Tensor
    caption: Tensor
    pooled: Tensor | None = None
    sizes: Tensor | None = None
    images: Tensor | None = None
    mean: Tensor | None = None
    std: Tensor | None = None


def denoising(
    unet: UNet2DConditionModel,
    scheduler: DDPMScheduler,
    lesson: Lesson,
    batch: int,
    rng: torch.Generator,
    image_noise: DDPMScheduler | None = None,
) -> Tensor:
    """The weighted loss of a batch drawn by ``rng``; the target is the scheduler's."""
    device = lesson.latents.device
    pick = torch.randint(len(lesson.latents), (batch,), generator=rng)
    t = draw_steps(scheduler, batch, rng)
    noise = torch.randn((batch, *lesson.latents.shape[1:]), generator=rng).to(device)
    lot = torch.rand(batch, generator=rng)  # decides what is left out: text, image, or both
    dropped = lot < DROP
    told = torch.where(dropped, len(lesson.texts) - 1, lesson.caption[pick.to(device)].cpu())
    pick, t, told = pick.to(device), t.to(device), told.to(device)
    clean = lesson.latents[pick].float()
    noisy = scheduler.add_noise(clean, noise, t)
    v_prediction = scheduler.config.prediction_type == "v_prediction"
    target = scheduler.get_velocity(clean, noise, t) if v_prediction else noise
    extra = {}
    if lesson.pooled is not None:
        extra["added_cond_kwargs"] = {
            "text_embeds": lesson.pooled[told].float(),
            "time_ids": lesson.sizes[pick].float(),
        }
    if lesson.images is not None:
        extra["class_labels"] = _image_condition(lesson, pick, image_noise, rng, lot)
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        guess = unet(noisy, t, lesson.texts[told].float(), **extra).sample
    error = (guess.float() - target).square().mean(dim=(1, 2, 3))
    return (error * step_weight(scheduler, t)).mean()


def draw_steps(scheduler: DDPMScheduler, batch: int, rng: torch.Generator) -> Tensor:
    """Steps of the forward process for a batch, (B,): ``NOISY`` of them from the noisier half."""
    half = scheduler.config.num_train_timesteps // 2
    noisy = torch.rand(batch, generator=rng) < NOISY
    return torch.randint(half, (batch,), generator=rng) + half * noisy


def step_weight(scheduler: DDPMScheduler, t: Tensor) -> Tensor:
    """The weight of each step, (B,): √SNR times the error of the clean latent, which is 1 / √SNR
    for the noise target and √SNR / (SNR + 1) for v."""
    alpha_bar = scheduler.alphas_cumprod.to(t.device)[t]
    snr = alpha_bar / (1 - alpha_bar)
    v_prediction = scheduler.config.prediction_type == "v_prediction"
    return snr.sqrt() / (snr + 1 if v_prediction else snr)


def _image_condition(
    lesson: Lesson,
    pick: Tensor,
    image_noise: DDPMScheduler,
    rng: torch.Generator,
    lot: Tensor,
) -> Tensor:
    """[noised image embedding ‖ sinusoidal noise level], (B, 2e); zeros where it is dropped, as
    ``StableUnCLIPImg2ImgPipeline`` has them for guidance: half of the time together with the text,
    as the pipeline drops them."""
    clean = lesson.images[pick].float()
    batch, width = clean.shape
    level = torch.randint(image_noise.config.num_train_timesteps, (batch,), generator=rng)
    noise = torch.randn(clean.shape, generator=rng).to(clean.device)
    keep = ((lot < DROP / 2) | (lot >= 3 * DROP / 2)).to(clean.device)
    noised = image_noise.add_noise(clean, noise, level.to(clean.device)) * lesson.std + lesson.mean
    told = get_timestep_embedding(level.to(clean.device), width, True, 0)
    return torch.cat([noised, told], dim=1) * keep[:, None]
