"""A run on disk: complete or not there, gone on with after a kill, never mixed with another."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tiny_pipelines as tiny
from diffusers import DiffusionPipeline

from unet_atlas import sampling
from unet_atlas.errors import AtlasError
from unet_atlas.images import Captions, open_folder, read_facts
from unet_atlas.sampling import Recipe, folders

CAPTIONS = Captions(tiny.CAPTIONS[:4])
QUICK = Recipe(steps=2, guidance=2.0)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> DiffusionPipeline:
    return tiny.quiet(tiny.stable_diffusion(tmp_path_factory.mktemp("tokenizer")))


def pixels(folder: Path) -> dict[str, bytes]:
    return {f.name: f.read_bytes() for f in folder.glob("*.png")}


def test_a_run_is_pictures_captions_and_provenance(
    pipeline: DiffusionPipeline, tmp_path: Path
) -> None:
    facts = sampling.sample_into(tmp_path / "a" / "run", pipeline, CAPTIONS, QUICK, 3, batch=3)
    folder = tmp_path / "a" / "run"
    direct = sampling.sample(pipeline, CAPTIONS.texts, QUICK, base_seed=3, batch=3)
    assert facts["digest"] == direct.digest()
    assert json.loads((folder / "provenance.json").read_text()) == facts
    assert (facts["complete"], facts["pictures"], facts["base_seed"]) == (True, 4, 3)
    rows = list(csv.DictReader((folder / "captions.csv").open()))
    assert [r["caption"] for r in rows] == list(CAPTIONS.texts)
    assert [int(r["seed"]) for r in rows] == list(direct.seeds)
    assert open_folder(folder).ids == ("00000", "00001", "00002", "00003")
    text = read_facts(folder / "00001.png")
    assert (text["caption"], text["model"]) == (CAPTIONS.texts[1], "in memory")
    assert json.loads(text["recipe"])["steps"] == 2


def test_resumed_is_the_same_as_unbroken(
    pipeline: DiffusionPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampling.sample_into(tmp_path / "whole", pipeline, CAPTIONS, QUICK, batch=1)
    broken, draw, calls = tmp_path / "broken", folders._draw, []

    def killed(*words: object) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return draw(*words)

    monkeypatch.setattr(folders, "_draw", killed)
    with pytest.raises(KeyboardInterrupt):
        sampling.sample_into(broken, pipeline, CAPTIONS, QUICK, batch=1)
    begun = json.loads((broken / "provenance.json").read_text())
    assert (begun["complete"], len(pixels(broken))) == (False, 2)
    (broken / "00001.png").write_bytes(b"half")
    done = sampling.sample_into(broken, pipeline, CAPTIONS, QUICK, batch=1, resume=True)
    assert len(calls) == 3 + 3
    assert done["seconds"] > begun["seconds"]
    assert pixels(broken) == pixels(tmp_path / "whole")


def test_a_run_may_grow(pipeline: DiffusionPipeline, tmp_path: Path) -> None:
    sampling.sample_into(tmp_path, pipeline, CAPTIONS.first(2), QUICK, resume=True)
    before = pixels(tmp_path)
    facts = sampling.sample_into(tmp_path, pipeline, CAPTIONS, QUICK, resume=True)
    assert facts["pictures"] == 4
    assert before.items() <= pixels(tmp_path).items()


def test_a_run_keeps_the_names_of_its_captions(pipeline: DiffusionPipeline, tmp_path: Path) -> None:
    sampling.sample_into(tmp_path, pipeline, Captions(("a", "b"), ("x 1", "y")), QUICK)
    assert set(pixels(tmp_path)) == {"x 1.png", "y.png"}


def test_a_failure_leaves_no_folder(pipeline: DiffusionPipeline, tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="takes no conditioning"):
        sampling.sample_into(tmp_path / "run", pipeline, CAPTIONS, QUICK, noise_level=3)
    with pytest.raises(AtlasError, match="refuses"):
        sampling.sample_into(tmp_path / "run", pipeline, CAPTIONS, QUICK, height=33, width=33)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def finished(pipeline: DiffusionPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    sampling.sample_into(folder, pipeline, CAPTIONS, QUICK)
    return folder


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({}, "is not empty"),
        ({"resume": True, "recipe": Recipe(steps=3)}, "begun with another recipe .*now"),
        ({"resume": True, "base_seed": 1}, "has other captions or seeds"),
        ({"resume": True, "captions": CAPTIONS.first(2)}, "has other captions or seeds"),
        ({"resume": True, "height": 16}, "begun with another conditioning"),
        ({"batch": 0}, "0 pictures at once"),
        ({"captions": Captions(("a",), ("a/b",))}, "'a/b' can't be a file's name"),
        ({"captions": Captions(("a",), (".b",))}, "'.b' can't be a file's name"),
    ],
)
def test_a_run_is_never_mixed_with_another(
    pipeline: DiffusionPipeline, finished: Path, words: dict, expected: str
) -> None:
    before = {f.name: f.read_bytes() for f in finished.iterdir()}
    with pytest.raises(AtlasError, match=expected):
        sampling.sample_into(finished, pipeline, **{"captions": CAPTIONS, "recipe": QUICK} | words)
    assert {f.name: f.read_bytes() for f in finished.iterdir()} == before


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"holiday.txt": "x"}, "holds no run to resume .no readable 'captions.csv'"),
        ({"captions.csv": ""}, "no readable 'provenance.json'"),
        ({"captions.csv": "", "provenance.json": "{"}, "is not one JSON object"),
        ({"captions.csv": "", "provenance.json": "[]"}, "is not one JSON object"),
    ],
)
def test_what_is_no_run_cant_be_resumed(
    pipeline: DiffusionPipeline, tmp_path: Path, files: dict[str, str], expected: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(AtlasError, match=expected):
        sampling.sample_into(tmp_path, pipeline, CAPTIONS, QUICK, resume=True)


def test_a_folder_that_cant_be_made(pipeline: DiffusionPipeline, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(AtlasError, match="can't be made a folder"):
        sampling.sample_into(tmp_path / "file", pipeline, CAPTIONS, QUICK)


def test_the_table_of_a_run(finished: Path) -> None:
    facts = json.loads((finished / "provenance.json").read_text())
    table = sampling.run_table(finished, facts)
    rows = {r["fact"]: r["value"] for r in table.records()}
    assert rows["folder"] == "run"
    assert rows["recipe: steps"] == 2
    assert rows["digest"] == facts["digest"]
    assert "4 pictures in run" in table.to_text()


def test_each_image_goes_with_its_caption_whatever_the_batch(tmp_path: Path) -> None:
    pipeline = tiny.quiet(tiny.unclip(tmp_path / "tokenizer"))
    images = list(np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8))
    words = {"image": images, "noise_level": 1}
    whole = sampling.sample_into(tmp_path / "whole", pipeline, CAPTIONS, QUICK, batch=4, **words)
    direct = sampling.sample(pipeline, CAPTIONS.texts, QUICK, **words)
    assert whole["digest"] == direct.digest()
    for batch in (1, 3):
        folder = tmp_path / f"by {batch}"
        sampling.sample_into(folder, pipeline, CAPTIONS, QUICK, batch=batch, **words)
        assert np.abs(loaded(folder) - direct.images).max() <= 1
    (folder / "00001.png").unlink()
    (folder / "00003.png").unlink()
    sampling.sample_into(folder, pipeline, CAPTIONS, QUICK, batch=2, resume=True, **words)
    assert np.abs(loaded(folder) - direct.images).max() <= 1
    swapped = sampling.sample(pipeline, CAPTIONS.texts, QUICK, image=images[::-1], noise_level=1)
    assert np.abs(swapped.images.astype(int) - direct.images).max() > 1


def test_as_many_images_as_captions_or_one(tmp_path: Path) -> None:
    pipeline = tiny.quiet(tiny.unclip(tmp_path / "tokenizer"))
    images = [np.zeros((32, 32, 3), np.uint8)] * 2
    with pytest.raises(AtlasError, match="2 of 'image' for 4 captions"):
        sampling.sample_into(tmp_path / "run", pipeline, CAPTIONS, QUICK, batch=2, image=images)
    assert not (tmp_path / "run").exists()


def loaded(folder: Path) -> np.ndarray:
    return open_folder(folder).load().astype(int)
