"""How long each stage is trained, by device."""

from __future__ import annotations

from dataclasses import replace

import torch

from unet_atlas.mini.school import GPU_BATCH, GPU_STEPS, PLANS, plan_for


def test_a_gpu_takes_more_steps_and_larger_batches():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    plan = PLANS["mini-sd"]
    assert plan_for("mini-sd", cpu) == plan
    assert plan_for("mini-sd", cuda) == replace(
        plan, steps=plan.steps * GPU_STEPS, batch=plan.batch * GPU_BATCH
    )
    assert plan_for("clip-s", cuda).batch == PLANS["clip-s"].batch
    assert plan_for("mini-sd", cuda, 7).steps == 7
