"""Runs of the study that never were, with effects that are known."""

from __future__ import annotations

import numpy as np

from unet_atlas.placement.protocol import CPU
from unet_atlas.records import Record

QUESTIONS = ("shapes", "colours", "objects", "relation", "right")


def run(arm: str, seed: int, loss: float, relation: str = "10-1") -> Record:
    """A run whose noisiest level alone carries its loss."""
    rows = [
        {"kind": "run", "arm": arm, "seed": seed},
        {"kind": "curve", "step": 10, "macs": 10**12, "loss": 2 * loss},
        {"kind": "curve", "step": 20, "macs": 2 * 10**12, "loss": loss},
        *({"kind": "noise", "level": i, "loss": 1.0} for i in range(9)),
        {"kind": "noise", "level": 9, "loss": loss},
    ]
    for split in ("test", "unseen"):
        for question in QUESTIONS:
            answers = relation if question == "relation" else "1100"
            rows.append({"kind": "answers", "split": split, "question": question,
                         "answers": answers})  # fmt: skip
        rows.append({"kind": "scores", "split": split, "fd": 1.5, "clip": 70.0})
    return Record(
        "placement-cpu", "a CPU", "fp32", {"torch": "2"}, "2026-01-01", 1800.0, tuple(rows)
    )


def study(effects: dict[str, float], seeds: tuple[int, ...] = (1, 2, 3)) -> list[Record]:
    rng = np.random.default_rng(0)
    return [
        run(arm.name, s, 0.1 * s + effects.get(arm.name, 0) + rng.normal(0, 1e-4))
        for s in seeds
        for arm in CPU.arms
    ]
