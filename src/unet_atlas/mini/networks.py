"""Live networks of the family, from ``members``; random weights."""

from __future__ import annotations

from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from unet_atlas.mini.members import BETAS, CLIPS, MEMBERS, TOKENS, VAE, unet_config
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
    """The forward process that a member is trained on: SD's betas, the member's target."""
    return DDPMScheduler(**BETAS, prediction_type=MEMBERS[name].prediction)
