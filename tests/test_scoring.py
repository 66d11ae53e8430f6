"""A folder and its captions become scores, each with its interval and protocol."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_pipelines as tiny

from unet_atlas import reference, scoring
from unet_atlas.errors import AtlasError
from unet_atlas.images import open_folder, write_png
from unet_atlas.metrics.clipscore import cosines
from unet_atlas.metrics.features import clip_features
from unet_atlas.metrics.frechet import frechet_from_features
from unet_atlas.metrics.kernels import kid
from unet_atlas.sampling import pipelines


def folder_of(home: Path, seed: int, n: int = 12, side: int = 32) -> Path:
    """Blotches, so that the tiny CLIP model sees a difference between them."""
    home.mkdir()
    rng = np.random.default_rng(seed)
    for i in range(n):
        blotch = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        write_png(home / f"{i}.png", np.kron(blotch, np.ones((side // 4, side // 4, 1), np.uint8)))
    words = [tiny.CAPTIONS[i % 8] for i in range(n)]
    (home / "captions.csv").write_text(
        "file,caption\n" + "".join(f"{i}.png,{w}\n" for i, w in enumerate(words))
    )
    return home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("scores")
    with pipelines.quiet():
        tiny.scorer(home / "clip")
    folder_of(home / "drawn", 0)
    folder_of(home / "true", 1, 16)
    return home


@pytest.fixture(scope="module")
def scorer(home: Path) -> scoring.Scorer:
    return scoring.load_scorer(home / "clip")


def values(table: object) -> dict[str, float]:
    return {row["metric"]: row["value"] for row in table.records()}


def test_the_values_are_those_of_metrics(home: Path, scorer: scoring.Scorer) -> None:
    table = scoring.score(home / "drawn", reference=home / "true", clip=scorer, resamples=20)
    drawn, true = (open_folder(home / n).load() for n in ("drawn", "true"))
    x, y = (
        clip_features(scorer.model, scorer.processor, images, projected=False)
        for images in (drawn, true)
    )
    words = [tiny.CAPTIONS[i % 8] for i in range(12)]
    cos = cosines(scorer.model, scorer.tokenizer, scorer.processor, drawn, words)
    assert values(table) == pytest.approx(
        {
            "FID": frechet_from_features(x, y),
            "KID × 1,000": 1000 * kid(x, y),
            "CLIP score, 2.5 · max(cos, 0)": 2.5 * np.maximum(cos, 0).mean(),
            "CLIP score, 100 · cos": max(100 * cos.mean(), 0),
        },
        rel=1e-6,
    )
    for row in table.records():
        assert row["low"] <= row["value"] <= row["high"]
        assert row["pictures"] == 12
        assert "32 px, bicubic" in row["resized"]
        assert "transformers" in row["library"]
    methods = ["bootstrap, centred"] * 2 + ["bootstrap, percentile"] * 2
    assert [row["method"] for row in table.records()] == methods
    assert {row["reference"] for row in table.records()} == {16, 0}


def test_scores_dont_depend_on_how_many_are_held(
    home: Path, scorer: scoring.Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = scoring.score(home / "drawn", reference=home / "true", clip=scorer, resamples=2)
    monkeypatch.setattr(reference, "HELD", 5)
    parts = scoring.score(home / "drawn", reference=home / "true", clip=scorer, resamples=2)
    assert values(parts) == pytest.approx(values(whole), rel=1e-5)


def test_a_set_against_itself(home: Path, scorer: scoring.Scorer) -> None:
    found = values(
        scoring.score(home / "drawn", reference=home / "drawn", clip=scorer, resamples=2)
    )
    assert found["FID"] == pytest.approx(0, abs=1e-9)


def test_a_stored_reference_gives_the_same(
    home: Path, scorer: scoring.Scorer, tmp_path: Path
) -> None:
    scoring.score(home / "true", save_reference=tmp_path / "true.npz", clip=scorer, resamples=2)
    by_file = scoring.score(
        home / "drawn", reference=tmp_path / "true.npz", clip=scorer, resamples=20
    )
    by_folder = scoring.score(home / "drawn", reference=home / "true", clip=scorer, resamples=20)
    assert by_file.records() == by_folder.records()
    assert [f.name for f in tmp_path.iterdir()] == ["true.npz"]
    extractor = reference.extractor_of("clip", scorer)
    y = reference.read_reference(tmp_path / "true.npz", extractor, (32, 32)).features
    np.savez(tmp_path / "moments.npz", mu=y.mean(axis=0), sigma=np.cov(y.T))
    moments = scoring.score(
        home / "drawn", reference=tmp_path / "moments.npz", clip=scorer, resamples=20
    )
    found = values(moments)
    assert "KID × 1,000" not in found
    assert found["FID"] == pytest.approx(values(by_folder)["FID"], rel=1e-9)
    low, high = ([t.records()[0][end] for t in (moments, by_folder)] for end in ("low", "high"))
    assert low[0] == pytest.approx(low[1], rel=1e-6)
    assert high[0] == pytest.approx(high[1], rel=1e-6)


def test_the_recipe_stands_beside_the_scores(
    home: Path, scorer: scoring.Scorer, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "run", 2)
    recipe = {"sampler": "ddim", "steps": 25, "guidance": 5.0, "negative": ""}
    (folder / "provenance.json").write_text(json.dumps({"model": "mini-sd", "recipe": recipe}))
    table = scoring.score(folder, clip=scorer, prefix="a ", resamples=2)
    assert "in run by mini-sd, ddim, 25 steps, guidance 5; 95 %" in table.caption
    assert "captions after 'a '" in table.caption
    assert table.records()[0]["guidance"] == 5.0
    plain = scoring.score(folder, clip=scorer, resamples=2)
    assert values(plain) != values(table)
    (folder / "provenance.json").write_text("{}")
    assert "by mini-sd" not in scoring.score(folder, clip=scorer, resamples=2).caption


def test_few_pictures_have_no_interval_of_kid(scorer: scoring.Scorer, tmp_path: Path) -> None:
    two = folder_of(tmp_path / "two", 3, 2)
    table = scoring.score(
        two, reference=folder_of(tmp_path / "six", 4, 6), clip=scorer, resamples=50
    )
    assert table.records()[1]["low"] is None
    assert table.records()[1]["method"] == "none below 8 pictures"
    assert table.shown["95 % interval"][1] == "–"


def test_the_oracle_reads_the_picture_world(tmp_path: Path, scorer: scoring.Scorer) -> None:
    from unet_atlas.shapes.captions import caption
    from unet_atlas.shapes.render import render
    from unet_atlas.shapes.world import draw_scene

    scenes = [draw_scene(0, i) for i in range(6)]
    for i, scene in enumerate(scenes):
        write_png(tmp_path / f"{i}.png", render(scene))
    (tmp_path / "captions.txt").write_text("\n".join(caption(s.request) for s in scenes))
    words = tmp_path / "captions.txt"
    table = scoring.score(tmp_path, captions=words, clip=scorer, oracle=True, resamples=2)
    shares = {r["metric"]: r for r in table.records() if r["metric"].startswith("oracle")}
    assert shares["oracle: right"]["value"] >= 5 / 6
    assert shares["oracle: right"]["pictures"] == 6
    assert shares["oracle: right"]["method"] == "Wilson"
    assert shares["oracle: right"]["low"] < shares["oracle: right"]["value"]
    (tmp_path / "red.txt").write_text("a red circle\n" * 6)
    plain = values(scoring.score(tmp_path, captions=tmp_path / "red.txt", clip=scorer, oracle=True))
    assert "oracle: relation" not in plain
    assert plain["oracle: right"] < 1


def test_the_oracle_asks_for_captions_before_any_work(home: Path, tmp_path: Path) -> None:
    plain = folder_of(tmp_path / "plain", 0)
    (plain / "captions.csv").unlink()
    words = {"reference": home / "true", "save_reference": tmp_path / "x.npz", "clip": "none"}
    with pytest.raises(AtlasError, match="The oracle needs the captions"):
        scoring.score(plain, **words, oracle=True)
    assert not (tmp_path / "x.npz").exists()


def test_inception_is_torch_fidelitys(
    home: Path, scorer: scoring.Scorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}

    def fake(images: np.ndarray, **words: object) -> np.ndarray:
        seen.update(words)
        return images[:, ::16, ::16].reshape(len(images), -1).astype(float)

    monkeypatch.setattr(reference, "inception_features", fake)
    (tmp_path / "none.txt").write_text("a\n")
    plain = folder_of(tmp_path / "plain", 0)
    (plain / "captions.csv").unlink()
    table = scoring.score(
        plain, reference=home / "true", features="inception", resamples=2, inception="w.pth"
    )
    assert table.records()[0]["features"] == "Inception, pool 3 (12)"
    assert len(table.records()) == 2
    assert seen == {"weights": "w.pth", "device": "cpu"}
    both = scoring.score(
        home / "drawn", reference=home / "true", features="inception", clip=scorer, resamples=2
    )
    assert [r["features"].split()[0] for r in both.records()] == ["Inception,"] * 2 + ["clip,"] * 2


def refused(home: Path, tmp_path: Path, case: str) -> dict:
    """The arguments of ``score`` that one case is about."""
    file = tmp_path / "x.npz"
    match case:
        case "nothing to compare":
            (folder_of(tmp_path / "bare", 0) / "captions.csv").unlink()
            return {"pictures": tmp_path / "bare"}
        case "one picture":
            return {"pictures": folder_of(tmp_path / "one", 0, 1)}
        case "another size":
            return {"reference": folder_of(tmp_path / "large", 0, side=64)}
        case "unknown features":
            return {"reference": home / "true", "features": "dino"}
        case "no file":
            return {"reference": tmp_path / "none.npz"}
        case "no npz":
            file.write_bytes(b"hello")
        case "a pickle":
            np.savez(file, features=np.array([{}], dtype=object))
        case "other arrays":
            np.savez(file, x=np.zeros(3))
        case "other extractor":
            np.savez(file, features=np.zeros((3, 4)), extractor="dino")
        case "other size":
            np.savez(file, features=np.zeros((3, 4)), size=np.array([64, 64]))
        case "other width":
            np.savez(file, features=np.zeros((3, 4)))
    return {"reference": file}


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("nothing to compare", "nothing to compare"),
        ("one picture", "holds one picture"),
        ("another size", "is of 64 × 64 pixels and the pictures of 32 × 32"),
        ("unknown features", "'dino' are no features; use clip or inception"),
        ("no file", "There is no file"),
        ("no npz", "is no .npz file"),
        ("a pickle", "is no .npz file of plain arrays"),
        ("other arrays", "has neither 'features' nor 'mu'"),
        ("other extractor", "has features of 'dino'"),
        ("other size", "is of 64 × 64 pixels"),
        ("other width", "16 columns"),
    ],
)
def test_what_doesnt_fit_is_refused(
    home: Path, scorer: scoring.Scorer, tmp_path: Path, case: str, expected: str
) -> None:
    words = {"pictures": home / "drawn", "clip": scorer, "resamples": 2}
    with pytest.raises(AtlasError, match=expected):
        scoring.score(**words | refused(home, tmp_path, case))


def test_a_reference_that_cant_be_written(
    home: Path, scorer: scoring.Scorer, tmp_path: Path
) -> None:
    (tmp_path / "taken.npz").mkdir()
    for name in ("no/a.npz", "a\0.npz", "taken.npz"):
        with pytest.raises(AtlasError, match="can't be written"):
            scoring.score(home / "true", save_reference=tmp_path / name, clip=scorer)
    with pytest.raises(AtlasError, match=r"a name that ends in \.npz"):
        scoring.score(home / "true", save_reference=tmp_path / "a.txt", clip=scorer)
    assert [f.name for f in tmp_path.iterdir()] == ["taken.npz"]


def test_storing_a_reference_is_a_job_of_its_own(scorer: scoring.Scorer, tmp_path: Path) -> None:
    plain = folder_of(tmp_path / "plain", 0)
    (plain / "captions.csv").unlink()
    table = scoring.score(plain, save_reference=tmp_path / "x.npz", clip=scorer)
    assert "12 pictures of 32 × 32 in plain, stored as a reference" in table.caption
    assert table.records()[0]["stored in"] == str(tmp_path / "x.npz")
    assert table.records()[0]["features"] == "clip, before the projection (16)"
    again = scoring.score(plain, reference=tmp_path / "x.npz", clip=scorer, resamples=2)
    assert values(again)["FID"] == pytest.approx(0, abs=1e-9)


def test_each_set_goes_through_the_model_once(
    home: Path, scorer: scoring.Scorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    hook = scorer.model.vision_model.register_forward_hook(
        lambda _, __, output: seen.append(len(output.pooler_output))
    )
    words = {"reference": home / "true", "save_reference": tmp_path / "x.npz", "clip": scorer}
    table = scoring.score(home / "drawn", **words, resamples=2)
    hook.remove()
    assert sorted(seen) == [12, 16]
    assert len(table.records()) == 4
    assert "features stored in x.npz" in table.caption


def test_numbers_have_the_real_minus_sign() -> None:
    shown = [scoring._number(v) for v in (-1096.84, -0.5, 12345.67, 2.84e-14)]
    assert shown == ["−1,096.8", "−0.5", "12,345.7", "2.84e−14"]
