"""One run: one arm, one seed, trained and measured; the result is a record.

Everything but the UNet is mini-sd's, as it ships: text encoder, tokenizer, autoencoder, noise
schedule. Latents and text features are computed once and kept on the device.
"""

from __future__ import annotations

import datetime
import json
import math
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDPMScheduler, DiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from unet_atlas import exam
from unet_atlas.errors import AtlasError
from unet_atlas.files import replacing, write_text
from unet_atlas.metrics.clipscore import clip_score_percent, cosines
from unet_atlas.metrics.frechet import frechet_from_features
from unet_atlas.mini import folder, lessons, networks
from unet_atlas.mini.dataset import pictures, to_pixels
from unet_atlas.mini.training import Plan, fit, generator
from unet_atlas.placement.arms import Arm, unet_config
from unet_atlas.placement.protocol import PILOT_SEED, Protocol
from unet_atlas.records import Record
from unet_atlas.sampling import load_pipeline
from unet_atlas.scorer import load_scorer

MEMBER = "mini-sd"
HELD_SEED = 77  # of the held-out pictures; training's is 0, the exam's are others
LEVELS = 10  # of noise
CHUNK = 256
QUESTIONS = ("count", "shapes", "colours", "objects", "relation", "right")


class Diverged(AtlasError):
    """The loss of a run stopped being finite."""


@dataclass(frozen=True)
class Lab:
    """What all runs of a study share, on one device.

    Attributes:
        train, held: latents, texts and which text belongs to which picture.
        pipeline: mini-sd, whose UNet a run replaces.
    """

    protocol: Protocol
    device: torch.device
    train: lessons.Lesson
    held: lessons.Lesson
    pipeline: DiffusionPipeline
    scheduler: DDPMScheduler


def open_lab(protocol: Protocol, work: Path, device: torch.device) -> Lab:
    """Prepare the data, or read it where an earlier session left it under ``work``."""
    pipeline = load_pipeline(folder(MEMBER), device, torch.float32)
    lesson = {
        name: _lesson(pipeline, seed, count, work, device)
        for name, seed, count in (
            ("train", 0, protocol.pictures),
            ("held", HELD_SEED, protocol.held),
        )
    }
    scheduler = networks.training_scheduler(MEMBER)
    return Lab(protocol, device, **lesson, pipeline=pipeline, scheduler=scheduler)


@torch.inference_mode()
def _lesson(
    pipeline: DiffusionPipeline, seed: int, count: int, work: Path, device: torch.device
) -> lessons.Lesson:
    file = work / f"lesson-{seed}-{count}.safetensors"
    if not file.exists():
        data = pictures(seed, 0, count)
        texts = (*dict.fromkeys(data.captions), "")
        number = {text: i for i, text in enumerate(texts)}
        made = {
            "latents": _latents(pipeline, data.images),
            "texts": _texts(pipeline, texts),
            "caption": torch.tensor([number[text] for text in data.captions]),
        }
        work.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary:
            save_file({k: v.cpu().contiguous() for k, v in made.items()}, temporary)
    kept = load_file(file)
    return lessons.Lesson(**{name: tensor.to(device) for name, tensor in kept.items()})


def _latents(pipeline: DiffusionPipeline, images: np.ndarray) -> Tensor:
    vae, parts = pipeline.vae, []
    for i in range(0, len(images), CHUNK):
        pixels = to_pixels(images[i : i + CHUNK]).to(vae.device)
        parts.append((vae.encode(pixels).latent_dist.mean * vae.config.scaling_factor).half().cpu())
    return torch.cat(parts)


def _texts(pipeline: DiffusionPipeline, texts: tuple[str, ...]) -> Tensor:
    asked = pipeline.tokenizer(
        list(texts), padding="max_length", truncation=True, return_tensors="pt"
    ).input_ids
    encoder = pipeline.text_encoder
    parts = [encoder(part.to(encoder.device)).last_hidden_state for part in asked.split(CHUNK)]
    return torch.cat(parts).half().cpu()


def fresh(lab: Lab, arm: Arm, seed: int) -> UNet2DConditionModel:
    """The arm's UNet before training."""
    torch.manual_seed(seed)
    config = unet_config(lab.protocol.scale, arm.depths, arm.channels)
    return UNet2DConditionModel(**config).to(lab.device)


def attempt(
    lab: Lab, arm: Arm, seed: int, checkpoint: Path, say: Callable[[str], None] = print
) -> Record:
    """:func:`run`; as laid down, one whose loss stops being finite is repeated once, and recorded
    as failed if that happens again."""
    for _ in range(2):
        try:
            return run(lab, arm, seed, checkpoint, say)
        except Diverged as fault:
            say(str(fault))
            forget(checkpoint)
    about = {**_about(lab, arm, seed), "failed": True}
    return record(lab, f"placement-{lab.protocol.name}", 0.0, [about])


