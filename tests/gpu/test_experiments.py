"""Building, stages, decoding, throughput, resolution and placement on tiny models."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from gpu import tiny
from torch.autograd import DeviceType

from unet_atlas import anatomy, components, cost
from unet_atlas.build import build_unet
from unet_atlas.gpu import bench as benches
from unet_atlas.gpu import (
    building,
    decoding,
    guided,
    placement,
    reading,
    resolution,
    stages,
    throughput,
)
from unet_atlas.gpu.bench import Timing
from unet_atlas.gpu.recipes import Recipe, eager
from unet_atlas.measure import Metered


@pytest.fixture
def model(tmp_path: Path) -> str:
    return tiny.config(tmp_path)


def rows(experiment: str, jobs: list) -> list[dict]:
    """All rows, each of which a reader of the record accepts."""
    found = [dict(row) for job in jobs for row in job.run()]
    assert not [f for row in found if (f := reading.fault_of_row(experiment, row))]
    return found


@pytest.fixture
def unmetered(monkeypatch) -> None:
    """Bytes are not followed, which takes seconds a call."""
    monkeypatch.setattr(guided, "highest", lambda bench, call: call() or 1000)
    monkeypatch.setattr(throughput, "highest", lambda bench, call: call() or 5000)


@pytest.fixture
def orders(monkeypatch) -> list[str]:
    """The orders of attention kernels that are asked for."""
    asked = []

    @contextmanager
    def attention(kind):
        asked.append(kind)
        yield
        asked.append("end")

    for part in (building, placement, decoding):
        monkeypatch.setattr(part, "attention", attention)
    return asked


# Building


def test_attention_is_never_left_to_the_device(model: str, orders, monkeypatch):
    monkeypatch.setattr(
        placement, "timed", lambda *_: orders.append("timed") or Timing(1.0, (1.0,))
    )
    list(placement.jobs(tiny.bench(), [model])[0].run())
    assert orders == ["cuDNN", "timed", "end"]
    orders.clear()
    monkeypatch.setattr(decoding, "timed", lambda *_: orders.append("timed") or Timing(1.0, (1.0,)))
    list(decoding.jobs(tiny.bench(quick=True), [tiny.work(model)])[0].run())
    assert orders == ["fused", "timed", "end"]
    orders.clear()
    whole = building.measure.measure_pass
    monkeypatch.setattr(
        building.measure, "measure_pass", lambda *given: orders.append("pass") or whole(*given)
    )
    list(building.jobs(tiny.bench(quick=True), [model])[0].run())
    assert orders == ["fused", "pass", "end", "pass"]


def test_building(model: str):
    jobs = building.jobs(tiny.bench(), [model])
    assert [job.name[len(model) :] for job in jobs] == [" in fp32", " in fp16", " in bf16"]
    (found,) = rows("build", jobs[2:])
    assert (found["dtype"], found["latent"], found["batch"]) == ("bf16", 8, 1)
    assert found["weights"] == cost.weight_bytes(build_unet(model)) // 2
    assert min(found[c] for c in ("seconds", "reserved", "peak", "peak_plain")) > 0


def test_reserved_bytes_are_those_of_the_model(model: str, monkeypatch):
    held = iter([5000, 5000 + 8192])
    cuda, cpu = tiny.bench(device=torch.device("cuda")), torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: next(held))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(building.measure, "meter_for", lambda d: lambda run: Metered(run(), 9, 9))
    monkeypatch.setattr(building, "build_unet", lambda m, d, dtype: build_unet(m, cpu, dtype))
    monkeypatch.setattr(building, "time_line", lambda bench: benches.cpu_line())
    (found,) = rows("build", building.jobs(cuda, [model])[:1])
    assert found["reserved"] == 8192


def test_building_without_room_for_the_scores(model: str, monkeypatch):
    whole, passes = building.measure.measure_pass, []

    def measure_pass(*given):
        passes.append(1)
        if len(passes) == 2:
            raise torch.OutOfMemoryError
        return whole(*given)

    monkeypatch.setattr(building.measure, "measure_pass", measure_pass)
    (found,) = rows("build", building.jobs(tiny.bench(quick=True), [model]))
    assert found["peak_plain"] is None
    assert found["dtype"] == "bf16"


# Stages


def test_stages_add_up_and_are_in_order(model: str):
    found = rows("stages", stages.jobs(tiny.bench(), [model]))
    keys = [s.key for s in anatomy.stages(build_unet(model))]
    assert [r["stage"] for r in found] == [*keys, "all"]
    total = found[-1]
    for column in ("macs", "moved"):
        assert sum(r[column] for r in found[:-1]) == total[column]
    assert total["macs"] == guided.step_macs(model, 8).total
    assert {len(r["samples"]) for r in found} == {tiny.EFFORT.least}
    assert total["profiler"] is None


def test_moments_of_a_pass(model: str):
    bench = tiny.bench(now=tiny.Clock(0.001))
    unet = build_unet(model, "cpu")
    times = stages.by_stage(bench, unet, guided.random_inputs(unet, 8, 1, 0), passes=2)
    assert all(samples == pytest.approx([1.0, 1.0]) for samples in times.values())
    assert list(times) == ["stem", "down 0", "down 1", "mid", "up 0", "up 1", "head"]
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in unet.modules())


def test_a_unet_without_a_middle(tmp_path: Path):
    model = tiny.config(tmp_path, "hollow", mid_block_type=None)
    found = rows("stages", stages.jobs(tiny.bench(), [model]))
    assert "mid" not in [r["stage"] for r in found]


def test_a_profiler_that_fails_says_so_and_times_stay(model: str, monkeypatch):
    def profiled(unet, inputs):
        raise RuntimeError("CUPTI is in use.")

    said = []
    monkeypatch.setattr(stages, "profiled", profiled)
    cuda = tiny.bench(device=torch.device("cuda"), say=said.append)
    assert stages._kernels(cuda, build_unet(model), {}) == {}
    assert said == ["  the profiler failed: RuntimeError: CUPTI is in use"]
    monkeypatch.setattr(stages, "_kernels", lambda *_: {})
    found = rows("stages", stages.jobs(tiny.bench(), [model]))
    assert {(r["profiler"], r["kernels"]) for r in found} == {(None, None)}


def event(name: str, start: float, end: float, *kernels: float, device=DeviceType.CPU):
    return SimpleNamespace(
        name=name,
        time_range=SimpleNamespace(start=start, end=end),
        kernels=[SimpleNamespace(duration=k) for k in kernels],
        device_type=device,
    )


def test_kernels_belong_to_the_stage_that_launched_them():
    events = [
        event("stage: stem", 0, 10, 999),  # the range itself, as the profiler repeats it
        event("stage: down 0", 10, 30),
        event("stage: down 0", 500, 900, device=DeviceType.CUDA),
        event("aten::conv2d", 2, 4, 100, 50),
        event("aten::mm", 12, 13, 1000),
        event("aten::add", 29, 30, 500),
        event("aten::silu", 40, 41, 7),  # outside of the pass
        event("aten::view", 14, 15),
    ]
    assert stages.kernels_by_stage(events) == {
        "stem": (0.15, 2),
        "down 0": (1.5, 2),
        "all": (1.65, 4),
    }
    assert stages.kernels_by_stage([]) == {}


@pytest.mark.filterwarnings("ignore:CUDA is not available")
def test_the_profilers_ranges_are_the_stages(model: str, monkeypatch):
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    seen = []
    monkeypatch.setattr(stages, "kernels_by_stage", lambda events: seen.extend(events) or {})
    unet = build_unet(model, "cpu")
    with torch.no_grad():
        assert stages.profiled(unet, guided.random_inputs(unet, 8, 1, 0)) == {}
    names = [e.name.removeprefix(stages.RANGE) for e in seen if e.name.startswith(stages.RANGE)]
    assert names == [s.key for s in anatomy.stages(unet)]


# Decoding


def test_decoding(model: str):
    work = tiny.work(model)
    found = rows("decode", decoding.jobs(tiny.bench(), [work]))
    assert [r["rung"] for r in found] == ["fp32", "bf16", "channels last", "compile, whole"]
    assert {r["macs"] for r in found} == {components.decode_macs(work.vae, 64)}
    quick = decoding.jobs(tiny.bench(quick=True), [work])
    assert len(quick) == 3
    assert decoding.jobs(tiny.bench(), [work])[-1].needs() == decoding.COMPILATION


def test_a_compiled_decoder_leaves_no_cache(model: str, monkeypatch):
    said = []

    @contextmanager
    def cold(bench):
        said.append("cold")
        yield
        said.append("gone")

    monkeypatch.setattr(decoding, "cold_compiler", cold)
    monkeypatch.setattr(decoding, "decode", lambda vae, latents: None)
    for job in decoding.jobs(tiny.bench(), [tiny.work(model)]):
        list(job.run())
    assert said == ["cold", "gone"]


def decoded(monkeypatch, batch: int, side: int, fail_above: int = 10**9) -> list[int]:
    """The batches in which so many latents are decoded."""
    seen = []

    def decode(part, return_dict):
        if len(part) > fail_above:
            raise torch.OutOfMemoryError
        seen.append(len(part))

    decoding.decode(SimpleNamespace(decode=decode), torch.zeros(batch, 4, side, side))
    return seen


def test_decoding_in_parts(monkeypatch):
    assert decoded(monkeypatch, 10, 128) == [4, 4, 2]
    assert decoded(monkeypatch, 10, 64) == [10]
    assert decoded(monkeypatch, 2, 512) == [1, 1]
    assert decoded(monkeypatch, 3, 64, fail_above=1) == [1, 1, 1]


# Throughput


def batched(model: str, monkeypatch, recipe: Recipe, batches=(1, 2), **bench) -> list[dict]:
    jobs = throughput.jobs(tiny.bench(**bench), [tiny.work(model)], lambda w: recipe, batches)
    return rows("throughput", jobs)


def test_throughput(model: str, monkeypatch, unmetered):
    found = batched(model, monkeypatch, eager())
    macs = guided.step_macs(model, 8).total
    assert [r["batch"] for r in found] == [1, 2]
    assert [r["macs"] for r in found] == [macs, 2 * macs]
    for row in found:
        images = 1000 * row["batch"] / (20 * row["step"] + row["decode"])
        assert row["images_per_second"] == pytest.approx(images)
        vae = decoding.decoder(tiny.bench(), tiny.work(model), throughput.DECODER)
        weights = cost.weight_bytes(build_unet(model)) // 2 + benches.model_bytes(vae)
        assert row["peak"] == 5000 + weights  # decoding takes more than the step's 1000
    monkeypatch.setattr(throughput, "highest", lambda bench, call: 10)
    assert batched(model, monkeypatch, eager(), [1])[0]["peak"] == 1000 + weights


def test_after_the_first_batch_without_room_none_is_tried(model: str, monkeypatch):
    tried = []

    def measure(state, work, recipe, batch):
        tried.append(batch)
        raise torch.OutOfMemoryError

    monkeypatch.setattr(throughput, "_measure", measure)
    found = batched(model, monkeypatch, eager(), (1, 2, 4))
    assert tried == [1]
    assert [r["note"] for r in found] == ["out of memory"] * 3
    assert {r["images_per_second"] for r in found} == {None}


def test_what_cannot_be_compiled_for_any_batch_runs_without_the_compiler(model, monkeypatch):
    def measure(state, work, recipe, batch):
        if recipe.compiled:
            raise RuntimeError("constraint violated")
        return {"step": 1.0, "decode": 1.0, "samples": [1.0], "images_per_second": 1.0, "peak": 1}

    said = []
    monkeypatch.setattr(throughput, "_measure", measure)
    recipe = replace(eager(), name="whole", compiled="whole")
    found = batched(model, monkeypatch, recipe, say=said.append)
    assert [(r["rung"], r["note"]) for r in found] == [("eager", "")] * 2
    assert len(said) == 1
    assert "constraint violated" in said[0]


def state(model: str, left: float, compiled: str = "whole", quick: bool = False):
    bench = tiny.bench(until=left, now=lambda: 0.0, quick=quick)
    recipe = replace(eager(), name="chosen", compiled=compiled)
    return throughput._State(bench, lambda work: recipe), tiny.work(model)


def test_with_little_time_blocks_alone_are_compiled(model: str):
    rich, work = state(model, 1000)
    assert rich.recipe(work).compiled == "whole"
    assert rich.recipe(work).any_batch
    poor, work = state(model, 30)
    assert (poor.recipe(work).compiled, poor.recipe(work).name) == ("regional", "chosen, regional")


def test_what_a_batch_needs(model: str):
    found, work = state(model, 1000)
    assert found.needs(work, 1) == throughput.NEEDS["regional"] + 0.6
    found.shop.take(work.model, found.recipe(work))
    assert found.needs(work, 5) == 2.0 + 3
    assert found.needs(work, 40) == throughput.NEEDS["whole"] + 24
    found.wide.add((work.name, 40))
    assert found.needs(work, 40) == 2.0 + 24
    assert found.needs(work, 60) == throughput.NEEDS["whole"] + 36
    quick, work = state(model, 1000, quick=True)
    assert quick.needs(work, 1) == (throughput.NEEDS["regional"] + 0.6) / 4


def test_large_batches_are_no_graphs_and_mark_what_was_compiled(model: str, monkeypatch):
    asked = []
    monkeypatch.setattr(throughput, "guided", lambda *given, **how: how["any_batch"])
    monkeypatch.setattr(throughput, "measured", lambda b, step, graphs: asked.append(graphs))
    found, work = state(model, 1000, compiled="")
    for batch in (1, 4, 8, 32):
        throughput._step(found, work, found.recipe(work), batch)
    assert asked == [True, True, False, False]
    assert found.wide == {(work.name, 32)}


def test_a_row_says_where_graphs_are_left_out(model: str, monkeypatch):
    measurement = {"step": 1.0, "decode": 1.0, "samples": [1.0], "images_per_second": 1.0,
                   "peak": 1}  # fmt: skip
    monkeypatch.setattr(throughput, "_measure", lambda *given: measurement)
    names = [r["rung"] for r in batched(model, monkeypatch, eager(), (4, 8))]
    assert names == ["eager", "eager, without graphs"]
    names = [r["rung"] for r in batched(model, monkeypatch, eager(graphs=False), (8,))]
    assert names == ["eager"]


# Resolution


def test_resolution(model: str, unmetered):
    found = rows("resolution", resolution.jobs(tiny.bench(), [model], (64, 128)))
    small, large = found
    assert large["attention_macs"] > 6 * small["attention_macs"]
    assert 3.9 < large["macs"] / small["macs"] < 8


def test_a_quick_session_begins_a_size_with_little_time(model: str):
    needs = [
        resolution.jobs(tiny.bench(quick=quick), [model], (64,))[0].needs()
        for quick in (False, True)
    ]
    assert needs == [3.0, 1.0]


def test_a_size_without_room_is_a_row(model: str, monkeypatch):
    def measured(*given):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(resolution, "measured", measured)
    (found,) = rows("resolution", resolution.jobs(tiny.bench(), [model], (64,)))
    assert (found["milliseconds"], found["note"]) == (None, "out of memory")


# Placement


def test_placement(model: str):
    found = rows("blocks", placement.jobs(tiny.bench(), [model]))
    assert [(r["level"], r["width"], r["tokens"], r["used"]) for r in found] == [
        (0, 32, 64, 3),
        (1, 64, 16, 1),
    ]
    assert [r["context"] for r in found] == [32, 32]


def test_placement_reads_the_real_models(monkeypatch):
    monkeypatch.setattr(placement, "timed", lambda bench, calls: Timing(1.0, (1.0,)))
    monkeypatch.setattr(placement, "_calls", lambda *given: [])
    found = rows("blocks", placement.jobs(tiny.bench(), ["sd-1.5", "sdxl-base-1.0"]))
    facts = [(r["level"], r["width"], r["tokens"], r["heads"], r["used"]) for r in found]
    assert facts == [
        (0, 320, 4096, 8, 5),
        (1, 640, 1024, 8, 5),
        (2, 1280, 256, 8, 5),
        (3, 1280, 64, 8, 1),
        (1, 640, 4096, 10, 10),
        (2, 1280, 1024, 20, 60),
    ]
    assert {r["context"] for r in found} == {768, 2048}


def test_blocks_in_rotation_have_weights_of_their_own(model: str, monkeypatch):
    monkeypatch.setattr(placement, "rotation_size", lambda bench, size: 3)
    seen = []
    monkeypatch.setattr(placement, "_call", lambda block, *shapes: seen.append(block))
    unet = build_unet(model, dtype=torch.bfloat16)
    block = placement.blocks_by_level(unet)[0][0]
    placement._calls(tiny.bench(), block, (2, 64, 32), (2, 77, 32))
    weights = [b.attn1.to_q.weight for b in seen]
    assert len({w.data_ptr() for w in weights}) == 3
    assert all(w.std() > 0 for w in weights)
    assert not torch.equal(weights[0], weights[1])
