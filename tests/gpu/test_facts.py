"""What a record says of the device: asked of the driver, empty where nobody answers."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace

import pytest
import torch

from unet_atlas.gpu import facts

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


class Process:
    """A process that says something after three looks at it."""

    killed = False

    def __init__(self, says: str, code: int = 0, looks: float = 3):
        self.says, self.returncode, self.looks = says, code, looks

    def __call__(self, command: list[str], **_: object) -> Process:
        self.command = command
        return self

    def poll(self) -> int | None:
        self.looks -= 1
        return None if self.looks > 0 and not self.killed else self.returncode

    def kill(self) -> None:
        self.killed, self.returncode = True, -9

    def communicate(self) -> tuple[str, None]:
        return self.says, None


@pytest.fixture
def driver(monkeypatch):
    """Puts a process in the place of nvidia-smi, and returns the products computed meanwhile."""
    properties = SimpleNamespace(uuid="12-34")
    products = []
    monkeypatch.setattr(facts.shutil, "which", lambda name: name)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch, "randn", lambda *size, **_: torch.ones(1, 1))
    monkeypatch.setattr(torch, "mm", lambda a, b: products.append(1))

    def put(process: Process) -> list[int]:
        monkeypatch.setattr(subprocess, "Popen", process)
        return products

    return put


def test_the_cpu_has_no_clocks_and_versions_without_a_driver():
    assert facts.clocks(CPU) == {}
    assert set(facts.versions(CPU)) >= {"torch", "diffusers"}
    assert "driver" not in facts.versions(CPU)
    assert facts.device_name(CPU).endswith("CPU")


def test_clocks_are_read_while_the_device_works(driver):
    process = Process("1980, 2619, 700.00\n")
    products = driver(process)
    assert facts.clocks(CUDA) == {"sm_mhz": 1980, "memory_mhz": 2619, "power_limit_w": 700}
    assert len(products) == facts.BEFORE + 2
    assert process.command[1:] == [
        "--query-gpu=clocks.sm,clocks.mem,power.limit",
        "--format=csv,noheader,nounits",
        "--id=GPU-12-34",
    ]


def test_the_clocks_have_risen_before_they_are_asked_for(driver, monkeypatch):
    products, asked = driver(Process("")), []
    monkeypatch.setattr(facts, "_ask", lambda *_: asked.append(len(products)) or [])
    facts.clocks(CUDA)
    assert asked == [facts.BEFORE]
    assert facts.BEFORE >= 50


def test_what_the_driver_does_not_tell_is_left_out(driver):
    driver(Process("1980, [N/A], [Not Supported]\n"))
    assert facts.clocks(CUDA) == {"sm_mhz": 1980}
    driver(Process("No devices were found\n", code=6))
    assert facts.clocks(CUDA) == {}
    driver(Process("", code=0))
    assert facts.clocks(CUDA) == {}


def test_a_driver_that_does_not_answer_is_not_waited_for(driver, monkeypatch):
    monkeypatch.setattr(facts, "PATIENCE", 0.01)
    process = Process("1, 2, 3", looks=float("inf"))
    driver(process)
    assert facts.clocks(CUDA) == {}
    assert process.killed


def test_without_nvidia_smi(driver, monkeypatch):
    driver(Process("1, 2, 3"))
    monkeypatch.setattr(facts.shutil, "which", lambda name: None)
    assert facts.clocks(CUDA) == {}


def test_versions_and_name_with_cuda(driver, monkeypatch):
    driver(Process("580.159.04\n"))
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91002)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Test GPU")
    monkeypatch.setattr(facts, "LIBRARIES", ("torch", "no-such-library"))
    assert facts.versions(CUDA) == {
        "torch": torch.__version__,
        "cuda": "13.0",
        "cudnn": "91002",
        "driver": "580.159.04",
    }
    assert facts.device_name(CUDA) == "Test GPU"