def run(
    lab: Lab, arm: Arm, seed: int, checkpoint: Path, say: Callable[[str], None] = print
) -> Record:
    """Train an arm with a seed and measure it; goes on from ``checkpoint`` where that exists.

    Raises:
        Diverged: its loss stopped being finite.
    """
    unet, plan = fresh(lab, arm, seed), lab.protocol.plan(seed)
    label, count = f"{arm.name}, seed {seed}", lab.protocol.validations
    curve, seconds = train(lab, unet, plan, checkpoint, label, count)
    say(f"{label}: validation loss {curve[-1]['loss']:.5f}")
    macs = 3 * lab.protocol.size(arm).macs * plan.batch  # of a step, its gradients included
    rows = [
        _about(lab, arm, seed),
        *({"kind": "curve", **point, "macs": macs * point["step"]} for point in curve),
        *noise_rows(lab, unet),
        *exam_rows(lab, unet),
    ]
    return record(lab, f"placement-{lab.protocol.name}", seconds, rows)


def _about(lab: Lab, arm: Arm, seed: int) -> dict[str, Any]:
    size, plan = lab.protocol.size(arm), lab.protocol.plan(seed)
    return {
        "kind": "run", "arm": arm.name, "seed": seed, "depths": list(arm.depths),
        "channels": list(arm.channels), "params": size.params, "macs": size.macs,
        "steps": plan.steps, "batch": plan.batch, "rate": plan.rate,
    }  # fmt: skip


