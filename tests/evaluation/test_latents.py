"""Fixed latents: from plain arrays only, of the right number and shape."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from unet_atlas.errors import AtlasError
from unet_atlas.evaluation.latents import check_fit, digest, read_latents

ONE = np.arange(4 * 8 * 8, dtype=np.float32).reshape(4, 8, 8)


def saved(folder: Path, array: np.ndarray) -> Path:
    np.save(folder / "latents.npy", array)
    return folder / "latents.npy"


def test_one_for_all_or_one_each(tmp_path: Path) -> None:
    assert np.array_equal(read_latents(saved(tmp_path, ONE), 5), ONE[None])
    assert read_latents(saved(tmp_path, ONE[None].astype(np.float64)), 5).dtype == np.float32
    each = np.stack([ONE] * 5)
    assert read_latents(saved(tmp_path, each), 5).shape == (5, 4, 8, 8)
    save_file({"latents": torch.from_numpy(ONE).bfloat16()}, tmp_path / "l.safetensors")
    assert np.array_equal(read_latents(tmp_path / "l.safetensors", 5), ONE[None])


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.stack([ONE] * 3), "holds 3 latents for 5 captions; give one, or one a caption"),
        (ONE[0], "float32 of shape .8, 8.; latents are floats"),
        (ONE.astype(int), "int64 of shape"),
        (ONE * np.nan, "NaN or infinity"),
    ],
)
def test_what_are_no_latents(tmp_path: Path, array: np.ndarray, expected: str) -> None:
    with pytest.raises(AtlasError, match=expected):
        read_latents(saved(tmp_path, array), 5)


def test_a_pickle_is_refused_with_the_way_out(tmp_path: Path) -> None:
    file = tmp_path / "latents.pt"
    torch.save(torch.from_numpy(ONE), file)
    with pytest.raises(AtlasError, match=r"is a pickle.*numpy\.save\('latents\.npy', torch\.load"):
        read_latents(file, 5)


def test_files_that_cant_be_read(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="There is no file"):
        read_latents(tmp_path / "none.npy", 5)
    with pytest.raises(AtlasError, match="holds no latents; give an"):
        read_latents(tmp_path / "latents.csv", 5)
    for name in ("broken.npy", "broken.safetensors"):
        (tmp_path / name).write_bytes(b"x" * 40)
        with pytest.raises(AtlasError, match="can't be read"):
            read_latents(tmp_path / name, 5)
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object))
    with pytest.raises(AtlasError, match="can't be read"):
        read_latents(tmp_path / "objects.npy", 5)
    tensor = torch.from_numpy(ONE)
    save_file({"a": tensor, "b": tensor.clone()}, tmp_path / "two.safetensors")
    with pytest.raises(AtlasError, match="holds 2 tensors"):
        read_latents(tmp_path / "two.safetensors", 5)


def test_they_must_fit_the_model() -> None:
    config = SimpleNamespace(in_channels=4, sample_size=8)
    pipeline = SimpleNamespace(unet=SimpleNamespace(config=config))
    check_fit(ONE[None], pipeline, Path("l.npy"))
    with pytest.raises(AtlasError, match=r"latents of \(4, 4, 8\), this model starts from \(4, 8"):
        check_fit(ONE[None, :, :4], pipeline, Path("l.npy"))


def test_the_digest_tells_latents_apart() -> None:
    assert digest(None) is None
    assert digest(ONE) == digest(ONE.copy()) != digest(ONE + 1)
