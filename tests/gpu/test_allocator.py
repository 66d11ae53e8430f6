"""The caching allocator's rules, on cases that can be done by hand."""

from __future__ import annotations

import pytest
import torch

from unet_atlas.build import build_unet
from unet_atlas.gpu.allocator import Held, place, weights

MIB = 2**20


@pytest.mark.parametrize(
    ("sizes", "allocated", "reserved"),
    [
        ([], 0, 0),
        ([0], 0, 0),
        ([1], 512, 2 * MIB),
        ([513, 512], 1024 + 512, 2 * MIB),
        ([MIB, MIB], 2 * MIB, 2 * MIB),  # two fill a small segment
        ([MIB, MIB, 4], 2 * MIB + 512, 4 * MIB),
        ([2 * MIB] * 10, 20 * MIB, 20 * MIB),  # ten fill a large one
        ([2 * MIB] * 11, 22 * MIB, 40 * MIB),
        ([10 * MIB], 10 * MIB, 10 * MIB),  # a segment of its own
        ([25 * MIB], 26 * MIB, 26 * MIB),  # the last MiB is of no use to others
        ([24 * MIB + 512], 24 * MIB + 512, 26 * MIB),  # more than a MiB is
        ([24 * MIB + 512, 1 * MIB + 512], 24 * MIB + 512 + 2 * MIB - 512, 26 * MIB),
    ],
)
def test_requests_are_rounded_pooled_and_split(sizes: list[int], allocated: int, reserved: int):
    assert place(sizes) == Held(allocated, reserved)


def test_the_smallest_piece_that_fits_is_taken():
    # what is left of 24 MiB + 512 B (almost 2 MiB) is taken before what is left of 2 MiB (18 MiB)
    sizes = [24 * MIB + 512, 2 * MIB, MIB + 512]
    assert place(sizes).reserved == 46 * MIB
    assert place([*sizes, 18 * MIB]).reserved == 46 * MIB  # so that these 18 MiB are still whole


def test_a_unets_weights_take_little_more_than_their_sum():
    unet = build_unet("sd-1.5")
    held = weights(unet, 2)
    assert 2 * 859_520_964 < held.allocated < 1.02 * 2 * 859_520_964
    assert held.allocated <= held.reserved < 1.1 * held.allocated


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_agrees():
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    sizes = [25 * MIB, 3 * MIB, 1000, 2 * MIB, 11 * MIB]
    kept = [torch.empty(size, dtype=torch.uint8, device="cuda") for size in sizes]
    assert torch.cuda.memory_allocated() - before == place(sizes).allocated
    del kept
