"""Record what public MAC counters report on one forward pass, beside the true count.

The counters are no dependencies of the book: install them where you run this script, with
``pip install -r scripts/record_counters.requirements.txt``. Every measurement runs in a process of
its own; a counter that fails is recorded with its reason. SD 1.5 on the CPU needs 8 GB of memory.
Book: *Counting correctly*.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unet_atlas import cost, records
from unet_atlas.build import build_unet, example_inputs

TIMEOUT = 1800  # seconds for one measurement
MODEL, LATENT = "sd-1.5", 64
LIBRARIES = ("torch", "diffusers", "transformers")
OLD_TORCHPROFILE = "0.0.4"
ROW = ("tool", "version", "device", "model", "latent", "dtype", "macs", "true_macs", "ratio",
       "params", "error", "seconds", "peak_memory_mib")  # fmt: skip
Count = Callable[[nn.Module, tuple[Any, ...]], tuple[int, int | None]]  # → MACs, parameters


class Positional(nn.Module):
    """A UNet that takes its inputs in order and returns a tensor: what tracers understand."""

    def __init__(self, unet: nn.Module, names: tuple[str, ...]):
        super().__init__()
        self.unet, self.names = unet, names

    def forward(self, *inputs: Any) -> torch.Tensor:
        """One forward pass."""
        return self.unet(**dict(zip(self.names, inputs, strict=True)), return_dict=False)[0]


def with_flop_counter_mode(model: nn.Module, inputs: tuple) -> tuple[int, int | None]:
    """PyTorch's own counter."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(*inputs)
    return counter.get_total_flops() // 2, None


def with_math_backend(model: nn.Module, inputs: tuple) -> tuple[int, int | None]:
    """PyTorch's own counter, with attention spelt out as two products."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel(SDPBackend.MATH):
        return with_flop_counter_mode(model, inputs)


def with_torchinfo(model: nn.Module, inputs: tuple) -> tuple[int, int | None]:
    """torchinfo's mult-adds."""
    import torchinfo

    device = inputs[0].device.type
    result = torchinfo.summary(model, input_data=inputs, device=device, verbose=0)
    return result.total_mult_adds, result.total_params


def with_fvcore(model: nn.Module, inputs: tuple) -> tuple[int, int | None]:
    """fvcore; what it calls a flop is one fused multiply-add."""
    from fvcore.nn import FlopCountAnalysis

    analysis = FlopCountAnalysis(model, inputs).unsupported_ops_warnings(False)
    return analysis.uncalled_modules_warnings(False).total(), None


def with_ptflops(backend: str) -> Count:
    """ptflops by one of its two backends."""

    def count(model: nn.Module, inputs: tuple) -> tuple[int, int | None]:
        from ptflops import get_model_complexity_info

        inner, names = model.unet, model.names
        return get_model_complexity_info(
            inner,
            (1,),
            input_constructor=lambda _: dict(zip(names, inputs, strict=True)),
            as_strings=False,
            print_per_layer_stat=False,
            backend=backend,
        )

    return count


def with_thop(model: nn.Module, inputs: tuple) -> tuple[int, int | None]:
    """thop."""
    from thop import profile

    macs, params = profile(model, inputs=inputs, verbose=False)
    return int(macs), int(params)


def with_calflops(model: nn.Module, inputs: tuple) -> tuple[int, int | None]:
    """calflops."""
    from calflops import calculate_flops

    _, macs, params = calculate_flops(
        model=model.unet,
        kwargs=dict(zip(model.names, inputs, strict=True)),
        print_results=False,
        print_detailed=False,
        output_as_string=False,
    )
    return int(macs), int(params)


def with_torchprofile(model: nn.Module, inputs: tuple) -> tuple[int, int | None]:
    """torchprofile."""
    from torchprofile import profile_macs

    with torch.no_grad():
        return int(profile_macs(model, inputs)), None


COUNTERS: dict[str, tuple[str, Count]] = {  # what is shown: (distribution, function)
    "FlopCounterMode": ("torch", with_flop_counter_mode),
    "FlopCounterMode, MATH backend": ("torch", with_math_backend),
    "torchinfo": ("torchinfo", with_torchinfo),
    "fvcore": ("fvcore", with_fvcore),
    "ptflops, pytorch": ("ptflops", with_ptflops("pytorch")),
    "ptflops, aten": ("ptflops", with_ptflops("aten")),
    "calflops": ("calflops", with_calflops),
    "thop": ("thop", with_thop),
    "torchprofile": ("torchprofile", with_torchprofile),
}


