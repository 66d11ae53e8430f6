"""The loop: exact resume, averaging, the plan's rates."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from unet_atlas.errors import AtlasError
from unet_atlas.mini.training import Plan, fit, generator

PLAN = Plan(steps=30, rate=0.05, warmup=5, seed=3)


def run(checkpoint, until=None, plan=PLAN, about=None):
    """Fit a small network to noise that the step's own generator draws."""
    torch.manual_seed(0)
    network = nn.Linear(4, 2)

    def loss(rng):
        x = torch.randn(8, 4, generator=rng)
        return (network(x) - x[:, :2]).square().mean()

    outcome = fit(network, loss, plan, checkpoint, about=about, until=until)
    return network, outcome


def test_a_run_that_was_killed_and_resumed_ends_with_the_same_weights(tmp_path):
    whole, outcome = run(tmp_path / "whole")
    for until in (7, 8, 21):
        run(tmp_path / "pieces", until)
    resumed, again = run(tmp_path / "pieces")
    assert all(
        torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True)
    )
    assert (outcome.loss, outcome.steps) == (again.loss, again.steps) == (outcome.loss, 30)


def test_a_finished_run_is_not_trained_further(tmp_path):
    first, _ = run(tmp_path / "c")
    again, outcome = run(tmp_path / "c")
    assert torch.equal(first.weight, again.weight)
    assert outcome.steps == 30


def test_a_run_goes_on_to_more_steps_but_not_with_another_plan_or_other_data(tmp_path):
    run(tmp_path / "c", about={"pictures": 8})
    _, outcome = run(tmp_path / "c", plan=replace(PLAN, steps=40), about={"pictures": 8})
    assert outcome.steps == 40
    with pytest.raises(AtlasError, match="c belongs to a run with another pictures and seed; del"):
        run(tmp_path / "c", plan=replace(PLAN, seed=4), about={"pictures": 9})


def test_another_seed_draws_other_batches(tmp_path):
    first, _ = run(tmp_path / "a")
    other, _ = run(tmp_path / "b", plan=Plan(steps=30, rate=0.05, warmup=5, seed=4))
    assert not torch.equal(first.weight, other.weight)
    assert generator(1, 2).initial_seed() != generator(2, 1).initial_seed()


def test_it_learns(tmp_path):
    network, outcome = run(tmp_path / "c", plan=Plan(steps=300, rate=0.05, warmup=5))
    assert outcome.loss < 1e-3
    assert torch.allclose(network.weight, torch.eye(2, 4), atol=0.05)


def test_what_remains_is_the_average_not_the_last_step(tmp_path):
    network, _ = run(tmp_path / "c")
    state = torch.load(tmp_path / "c", weights_only=True)
    assert torch.equal(network.weight, state["average"][0])
    assert not torch.equal(network.weight, state["weights"][0])
    assert not any(mean.requires_grad for mean in state["average"])  # else a graph grows with it


@pytest.mark.parametrize(
    ("step", "rate"),
    [(0, 0.01), (4, 0.05), (10, 0.05), (21, 0.05), (25, 0.05 * 5 / 9), (29, 0.05 / 9)],
)
def test_rates_rise_stay_and_fall(step, rate):
    assert PLAN.rate_at(step) == pytest.approx(rate)


def test_the_average_begins_with_a_short_memory():
    assert [PLAN.average_at(s) for s in (0, 90, 10**6)] == [0.1, 0.91, 0.999]
