"""Tiny random pipelines of the three kinds, for tests: made in milliseconds, 32 × 32 pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    DiffusionPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    StableUnCLIPImg2ImgPipeline,
    UNet2DConditionModel,
)
from diffusers.pipelines.stable_diffusion import StableUnCLIPImageNormalizer
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

CAPTIONS = ("a red circle", "a blue square", "two green triangles", "red", "a", "blue", "b", "ab")
WIDTH, TOKENS = 16, 24
SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}


def tokenizer(folder: Path) -> CLIPTokenizer:
    """CLIP's tokenizer with letters for a vocabulary."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=TOKENS
    )


def stable_diffusion(folder: Path, **scheduler: Any) -> StableDiffusionPipeline:
    """A pipeline of the kind of SD 1 and 2."""
    torch.manual_seed(0)
    return StableDiffusionPipeline(
        **_common(folder, **scheduler),
        unet=_unet(),
        text_encoder=CLIPTextModel(_text()).eval(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def unclip(folder: Path, **scheduler: Any) -> StableUnCLIPImg2ImgPipeline:
    """A pipeline that varies an image."""
    torch.manual_seed(1)
    return StableUnCLIPImg2ImgPipeline(
        **_common(folder, **scheduler),
        unet=_unet(class_embed_type="projection", projection_class_embeddings_input_dim=2 * WIDTH),
        text_encoder=CLIPTextModel(_text()).eval(),
        feature_extractor=processor(),
        image_encoder=CLIPVisionModelWithProjection(_vision()).eval(),
        image_normalizer=StableUnCLIPImageNormalizer(WIDTH),
        image_noising_scheduler=DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
    )


def xl(folder: Path, **scheduler: Any) -> StableDiffusionXLPipeline:
    """A pipeline of two text encoders, with size and crop conditioning."""
    torch.manual_seed(2)
    common = _common(folder, **scheduler)
    return StableDiffusionXLPipeline(
        **common,
        tokenizer_2=common["tokenizer"],
        unet=_unet(
            cross_attention_dim=2 * WIDTH,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=WIDTH + 6 * 8,
        ),
        text_encoder=CLIPTextModel(_text()).eval(),
        text_encoder_2=CLIPTextModelWithProjection(_text()).eval(),
        add_watermarker=False,
    )


def scorer(folder: Path) -> Path:
    """A saved CLIP model with tokenizer and image processor."""
    torch.manual_seed(3)
    config = CLIPConfig(
        text_config=_text().to_dict(), vision_config=_vision().to_dict(), projection_dim=WIDTH
    )
    CLIPModel(config).eval().save_pretrained(folder)
    tokenizer(folder).save_pretrained(folder)
    processor().save_pretrained(folder)
    return folder


def processor() -> CLIPImageProcessor:
    """What turns 32 × 32 pictures into the vision tower's input."""
    side = {"height": 32, "width": 32}
    return CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=side)


def quiet(pipeline: DiffusionPipeline) -> DiffusionPipeline:
    """Without a progress bar."""
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _common(folder: Path, **scheduler: Any) -> dict[str, Any]:
    vae = AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=32,
    )
    return {
        "vae": vae.eval(),
        "tokenizer": tokenizer(folder),
        "scheduler": DDIMScheduler(**SCHEDULE | scheduler),
    }


def _unet(**changes: Any) -> UNet2DConditionModel:
    base = {
        "sample_size": 16,
        "block_out_channels": (32, 32),
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": WIDTH,
        "attention_head_dim": 2,
    }
    return UNet2DConditionModel(**base | changes).eval()


def _text() -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=54,
        max_position_embeddings=TOKENS,
        bos_token_id=52,
        eos_token_id=53,
        pad_token_id=53,
        **_tower(),
    )


def _vision() -> CLIPVisionConfig:
    return CLIPVisionConfig(image_size=32, patch_size=8, **_tower())


def _tower() -> dict[str, int]:
    return {
        "hidden_size": WIDTH,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "projection_dim": WIDTH,
    }
