"""What PyTorch's caching allocator makes of a list of tensors on a CUDA device.

The rules are those of ``c10/cuda/CUDACachingAllocator.cpp`` with its default settings, for tensors
that are allocated one after the other and stay. Book: *On a real GPU*.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

GRANULE = 512  # bytes: every request is rounded up to a multiple
SMALL = 2**20  # up to here, requests share small segments
SMALL_SEGMENT, SEGMENT, STEP = 2 * 2**20, 20 * 2**20, 2 * 2**20
OWN_SEGMENT = 10 * 2**20  # from here on, a request without room gets a segment for itself


@dataclass(frozen=True)
class Held:
    """Bytes as ``torch.cuda.memory_allocated`` and ``torch.cuda.memory_reserved`` count them."""

    allocated: int
    reserved: int


def place(sizes: Iterable[int]) -> Held:
    """Bytes allocated and reserved for tensors of these sizes, in this order."""
    allocated = reserved = 0
    free: dict[bool, list[int]] = {True: [], False: []}  # what is left of segments, by pool
    for size in sizes:
        if size == 0:
            continue
        wanted = -(-size // GRANULE) * GRANULE
        small = wanted <= SMALL
        pool = free[small]
        fit = bisect_left(pool, wanted)  # the smallest piece that is large enough
        if fit < len(pool):
            piece = pool.pop(fit)
        else:
            piece = _segment(wanted)
            reserved += piece
        rest = piece - wanted
        if rest >= GRANULE if small else rest > SMALL:
            insort(pool, rest)
            piece = wanted
        allocated += piece  # a rest that is too small to be used stays with its tensor
    return Held(allocated, reserved)


def weights(unet: UNet2DConditionModel, width: int) -> Held:
    """The same for the weights of a UNet, at ``width`` bytes a number."""
    return place(width * p.numel() for p in unet.parameters())


def _segment(wanted: int) -> int:
    """Bytes that are asked of the driver for a request that fits nowhere."""
    if wanted <= SMALL:
        return SMALL_SEGMENT
    return SEGMENT if wanted < OWN_SEGMENT else -(-wanted // STEP) * STEP
