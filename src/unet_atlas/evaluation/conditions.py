"""What scoring asks of a GPU: convolutions in whole float32, and one sentence where memory ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from unet_atlas.errors import AtlasError
from unet_atlas.sampling.pictures import short_of_memory

NO_ROOM = (
    "Not enough memory on the GPU while scoring; stop what else uses it, the same command goes on."
)


@contextmanager
def scoring() -> Iterator[None]:
    """Features to float32's last bits; cuDNN would round what it multiplies to TF32's 11 bits.

    Raises:
        AtlasError: too little memory.
    """
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    except RuntimeError as error:
        if not short_of_memory(error):
            raise
        raise AtlasError(NO_ROOM) from None
    finally:
        torch.backends.cudnn.allow_tf32 = before
