"""What scoring asks of a GPU, as far as a CPU can show it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import launching
import numpy as np
import pytest
import torch
from launching import in_threads

from unet_atlas.errors import AtlasError
from unet_atlas.evaluation import parts
from unet_atlas.evaluation.conditions import scoring
from unet_atlas.evaluation.team import Together
from unet_atlas.images import open_folder
from unet_atlas.reference import Extractor

FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate …")
NO_HANDLE = RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`")


@pytest.fixture(autouse=True)
def _setting() -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = True
    yield
    torch.backends.cudnn.allow_tf32 = before


def test_convolutions_are_whole_float32_while_it_scores() -> None:
    with scoring(), scoring():
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32
    with pytest.raises(KeyError), scoring():
        raise KeyError
    assert torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("error", [FULL, NO_HANDLE])
def test_too_little_memory_is_a_sentence(error: RuntimeError) -> None:
    with pytest.raises(AtlasError, match="on the GPU while scoring; stop what"), scoring():
        raise error
    assert torch.backends.cudnn.allow_tf32
    with pytest.raises(RuntimeError, match="another"), scoring():
        raise RuntimeError("another")


def test_a_reference_is_read_under_them(tmp_path: Path) -> None:
    images = open_folder(launching.blotches(tmp_path / "real", 4))
    seen = []

    def look(some: np.ndarray) -> np.ndarray:
        seen.append(torch.backends.cudnn.allow_tf32)
        raise FULL

    extractor = Extractor("x", "", "", look)
    found = in_threads(2, lambda team: parts.reference_of(images, extractor, team))
    assert set(seen) == {False}
    for error in found:
        assert isinstance(error, Together)
        assert "while scoring" in str(error)
