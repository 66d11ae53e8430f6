"""Loading pipelines: any folder in diffusers layout, safetensors only, no code of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_pipelines as tiny
import torch

from unet_atlas import sampling
from unet_atlas.errors import AtlasError
from unet_atlas.sampling import Recipe, pipelines


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("saved")
    kinds = {"sd": tiny.stable_diffusion, "unclip": tiny.unclip, "xl": tiny.xl}
    for name, make in kinds.items():
        with pipelines.quiet():
            make(home / "tokenizer").save_pretrained(home / name)
    return {name: home / name for name in kinds}


def copied(source: Path, target: Path) -> Path:
    for file in source.rglob("*"):
        if file.is_file():
            place = target / file.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read_bytes())
    return target


@pytest.mark.parametrize("kind", ["sd", "unclip", "xl"])
def test_a_saved_pipeline_comes_back(
    saved: dict[str, Path], kind: str, capfd: pytest.CaptureFixture
) -> None:
    pipeline = sampling.load_pipeline(saved[kind], "cpu")
    assert pipeline.atlas_label == kind
    assert pipeline.unet.dtype == torch.float32
    assert not pipeline.unet.training
    assert getattr(pipeline, "watermark", None) is None
    assert capfd.readouterr().err == ""
    half = sampling.load_pipeline(saved[kind], "cpu", torch.bfloat16)
    assert {half.unet.dtype, half.vae.dtype, half.text_encoder.dtype} == {torch.bfloat16}


def test_the_saved_pipeline_draws_the_same(saved: dict[str, Path], tmp_path: Path) -> None:
    recipe = Recipe(steps=2, guidance=2.0)
    loaded = sampling.sample(sampling.load_pipeline(saved["sd"], "cpu"), ["a"], recipe)
    built = sampling.sample(tiny.quiet(tiny.stable_diffusion(tmp_path)), ["a"], recipe)
    assert loaded.digest() == built.digest()
    assert loaded.provenance["model"] == "sd"


def test_the_variable_names_a_folder(
    saved: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(pipelines.WEIGHTS, raising=False)
    assert sampling.source() is None
    monkeypatch.setenv(pipelines.WEIGHTS, f" {saved['xl']} ")
    assert sampling.load_pipeline(sampling.source(), "cpu").atlas_label == "xl"


def test_a_member_of_the_family_by_its_name(
    saved: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNET_ATLAS_MODELS", str(tmp_path))
    copied(saved["sd"], tmp_path / "mini-sd")
    assert sampling.load_pipeline("mini-sd", "cpu").atlas_label == "mini-sd"
    with pytest.raises(AtlasError, match="mini-sdxl is not here"):
        sampling.load_pipeline("mini-sdxl")


def test_weights_of_a_variant(saved: dict[str, Path], tmp_path: Path) -> None:
    folder = copied(saved["sd"], tmp_path / "half")
    for file in folder.rglob("*.safetensors"):
        file.rename(file.with_name(file.name.replace(".safetensors", ".fp16.safetensors")))
    assert sampling.load_pipeline(folder, "cpu").unet.dtype == torch.float32


def test_the_hub_is_asked_only_where_the_variable_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AtlasError, match="for an id of the Hub, set UNET_ATLAS_WEIGHTS"):
        sampling.load_pipeline("some/model")

    def refuse(*_: object, **__: object) -> None:
        raise OSError("offline here.")

    monkeypatch.setenv(pipelines.WEIGHTS, "some/model")
    monkeypatch.setattr(pipelines.DiffusionPipeline, "load_config", refuse)
    with pytest.raises(
        AtlasError, match=r"can't be asked for 'some/model': offline here\. Download"
    ):
        sampling.load_pipeline("some/model")


def test_an_id_of_the_hub(saved: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def give(where: str, **options: object) -> object:
        asked.update(options, where=where)
        return tiny.stable_diffusion(saved["sd"] / "tokenizer")

    index = json.loads((saved["sd"] / "model_index.json").read_text())
    kind = pipelines._class(index, "sd")
    monkeypatch.setenv(pipelines.WEIGHTS, "some/model")
    monkeypatch.setattr(pipelines.DiffusionPipeline, "load_config", lambda _: index)
    monkeypatch.setattr(kind, "from_pretrained", give)
    assert sampling.load_pipeline("some/model", "cpu").atlas_label == "some/model"
    assert (asked["where"], asked["use_safetensors"]) == ("some/model", True)
    assert (asked["trust_remote_code"], asked["local_files_only"]) == (False, False)
    assert asked["safety_checker"] is None


def index_of(folder: Path, **changes: object) -> None:
    file = folder / "model_index.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def pickle_unet(folder: Path) -> None:
    file = next((folder / "unet").glob("*.safetensors"))
    file.rename(file.with_suffix(".bin"))


def cut_unet(folder: Path) -> None:
    file = next((folder / "unet").glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:1000])


def drop_part(folder: Path) -> None:
    (folder / "scheduler").rename(folder / "elsewhere")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (pickle_unet, r"\.bin' is a pickle, which can run code .* safe_serialization=True"),
        (cut_unet, "bad can't be loaded: "),
        (drop_part, "lacks its scheduler"),
        (lambda f: (f / "model_index.json").unlink(), "holds no pipeline"),
        (lambda f: (f / "model_index.json").write_text("{"), "is not one JSON object"),
        (lambda f: (f / "model_index.json").write_text("[]"), "is not one JSON object"),
        (lambda f: index_of(f, _class_name=["mine", "Mine"]), "is no pipeline of diffusers"),
        (lambda f: index_of(f, _class_name="UNet2DModel"), "is no pipeline of diffusers"),
        (lambda f: index_of(f, _class_name="DDPMPipeline"), "DDPMPipeline draws no pictures"),
        (lambda f: index_of(f, unet=["mine", "Mine"]), "its unet is code of its own"),
    ],
)
def test_folders_that_are_refused(
    saved: dict[str, Path], tmp_path: Path, spoil: Callable[[Path], object], expected: str
) -> None:
    folder = copied(saved["sd"], tmp_path / "bad")
    spoil(folder)
    with pytest.raises(AtlasError, match=expected):
        sampling.load_pipeline(folder, "cpu")


def test_code_in_a_folder_is_not_run(saved: dict[str, Path], tmp_path: Path) -> None:
    folder = copied(saved["sd"], tmp_path / "bad")
    (folder / "unet" / "mine.py").write_text("raise SystemExit('run')")
    index_of(folder, unet=["mine", "Mine"])
    with pytest.raises(AtlasError, match="which isn't run"):
        sampling.load_pipeline(folder, "cpu")


def test_a_single_file_is_refused_with_the_way_to_convert_it(tmp_path: Path) -> None:
    (tmp_path / "v1-5.ckpt").write_bytes(b"x")
    with pytest.raises(AtlasError, match=r"is one file; convert it .*from_single_file"):
        sampling.load_pipeline(tmp_path / "v1-5.ckpt")


def test_too_little_memory(saved: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("no")

    pipeline = sampling.load_pipeline(saved["sd"], "cpu")
    monkeypatch.setattr(type(pipeline), "to", full)
    with pytest.raises(AtlasError, match="can't go to 'cpu'"):
        sampling.load_pipeline(saved["sd"], "cpu")
    monkeypatch.setattr(type(pipeline), "from_pretrained", full)
    with pytest.raises(AtlasError, match="not enough memory"):
        sampling.load_pipeline(saved["sd"], "cpu")


def test_quiet_puts_back_what_it_found() -> None:
    logs = pipelines.transformers.utils.logging, pipelines.diffusers.utils.logging
    before = [(log.get_verbosity(), log.is_progress_bar_enabled()) for log in logs]
    with pipelines.quiet(), pipelines.quiet():
        assert not any(log.is_progress_bar_enabled() for log in logs)
    assert [(log.get_verbosity(), log.is_progress_bar_enabled()) for log in logs] == before
