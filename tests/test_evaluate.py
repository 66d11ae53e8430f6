"""scripts/evaluate.py in one process: a whole run, and one sentence for every fault."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_pipelines as tiny
from PIL import Image

sys.path.append(str(Path(__file__).parent / "evaluation"))
import launching
from launching import pixels, rows, words

import evaluate
from unet_atlas.errors import AtlasError
from unet_atlas.evaluation import jobs, run, stopping
from unet_atlas.evaluation.parts import parts_of
from unet_atlas.evaluation.team import PATIENCE, Together
from unet_atlas.images import open_folder
from unet_atlas.metrics.frechet import frechet_from_features
from unet_atlas.metrics.kernels import kid
from unet_atlas.reference import extractor_of, write_reference
from unet_atlas.sampling import Recipe, load_pipeline, sample
from unet_atlas.scorer import load_scorer
from unet_atlas.scoring import score


@pytest.fixture(autouse=True)
def _handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return launching.home_of(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def whole(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with a record."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    record = folder.parent / "record.json"
    assert evaluate.main(words(home, folder, "--record", record)) == 0
    return folder


def values(output: Path) -> dict[str, Any]:
    return {row["metric"]: row["value"] for row in rows(output, "score")}


def copied(whole: Path, folder: Path) -> Path:
    shutil.copytree(whole, folder)
    (folder / "scores.json").unlink()
    return folder


def test_the_scores_are_those_of_the_metrics(home: Path, whole: Path) -> None:
    x, y = (
        extractor_of("clip", load_scorer(home / "clip")).over(open_folder(folder))
        for folder in (whole, home / "real")
    )
    found = values(whole)
    assert found["FID"] == pytest.approx(frechet_from_features(x, y), rel=1e-6)
    each = [1000 * kid(x[p.start : p.stop], y) for p in parts_of(22)]
    assert found["KID × 1,000"] == pytest.approx(np.mean(each), rel=1e-5)
    table = {r["metric"]: r for r in score(whole, clip=home / "clip", device="cpu").records()}
    for metric in ("CLIP score, 2.5 · max(cos, 0)", "CLIP score, 100 · cos"):
        assert found[metric] == pytest.approx(table[metric]["value"], rel=1e-5)


def test_the_pictures_are_those_of_sample(home: Path, whole: Path) -> None:
    pipeline = load_pipeline(home / "pipeline", "cpu")
    texts = (home / "captions.csv").read_text().splitlines()[1:]
    direct = sample(pipeline, texts, Recipe(steps=2), batch=4)
    assert np.array_equal(open_folder(whole).load(), direct.images)


def test_the_record_says_how(home: Path, whole: Path) -> None:
    run_, speed = rows(whole, "run")[0], rows(whole, "throughput")[0]
    assert (run_["model"], run_["pictures"], run_["steps"]) == ("pipeline", 22, 2)
    assert run_["parts"] == len(parts_of(22)) == 10
    assert (run_["reference"], run_["reference_pictures"]) == ("real", 24)
    assert (speed["processes"], speed["drawn"], speed["found"]) == (1, 22, 0)
    assert speed["images_per_second"] == pytest.approx(22 / speed["seconds"], rel=0.01)
    assert (whole.parent / "record.json").read_text() == (whole / "scores.json").read_text()
    facts = json.loads((whole / "provenance.json").read_text())
    assert (facts["complete"], facts["pixels"]) == (True, run_["pictures_digest"])
    assert not (whole / ".stopped").exists()


def test_a_spoilt_run_ends_with_the_same_scores(home: Path, whole: Path, tmp_path: Path) -> None:
    folder = copied(whole, tmp_path / "run")
    (folder / "00003.png").unlink()
    (folder / "00010.png").write_bytes((folder / "00010.png").read_bytes()[:200])
    assert evaluate.main(words(home, folder)) == 0
    assert rows(folder, "score") == rows(whole, "score")
    assert pixels(folder) == pixels(whole)
    speed = rows(folder, "throughput")[0]
    assert (speed["drawn"], speed["found"]) == (8, 20)


def test_score_only(home: Path, whole: Path, tmp_path: Path, capsys: Any) -> None:
    folder = copied(whole, tmp_path / "run")
    assert evaluate.main(words(home, folder, "--score-only")) == 0
    assert rows(folder, "score") == rows(whole, "score")
    assert rows(folder, "throughput")[0]["images_per_second"] is None
    (folder / "00003.png").unlink()
    (folder / "00004.png").unlink()
    capsys.readouterr()
    assert evaluate.main(words(home, folder, "--score-only")) == 2
    said = capsys.readouterr().err
    assert "00003.png' and 1 more are missing, damaged" in said
    assert evaluate.main(words(home, tmp_path / "none", "--score-only")) == 2
    assert "holds no run to score" in capsys.readouterr().err
    assert evaluate.main(words(home, folder, "--score-only", "--guidance", 2)) == 2
    assert "begun with another recipe" in capsys.readouterr().err


def test_stored_references(home: Path, whole: Path, tmp_path: Path) -> None:
    extractor = extractor_of("clip", load_scorer(home / "clip"))
    y = extractor.over(open_folder(home / "real"))
    write_reference(tmp_path / "real.npz", y, extractor, (32, 32))
    np.savez(tmp_path / "moments.npz", mu=y.mean(axis=0), sigma=np.cov(y.T))
    folder = copied(whole, tmp_path / "run")
    for name in ("real", "moments"):
        more = ("--reference", tmp_path / f"{name}.npz", "--score-only")
        assert evaluate.main(words(home, folder, *more)) == 0
        assert values(folder)["FID"] == pytest.approx(values(whole)["FID"], rel=1e-6)
        kid_row = rows(folder, "score")[2]
        if name == "real":
            assert kid_row["value"] == pytest.approx(values(whole)["KID × 1,000"], rel=1e-6)
        else:
            assert kid_row["value"] is None
            assert "the reference has no features" in kid_row["method"]
            assert rows(folder, "run")[0]["reference_pictures"] == 0


def test_without_a_reference_the_captions_are_left(
    home: Path, whole: Path, tmp_path: Path, capsys: Any
) -> None:
    folder, arguments = copied(whole, tmp_path / "run"), words(home, tmp_path / "run")
    at = arguments.index("--reference")
    assert evaluate.main([*arguments[:at], *arguments[at + 2 :], "--prefix", "a "]) == 0
    assert [row["metric"][:4] for row in rows(folder, "score")] == ["CLIP"] * 2
    assert "22 pictures of 32 × 32" in capsys.readouterr().out


def test_a_protocol_gives_a_verdict(
    home: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def inception(name: str, scorer: Any, *_: Any) -> Any:
        return extractor_of("clip", scorer or load_scorer(home / "clip"))

    monkeypatch.setattr(jobs, "extractor_of", inception)  # torch-fidelity is no requirement
    np.save(tmp_path / "latents.npy", np.zeros((4, 16, 16), np.float32))
    arguments = words(home, tmp_path / "run", "--protocol", "mlperf", "--limit", 5000)
    arguments += ["--fixed-latents", str(tmp_path / "latents.npy")]
    at = arguments.index("--steps")
    assert evaluate.main([*arguments[:at], *arguments[at + 2 :]]) == 0
    run_ = rows(tmp_path / "run", "run")[0]
    assert (run_["sampler"], run_["steps"], run_["guidance"]) == ("euler", 20, 8.0)
    assert (run_["protocol"], len(run_["latents"])) == ("mlperf", 64)
    assert [row["inside"] for row in rows(tmp_path / "run", "window")] == [None, None]
    assert "the window is of SDXL" in capsys.readouterr().out


FAULTS: list[tuple[tuple[Any, ...], str]] = [
    (("--captions", "none.csv"), "There is no captions file 'none.csv'."),
    (("--captions", "column.csv"), "'column.csv' has no column 'caption' (it has file, title)."),
    (("--captions", "one.txt"), "'one.txt' holds one caption; scores need two or more."),
    (("--captions", "names.csv"), "'a:b' can't be a file's name"),
    (("--limit", 1), "first 1 captions"),
    (("--sampler", "turbo"), "'turbo' is no sampler"),
    (("--steps", 0), "0 steps"),
    (("--batch", 0), "0 pictures at once"),
    (("--patience", 0), "A patience of 0 s can't be kept"),
    (("--dtype", "int8"), "'int8' is no dtype"),
    (("--device", "tpu"), "'tpu' is no device"),
    (("--clip", "none"), "There is no folder 'none' with a CLIP model"),
    (("--reference", "none"), "There is no folder 'none'."),
    (("--reference", "none.npz"), "There is no reference 'none.npz'."),
    (("--reference", "broken.npz"), "'broken.npz' is no .npz file"),
    (("--reference", "narrow.npz"), "these features are 16 wide"),
    (("--reference", "flat.npz"), "these features are 16 wide"),
    (("--reference", "large"), "is of 64 × 64 pixels and the pictures of 32 × 32"),
    (("--reference", "single"), "holds one picture"),
    (("--features", "inception"), "torch-fidelity"),
    (("--fixed-latents", "latents.pt"), "is a pickle"),
    (("--fixed-latents", "latents.npy"), "this model starts from (4, 16, 16)"),
    (("--protocol", "mlperf"), "The protocol mlperf has --steps 20, not 2"),
    (("--record", "none/record.json"), "There is no folder for the record"),
    (("--output", "one.txt"), "can't be read as a folder: Not a directory"),
    (("--output", "large"), "is not empty and holds no run"),
    (("--output", "one.txt/run"), "Not a directory"),
]


@pytest.fixture
def faulty(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all that the faults name, as the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "column.csv").write_text("file,title\n0.png,x\n1.png,y\n")
    (tmp_path / "names.csv").write_text("id,caption\na:b,x\nc,y\n")
    (tmp_path / "one.txt").write_text("a red circle\n")
    (tmp_path / "broken.npz").write_bytes(b"x")
    (tmp_path / "latents.pt").write_bytes(b"x")
    np.save(tmp_path / "latents.npy", np.zeros((4, 8, 8), np.float32))
    np.savez(tmp_path / "narrow.npz", features=np.zeros((9, 3)))
    np.savez(tmp_path / "flat.npz", mu=np.zeros(16), sigma=np.zeros(16))
    launching.blotches(tmp_path / "large", 3, 64)
    launching.blotches(tmp_path / "single", 1)
    return tmp_path


@pytest.mark.parametrize(("more", "expected"), FAULTS, ids=lambda given: str(given)[:40])
def test_a_fault_is_one_sentence_and_exit_code_2(
    home: Path, faulty: Path, capsys: Any, more: tuple[Any, ...], expected: str
) -> None:
    before = sorted(f.name for f in faulty.iterdir())
    assert evaluate.main(words(home, faulty / "run", *more)) == 2
    said = capsys.readouterr()
    assert said.err.startswith("evaluate: ")
    assert said.err.count("\n") == 1
    assert expected in said.err
    assert said.out == ""
    assert sorted(f.name for f in faulty.iterdir()) == before


def test_what_the_command_line_lacks(capsys: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        evaluate.main(["mini-sd", "--output", "run"])
    assert caught.value.code == 2
    assert "--captions" in capsys.readouterr().err


def test_only_the_first_process_complains(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(evaluate, "GRACE", 0)
    with pytest.raises(SystemExit):
        evaluate.main(["mini-sd", "--output", "run"])
    with pytest.raises(SystemExit):
        evaluate.main(["--help"])
    assert evaluate.main(["mini-sd", "--captions", "c", "--output", "r", "--steps", "0"]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")


def test_an_interrupted_run_says_how_to_go_on(
    home: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run.blocks, "draw_missing", interrupt)
    assert evaluate.main(words(home, tmp_path / "run")) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert (tmp_path / "run" / ".stopped").exists()
    monkeypatch.undo()
    assert evaluate.main(words(home, tmp_path / "run", "--limit", 22)) == 0
    assert not (tmp_path / "run" / ".stopped").exists()


def called_off(sentence: str) -> None:
    """The launcher asks for an end while a sentence is being said."""
    signal.raise_signal(signal.SIGTERM)
    print(sentence, file=sys.stderr)


@pytest.mark.parametrize(
    ("fault", "code", "expected"),
    [
        (Together("No file."), 2, "No file."),
        (AtlasError("A full disk."), 2, "A full disk."),
        (KeyboardInterrupt(), 130, stopping.BY_SIGNAL),
        (stopping.Stopped(), 130, stopping.BY_SIGNAL),
    ],
)
def test_a_sentence_is_said_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
    tmp_path: Path,
    fault: Any,
    code: int,
    expected: Any,
) -> None:
    def fail(*_: Any) -> None:
        raise fault

    monkeypatch.setattr(run, "evaluate", fail)
    monkeypatch.setattr(stopping, "say", called_off)
    given = ["mini-sd", "--captions", "c.csv", "--output", str(tmp_path / "none")]
    assert evaluate.main(given) == code
    assert capsys.readouterr().err == f"{expected}\n"


def test_what_an_earlier_launch_said_is_forgotten_before_models_load(
    home: Path, whole: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(whole, tmp_path / "run")
    (folder / ".stopped").write_text("the disk is full")

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "tools_of", die)
    assert evaluate.main(words(home, folder)) == 130
    assert stopping.BY_SIGNAL in capsys.readouterr().err


def test_a_broken_reference_is_found_before_the_first_picture(
    home: Path, tmp_path: Path, capsys: Any
) -> None:
    real = launching.blotches(tmp_path / "real", 3)
    (real / "1.png").unlink()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(real / "1.jpg")
    (real / "1.jpg").write_bytes((real / "1.jpg").read_bytes()[:-300])  # whose header is whole
    assert evaluate.main(words(home, tmp_path / "run", "--reference", real)) == 2
    assert "1.jpg' is truncated or damaged" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_protocol_takes_one_latent(home: Path, tmp_path: Path, capsys: Any) -> None:
    np.save(tmp_path / "latents.npy", np.zeros((22, 4, 16, 16), np.float32))
    arguments = words(home, tmp_path / "run", "--protocol", "mlperf", "--limit", 5000)
    arguments += ["--fixed-latents", str(tmp_path / "latents.npy")]
    at = arguments.index("--steps")
    arguments += ["--features", "inception"]
    assert evaluate.main([*arguments[:at], *arguments[at + 2 :]]) == 2
    assert "latents.npy' holds 22; give one of shape (1, channels" in capsys.readouterr().err


def test_a_process_alone_has_one_thread_and_patience() -> None:
    code = "import sys; sys.path.append('scripts'); import evaluate, os, torch\n"
    code += "print(os.environ['OMP_NUM_THREADS'], torch.get_num_threads())"
    clean = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    told = subprocess.run(
        [sys.executable, "-c", code],
        cwd=launching.ROOT,
        env=clean,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == ["1", "1"]
    given = ["mini-sd", "--captions", "c", "--output", "r"]
    assert evaluate.parser().parse_args(given).patience == PATIENCE == 21600


def test_the_smallest_batch_is_where_a_run_goes_on(
    home: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(whole, tmp_path / "run")
    (folder / "00003.png").unlink()
    run.blocks.keep_size(folder, 2)
    sizes, draw = [], run.blocks.draw_missing

    def seen(artist: Any, *given: Any) -> Any:
        sizes.append(artist.size)
        return draw(artist, *given)

    monkeypatch.setattr(run.blocks, "draw_missing", seen)
    assert evaluate.main(words(home, folder)) == 0
    assert sizes == [2]
    assert rows(folder, "throughput")[0]["smallest_batch"] == 2
    assert json.loads((folder / "provenance.json").read_text())["smallest_batch"] == 2


def test_the_captions_are_of_the_tiny_vocabulary(home: Path) -> None:
    assert (home / "captions.csv").read_text().startswith(f"caption\n{tiny.CAPTIONS[0]} 0\n")
