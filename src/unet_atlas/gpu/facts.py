"""What a record says of the device and its software, as found and never changed."""

from __future__ import annotations

import platform
import shutil
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import torch

LIBRARIES = ("torch", "diffusers", "triton")
CLOCKS = {  # a record's name: nvidia-smi's
    "sm_mhz": "clocks.sm",
    "memory_mhz": "clocks.mem",
    "power_limit_w": "power.limit",
}
PATIENCE = 20.0  # seconds
BUSY = 8192  # side of the products that are computed while the clocks are read
BEFORE = 50  # of them come first: an idle device takes a while to raise its clocks


def device_name(device: torch.device) -> str:
    """The name that the driver gives a CUDA device; the kind of the processor otherwise."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} {device.type.upper()}"


def versions(device: torch.device) -> dict[str, str]:
    """Versions of what the figures depend on; what is not installed is left out."""
    found = {name: _version(name) for name in LIBRARIES}
    if device.type == "cuda":
        found["cuda"] = torch.version.cuda
        found["cudnn"] = str(torch.backends.cudnn.version())
        found["driver"] = "".join(_ask(device, ["driver_version"])[:1])
    return {name: number for name, number in found.items() if number}


def clocks(device: torch.device) -> dict[str, float]:
    """Clocks in MHz while the device works, and its power limit in watts.

    Empty where there is no ``nvidia-smi`` or it does not tell.
    """
    if device.type != "cuda":
        return {}
    operand = torch.randn(BUSY, BUSY, dtype=torch.bfloat16, device=device)

    def work() -> None:
        torch.mm(operand, operand)
        torch.cuda.synchronize(device)

    for _ in range(BEFORE):
        work()
    answers = _ask(device, list(CLOCKS.values()), work)
    return {
        name: float(answer)
        for name, answer in zip(CLOCKS, answers, strict=False)
        if answer.replace(".", "", 1).isdigit()
    }


def _version(name: str) -> str:
    if name == "torch":
        return torch.__version__
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _ask(
    device: torch.device, fields: list[str], meanwhile: Callable[[], object] = lambda: None
) -> list[str]:
    """What nvidia-smi answers for this device, one text a field; empty where it doesn't.

    Args:
        meanwhile: done over and over until it has answered.
    """
    if not shutil.which("nvidia-smi"):
        return []
    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", "")
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    command += [f"--id=GPU-{uuid}"] if uuid else []
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    begin = time.monotonic()
    while process.poll() is None and time.monotonic() - begin < PATIENCE:
        meanwhile()
        time.sleep(0.001)
    if process.poll() is None:
        process.kill()
    answer, _ = process.communicate()
    lines = answer.strip().splitlines() if process.returncode == 0 else []
    return [word.strip() for word in lines[0].split(",")] if lines else []
