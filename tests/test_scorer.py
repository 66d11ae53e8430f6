"""The CLIP model that scores: from disk, and what it makes of pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_pipelines as tiny

from unet_atlas import scorer as scorers
from unet_atlas.errors import AtlasError
from unet_atlas.metrics.features import clip_features
from unet_atlas.sampling import pipelines


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("scorers")
    with pipelines.quiet():
        tiny.scorer(home / "clip")
    return home


@pytest.fixture(scope="module")
def scorer(home: Path) -> scorers.Scorer:
    return scorers.load_scorer(home / "clip")


def test_features_are_projected_as_clip_does(scorer: scorers.Scorer) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    pooled = scorer.features(images)
    assert pooled.shape == (5, 16)
    found = scorer.projected(pooled)
    assert np.allclose(found, clip_features(scorer.model, scorer.processor, images), rtol=1e-6)


def test_scorers_that_are_none(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AtlasError, match="There is no folder 'none'"):
        scorers.load_scorer("none")
    with pytest.raises(AtlasError, match="is no CLIP model"):
        scorers.load_scorer(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(AtlasError, match="holds pickled weights"):
        scorers.load_scorer(tmp_path)
    monkeypatch.setenv("UNET_ATLAS_MODELS", str(tmp_path))
    with pytest.raises(AtlasError, match="mini-scorer is not here"):
        scorers.load_scorer()
    (home / "clip").rename(home / "mini-scorer")
    monkeypatch.setenv("UNET_ATLAS_MODELS", str(home))
    assert scorers.load_scorer().label == "mini-scorer"
    (home / "mini-scorer").rename(home / "clip")


def test_what_the_processor_does_is_said(scorer: scorers.Scorer) -> None:
    assert scorer.resized == "32 px, bicubic"
    scorer.processor.do_resize = False
    assert scorer.resized == "not (32 px)"
    scorer.processor.do_resize = True
