"""The rest of the pipeline: text encoders, image encoder and VAE, and what flows between them.

Book: *The pipeline*. Upstream: transformers ``models/clip``, diffusers ``autoencoder_kl.py``.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from unet_atlas import schedules
from unet_atlas.anatomy import total_params
from unet_atlas.build import VAE_FACTOR, build_unet, example_inputs
from unet_atlas.catalog import Model, Part
from unet_atlas.cost import count, dispatched_macs
from unet_atlas.errors import AtlasError

TEXT_TOKENS = 77
CLASSES = {
    "CLIPTextModel": (CLIPTextModel, CLIPTextConfig),
    "CLIPTextModelWithProjection": (CLIPTextModelWithProjection, CLIPTextConfig),
    "CLIPVisionModelWithProjection": (CLIPVisionModelWithProjection, CLIPVisionConfig),
}
FLOW = (  # what live_shapes() may return, in the order in which a pipeline makes it
    "token ids",
    "text states 1",
    "text states 2",
    "pooled text",
    "picture for the image encoder",
    "image embedding",
    "UNet in: latent",
    "UNet in: time step",
    "UNet in: text",
    "UNet in: pooled text",
    "UNet in: size numbers",
    "UNet in: class",
    "UNet out",
    "guided prediction",
    "next latent",
    "picture",
)


def build_component(part: Part, device: str | torch.device = "meta") -> nn.Module:
    """A text encoder, image encoder or VAE of the catalogue, with random weights.

    Raises:
        AtlasError: the part is a scheduler or normalizer, which has no network to build.
    """
    config = {k: list(v) if isinstance(v, tuple) else v for k, v in part.config.items()}
    with torch.device(device):
        if part.class_name == "AutoencoderKL":
            return AutoencoderKL(**config).eval()
        if part.class_name in CLASSES:
            network, config_class = CLASSES[part.class_name]
            return network(config_class(**config)).eval()
    raise AtlasError(
        f"{part.id} is a {part.class_name}, which has no network; take an encoder or a VAE."
    )


def networks(model: Model, device: str | torch.device = "meta") -> dict[str, nn.Module]:
    """All networks of a model's pipeline by name: text encoders, image encoder, UNet, VAE."""
    parts = {f"text encoder {p.id}": p for p in model.text_encoders}
    if model.image_encoder is not None:
        parts[f"image encoder {model.image_encoder.id}"] = model.image_encoder
    built = {name: build_component(part, device) for name, part in parts.items()}
    return {
        **built,
        "UNet": build_unet(model.id, device),
        "VAE": build_component(model.vae, device),
    }


def component_params(model: Model) -> dict[str, int]:
    """Parameters of each network of a model's pipeline."""
    return {name: total_params(network) for name, network in networks(model).items()}


def text_macs(part: Part, batch: int = 1) -> int:
    """MACs of encoding one prompt of 77 tokens."""
    encoder = build_component(part)
    ids = torch.zeros(batch, TEXT_TOKENS, dtype=torch.long, device="meta")
    return dispatched_macs(encoder, input_ids=ids)


def decode_macs(vae: Part, resolution: int, batch: int = 1) -> int:
    """MACs of decoding latents to images of this resolution in pixels."""
    decoder = build_component(vae)
    side = resolution // VAE_FACTOR
    latents = torch.zeros(batch, vae.config["latent_channels"], side, side, device="meta")
    return dispatched_macs(decoder.decode, latents)


def live_shapes(
    model: Model, batch: int = 1, resolution: int | None = None
) -> dict[str, tuple[int, ...]]:
    """Shapes of what flows through a pipeline in one guided step, keyed by :data:`FLOW`.

    Every network runs once, on ``meta``, and is fed what the one before it returned. Guidance
    stacks the empty and the real prompt, so whatever enters the UNet has a batch of ``2 · batch``.

    Args:
        batch: pictures at once.
        resolution: pixels a side; by default the model's own.
    """
    nets = networks(model)
    with torch.no_grad():
        made = {**_text(model, nets, batch), **_image(model, nets, batch)}
        made |= _unet(model, nets["UNet"], made, batch, resolution or model.resolution)
        scheduler = schedules.scheduler(model.scheduler)
        scheduler.set_timesteps(50)
        first, (without, with_text) = scheduler.timesteps[0], made["UNet out"].chunk(2)
        made["guided prediction"] = without + 7.5 * (with_text - without)
        latent = scheduler.scale_model_input(torch.zeros_like(without), first)
        made["next latent"] = scheduler.step(made["guided prediction"], first, latent).prev_sample
        made["picture"] = nets["VAE"].decode(made["next latent"]).sample
    return {name: tuple(made[name].shape) for name in FLOW if name in made}


