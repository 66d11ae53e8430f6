"""The arms: matched as the protocol says, and what the exact search finds."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from diffusers import UNet2DConditionModel

from unet_atlas import cost
from unet_atlas.errors import AtlasError
from unet_atlas.mini.members import TOKENS
from unet_atlas.placement import arms
from unet_atlas.placement.arms import TOLERANCE, Scale, equal_macs, even, matches, placements, size
from unet_atlas.placement.protocol import CPU, PROTOCOLS, words

SMALL = Scale((8, 16, 24), depth=1, step=4, heads=2)


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_arms_agree_with_the_even_arm_as_they_should(protocol):
    base = protocol.size(protocol.arms[0])
    for arm in protocol.matched:
        assert all(abs(off) <= TOLERANCE for off in protocol.size(arm).off(base)), arm
    for arm in protocol.same_macs:
        params, macs = protocol.size(arm).off(base)
        assert abs(macs) <= TOLERANCE
        assert params > 0.1


@pytest.mark.parametrize("arm", CPU.arms, ids=lambda arm: arm.name)
def test_the_closed_formula_agrees_with_the_live_unet(arm):
    with torch.device("meta"):
        unet = UNet2DConditionModel(**arms.unet_config(CPU.scale, arm.depths, arm.channels))
    counted = cost.count(unet, tokens=TOKENS)
    assert (counted.params, counted.total) == (CPU.size(arm).params, CPU.size(arm).macs)


def test_the_search_finds_what_trying_everything_finds():
    depths, base = placements("low", 3), size(SMALL, (1, 1, 1), SMALL.channels)
    everything = set()
    for depth in depths:
        for channels in product(range(4, 17, 4), range(4, 33, 4), range(8, 49, 4)):
            if channels[0] <= channels[1] <= channels[2]:
                off = size(SMALL, depth, channels).off(base)
                if all(abs(part) <= 0.1 for part in off):
                    everything.add((depth, channels))
    found = matches(SMALL, depths, tolerance=0.1)
    assert {match[1:] for match in found} == everything
    assert everything
    assert found == sorted(found)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_the_arms_are_the_nearest_matches(protocol):
    for arm in protocol.matched:
        depths = placements(arm.name, 6 if arm.name == "middle" else 4)
        assert matches(protocol.scale, depths)[0][1:] == (arm.depths, arm.channels)
    for arm in protocol.same_macs:
        found = equal_macs(protocol.scale, placements("low", 6))
        assert found[0][1:] == (arm.depths, arm.channels)


def test_at_fixed_channels_lower_blocks_have_fewer_macs_for_their_parameters():
    """Why widths must give way: no placement can match both at the even arm's channels."""
    shares = []
    for depths in ((2, 1, 0), (0, 2, 0), (0, 1, 2)):
        found, none = (size(SMALL, d, SMALL.channels) for d in (depths, (0, 0, 0)))
        shares.append((found.macs - none.macs) / (found.params - none.params))
    assert shares == sorted(shares, reverse=True)


def test_an_arm_is_asked_for_by_its_name():
    assert CPU.arm("even") == even(CPU.scale)
    with pytest.raises(AtlasError, match="'left' is no arm of the study 'cpu'; take one of even"):
        CPU.arm("left")


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_the_protocol_says_what_the_runs_use(protocol):
    text = words(protocol)
    rate = f"learning rate {protocol.rate:g}" if protocol.rate else "one learning rate"
    for part in (f"{protocol.steps:,} steps of {protocol.batch}", rate, "Holm"):
        assert part in text
    for arm in protocol.arms:
        assert f"| {arm.name} | {list(arm.depths)} | {list(arm.channels)} |" in text
