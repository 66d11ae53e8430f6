"""The ceilings: rates follow from sizes and times."""

from __future__ import annotations

import pytest
import torch
from gpu import tiny

from unet_atlas.gpu import ceilings, reading
from unet_atlas.gpu.bench import Timing


def rows(bench=None) -> list[dict]:
    return [dict(row) for job in ceilings.jobs(bench or tiny.bench()) for row in job.run()]


def test_every_dtype_and_the_copy():
    found = rows()
    assert [r["dtype"] for r in found] == ["bf16", "fp16", "tf32", "fp32", "fp8", "bytes"]
    assert [r["what"] for r in found] == ["product"] * 5 + ["copy"]
    assert not [reading.fault_of_row("ceilings", row) for row in found if row["rate"] <= 0]


def test_rates(monkeypatch):
    monkeypatch.setattr(ceilings, "timed", lambda bench, calls: Timing(2.0, (2.0, 2.0)))
    monkeypatch.setattr(ceilings, "SIDE_CPU", 10)
    monkeypatch.setattr(ceilings, "COPY_CPU", 1000)
    found = {r["dtype"]: r["rate"] for r in rows()}
    assert found["bf16"] == 2 * 10**3 / 2e-3
    assert found["bytes"] == 2 * 1000 / 2e-3


def test_short_products_are_timed_more_often(monkeypatch):
    seen = []
    monkeypatch.setattr(
        ceilings, "timed", lambda bench, calls: seen.append(bench.effort) or Timing(1.0, (1.0,))
    )
    rows()
    assert {effort.most for effort in seen} == {300}
    assert {effort.least for effort in seen} == {tiny.EFFORT.least}


def test_precision_by_dtype(monkeypatch):
    seen = {}

    def timed(bench, calls):
        calls[0]()
        seen[len(seen)] = torch.get_float32_matmul_precision()
        return Timing(1.0, (1.0,))

    monkeypatch.setattr(ceilings, "timed", timed)
    rows()
    assert list(seen.values())[2:4] == ["high", "highest"]


@pytest.mark.parametrize(("capability", "has"), [((8, 6), False), ((9, 0), True)])
def test_fp8_by_compute_capability(monkeypatch, capability: tuple[int, int], has: bool):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    names = [job.name for job in ceilings.jobs(tiny.bench(device=torch.device("cuda")))]
    assert ("product in fp8" in names) == has
