"""Recipes: each rung is the one before with one change, and does what it says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import diffusers.utils
import pytest
import torch
import torch._inductor.config as inductor
from diffusers.models.attention_processor import (
    AttnProcessor,
    AttnProcessor2_0,
    FusedAttnProcessor2_0,
)
from diffusers.utils import peft_utils
from gpu import tiny
from torch._dynamo.testing import CompileCounter
from torch.nn.attention import SDPBackend

from unet_atlas.errors import AtlasError
from unet_atlas.gpu import recipes
from unet_atlas.gpu.guided import guided
from unet_atlas.gpu.quantised import QuantisedLinear


@pytest.fixture
def model(tmp_path: Path) -> str:
    return tiny.config(tmp_path)


def rung(name: str) -> recipes.Recipe:
    return next(r for r in recipes.ladder() if r.name == name)


def test_each_rung_changes_one_thing():
    ladder = recipes.ladder()
    assert [r.name for r in ladder] == [name for name, _ in recipes.CHANGES]
    assert ladder[0] == recipes.Recipe("fp32")
    for before, after in pairwise(ladder):
        changed = [
            f.name for f in fields(after) if getattr(before, f.name) != getattr(after, f.name)
        ]
        assert len(changed) == 2, (after.name, changed)  # its name and one more


def test_eight_bits_by_what_the_device_has(monkeypatch):
    assert "int8" in [r.name for r in recipes.ladder("int8")]
    assert recipes.ladder("int8")[-1].dtype == "int8"
    cuda = tiny.bench(device=torch.device("cuda"))
    for capability, kind in (((8, 0), "int8"), ((8, 9), "fp8"), ((9, 0), "fp8")):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda d, c=capability: c)
        assert recipes.eight_bits(cuda) == kind


def test_a_quick_ladder_compiles_nothing_whole_and_ends_in_graphs():
    quick = recipes.quick_ladder()
    assert {r.compiled for r in quick} == {"", "regional"}
    assert [r.graphs for r in quick] == [False] * (len(quick) - 1) + [True]


def test_every_recipe_has_the_same_weights(model: str):
    bench = tiny.bench(seed=4)
    full, half = (recipes.place(bench, model, rung(name)) for name in ("fp32", "bf16"))
    for a, b in zip(full.parameters(), half.parameters(), strict=True):
        assert torch.equal(a.bfloat16(), b)
    other = recipes.place(tiny.bench(seed=5), model, rung("fp32"))
    assert not torch.equal(full.conv_in.weight, other.conv_in.weight)


@pytest.mark.parametrize(
    ("name", "dtype", "processor"),
    [
        ("tf32", torch.float32, AttnProcessor),
        ("bf16", torch.bfloat16, AttnProcessor),
        ("cuDNN attention", torch.bfloat16, AttnProcessor2_0),
        ("fused QKV", torch.bfloat16, FusedAttnProcessor2_0),
    ],
)
def test_what_a_recipe_does_to_the_model(model: str, name: str, dtype, processor, caplog):
    unet = recipes.place(tiny.bench(), model, rung(name))
    assert unet.dtype == dtype
    assert {type(p) for p in unet.attn_processors.values()} == {processor}
    assert not any(p.requires_grad for p in unet.parameters())
    assert "should be kept" not in caplog.text


def test_channels_last_and_eight_bits(model: str):
    unet = recipes.place(tiny.bench(), model, replace(rung("fp8"), compiled="", graphs=False))
    weight = unet.down_blocks[0].resnets[0].conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()
    assert isinstance(unet.down_blocks[0].attentions[0].transformer_blocks[0].ff.net[2],
                      QuantisedLinear)  # fmt: skip


def test_a_model_that_eight_bits_do_not_fit(tmp_path: Path):
    odd = tiny.config(tmp_path, "odd", block_out_channels=[24, 24])
    with pytest.raises(AtlasError, match="odd has no linear layer that fp8 fits"):
        recipes.place(tiny.bench(), odd, recipes.Recipe("x", "fp8"))


def test_regional_compilation_compiles_transformer_blocks_only(model: str):
    counter = CompileCounter()
    bench, recipe = tiny.bench(backend=counter), rung("compile, regional")
    with recipes.settings(recipe):
        step = guided(bench, recipes.place(bench, model, recipe), 8)
        step.step(step.latents[0])
    torch._dynamo.reset()
    assert counter.frame_count == 2  # one kind of block a level


def test_one_compilation_serves_batches_of_any_size(tmp_path: Path):
    model = tiny.config(tmp_path, **tiny.ONE_LEVEL, **tiny.SIZES)
    counter = CompileCounter()
    bench = tiny.bench(backend=counter)
    recipe = replace(rung("compile, whole"), any_batch=True)
    with recipes.settings(recipe):
        unet = recipes.place(bench, model, recipe)
        for images in (1, 2, 3):
            step = guided(bench, unet, 8, images, any_batch=True)
            step.step(step.latents[0])
    torch._dynamo.reset()
    assert counter.frame_count == 1


def test_how_the_compiler_is_called():
    def called(recipe: recipes.Recipe, backend: str) -> dict:
        said = {}

        class Unet:
            compile = staticmethod(lambda **how: said.update(how, whole=True))
            compile_repeated_blocks = staticmethod(lambda **how: said.update(how, whole=False))

        recipes._compile(tiny.bench(backend=backend), Unet(), recipe)
        return said

    common = {"fullgraph": True, "backend": "inductor"}
    whole, regional = rung("compile, whole"), rung("compile, regional")
    assert called(whole, "inductor") == {**common, "dynamic": False, "whole": True}
    assert called(replace(whole, any_batch=True), "inductor")["dynamic"] is None
    assert called(replace(regional, any_batch=True), "inductor")["dynamic"] is True
    assert called(regional, "inductor") == {**common, "dynamic": False, "whole": False}


def test_settings_are_restored():
    def now() -> tuple:
        return (
            torch.get_float32_matmul_precision(),
            torch.backends.cudnn.benchmark,
            torch.backends.cuda.cudnn_sdp_enabled(),
            inductor.conv_1x1_as_mm,
            torch._dynamo.config.recompile_limit,
            torch._C._get_sdp_priority_order(),
        )

    before = now()
    with recipes.settings(rung("compile, whole")):
        inside = now()
    assert now() == before
    assert inside[3:5] == (True, recipes.RECOMPILATIONS)
    assert inside[-1] != before[-1]
    with recipes.settings(rung("fp32")):
        assert torch.get_float32_matmul_precision() == "highest"
        assert now()[3:] == before[3:]
    with recipes.settings(rung("tf32")):
        assert torch.get_float32_matmul_precision() == "high"


FLASH, EFFICIENT, MATH, CUDNN = (
    int(getattr(SDPBackend, name))
    for name in ("FLASH_ATTENTION", "EFFICIENT_ATTENTION", "MATH", "CUDNN_ATTENTION")
)


@pytest.fixture
def cudnn_first() -> Iterator[None]:
    """An order in which cuDNN comes first, as PyTorch has it on some devices."""
    before = torch._C._get_sdp_priority_order()
    torch._C._set_sdp_priority_order([CUDNN, *(b for b in before if b != CUDNN)])
    yield
    torch._C._set_sdp_priority_order(before)


@pytest.mark.parametrize(
    ("name", "order", "cudnn"),
    [
        ("fused attention", [FLASH, EFFICIENT, MATH], False),
        ("cuDNN attention", [CUDNN, FLASH, EFFICIENT, MATH], True),
        ("CUDA graphs", [CUDNN, FLASH, EFFICIENT, MATH], True),
    ],
)
def test_fused_attention_is_not_what_the_device_has_first(
    cudnn_first, name: str, order: list[int], cudnn: bool
):
    with recipes.settings(rung(name)):
        assert torch._C._get_sdp_priority_order()[: len(order)] == order
        assert torch.backends.cuda.cudnn_sdp_enabled() is cudnn
        assert torch.backends.cuda.flash_sdp_enabled()
    assert torch._C._get_sdp_priority_order()[0] == CUDNN
    assert torch.backends.cuda.cudnn_sdp_enabled()


def test_plain_attention_sets_no_order(cudnn_first):
    with recipes.attention(recipes.PLAIN):
        assert torch._C._get_sdp_priority_order()[0] == CUDNN


def test_an_installed_peft_is_not_asked_in_a_forward(model: str, monkeypatch):
    def scale(unet, weight):
        raise ImportError("peft")

    monkeypatch.setattr(diffusers.utils, "USE_PEFT_BACKEND", True)
    monkeypatch.setattr(peft_utils, "scale_lora_layers", scale)
    bench, recipe = tiny.bench(), rung("fp32")
    step = guided(bench, recipes.place(bench, model, recipe), 8)
    with pytest.raises(ImportError, match="peft"):
        step.step(step.latents[0])
    with recipes.settings(recipe):
        step.step(step.latents[0])
    assert diffusers.utils.USE_PEFT_BACKEND


def test_the_compilers_cache_is_cold_with_cuda(monkeypatch):
    import torch._inductor.utils

    entered = []

    class Fresh:
        def __enter__(self):
            entered.append(1)

        def __exit__(self, *error):
            entered.append(2)

    monkeypatch.setattr(torch._inductor.utils, "fresh_cache", Fresh)
    with recipes.cold_compiler(tiny.bench()):
        pass
    assert entered == []
    with recipes.cold_compiler(tiny.bench(device=torch.device("cuda"))):
        assert entered == [1]
    assert entered == [1, 2]
