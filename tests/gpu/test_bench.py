"""Timing: the order of calls, the number of samples, what is asked of CUDA and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
from gpu import tiny

from unet_atlas.build import from_config
from unet_atlas.config import check
from unet_atlas.gpu import bench as benches
from unet_atlas.gpu.bench import Effort, TimeLine


class Device:
    """A time line whose calls take as long as they say."""

    def __init__(self):
        self.now, self.waits, self.calls = 0.0, 0, []

    def line(self) -> TimeLine:
        return TimeLine(lambda: self.now, self.wait, lambda a, b: b - a)

    def wait(self) -> None:
        self.waits += 1

    def call(self, name: str, *milliseconds: float):
        times = iter(milliseconds)

        def run() -> None:
            self.calls.append(name)
            self.now += next(times, milliseconds[-1])

        return run


def timed(device: Device, calls: list, **effort: float) -> benches.Timing:
    """Timed with this effort, and 1 s, 2 to 5 samples and 1 warm-up call otherwise."""
    given = {"seconds": 1.0, "least": 2, "most": 5, "warm_up": 1} | effort
    return benches.timed(tiny.bench(effort=Effort(**given)), calls, device.line())


def test_calls_rotate_and_the_median_stands_against_an_outlier():
    device = Device()
    calls = [device.call("a", 10), device.call("b", 500, 10), device.call("c", 12)]
    found = timed(device, calls)
    assert device.calls == list("abcabc")  # one of warm-up, then five samples
    assert found.samples == (500, 12, 10, 10, 12)
    assert found.milliseconds == 12


def test_warm_up_is_no_sample():
    device = Device()
    found = timed(device, [device.call("a", 900, 800, 10)], warm_up=2)
    assert set(found.samples) == {10}


@pytest.mark.parametrize(("each", "number"), [(1, 5), (300, 3), (5000, 2)])
def test_samples_follow_the_time_that_there_is(each: float, number: int):
    assert len(timed(Device(), [Device().call("a", 1)]).samples) == 5
    device = Device()
    assert len(timed(device, [device.call("a", each)]).samples) == number


def test_long_calls_are_warm_after_fewer():
    device = Device()
    timed(device, [device.call("a", 5000)], warm_up=4)
    assert len(device.calls) == 1 + 2


def test_warm_up_goes_on_until_the_clocks_have_risen():
    device = Device()
    found = timed(device, [device.call("a", *[50] * 4, 10)], settle=200)
    assert set(found.samples) == {10}
    few = Device()
    timed(few, [few.call("a", 50)], warm_up=6, settle=200)
    assert len(few.calls) == 6 + 5


def test_long_calls_settle_after_fewer():
    device = Device()
    timed(device, [device.call("a", 5000)], settle=100_000)
    assert len(device.calls) == 1 + 2


def test_real_sessions_let_the_clocks_rise():
    assert benches.FULL.settle > benches.QUICK.settle > 0
    assert 3000 * benches.QUICK.seconds > benches.QUICK.settle  # else it would never be reached


def test_the_device_is_waited_for_before_samples_are_read():
    device = Device()
    read = []
    line = TimeLine(lambda: device.now, device.wait, lambda a, b: read.append(device.waits) or 1.0)
    benches.timed(tiny.bench(), [device.call("a", 1)], line)
    assert read[-1] == device.waits == 2  # after the warm-up, and after all samples


def test_the_cpus_time_line_counts_milliseconds():
    line = benches.cpu_line(tiny.Clock(0.25))
    start = line.mark()
    line.wait()
    assert line.between(start, line.mark()) == 250


def test_cudas_time_line_records_events_and_waits_for_the_device(monkeypatch):
    said = []

    class Event:
        def __init__(self, enable_timing: bool):
            assert enable_timing

        def record(self) -> None:
            said.append("record")

        def elapsed_time(self, other: Event) -> float:
            return 1.5

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda *_: said.append("wait"))
    line = benches.time_line(tiny.bench(device=torch.device("cuda")))
    a, b = line.mark(), line.mark()
    line.wait()
    assert said == ["record", "record", "wait"]
    assert line.between(a, b) == 1.5


def test_a_rotation_is_larger_than_the_cache(monkeypatch):
    cache = SimpleNamespace(L2_cache_size=50 * 2**20)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: cache)
    cuda = tiny.bench(device=torch.device("cuda"))
    sizes = [benches.rotation_size(cuda, n * 2**20) for n in (1, 10, 60, 1000)]
    assert sizes == [benches.MOST_SETS, 15, 3, 2]
    assert benches.rotation_size(tiny.bench(), 1) == 2


@pytest.fixture
def no_side_stream() -> Iterator[None]:
    """Without the stream of this process, which a test replaces."""
    benches.side_stream.cache_clear()
    yield
    benches.side_stream.cache_clear()


def test_graphs_are_captured_after_a_warm_up_on_one_side_stream(monkeypatch, no_side_stream):
    said, streams = [], []

    class Stream:
        def __init__(self, device: object = None):
            said.extend(["new"] if device else [])

        def wait_stream(self, other: object) -> None:
            said.append("wait")

        def synchronize(self) -> None:
            said.append("synchronize")

    class Using:
        def __init__(self, name: str):
            self.name = name

        def __enter__(self):
            said.append(self.name)

        def __exit__(self, *error):
            said.append(f"end of {self.name}")

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: Using("side"))
    replay = SimpleNamespace(replay=lambda: said.append("replay"))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: replay)
    monkeypatch.setattr(
        torch.cuda, "graph", lambda graph, stream: streams.append(stream) or Using("capture")
    )
    monkeypatch.setattr(torch, "ones", lambda *size, device: torch.zeros(size))
    monkeypatch.setattr(torch, "addmm", lambda *given: said.append("product"))
    cuda = tiny.bench(device=torch.device("cuda"))
    call = benches.captured(cuda, lambda: said.append("call") or 7)
    capture = [
        *("wait", "side", "call", "call", "call", "end of side", "wait"),
        *("capture", "call", "end of capture"),
    ]
    assert said == ["new", "side", "product", "end of side", "synchronize", *capture]
    assert call() == 7
    assert said[-1] == "replay"
    said.clear()
    benches.captured(cuda, lambda: said.append("call"))
    assert said == capture
    assert len(streams) == 2
    assert len(set(streams)) == 1


def test_without_cuda_a_call_is_its_own_graph():
    call = object()
    assert benches.captured(tiny.bench(), call) is call


def test_bytes_held_at_most_and_by_a_model():
    peak = benches.highest(tiny.bench(), lambda: torch.ones(1000) + 1)
    assert 4000 <= peak <= 8200
    module = torch.nn.BatchNorm1d(4)  # 2 × 4 weights; 2 × 4 numbers and a count as buffers
    assert benches.model_bytes(module) == 16 * 4 + 8


def test_tidying_gives_back_what_cuda_holds(monkeypatch):
    emptied = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(1))
    benches.tidy(tiny.bench())
    assert not emptied
    benches.tidy(tiny.bench(device=torch.device("cuda")))
    assert emptied


def fail(error: Exception):
    raise error


@pytest.mark.parametrize(
    ("error", "note"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"), "out of memory"),
        (RuntimeError("inductor: CUDA out of memory"), "out of memory"),
        (ValueError("the head is wide.\ntrace"), "ValueError: the head is wide"),
        (OSError("no /home/me/some/file.py here"), "OSError: no … here"),
    ],
)
def test_a_failure_becomes_a_note_without_paths(error: Exception, note: str):
    assert benches.attempt(lambda: fail(error)) == (None, note)


def test_a_success_has_no_note_and_ctrl_c_is_no_failure():
    assert benches.attempt(lambda: 3) == (3, "")
    with pytest.raises(KeyboardInterrupt):
        benches.attempt(lambda: fail(KeyboardInterrupt()))


def flags() -> tuple:
    cudnn = torch.backends.cudnn
    return torch.get_float32_matmul_precision(), cudnn.allow_tf32, cudnn.benchmark


@pytest.mark.parametrize(("tf32", "matmul"), [(True, "high"), (False, "highest")])
def test_precision_is_set_and_restored_also_after_an_error(tf32: bool, matmul: str):
    before, inside = flags(), []

    def use() -> None:
        with benches.precision(tf32):
            inside.append(flags())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use()
    assert inside == [(matmul, tf32, True)]
    assert flags() == before


def test_a_seed_leaves_the_generator_as_it_was():
    with benches.seeded(3):
        first = torch.rand(2)
    before = torch.get_rng_state()
    with benches.seeded(3):
        assert torch.equal(torch.rand(2), first)
    assert torch.equal(torch.get_rng_state(), before)


def test_random_inputs_are_the_same_in_every_dtype_and_never_zero():
    config = check(tiny.UNET | tiny.SIZES, "tiny")
    full, half = (from_config(config, "t", "cpu", d) for d in (torch.float32, torch.bfloat16))
    a, b = (benches.random_inputs(unet, None, 2, seed=5) for unet in (full, half))
    assert a["sample"].std() > 0.5
    assert torch.equal(a["sample"].bfloat16(), b["sample"])
    assert (a["added_cond_kwargs"]["time_ids"] > 0).all()
    assert a["timestep"].tolist() == [500, 500]
    other = benches.random_inputs(full, None, 2, seed=6)
    assert not torch.equal(a["encoder_hidden_states"], other["encoder_hidden_states"])


def test_whole_numbers_among_the_inputs_stay():
    config = check(tiny.UNET | {"num_class_embeds": 4}, "tiny")
    inputs = benches.random_inputs(from_config(config, "t", "cpu"), 8, 2, seed=0)
    assert inputs["class_labels"].dtype == torch.long


def test_the_time_that_is_left():
    bench = tiny.bench(now=lambda: 4.0, until=10.0)
    assert bench.left == 6.0
    assert tiny.bench().left == float("inf")