def idle_params(model: Model) -> dict[str, int]:
    """Parameters of each text encoder that have no path to anything the UNet receives.

    Found with gradients on ``meta``: what the UNet receives is summed, and a weight that the
    backward pass does not reach is idle.
    """
    nets = networks(model)
    made = _text(model, nets, 1)
    sum(t.sum() for name, t in made.items() if name != "token ids").backward()
    return {
        part.id: sum(
            p.numel() for p in nets[f"text encoder {part.id}"].parameters() if p.grad is None
        )
        for part in model.text_encoders
    }


def pipeline_macs(model: Model, steps: int = 50, guided: bool = True) -> dict[str, int]:
    """MACs of one picture at the model's resolution, by component; FLOPs = 2 × MACs.

    Attention products included. The prompt is encoded once; with guidance every call of the UNet
    is a batch of two (a second encoding, of the empty prompt, is left out).
    """
    calls = len(schedules.timesteps(model.scheduler, steps))
    unet = count(build_unet(model.id), resolution=model.resolution, batch=2 if guided else 1)
    return {
        "text encoders": sum(text_macs(part) for part in model.text_encoders),
        "UNet": calls * unet.total,
        "VAE decoder": decode_macs(model.vae, model.resolution),
    }


def _text(model: Model, nets: Mapping[str, nn.Module], batch: int) -> dict[str, torch.Tensor]:
    """Token ids and what the text encoders make of them: states (B, 77, D), pooled (B, 1280)."""
    ids = torch.zeros(batch, TEXT_TOKENS, dtype=torch.long, device="meta")
    made = {"token ids": ids}
    for i, part in enumerate(model.text_encoders, start=1):
        out = nets[f"text encoder {part.id}"](input_ids=ids, output_hidden_states=True)
        # SDXL stops one layer early; SD 2's encoder is shipped without that layer
        early = model.unet.config.get("addition_embed_type") == "text_time"
        made[f"text states {i}"] = out.hidden_states[-2] if early else out.last_hidden_state
        if "text_embeds" in out:
            made["pooled text"] = out.text_embeds
    return made


def _image(model: Model, nets: Mapping[str, nn.Module], batch: int) -> dict[str, torch.Tensor]:
    """unCLIP only: a picture (B, 3, 224, 224) and its embedding (B, 1024 or 768)."""
    if model.image_encoder is None:
        return {}
    side = model.image_encoder.config["image_size"]
    pixels = torch.zeros(batch, 3, side, side, device="meta")
    out = nets[f"image encoder {model.image_encoder.id}"](pixel_values=pixels)
    return {"picture for the image encoder": pixels, "image embedding": out.image_embeds}


def _unet(
    model: Model, unet: nn.Module, made: Mapping[str, torch.Tensor], batch: int, resolution: int
) -> dict[str, torch.Tensor]:
    """The UNet's inputs, filled with what the encoders made, and its output (2B, 4, h, w)."""
    inputs = example_inputs(unet, resolution, batch=2 * batch)
    states = [made[f"text states {i + 1}"] for i in range(len(model.text_encoders))]
    inputs["encoder_hidden_states"] = torch.cat(states, dim=-1).repeat(2, 1, 1)
    added = inputs.get("added_cond_kwargs", {})
    if "text_embeds" in added:
        added["text_embeds"] = made["pooled text"].repeat(2, 1)
    if "image embedding" in made:  # beside it, as wide, the embedding of its noise level
        inputs["class_labels"] = made["image embedding"].repeat(2, 2)
    shown = {
        "latent": inputs["sample"],
        "time step": inputs["timestep"],
        "text": inputs["encoder_hidden_states"],
        "pooled text": added.get("text_embeds"),
        "size numbers": added.get("time_ids"),
        "class": inputs.get("class_labels"),
    }
    named = {f"UNet in: {name}": t for name, t in shown.items() if t is not None}
    return {**named, "UNet out": unet(**inputs).sample}
