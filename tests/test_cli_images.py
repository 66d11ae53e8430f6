"""``unet-atlas sample`` and ``unet-atlas score``, as a reader uses them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_pipelines as tiny
from PIL import Image
from test_cli import run

from unet_atlas import sampling
from unet_atlas.cli import FORMATS
from unet_atlas.sampling import pipelines

TEXTS = ("a red circle", "a blue square", "ab")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("cli")
    with pipelines.quiet():
        for make in (tiny.stable_diffusion, tiny.unclip, tiny.xl):
            make(home / "tokenizer").save_pretrained(home / make.__name__)
        tiny.scorer(home / "clip")
    (home / "captions.txt").write_text("\n".join(TEXTS))
    Image.new("RGB", (32, 32), "red").save(home / "red.png")
    return home


def draw(capsys: pytest.CaptureFixture, home: Path, folder: Path, *words: object) -> tuple:
    return run(
        capsys, "sample", home / "stable_diffusion", "--steps", 2, "--device", "cpu",
        "--output", folder, *words,
    )  # fmt: skip


def test_sample_then_score(capsys: pytest.CaptureFixture, home: Path, tmp_path: Path) -> None:
    words = ("--captions", home / "captions.txt")
    code, out, err = draw(capsys, home, tmp_path / "one", *words, "--format", "json")
    assert (code, err) == (0, "")
    facts = {row["fact"]: row["value"] for row in json.loads(out)["rows"]}
    assert (facts["pictures"], facts["recipe: sampler"], facts["complete"]) == (3, "ddim", True)
    draw(capsys, home, tmp_path / "two", *words, "--seed", 5)
    score = ("score", tmp_path / "one", "--reference", tmp_path / "two", "--clip", home / "clip")
    for form in FORMATS:
        code, out, err = run(capsys, *score, "--resamples", 2, "--format", form)
        assert (code, err) == (0, "")
        assert "FID" in out
    stored = tmp_path / "one.npz"
    code, _, _ = run(capsys, *score, "--resamples", 2, "--save-reference", stored, "--output",
                     tmp_path / "scores.csv", "--format", "csv")  # fmt: skip
    assert code == 0
    assert (tmp_path / "scores.csv").read_text().startswith("metric,value,low,high")
    (tmp_path / "two" / "captions.csv").unlink()
    only = ("score", tmp_path / "two", "--clip", home / "clip", "--device", "cpu")
    code, out, err = run(capsys, *only, "--save-reference", tmp_path / "two.npz")
    assert (code, err) == (0, "")
    assert "stored as a reference" in out
    assert "two.npz" in out
    assert (tmp_path / "two.npz").is_file()
    words = ("score", tmp_path / "one", "--reference", stored, "--clip", home / "clip")
    _, out, _ = run(capsys, *words, "--resamples", 2, "--format", "json")
    assert json.loads(out)["rows"][0]["value"] == pytest.approx(0, abs=1e-9)


def test_sample_goes_on_with_a_run(
    capsys: pytest.CaptureFixture, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--captions", home / "captions.txt", "--batch", 1)
    assert draw(capsys, home, tmp_path, *words, "--limit", 1)[0] == 0
    code, out, err = draw(capsys, home, tmp_path, *words)
    assert (code, out) == (2, "")
    assert "is not empty" in err
    monkeypatch.setattr(
        sampling, "sample_into", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    code, _, err = draw(capsys, home, tmp_path, *words, "--resume")
    assert (code, "with --resume goes on" in err) == (2, True)
    monkeypatch.undo()
    assert draw(capsys, home, tmp_path, *words, "--resume")[0] == 0
    assert len(list(tmp_path.glob("*.png"))) == 3


def test_the_variable_stands_in_for_the_source(
    capsys: pytest.CaptureFixture, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("sample", "--prompt", "a", "--steps", 2, "--device", "cpu", "--output")
    monkeypatch.delenv(pipelines.WEIGHTS, raising=False)
    code, _, err = run(capsys, *words, tmp_path / "x")
    assert (code, "No model is named" in err) == (2, True)
    monkeypatch.setenv(pipelines.WEIGHTS, str(home / "xl"))
    code, out, _ = run(capsys, *words, tmp_path / "x", "--crop", 0, 8, "--original-size", 16, 16)
    assert code == 0
    assert "StableDiffusionXLPipeline" in out
    assert "[0, 8]" in out


def test_unclip_varies_an_image(capsys: pytest.CaptureFixture, home: Path, tmp_path: Path) -> None:
    words = ("sample", home / "unclip", "--prompt", "a", "--steps", 2, "--output", tmp_path / "x")
    code, _, err = run(capsys, *words, "--device", "cpu")
    assert (code, "Provide either `image`" in err) == (2, True)
    code, out, _ = run(capsys, *words, "--image", home / "red.png", "--noise-level", 5,
                       "--dtype", "fp32", "--device", "cpu")  # fmt: skip
    assert (code, "array (32, 32, 3)" in out) == (0, True)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ("sample", "nope", "--prompt", "a", "--output", "x"),
            "neither a model of the mini family",
        ),
        (("sample", "nope", "--captions", "no.txt", "--output", "x"), "There is no captions file"),
        (("sample", "n", "--prompt", "a", "--output", "x", "--steps", "0"), "0 steps can't"),
        (("sample", "n", "--prompt", "a", "--output", "x", "--sampler", "y"), "'y' is no sampler"),
        (("sample", "n", "--prompt", "a", "--output", "x", "--limit", "0"), "first 0 captions"),
        (("sample", "n", "--prompt", "a", "--output", "x", "--dtype", "fp7"), "is no dtype"),
        (("sample", "n", "--prompt", "a", "--output", "x", "--device", "b"), "is no device"),
        (("score", "nope"), "There is no folder 'nope'"),
        (("score", "nope", "--device", "b"), "is no device"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    capsys: pytest.CaptureFixture, words: tuple[str, ...], expected: str
) -> None:
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert expected in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (None, None, "holds no png, jpg or webp image"),
        ("a.png", b"text", "is no image"),
        ("captions.csv", b"file,text\n0,a\n", "no caption for image"),
    ],
)
def test_spoilt_folders_through_the_command_line(
    capsys: pytest.CaptureFixture,
    home: Path,
    tmp_path: Path,
    name: str | None,
    content: bytes | None,
    expected: str,
) -> None:
    if name is not None:
        Image.new("RGB", (32, 32)).save(tmp_path / "b.png")
        (tmp_path / name).write_bytes(content)
    code, out, err = run(capsys, "score", tmp_path, "--clip", home / "clip")
    assert (code, out) == (2, "")
    assert expected in err
    assert len(err.strip().splitlines()) == 1
