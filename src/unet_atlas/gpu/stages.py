"""The time of each stage of one guided pass, by events and by the profiler, beside its work.

An event is set where a stage begins, so the stages add up to the pass. What the profiler's kernels
leave of a stage's time is waiting, mostly for launches. Book: *Roofline by stage*.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from unet_atlas import cost
from unet_atlas.anatomy import HEAD, STEM, stages
from unet_atlas.gpu.bench import Bench, Job, Row, attempt, random_inputs, tidy, time_line, timed
from unet_atlas.gpu.recipes import CUDNN, Recipe, place, settings

BATCH = 2  # a guided step
RECIPE = Recipe("eager", "bf16", CUDNN)
ALL = "all"
RANGE = "stage: "  # how the profiler's ranges begin
Kernels = Mapping[str, tuple[float, int]]  # stage → milliseconds and number of its kernels


def jobs(bench: Bench, models: Sequence[str]) -> list[Job]:
    """One job a model, at its own size."""
    return [Job(model, partial(_rows, bench, model), lambda: 3.0) for model in models]


def _rows(bench: Bench, model: str) -> Iterator[Row]:
    tidy(bench)
    with settings(RECIPE), torch.no_grad():
        unet = place(bench, model, RECIPE)
        inputs = random_inputs(unet, None, BATCH, bench.seed)
        whole = timed(bench, [partial(_one_pass, unet, inputs)])
        samples = by_stage(bench, unet, inputs, len(whole.samples))
        kernels = _kernels(bench, unet, inputs)
    latent = inputs["sample"].shape[-1]
    macs = cost.count(unet, latent=latent, batch=BATCH).by_stage()
    moved = cost.traffic(unet, latent=latent, batch=BATCH, dtype=RECIPE.weights).moved
    head = {"model": unet.atlas_label, "dtype": RECIPE.dtype, "latent": latent, "batch": BATCH}
    times = {**samples, ALL: list(whole.samples)}
    for key in times:
        milliseconds, number = kernels.get(key, (None, None))
        yield {
            **head,
            "stage": key,
            "milliseconds": statistics.median(times[key]),
            "samples": times[key],
            "profiler": milliseconds,
            "kernels": number,
            "macs": sum(macs.values()) if key == ALL else macs.get(key, 0),
            "moved": sum(moved.values()) if key == ALL else moved.get(key, 0),
        }


def by_stage(
    bench: Bench, unet: UNet2DConditionModel, inputs: Mapping[str, Any], passes: int
) -> dict[str, list[float]]:
    """Milliseconds of each stage in so many passes."""
    line, marks = time_line(bench), []

    def begin(stage: str) -> None:
        marks[-1].append((stage, line.mark()))

    with watched(unet, begin):
        for _ in range(passes):
            marks.append([])
            begin(STEM)
            _one_pass(unet, inputs)
            begin("")
    line.wait()
    times: dict[str, list[float]] = {}
    for one in marks:
        for (stage, start), (_, end) in pairwise(one):
            times.setdefault(stage, []).append(line.between(start, end))
    return times


@contextmanager
def watched(unet: UNet2DConditionModel, begin: Callable[[str], None]) -> Iterator[None]:
    """While active, ``begin`` hears the name of each stage after the stem when it is entered."""
    keys = [s.key for s in stages(unet) if s.key not in (STEM, HEAD)]
    middle = [] if unet.mid_block is None else [unet.mid_block]
    blocks = [*unet.down_blocks, *middle, *unet.up_blocks]
    hooks = [
        block.register_forward_pre_hook(lambda *_, key=key: begin(key))
        for key, block in zip(keys, blocks, strict=True)
    ]
    hooks.append(blocks[-1].register_forward_hook(lambda *_: begin(HEAD)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _kernels(bench: Bench, unet: UNet2DConditionModel, inputs: Mapping[str, Any]) -> Kernels:
    """The profiler's part; events tell the stages' times without it."""
    if not bench.cuda:
        return {}
    found, note = attempt(lambda: profiled(unet, inputs))
    if note:
        bench.say(f"  the profiler failed: {note}")
    return found or {}


def profiled(unet: UNet2DConditionModel, inputs: Mapping[str, Any]) -> Kernels:
    """The kernels of each stage in one pass, by torch's profiler; empty where it sees none."""
    ranges: list[Any] = []

    def begin(stage: str) -> None:
        if ranges:
            ranges.pop().__exit__(None, None, None)
        if stage:
            ranges.append(torch.profiler.record_function(RANGE + stage))
            ranges[-1].__enter__()

    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    for _ in range(2):  # the first profile of a process may lack what ran while it started
        with watched(unet, begin), torch.profiler.profile(activities=activities) as profile:
            begin(STEM)
            _one_pass(unet, inputs)
            begin("")
            torch.cuda.synchronize()
    return kernels_by_stage(profile.events())


def kernels_by_stage(events: Iterable[Any]) -> dict[str, tuple[float, int]]:
    """Sums the kernels of a profile by the range in which the CPU launched them.

    Args:
        events: with ``name``, ``time_range`` (start and end) and ``kernels`` (each with its
            ``duration`` in µs), as torch.profiler gives them.
    """
    events = list(events)
    ranges = [
        (e.time_range.start, e.time_range.end, e.name.removeprefix(RANGE))
        for e in events
        if e.name.startswith(RANGE) and e.device_type == torch.autograd.DeviceType.CPU
    ]
    spent, number = Counter(), Counter()
    for event in events:
        if event.name.startswith(RANGE) or not event.kernels:
            continue
        launched = event.time_range.start
        stage = next((name for start, end, name in ranges if start <= launched <= end), None)
        for key in (stage, ALL) if stage else ():
            spent[key] += sum(k.duration for k in event.kernels) / 1000
            number[key] += len(event.kernels)
    return {key: (spent[key], number[key]) for key in number}


def _one_pass(unet: UNet2DConditionModel, inputs: Mapping[str, Any]) -> None:
    unet(**inputs, return_dict=False)
