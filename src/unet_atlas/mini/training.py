"""One loop for every network: AdamW, warm-up and late decay, EMA, checkpoints, exact resume.

Everything random in step k comes from a generator seeded by (seed, k): a run that was killed and
resumed ends with the same weights as one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from unet_atlas.errors import AtlasError
from unet_atlas.files import replacing

Loss = Callable[[torch.Generator], Tensor]  # the generator of a step → scalar loss


@dataclass(frozen=True)
class Plan:
    """How long and how fast.

    Attributes:
        steps: optimizer steps in all.
        batch: examples in a step.
        rate: learning rate after ``warmup`` steps; over the last ``decay`` of the run it falls
            to zero.
        average: the largest EMA decay.
        clip: largest norm of the gradient.
    """

    steps: int
    batch: int = 32
    rate: float = 1e-3
    warmup: int = 100
    decay: float = 0.3
    average: float = 0.999
    clip: float = 1.0
    weight_decay: float = 0.01
    seed: int = 0

    def rate_at(self, step: int) -> float:
        """Learning rate of a step: linear up, flat, linear down."""
        falling = max(self.steps * self.decay, 1)
        return self.rate * min((step + 1) / self.warmup, 1.0, (self.steps - step) / falling)

    def average_at(self, step: int) -> float:
        """EMA decay of a step: short memory first."""
        return min(self.average, (1 + step) / (10 + step))


@dataclass(frozen=True)
class Outcome:
    """What a run says of itself: mean loss of its last tenth, seconds over all its pieces."""

    loss: float
    seconds: float
    steps: int


def fit(
    network: nn.Module,
    loss: Loss,
    plan: Plan,
    checkpoint: Path,
    *,
    about: dict[str, Any] | None = None,
    every: float = 120.0,
    until: int | None = None,
    label: str = "",
) -> Outcome:
    """Train ``network`` in place; it ends with the averaged (EMA) weights.

    Args:
        loss: the loss of a step; draws only from the generator that it is given.
        checkpoint: file that is written every ``every`` seconds and at the end; when it exists,
            the run goes on from there.
        about: whatever else decides the run (data, device); kept in the checkpoint.
        until: stop after this step, as a kill would (for tests and for time limits).
        label: what the progress bar says.

    Raises:
        AtlasError: the checkpoint belongs to another run: another plan (but for the number of
            steps) or another ``about``.
    """
    weights = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, plan.rate, (0.9, 0.99), weight_decay=plan.weight_decay)
    average = [p.detach().clone() for p in weights]
    run = {k: v for k, v in asdict(plan).items() if k != "steps"} | (about or {})
    losses: list[Tensor] = []  # left on the device: reading one would wait for it in each step
    spent, step = _load(checkpoint, run, weights, average, optimizer, losses)
    started = saved = time.monotonic()
    last = min(plan.steps, until or plan.steps)
    network.train()
    bar = tqdm(range(step, last), initial=step, total=plan.steps, desc=label, mininterval=5)
    for step in bar:
        losses.append(_step(loss, step, plan, optimizer, weights))
        with torch.no_grad():
            torch._foreach_lerp_(average, weights, 1 - plan.average_at(step))
        if step % 50 == 0:
            bar.set_postfix(loss=f"{_mean(losses[-50:]):.4f}")
        if time.monotonic() - saved > every or step + 1 == last:
            saved = time.monotonic()
            passed = spent + saved - started
            _save(checkpoint, run, weights, average, optimizer, losses, passed, step + 1)
    with torch.no_grad():
        for weight, mean in zip(weights, average, strict=True):
            weight.copy_(mean)
    network.eval()
    tail = losses[-max(len(losses) // 10, 1) :]
    return Outcome(_mean(tail), spent + time.monotonic() - started, len(losses))


def _mean(losses: list[Tensor]) -> float:
    return float(torch.stack(losses).double().mean())


def generator(seed: int, step: int) -> torch.Generator:
    """The CPU generator of a step: (seed, step) decides everything that is drawn in it."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


def _step(
    loss: Loss, step: int, plan: Plan, optimizer: torch.optim.Optimizer, weights: list
) -> Tensor:
    for group in optimizer.param_groups:
        group["lr"] = plan.rate_at(step)
    value = loss(generator(plan.seed, step))
    optimizer.zero_grad(set_to_none=True)
    value.backward()
    nn.utils.clip_grad_norm_(weights, plan.clip)
    optimizer.step()
    return value.detach()


def _save(path: Path, run, weights, average, optimizer, losses, seconds, step) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {
        "run": run,
        "weights": [w.detach() for w in weights],
        "average": average,
        "optimizer": optimizer.state_dict(),
        "losses": torch.stack(losses),
        "seconds": seconds,
        "step": step,
    }
    with replacing(path) as temporary:
        torch.save(state, temporary)


def _load(path: Path, run, weights, average, optimizer, losses: list[Tensor]) -> tuple[float, int]:
    """Put a checkpoint's state in place; returns seconds spent and the next step."""
    if not path.exists():
        return 0.0, 0
    state = torch.load(path, weights_only=True, map_location=weights[0].device)
    if state["run"] != run:
        other = [k for k in {**run, **state["run"]} if run.get(k) != state["run"].get(k)]
        raise AtlasError(
            f"{path} belongs to a run with another {' and '.join(sorted(other))}; delete it to "
            "start afresh, or go on with the settings that it was made with."
        )
    with torch.no_grad():
        for mine, theirs in zip(
            weights + average, state["weights"] + state["average"], strict=True
        ):
            mine.copy_(theirs)
    optimizer.load_state_dict(state["optimizer"])
    losses += state["losses"].unbind()
    return state["seconds"], state["step"]
