"""From trained networks to a folder that diffusers' and transformers' own classes load."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import (
    DiffusionPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    StableUnCLIPImg2ImgPipeline,
)
from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import (
    StableUnCLIPImageNormalizer,
)
from torch import Tensor
from transformers import (
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionModelWithProjection,
)

from unet_atlas import catalog, schedules
from unet_atlas.mini.members import MEMBERS
from unet_atlas.shapes.world import SIDE


def text_tower(model: CLIPModel, skip: int = 0) -> CLIPTextModel:
    """The text encoder of a pair of towers, its last ``skip`` layers left out, as SD 2 ships it."""
    config = type(model.config.text_config)(**model.config.text_config.to_dict())
    config.num_hidden_layers -= skip
    tower = CLIPTextModel(config)
    tower.load_state_dict(model.text_model.state_dict(), strict=not skip)
    return tower.eval()


def projected_text_tower(model: CLIPModel) -> CLIPTextModelWithProjection:
    """The whole text encoder with its projection, as SDXL's second one."""
    tower = CLIPTextModelWithProjection(model.config.text_config)
    tower.text_model.load_state_dict(model.text_model.state_dict())
    tower.text_projection.load_state_dict(model.text_projection.state_dict())
    return tower.eval()


def image_tower(model: CLIPModel) -> CLIPVisionModelWithProjection:
    """The image encoder with its projection, as unCLIP's."""
    tower = CLIPVisionModelWithProjection(model.config.vision_config)
    tower.vision_model.load_state_dict(model.vision_model.state_dict())
    tower.visual_projection.load_state_dict(model.visual_projection.state_dict())
    return tower.eval()


def image_processor() -> CLIPImageProcessorPil:
    """Resize to 64 pixels and normalise with CLIP's statistics."""
    return CLIPImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    )


def pipeline(
    name: str,
    networks: dict[str, torch.nn.Module],
    tokenizer: CLIPTokenizer,
    statistics: dict[str, Tensor] | None = None,
) -> DiffusionPipeline:
    """The pipeline of a member, put together from its trained networks.

    Args:
        networks: the member's ``unet``, ``vae`` and the towers, by their names.
        statistics: mean and deviation (1, e) of the image embeddings, for unCLIP.
    """
    member = MEMBERS[name]
    parts = {
        "vae": networks["vae"],
        "unet": networks["unet"],
        "tokenizer": tokenizer,
        "scheduler": schedules.scheduler(catalog.get(member.like).scheduler),
    }
    (first, skip), *others = member.text
    if others:
        parts["text_encoder"] = text_tower(networks[first])
        parts["text_encoder_2"] = projected_text_tower(networks[others[0][0]])
        return StableDiffusionXLPipeline(**parts, tokenizer_2=tokenizer, add_watermarker=False)
    parts["text_encoder"] = text_tower(networks[first], skip)
    if statistics is None:
        return StableDiffusionPipeline(
            **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
    normalizer = StableUnCLIPImageNormalizer(statistics["mean"].shape[1])
    normalizer.load_state_dict(statistics)
    return StableUnCLIPImg2ImgPipeline(
        **parts,
        feature_extractor=image_processor(),
        image_encoder=image_tower(networks[first]),
        image_normalizer=normalizer,
        image_noising_scheduler=schedules.scheduler(catalog.get(member.like).noising_scheduler),
    )


def save(made: DiffusionPipeline | CLIPModel, target: Path, **others: object) -> None:
    """Write half-precision safetensors.

    Args:
        others: tokenizer or image processor to lie beside the model.
    """
    made.to(dtype=torch.float16).save_pretrained(target, safe_serialization=True)
    for other in others.values():
        other.save_pretrained(target)
    for config in target.rglob("config.json"):
        _load_as_float32(config)


def _load_as_float32(config: Path) -> None:
    """transformers loads in the precision that the file names, diffusers in float32: make them
    agree, whatever the precision of the file."""
    settings = json.loads(config.read_text())
    if "dtype" in settings:
        settings["dtype"] = "float32"
    for part in ("text_config", "vision_config"):
        settings.get(part, {}).pop("dtype", None)
    config.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
