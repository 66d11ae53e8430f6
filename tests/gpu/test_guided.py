"""A guided step: its arithmetic, its MACs, and the one UNet that is held at a time."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from gpu import tiny

from unet_atlas import cost
from unet_atlas.build import build_unet
from unet_atlas.gpu import guided as module
from unet_atlas.gpu.guided import GUIDANCE, STRIDE, Shop, guided, measured, step_macs
from unet_atlas.gpu.recipes import Recipe, place


@pytest.fixture
def model(tmp_path: Path) -> str:
    return tiny.config(tmp_path)


def test_a_step_by_hand(model: str):
    bench = tiny.bench()
    unet = place(bench, model, Recipe("fp32"))
    step = guided(bench, unet, 8, images=3)
    latent = step.latents[0]
    after, output = step.step(latent)
    assert latent.shape == (3, 4, 8, 8)
    assert output.shape == (6, 4, 8, 8)
    text = step.condition["encoder_hidden_states"]
    with torch.no_grad():
        without, with_text = (unet(latent, 500.0, t).sample for t in text.chunk(2))
    expected = latent + STRIDE * (without + GUIDANCE * (with_text - without))
    assert torch.allclose(after, expected, atol=1e-5)
    assert not torch.equal(without, with_text)


def test_what_is_measured_was_run(model: str):
    bench = tiny.bench()
    step = guided(bench, place(bench, model, Recipe("fp32")), 8)
    for graphs in (False, True):
        found = measured(bench, step, graphs)
        assert torch.allclose(found.output, step.step(step.latents[0])[1])
        weights = cost.weight_bytes(step.unet)
        assert weights < found.peak < 3 * weights
        assert len(found.timing.samples) == tiny.EFFORT.least
        assert found.first > 0


def test_a_replay_starts_from_the_noise_that_it_is_given(model: str, monkeypatch):
    bench, seen = tiny.bench(), []
    step = guided(bench, place(bench, model, Recipe("fp32")), 8)

    def captured(bench, call):
        fixed = call.args[0]
        return lambda: seen.append(fixed.clone()) or call()

    monkeypatch.setattr(module, "captured", captured)
    for call in module._calls(bench, step, graphs=True):
        call()
    assert all(torch.equal(a, b) for a, b in zip(seen, step.latents, strict=True))


def test_the_stream_of_captures_is_there_before_bytes_are_counted(model: str, monkeypatch):
    said = []
    monkeypatch.setattr(module, "side_stream", lambda device: said.append(device))
    monkeypatch.setattr(module, "highest", lambda *_: said.append("counted") or 1)
    monkeypatch.setattr(module, "time_line", lambda bench: SimpleNamespace(wait=lambda: None))
    monkeypatch.setattr(
        module, "timed", lambda bench, made: made.append(lambda: (0, torch.ones(1)))
    )
    step = guided(tiny.bench(), place(tiny.bench(), model, Recipe("fp32")), 8)
    cuda = tiny.bench(device=torch.device("cuda"))
    measured(cuda, step, graphs=True)
    assert said == [cuda.device, "counted"]
    said.clear()
    measured(cuda, step, graphs=False)
    assert said == ["counted"]


def test_every_compiled_recipe_has_a_cold_cache_of_its_own(model: str, monkeypatch):
    said = []

    @contextmanager
    def cold(bench):
        said.append("cold")
        yield
        said.append("gone")

    monkeypatch.setattr(module, "cold_compiler", cold)
    monkeypatch.setattr(module, "place", lambda bench, source, recipe: said.append(recipe.name))
    shop, recipe = Shop(tiny.bench()), Recipe("whole", compiled="whole")
    shop.take(model, Recipe("plain"))
    shop.take(model, recipe)
    shop.take(model, replace(recipe, graphs=True))
    shop.take(model, replace(recipe, name="fp8", dtype="fp8"))
    shop.clear()
    assert said == ["plain", "cold", "whole", "gone", "cold", "fp8", "gone"]
    shop.take(model, recipe)
    said.clear()
    del shop
    assert said == ["gone"]


def test_an_output_that_is_not_finite_is_an_error(model: str, monkeypatch):
    monkeypatch.setattr(module, "highest", lambda bench, call: call() or 1000)
    bench = tiny.bench()
    unet = place(bench, model, Recipe("fp32"))
    torch.nn.init.constant_(unet.conv_out.bias, float("nan"))
    with pytest.raises(ArithmeticError, match="not finite"):
        measured(bench, guided(bench, unet, 8), graphs=False)


@pytest.mark.parametrize("latent", [8, 6])
def test_macs_of_a_step_are_those_of_the_counter(model: str, latent: int):
    exact = cost.count(build_unet(model), latent=latent, batch=2)
    assert step_macs(model, latent) == (exact.total, exact.total - exact.without_attention)


def test_macs_of_sdxl():
    assert step_macs("sdxl-base-1.0", 128).total == 2 * 3_380_618_199_040


def test_the_shop_keeps_a_unet_for_its_graph_only(model: str):
    shop, recipe = Shop(tiny.bench()), Recipe("bf16", "bf16")
    first, fresh = shop.take(model, recipe)
    assert fresh
    assert shop.holds(model, replace(recipe, name="graphs", graphs=True))
    assert shop.take(model, replace(recipe, name="graphs", graphs=True)) == (first, False)
    assert not shop.holds(model, replace(recipe, channels_last=True))
    second, fresh = shop.take(model, replace(recipe, channels_last=True))
    assert fresh
    assert second is not first
    shop.clear()
    assert shop.unet is None
    assert not shop.holds(model, recipe)
