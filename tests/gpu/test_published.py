"""Data sheets and published speeds: complete, and worth what the book says."""

from __future__ import annotations

import pytest

from unet_atlas.gpu import published


def test_every_card_has_what_the_floors_need():
    for name, card in published.cards().items():
        assert card.name == name
        assert {"fp32", "tf32", "bf16"} <= set(card.rates)
        assert all(isinstance(rate, float) and 1e13 < rate < 1e16 for rate in card.rates.values())
        assert 1e12 < card.bandwidth < 1e13
        assert card.source.startswith("https://")


def test_a_card_is_known_by_its_exact_name():
    assert published.card_of("NVIDIA H100 80GB HBM3").name == "H100 SXM"
    assert published.card_of("NVIDIA H100 PCIe") is None


def test_the_ridge_is_rate_over_bandwidth():
    assert published.cards()["H100 SXM"].ridge() == pytest.approx(989 / 3.35)


def test_a_system_takes_what_it_does_not_say_from_the_one_it_is_like():
    systems = {s.name: s for s in published.systems()}
    last = systems["diffusion-fast: + int8"]
    assert (last.seconds, last.dtype, last.steps, last.card) == (2.43, "int8", 30, "A100 SXM")
    assert len(systems) == len(published.systems()) == 12
    assert {s.card for s in systems.values()} <= set(published.cards())


@pytest.mark.parametrize(
    ("name", "teraflops", "share"),
    [
        ("diffusion-fast: fp32", 57, 18),
        ("diffusion-fast: + int8", 171, 55),
        ("OneDiff, nexfort", 184, 59),
        ("stable-fast, SD 1.5", 168, 17),
        ("stable-fast, SDXL", 292, 30),
        ("TensorRT, UNet only", 305, 31),
    ],
)
def test_what_published_speeds_amount_to(name: str, teraflops: int, share: int):
    row = published.systems_frame().set_index("system").loc[name]
    assert round(row["FLOP/s"] / 1e12) == teraflops
    assert round(100 * row["share"]) == share


def test_the_table_says_what_was_timed():
    shown = published.systems_table().shown.set_index("system")
    assert shown.loc["TensorRT, UNet only", "timed"] == "UNet"
    assert shown.loc["MLPerf 4.1, pass of 64", "timed"] == "whole picture"
    assert shown.loc["stable-fast, SDXL", "guided it/s"] == "21.60"
    assert shown.loc["stable-fast, SDXL", "card"] == "H100 SXM, fp16"
