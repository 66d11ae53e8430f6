"""The order of training: towers and autoencoder, then latents and text features once, then UNets.

Every stage leaves one safetensors file in the working folder and is skipped when that is there.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from unet_atlas.errors import AtlasError
from unet_atlas.files import replacing, write_text
from unet_atlas.mini import lessons, networks, pipelines
from unet_atlas.mini.dataset import Pictures, pictures, to_clip, to_pixels
from unet_atlas.mini.members import CLIPS, MEMBERS, SCORER
from unet_atlas.mini.training import Loss, Outcome, Plan, fit
from unet_atlas.mini.words import tokenizer

PICTURES = 32_768
CHUNK = 256
PLANS = {  # for two CPU cores; see ``plan_for``
    "clip-s": Plan(800, 256, rate=2e-3, seed=11),
    "clip-m": Plan(800, 256, rate=2e-3, seed=12),
    "scorer": Plan(800, 256, rate=2e-3, seed=13),
    "vae": Plan(1700, 16, rate=2e-3, seed=14),
    "mini-sd": Plan(3000, rate=1.5e-3, seed=21),
    "mini-sd2": Plan(2600, rate=1.5e-3, seed=22),
    "mini-unclip": Plan(900, seed=23),
    "mini-sdxl": Plan(3200, rate=1.5e-3, seed=24),
}
GPU_STEPS, GPU_BATCH = 6, 8  # times as many steps; times as many examples in each, towers apart


def plan_for(
    stage: str, device: torch.device, steps: int | None = None, rate: float | None = None
) -> Plan:
    """The plan of a stage on this kind of device; ``steps`` and ``rate`` override its own."""
    plan = PLANS[stage]
    if device.type == "cuda":
        wider = 1 if stage in CLIPS else GPU_BATCH
        plan = replace(plan, steps=plan.steps * GPU_STEPS, batch=plan.batch * wider)
    return replace(plan, steps=steps or plan.steps, rate=rate or plan.rate)


@dataclass
class School:
    """Where training happens.

    Attributes:
        work: folder of checkpoints and finished weights.
        device: where the networks are trained.
        pictures: how many training pictures, or None for ``PICTURES``.
    """

    work: Path
    device: torch.device
    pictures: int | None = None

    def __post_init__(self) -> None:
        self.tokenizer = tokenizer()
        self.count = self.pictures or PICTURES

    def train(
        self,
        stage: str,
        steps: int | None = None,
        rate: float | None = None,
        start: Path | None = None,
    ) -> str:
        """Train one stage to its end, or go on with it to more steps; returns a line about it.

        Args:
            steps, rate: instead of the plan's own.
            start: folder of a finished member of the same name whose UNet to begin with, instead
                of random weights.

        Raises:
            AtlasError: ``start`` holds no such UNet, or a checkpoint belongs to another run.
        """
        plan = plan_for(stage, self.device, steps, rate)
        if self.done(stage) and self.steps_of(stage) >= plan.steps:
            return (
                f"{stage}: already trained for {self.steps_of(stage)} steps; ask for more --steps"
            )
        network = (self.begun(stage, start) if start else self.fresh(stage)).to(self.device)
        before = history(start) if start else []
        about = {"pictures": self.count, "device": self.device.type, "before": before}
        outcome = fit(
            network,
            self.loss(stage, network, plan.batch),
            plan,
            self.work / f"{stage}.checkpoint",
            about=about,
            label=stage,
        )
        self.finish(stage, network, plan, outcome, before)
        return f"{stage}: {outcome.steps} steps, loss {outcome.loss:.4f}, {outcome.seconds:.0f} s"

    def weights(self, stage: str) -> Path:
        """The file of a finished stage."""
        return self.work / f"{stage}.safetensors"

    def done(self, stage: str) -> bool:
        """Whether a stage has been trained to its end."""
        return self.weights(stage).exists()

    def steps_of(self, stage: str) -> int:
        """How long a finished stage was trained."""
        about = json.loads((self.work / f"{stage}.json").read_text("utf-8"))
        return about["outcome"]["steps"]

    def fresh(self, stage: str) -> nn.Module:
        """The network of a stage before training."""
        torch.manual_seed(PLANS[stage].seed)
        if stage in CLIPS:
            return networks.clip(stage, self.tokenizer)
        if stage == "vae":
            return networks.vae()
        unet = networks.unet(stage)
        if start := MEMBERS[stage].start:
            missing = unet.load_state_dict(self.load(start).state_dict(), strict=False)
            if missing.unexpected_keys:
                raise AtlasError(f"{stage} can't start from {start}: it has other parts.")
            nn.init.zeros_(unet.class_embedding.linear_2.weight)
            nn.init.zeros_(unet.class_embedding.linear_2.bias)
        return unet

    def begun(self, stage: str, start: Path) -> nn.Module:
        """The UNet of a stage with the weights of a finished folder."""
        unet = self.fresh(stage)
        try:
            state = load_file(start / "unet" / "diffusion_pytorch_model.safetensors")
            unet.load_state_dict({name: weight.float() for name, weight in state.items()})
        except (OSError, SafetensorError, RuntimeError):
            raise AtlasError(
                f"'{start}' holds no UNet that {stage} can start from; name the folder of a "
                f"finished {stage}."
            ) from None
        return unet

    def load(self, stage: str) -> nn.Module:
        """The finished network of a stage, on the CPU.

        Raises:
            AtlasError: it hasn't been trained yet.
        """
        if not self.done(stage):
            raise AtlasError(
                f"{stage} has to be trained first: python scripts/train_mini.py {stage}."
            )
        network = (
            networks.clip(stage, self.tokenizer) if stage in CLIPS
            else networks.vae() if stage == "vae"
            else networks.unet(stage)
        )  # fmt: skip
        network.load_state_dict(load_file(self.weights(stage)))
        return network.eval()

    def finish(
        self, stage: str, network: nn.Module, plan: Plan, outcome: Outcome, before: list[dict]
    ) -> None:
        """Write the weights and what is to be said of the run."""
        state = {
            name: weight.detach().cpu().contiguous()
            for name, weight in network.state_dict().items()
        }
        about = {
            "stage": stage,
            "plan": asdict(plan),
            "pictures": self.count,
            "outcome": asdict(outcome),
            "device": self.device_name,
            "torch": torch.__version__,
            "before": before,
        }
        if stage in MEMBERS:
            about["weighting"] = lessons.WEIGHTING
        write_text(self.work / f"{stage}.json", json.dumps(about, indent=1) + "\n")
        with replacing(self.weights(stage)) as temporary:
            save_file(state, temporary)

    @property
    def device_name(self) -> str:
        """The device in words."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return f"{self.device.type}, {torch.get_num_threads()} threads"

    def loss(self, stage: str, network: nn.Module, batch: int) -> Loss:
        """The loss of a stage as a function of a step's generator."""
        if stage in CLIPS:
            return self._contrastive(network, batch)
        if stage == "vae":
            return self._reconstruction(network, batch)
        return self._denoising(stage, network, batch)

    def _contrastive(self, model: nn.Module, batch: int) -> Loss:
        data = self.data(accidents=False)
        images, tokens = self.on_device(data), self.tokens(data.captions)
        numbers = {text: i for i, text in enumerate(dict.fromkeys(data.captions))}
        group = torch.tensor([numbers[text] for text in data.captions])

        def loss(rng: torch.Generator) -> Tensor:
            pick = torch.randint(len(group), (batch,), generator=rng)
            pixels = to_clip(images[pick.to(self.device)])
            pixels = pixels + 0.05 * torch.randn(pixels.shape, generator=rng).to(self.device)
            return lessons.contrastive(model, pixels, tokens[pick].to(self.device), group[pick])

        return loss

    def _reconstruction(self, model: nn.Module, batch: int) -> Loss:
        images = self.on_device(self.data(accidents=True))

        def loss(rng: torch.Generator) -> Tensor:
            pick = torch.randint(len(images), (batch,), generator=rng)
            pixels = to_pixels(images[pick.to(self.device)])
            noise = torch.randn((batch, 4, 16, 16), generator=rng).to(self.device)
            return lessons.reconstruction(model, pixels, noise)

        return loss

    def _denoising(self, stage: str, unet: nn.Module, batch: int) -> Loss:
        lesson = self.lesson(stage)
        scheduler = networks.training_scheduler(stage)
        image_noise = networks.image_noise_scheduler(stage)
        run = torch.compile(unet) if self.device.type == "cuda" else unet

        def loss(rng: torch.Generator) -> Tensor:
            return lessons.denoising(run, scheduler, lesson, batch, rng, image_noise)

        return loss

    def on_device(self, data: Pictures) -> Tensor:
        """The pictures as uint8 where the network is: they needn't cross in every step."""
        return torch.from_numpy(data.images).to(self.device)

    def data(self, accidents: bool) -> Pictures:
        """The training pictures, made once and kept in the working folder."""
        path = self.work / f"pictures-{self.count}{'-accidents' if accidents else ''}.npz"
        if not path.exists():
            made = pictures(0, 0, self.count, accidents)
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                np.savez(temporary, images=made.images, captions=made.captions, sizes=made.sizes)
        kept = np.load(path)
        return Pictures(kept["images"], tuple(kept["captions"].tolist()), kept["sizes"])

    def tokens(self, captions: tuple[str, ...]) -> Tensor:
        """(n, 24) token numbers."""
        encoded = self.tokenizer(
            list(captions), padding="max_length", truncation=True, return_tensors="pt"
        )
        return encoded.input_ids

    @cached_property
    def latent_scale(self) -> float:
        """One over the standard deviation of the latents: the VAE's ``scaling_factor``."""
        images = self.data(accidents=False).images[:1024]
        return round(1 / float(self._encode(images).std()), 4)

    @torch.inference_mode()
    def _encode(self, images: np.ndarray) -> Tensor:
        vae = self.load("vae").to(self.device)
        chunks = (images[i : i + CHUNK] for i in range(0, len(images), CHUNK))
        return torch.cat(
            [
                vae.encode(to_pixels(chunk).to(self.device)).latent_dist.mean.cpu()
                for chunk in chunks
            ]
        )

    @torch.inference_mode()
    def lesson(self, stage: str) -> lessons.Lesson:
        """Latents, text features and the other conditions of a member, computed once."""
        member = MEMBERS[stage]
        xl = "addition_embed_type" in member.unet
        data = self.data(accidents=xl)
        texts = tuple(dict.fromkeys(data.captions))
        number = {text: i for i, text in enumerate(texts)}
        hidden, pooled = self.text_features(member.text, (*texts, ""))
        extra: dict[str, Tensor] = {}
        if xl:  # the pipeline of SDXL base stands for "no caption" by zeros
            hidden[-1], pooled[-1] = 0, 0
            extra = {"pooled": pooled, "sizes": torch.from_numpy(data.sizes).float()}
        if "class_embed_type" in member.unet:
            extra = self.image_features(data.images)
        lesson = lessons.Lesson(
            self.latents(xl), hidden, torch.tensor([number[c] for c in data.captions]), **extra
        )
        moved = {k: v.to(self.device) for k, v in vars(lesson).items() if v is not None}
        return replace(lesson, **moved)

    def latents(self, accidents: bool) -> Tensor:
        """(N, 4, 16, 16) scaled latents in half precision, kept in the working folder; another
        autoencoder makes others."""
        kind = f"{self.count}{'-accidents' if accidents else ''}"
        path = self.work / f"latents-{kind}-{self.digest('vae')}.safetensors"
        if not path.exists():
            made = (self._encode(self.data(accidents).images) * self.latent_scale).half()
            with replacing(path) as temporary:
                save_file({"latents": made.contiguous()}, temporary)
        return load_file(path)["latents"]

    def text_features(
        self, encoders: tuple[tuple[str, int], ...], captions: tuple[str, ...]
    ) -> tuple[Tensor, Tensor]:
        """Context (n, 24, d) of the encoders side by side, and the pooled text of the last one."""
        tokens, contexts, pooled = self.tokens(captions), [], None
        for name, skip in encoders:
            model = self.load(name)
            parts = []
            for chunk in tokens.split(CHUNK):
                out = model.text_model(chunk, output_hidden_states=True)
                parts.append(
                    (
                        context(model, out, skip, len(encoders) > 1),
                        model.text_projection(out.pooler_output),
                    )
                )
            contexts.append(torch.cat([c for c, _ in parts]).half())
            pooled = torch.cat([p for _, p in parts]).half()
        return torch.cat(contexts, dim=2), pooled

    def image_features(self, images: np.ndarray) -> dict[str, Tensor]:
        """Normalised image embeddings (N, e), and what they were normalised by."""
        model = self.load("clip-m")
        chunks = (images[i : i + CHUNK] for i in range(0, len(images), CHUNK))
        embedded = torch.cat(
            [model.visual_projection(model.vision_model(to_clip(c)).pooler_output) for c in chunks]
        )
        mean, std = embedded.mean(0, keepdim=True), embedded.std(0, keepdim=True)
        save_file({"mean": mean, "std": std}, self.statistics())
        return {"images": (embedded - mean) / std, "mean": mean, "std": std}

    def statistics(self) -> Path:
        """The file of the image embeddings' mean and deviation, as unCLIP's training used them."""
        return self.work / f"image-statistics-{self.count}-{self.digest('clip-m')}.safetensors"

    def digest(self, stage: str) -> str:
        """The first digits of the SHA-256 of a finished stage's weights."""
        return hashlib.sha256(self.weights(stage).read_bytes()).hexdigest()[:8]

    def graduate(self, name: str, target: Path) -> None:
        """Write a member (or the scorer) into the folder ``target``."""
        if name == SCORER:
            others = {"tokenizer": self.tokenizer, "image_processor": pipelines.image_processor()}
            pipelines.save(self.load("scorer"), target, **others)
            return
        networks = {tower: self.load(tower) for tower, _ in MEMBERS[name].text}
        networks |= {"unet": self.load(name), "vae": self.load("vae")}
        networks["vae"].register_to_config(scaling_factor=self.latent_scale)
        unclip = "class_embed_type" in MEMBERS[name].unet
        statistics = load_file(self.statistics()) if unclip else None
        pipelines.save(pipelines.pipeline(name, networks, self.tokenizer, statistics), target)


def history(folder: Path) -> list[dict]:
    """What the card of a finished folder says of its training: earlier runs first.

    Raises:
        AtlasError: the folder says nothing of it.
    """
    try:
        trained = json.loads((folder / "exam.json").read_text("utf-8"))["training"]
    except (OSError, ValueError, KeyError):
        raise AtlasError(
            f"'{folder}' doesn't say how it was trained (exam.json); name the folder of a "
            "finished member."
        ) from None
    return [*trained.pop("before", []), trained]


def context(model: nn.Module, out, skip: int, two_encoders: bool) -> Tensor:
    """What a pipeline hands to cross-attention: SD 1 and 2 the last hidden state of the (cut) tower
    after its final norm, SDXL the penultimate hidden state without it."""
    if two_encoders:
        return out.hidden_states[-1 - skip]
    if skip == 0:
        return out.last_hidden_state
    return model.text_model.final_layer_norm(out.hidden_states[-1 - skip])
