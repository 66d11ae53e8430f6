"""Live networks of the family, from ``members``; random weights."""

from __future__ import annotations

from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from unet_atlas import catalog, schedules
from unet_atlas.mini.members import CLIPS, MEMBERS, TOKENS, VAE, unet_config
from unet_atlas.shapes.world import SIDE


def clip(name: str, tokenizer: CLIPTokenizer) -> CLIPModel:
    """The two towers of ``clip-s``, ``clip-m`` or ``scorer``."""
    spec = CLIPS[name]
    return CLIPModel(
        CLIPConfig(
            text_config={
                **_tower(spec.text, spec.activation, spec.joint),
                "vocab_size": len(tokenizer),
                "max_position_embeddings": TOKENS,
                "bos_token_id": tokenizer.bos_token_id,
                "eos_token_id": tokenizer.eos_token_id,
                "pad_token_id": tokenizer.pad_token_id,
            },
            vision_config={
                **_tower(spec.vision, spec.activation, spec.joint),
                "image_size": SIDE,
                "patch_size": spec.patch,
            },
            projection_dim=spec.joint,
        )
    )


def _tower(spec: tuple[int, int, int], activation: str, joint: int) -> dict:
    width, layers, heads = spec
    return {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "hidden_act": activation,
        "projection_dim": joint,
    }


def vae() -> AutoencoderKL:
    """The shared autoencoder: (B, 3, 64, 64) ↔ (B, 4, 16, 16)."""
    return AutoencoderKL(**VAE)


def unet(name: str) -> UNet2DConditionModel:
    """The UNet of a member."""
    return UNet2DConditionModel(**unet_config(name))


def training_scheduler(name: str) -> DDPMScheduler:
    """The forward process that a member is trained on: its version's betas, the member's target."""
    betas = schedules.scheduler(catalog.get(MEMBERS[name].like).scheduler).config
    kept = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule")
    return DDPMScheduler(
        **{key: betas[key] for key in kept},
        clip_sample=False,
        prediction_type=MEMBERS[name].prediction,
    )


def image_noise_scheduler(name: str) -> DDPMScheduler | None:
    """What noises the image embedding that a member is given, or None when it is given none."""
    part = catalog.get(MEMBERS[name].like).noising_scheduler
    return schedules.scheduler(part, clip_sample=False) if part else None