def measure(tool: str, device: str, model: str, latent: int, dtype: str) -> dict[str, Any]:
    """What this counter reports for one forward pass here."""
    unet = build_unet(model, device, getattr(torch, dtype))
    inputs = example_inputs(unet, latent=latent)
    wrapped = Positional(unet, tuple(inputs)).eval()
    start = time.perf_counter()
    try:
        macs, params = COUNTERS[tool][1](wrapped, tuple(inputs.values()))
        error = None if macs else "counts nothing"
    except Exception as failure:  # whatever a counter throws is its result
        macs, params, error = None, None, reason(failure)
    return {
        "macs": macs or None,
        "params": params,
        "error": error,
        "seconds": round(time.perf_counter() - start, 1),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def reason(failure: Exception) -> str:
    """Kind and first line of an error, without paths."""
    lines = [line for line in str(failure).strip().splitlines() if line.strip()] or [""]
    text = f"{type(failure).__name__}: {lines[0].strip()[:160]}"
    return type(failure).__name__ if "/" in text else text


def isolated(job: dict[str, Any], old: Path | None) -> dict[str, Any]:
    """One measurement in a process of its own, as a row of the record."""
    paths = [str(old)] if old else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*paths, *sys.path[1:]])}
    command = [sys.executable, __file__, "--job", json.dumps(job)]
    try:
        run = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=TIMEOUT
        )
        result = json.loads(run.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        result = {"error": f"no answer in {TIMEOUT} s"}
    except (IndexError, ValueError):
        result = {"error": f"the process ended with {run.returncode}"}
    number = OLD_TORCHPROFILE if old else installed(COUNTERS[job["tool"]][0])
    true = cost.count(build_unet(job["model"]), latent=job["latent"]).total
    made = row(job, number, result, true)
    print(made, flush=True)
    return made


def row(
    job: dict[str, Any], version: str | None, result: dict[str, Any], true: int
) -> dict[str, Any]:
    """One row of the record: the fields of ``ROW``, in that order; ``None`` where not measured."""
    macs = result.get("macs")
    known = {
        **job,
        **result,
        "version": (version or "not installed").partition("+")[0],
        "true_macs": true,
        "ratio": round(macs / true, 6) if macs else None,
    }
    return {field: known.get(field) for field in ROW}


def installed(name: str) -> str | None:
    """The version of a distribution, or ``None``."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def jobs(old: Path | None) -> list[tuple[dict[str, Any], Path | None]]:
    """What is measured: every counter on meta and on the CPU, and one published figure."""
    base = {"model": MODEL, "latent": LATENT, "dtype": "float32"}
    both = [{"tool": t, "device": d, **base} for t in COUNTERS for d in ("meta", "cpu")]
    plan: list[tuple[dict[str, Any], Path | None]] = [(job, None) for job in both]
    if old:
        job = {"tool": "torchprofile", "device": "cpu", **base}
        large = {**job, "model": "sdxl-base-1.0", "latent": 128, "dtype": "bfloat16"}
        plan += [({**job, "device": "meta"}, old), (job, old), (large, old)]
    return plan


def main() -> None:
    """Measure everything and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("records"), help="folder of the record")
    parser.add_argument("--old", type=Path, help=f"folder with torchprofile {OLD_TORCHPROFILE}")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        print(json.dumps(measure(**json.loads(arguments.job))))
        return
    old = arguments.old.resolve() if arguments.old else None
    start, date = time.perf_counter(), datetime.now(UTC).date().isoformat()
    rows = [isolated(job, folder) for job, folder in jobs(old)]
    kind = platform.machine().replace("_", "-")
    known = {name: installed(name) for name in LIBRARIES}
    record = records.Record(
        experiment="counters",
        device=f"{kind} CPU with {os.cpu_count()} cores",
        dtype="float32",
        versions={"python": platform.python_version(), **{k: v for k, v in known.items() if v}},
        date=date,
        seconds=round(time.perf_counter() - start, 1),
        rows=tuple(rows),
    )
    arguments.output.mkdir(exist_ok=True)
    print(records.save(record, arguments.output))


if __name__ == "__main__":
    main()
