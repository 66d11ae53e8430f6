"""The one place that decides devices and dtypes."""

from __future__ import annotations

import pytest
import torch

from unet_atlas import device
from unet_atlas.errors import AtlasError


def test_named_devices() -> None:
    assert device.parse_device("meta").type == "meta"
    assert device.parse_device("cpu").type == "cpu"
    assert device.parse_device("best") == device.best_device()


@pytest.mark.parametrize("name", ["gpu", "cuda:99", ""])
def test_devices_that_are_not_here(name: str) -> None:
    with pytest.raises(AtlasError, match="device"):
        device.parse_device(name)


def test_best_device_prefers_cuda_then_mps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device.best_device().type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert device.best_device().type == "mps"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert device.best_device().type == "cpu"
    with pytest.raises(AtlasError, match="mps"):
        device.parse_device("mps")


def test_dtypes() -> None:
    assert device.parse_dtype("bf16") is torch.bfloat16
    assert device.default_dtype("cuda") is torch.bfloat16
    assert device.default_dtype("cpu") is torch.float32
    with pytest.raises(AtlasError, match="fp8"):
        device.parse_dtype("fp8")
