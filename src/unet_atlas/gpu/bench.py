"""The workbench: a device, how much to measure on it, and the clock of its own time line.

Work on a GPU is asynchronous, so moments are CUDA events on the stream that the work is on; on the
CPU they are readings of the clock. Book: *On a real GPU*.
"""

from __future__ import annotations

import functools
import gc
import itertools
import math
import re
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from unet_atlas import measure
from unet_atlas.build import example_inputs
from unet_atlas.errors import first_sentence

Call = Callable[[], Any]
Row = Mapping[str, Any]
OUT_OF_MEMORY = "out of memory"
MOST_SETS = 32  # of inputs in a rotation
GRAPH_WARM_UP = 3  # calls on a side stream before a CUDA graph is captured


@dataclass(frozen=True)
class Effort:
    """How much is measured for one row: about so many seconds of so many calls.

    What comes before and doesn't count: ``warm_up`` calls, and ``settle`` milliseconds of them, in
    which the clocks of an idle device rise.
    """

    seconds: float
    least: int
    most: int
    warm_up: int
    settle: float = 0.0


FULL = Effort(1.0, 3, 50, 3, settle=200)
QUICK = Effort(0.25, 3, 20, 2, settle=50)


@dataclass(frozen=True)
class Bench:
    """Where and how measurements are made.

    ``until`` is the moment of ``now`` at which no new row is begun; ``backend`` compiles.
    """

    device: torch.device
    effort: Effort = FULL
    quick: bool = False
    seed: int = 0
    backend: str = "inductor"
    say: Callable[[str], None] = lambda line: None
    now: Callable[[], float] = time.perf_counter
    until: float = math.inf

    @property
    def cuda(self) -> bool:
        """Whether the device is a CUDA device."""
        return self.device.type == "cuda"

    @property
    def left(self) -> float:
        """Seconds until no new row is begun."""
        return self.until - self.now()


@dataclass(frozen=True)
class Job:
    """A named part of an experiment: its rows, and the seconds without which it isn't begun.

    ``missed`` gives the row that stands for it then, where the record is to say so.
    """

    name: str
    run: Callable[[], Iterable[Row]]
    needs: Callable[[], float] = lambda: 0.0
    missed: Callable[[], Row] | None = None


@dataclass(frozen=True)
class Timing:
    """The median and every sample, in milliseconds."""

    milliseconds: float
    samples: tuple[float, ...]


@dataclass(frozen=True)
class TimeLine:
    """A device's own clock: ``mark`` a moment, ``wait`` for all work, milliseconds ``between``."""

    mark: Callable[[], Any]
    wait: Callable[[], None]
    between: Callable[[Any, Any], float]


def cuda_line() -> TimeLine:
    """CUDA events on the current stream; they are read only after :attr:`TimeLine.wait`."""

    def mark() -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    return TimeLine(mark, torch.cuda.synchronize, lambda a, b: a.elapsed_time(b))


def cpu_line(now: Callable[[], float] = time.perf_counter) -> TimeLine:
    """Readings of the clock: on the CPU a call has ended when it returns."""
    return TimeLine(now, lambda: None, lambda a, b: 1000 * (b - a))


def time_line(bench: Bench) -> TimeLine:
    """The time line of the bench's device."""
    return cuda_line() if bench.cuda else cpu_line(bench.now)


def timed(bench: Bench, calls: Sequence[Call], line: TimeLine | None = None) -> Timing:
    """Time calls in rotation: warm-up, then as many samples as the effort allows.

    Calls are issued without waiting for one another, as in real use; a model whose kernels are
    shorter than their launches shows the launches.
    """
    line, effort = line or time_line(bench), bench.effort
    rotation = itertools.cycle(calls)
    once = _warm(rotation, effort, line)
    number = int(1000 * effort.seconds / max(once, 1e-3))
    marks = []
    for _ in range(min(max(number, effort.least), effort.most)):
        call, start = next(rotation), line.mark()
        call()
        marks.append((start, line.mark()))
    line.wait()
    samples = tuple(line.between(a, b) for a, b in marks)
    return Timing(statistics.median(samples), samples)


def _warm(rotation: Iterator[Call], effort: Effort, line: TimeLine) -> float:
    """Warm-up calls; milliseconds of the last. Long calls are warm after fewer."""
    calls, spent, once = 0, 0.0, 0.0
    while calls < effort.warm_up or spent < effort.settle:
        start = line.mark()
        next(rotation)()
        end = line.mark()
        line.wait()
        once = line.between(start, end)
        calls, spent = calls + 1, spent + once
        if spent > 3000 * effort.seconds:
            break
    return once