def train(
    lab: Lab, unet: UNet2DConditionModel, plan: Plan, checkpoint: Path, label: str, count: int
) -> tuple[list[dict[str, Any]], float]:
    """Train to the end; returns the validation loss, measured ``count`` times along the way, and
    the seconds of training.

    The loss is that of the averaged weights; measuring takes no part in what training draws.
    """
    forward = torch.compile(unet) if lab.device.type == "cuda" else unet

    def loss(rng: torch.Generator) -> Tensor:
        return lessons.denoising(forward, lab.scheduler, lab.train, plan.batch, rng)

    stops = sorted({max(1, plan.steps * (i + 1) // count) for i in range(count)})
    known = _measured(checkpoint)
    for stop in stops:
        if stop in known and stop < plan.steps:
            continue
        outcome = fit(unet, loss, plan, checkpoint, until=stop, about={"label": label}, label=label)
        if outcome.steps > stop:
            continue  # beyond it already, and its weights are gone
        value = overall(held_losses(lab, unet))
        if not math.isfinite(value):
            raise Diverged(f"{label}: the loss is {value} after {stop} steps.")
        known[stop] = {"loss": round(value, 7), "train_loss": round(outcome.loss, 7)}
        write_text(_log(checkpoint), json.dumps(known))
    return [{"step": stop, **known[stop]} for stop in sorted(known)], outcome.seconds


def forget(checkpoint: Path) -> None:
    """Take away what a run has left to go on from."""
    for file in (checkpoint, _log(checkpoint)):
        file.unlink(missing_ok=True)


def _log(checkpoint: Path) -> Path:
    return checkpoint.with_suffix(".curve")


def _measured(checkpoint: Path) -> dict[int, dict[str, float]]:
    """What a run that goes on has measured before, by step; the averaged weights of then are gone,
    so that it can't be measured again."""
    log = _log(checkpoint)
    if not (checkpoint.exists() and log.exists()):
        return {}
    return {int(step): point for step, point in json.loads(log.read_text("utf-8")).items()}


@torch.inference_mode()
def held_losses(lab: Lab, unet: UNet2DConditionModel) -> np.ndarray:
    """(LEVELS,) the training loss on the held-out pictures by level of noise, least noise first.

    Picture i gets one time step and one noise a level, the same for every run.
    """
    total = lab.scheduler.config.num_train_timesteps
    wide, held, found = total // LEVELS, lab.held, []
    for level in range(LEVELS):
        rng = generator(HELD_SEED, level)
        t = level * wide + torch.randint(wide, (len(held.latents),), generator=rng)
        noise = torch.randn(held.latents.shape, generator=rng)
        found.append(torch.cat(list(_errors(lab, unet, t, noise))).mean())
    return torch.stack(found).double().cpu().numpy()


def _errors(lab: Lab, unet: UNet2DConditionModel, t: Tensor, noise: Tensor) -> Iterator[Tensor]:
    held = lab.held
    for part in torch.arange(len(t)).split(CHUNK):
        steps, drawn = t[part].to(lab.device), noise[part].to(lab.device)
        clean = held.latents[part.to(lab.device)].float()
        noisy = lab.scheduler.add_noise(clean, drawn, steps)
        text = held.texts[held.caption[part.to(lab.device)]].float()
        error = (unet(noisy, steps, text).sample - drawn).square().mean(dim=(1, 2, 3))
        yield error * lessons.step_weight(lab.scheduler, steps)


def overall(by_level: np.ndarray) -> float:
    """The training objective: levels weighted as training draws them."""
    half = LEVELS // 2
    return float(
        (1 - lessons.NOISY) * by_level[:half].mean() + lessons.NOISY * by_level[half:].mean()
    )


def noise_rows(lab: Lab, unet: UNet2DConditionModel) -> list[dict[str, Any]]:
    """The loss by level of noise, as rows."""
    return [
        {"kind": "noise", "level": i, "loss": round(float(loss), 7)}
        for i, loss in enumerate(held_losses(lab, unet))
    ]


def exam_rows(lab: Lab, unet: UNet2DConditionModel) -> list[dict[str, Any]]:
    """The oracle's answers (one digit a caption; ``-`` where nothing is asked), FD, CLIP score."""
    protocol, pipeline, rows = lab.protocol, lab.pipeline, []
    pipeline.unet = unet
    scorer = load_scorer(device=lab.device)
    for split, n in (("test", protocol.captions), ("unseen", protocol.unseen)):
        drawn, verdicts = exam.sit(pipeline, protocol.recipe, n, split)
        for question in QUESTIONS:
            answers = "".join("-" if v is None else str(int(v)) for v in verdicts[question])
            rows.append({"kind": "answers", "split": split, "question": question,
                         "answers": answers})  # fmt: skip
        asked = exam.paper(n, split)
        features = scorer.features(drawn.images)
        fd = frechet_from_features(features, scorer.features(asked.references))
        models = (scorer.model, scorer.tokenizer, scorer.processor)
        agreement = cosines(*models, drawn.images, asked.captions)
        rows.append({"kind": "scores", "split": split, "fd": round(fd, 5),
                     "clip": round(clip_score_percent(agreement), 4)})  # fmt: skip
    return rows


def pilot(lab: Lab, work: Path, say: Callable[[str], None] = print) -> Record:
    """The even arm with each learning rate, shortly; the protocol takes the best."""
    protocol, rows, seconds = lab.protocol, [], 0.0
    for rate in protocol.rates:
        plan = protocol.plan(PILOT_SEED, rate, protocol.pilot_steps)
        unet, label = fresh(lab, protocol.arms[0], PILOT_SEED), f"pilot {rate:g}"
        checkpoint = work / f"{label.replace(' ', '-')}.checkpoint"
        try:
            curve, spent = train(lab, unet, plan, checkpoint, label, count=1)
        except Diverged as fault:
            say(str(fault))
            continue
        rows.append({"kind": "pilot", "rate": rate, "seed": PILOT_SEED, **curve[-1]})
        seconds += spent
        say(f"rate {rate:g}: validation loss {curve[-1]['loss']:.5f}")
    return record(lab, f"placement-{protocol.name}-pilot", seconds, rows)


def time_arms(lab: Lab, steps: int = 20) -> Record:
    """Seconds of a training step, all arms in turn so that what disturbs one disturbs all."""
    started, rows = time.perf_counter(), []
    timed = {arm.name: _stepper(lab, arm) for arm in lab.protocol.arms}
    for step in range(-2, steps):  # two to warm up
        for name, once in timed.items():
            seconds = once(step + 2)
            if step >= 0:
                rows.append({"kind": "time", "arm": name, "step": step, "seconds": seconds})
    spent = time.perf_counter() - started
    return record(lab, f"placement-{lab.protocol.name}-times", spent, rows)


def _stepper(lab: Lab, arm: Arm) -> Callable[[int], float]:
    unet, batch = fresh(lab, arm, 0), lab.protocol.batch
    forward = torch.compile(unet) if lab.device.type == "cuda" else unet
    optimizer = torch.optim.AdamW(unet.parameters(), 0.0)

    def once(step: int) -> float:
        started = time.perf_counter()
        rng = generator(0, step)
        loss = lessons.denoising(forward, lab.scheduler, lab.train, batch, rng)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        float(loss.detach())  # waits for the device
        return time.perf_counter() - started

    return once


def record(lab: Lab, experiment: str, seconds: float, rows: list[dict[str, Any]]) -> Record:
    """Rows with the provenance of this machine."""
    cuda = lab.device.type == "cuda"
    count = torch.get_num_threads()
    threads = f"{platform.machine()} CPU, {count} thread{'s' * (count > 1)}"
    return Record(
        experiment,
        torch.cuda.get_device_name(lab.device) if cuda else threads,
        "bf16" if cuda else "fp32",
        {library: version(library) for library in ("torch", "diffusers")},
        datetime.date.today().isoformat(),
        round(seconds, 1),
        tuple(rows),
    )
