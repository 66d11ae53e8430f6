"""Work, bytes and least times by stage: additive, in proportion, and bounded as they should be."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from unet_atlas import cost
from unet_atlas.anatomy import stages
from unet_atlas.build import build_unet
from unet_atlas.gpu import floors, published

LATENT = 16  # small, so that a count takes no time


@pytest.fixture(scope="module")
def work() -> pd.DataFrame:
    return floors.stage_work("sd-1.5", latent=LATENT)


def test_stages_add_up_to_the_pass(work: pd.DataFrame):
    unet = build_unet("sd-1.5", dtype=torch.bfloat16)
    assert list(work.index) == [stage.key for stage in stages(unet)]
    assert work["macs"].sum() == cost.count(unet, latent=LATENT, batch=2).total
    assert work["moved"].sum() == cost.traffic(unet, latent=LATENT, batch=2).total
    assert (work["operations"] > 0).all()


def test_bounds_are_work_over_rate_and_bytes_over_bandwidth():
    frame = pd.DataFrame({"macs": [10**9, 10**9], "moved": [10**6, 10**9]}, index=["a", "b"])
    found = floors.bounds(frame, 2e12, 1e12)
    assert list(found["arithmetic"]) == [1.0, 1.0]
    assert list(found["memory"]) == [0.001, 1.0 - 0.0]
    assert list(found["floor"]) == [1.0, 1.0]
    assert list(found["intensity"]) == [2000, 2]
    assert list(floors.bounds(frame, 2e13, 1e12)["floor"]) == [0.1, 1.0]


def test_the_table_ends_in_the_whole_pass_whose_floor_is_the_stages(work: pd.DataFrame):
    table = floors.bounds_table("SD 1.5", work, published.cards()["H100 SXM"])
    last = table.data.iloc[-1]
    assert last["stage"] == "all stages"
    assert last["macs"] == work["macs"].sum()
    assert last["floor"] == pytest.approx(table.data["floor"][:-1].sum())
    assert last["floor"] > max(last["arithmetic"], last["memory"])
    assert "H100 SXM" in table.caption


def test_over_batch_is_what_a_count_finds(work: pd.DataFrame):
    unet = build_unet("sd-1.5", dtype=torch.bfloat16)
    steps = floors.over_batch(work, cost.weight_bytes(unet), [1, 3])
    assert steps.loc[1, "moved"] == work["moved"].sum()
    counted = cost.traffic(unet, latent=LATENT, batch=6).total
    assert steps.loc[3, "moved"] == pytest.approx(counted, rel=1e-4)
    assert steps.loc[3, "macs"] == cost.count(unet, latent=LATENT, batch=6).total