def cells(timing: Timing) -> dict[str, Any]:
    """The two cells of a row that hold a timing."""
    return {"milliseconds": timing.milliseconds, "samples": list(timing.samples)}


def rotation_size(bench: Bench, set_bytes: int) -> int:
    """How many sets of inputs are together three times as large as the device's last cache."""
    if not bench.cuda:
        return 2
    cache = torch.cuda.get_device_properties(bench.device).L2_cache_size
    return min(max(math.ceil(3 * cache / max(set_bytes, 1)), 2), MOST_SETS)


@functools.cache
def side_stream(device: torch.device) -> torch.cuda.Stream:
    """The one stream on which all CUDA graphs are captured.

    A library's workspace for a stream is allocated at its first product and stays. Ask for the
    stream before bytes are counted, so that the workspace is nobody's.
    """
    side = torch.cuda.Stream(device)
    with torch.cuda.stream(side):
        operand = torch.ones(16, 16, device=device)
        torch.addmm(operand[0], operand, operand)
    side.synchronize()
    return side


def captured(bench: Bench, call: Call) -> Call:
    """The call's kernels as a CUDA graph: one launch a replay, on the memory of the capture.

    What the call returns is overwritten by each replay. Without CUDA it is the call itself.
    """
    if not bench.cuda:
        return call
    side = side_stream(bench.device)
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(GRAPH_WARM_UP):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=side):
        result = call()

    def replay() -> Any:
        graph.replay()
        return result

    return replay


def highest(bench: Bench, call: Call) -> int:
    """Bytes that the call holds at most, above what was allocated before it."""
    return measure.meter_for(bench.device)(call).peak


def model_bytes(module: torch.nn.Module) -> int:
    """Bytes of a module's parameters and buffers."""
    tensors = itertools.chain(module.parameters(), module.buffers())
    return sum(t.numel() * t.element_size() for t in tensors)


def tidy(bench: Bench) -> None:
    """Give back what no longer has a name."""
    gc.collect()
    if bench.cuda:
        torch.cuda.empty_cache()


def attempt(call: Call) -> tuple[Any, str]:
    """What the call returns and an empty note, or ``None`` and why it failed."""
    try:
        return call(), ""
    except Exception as error:  # a rung that fails is a result
        return None, reason(error)


def reason(error: Exception) -> str:
    """Why something failed, in one line without paths of this machine."""
    if isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error).lower():
        return OUT_OF_MEMORY
    said = re.sub(r"(?:[\w.~-]*/){2,}[\w.~-]*", "…", first_sentence(error)).rstrip(".")
    return f"{type(error).__name__}: {said}"[:200]


@contextmanager
def precision(tf32: bool) -> Iterator[None]:
    """fp32 products in tf32 or in full; cuDNN picks its kernels by trying. Restored afterwards."""
    matmul, cudnn = torch.get_float32_matmul_precision(), torch.backends.cudnn
    convolution, trying = cudnn.allow_tf32, cudnn.benchmark
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    cudnn.allow_tf32, cudnn.benchmark = tf32, True
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        cudnn.allow_tf32, cudnn.benchmark = convolution, trying


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Random numbers from a seed, and the generators as they were afterwards."""
    here = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=here):
        torch.manual_seed(seed)
        yield


def random_inputs(
    unet: UNet2DConditionModel, latent: int | None, batch: int, seed: int
) -> dict[str, Any]:
    """Inputs as :func:`unet_atlas.build.example_inputs`, filled with random values.

    Zeros would hide rounding, and products of zeros can run faster. The values are drawn in fp32,
    so that models of every dtype get the same.
    """
    generator = torch.Generator(unet.device).manual_seed(seed)

    def fill(name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {n: fill(n, v) for n, v in value.items()}
        if not value.is_floating_point():
            return value
        drawn = torch.randn(value.shape, generator=generator, device=value.device)
        if name == "timestep":
            return torch.full_like(value, 500.0)
        return drawn.mul(100).abs().to(value.dtype) if name == "time_ids" else drawn.to(value.dtype)

    return {name: fill(name, v) for name, v in example_inputs(unet, None, latent, batch).items()}
