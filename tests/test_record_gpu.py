"""The command that records a GPU: its options, its exit codes, its sentences."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from gpu import tiny

import record_gpu
from unet_atlas.errors import AtlasError
from unet_atlas.gpu import recorder
from unet_atlas.gpu.run import EXPERIMENTS


@pytest.fixture
def calls(monkeypatch) -> list[tuple]:
    """Makes CUDA seem to be there, and takes down what the recorder is asked."""
    asked = []

    def record(root, bench, only):
        asked.append((bench, only))
        bench.say("[9:30 left] ceilings 1/6: copy")
        return root / "records" / "gpu.json"

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(recorder, "record", record)
    return asked


def test_without_cuda_it_says_so_and_exits_with_2(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert record_gpu.main([]) == 2
    said = capsys.readouterr()
    assert said.err == "There is no CUDA device here; run this where there is one.\n"
    assert not said.out


def test_an_unknown_experiment_lists_the_known(capsys):
    with pytest.raises(SystemExit) as stop:
        record_gpu.main(["--only", "heat"])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert all(name in said for name in EXPERIMENTS)


def test_options_reach_the_recorder(calls, capsys, tmp_path: Path):
    assert record_gpu.main([], tmp_path) == 0
    options = ["--quick", "--only", "build", "--only", "blocks", "--seed", "7"]
    assert record_gpu.main(options, tmp_path) == 0
    (full, none), (quick, two) = calls
    assert (full.quick, full.seed, none) == (False, 0, [])
    assert (quick.quick, quick.seed, two) == (True, 7, ["build", "blocks"])
    assert quick.effort.seconds < full.effort.seconds
    assert full.device == torch.device("cuda:0")
    said = capsys.readouterr()
    assert said.out == "records/gpu.json\n" * 2
    assert "ceilings 1/6" in said.err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (AtlasError("'records' can't be written to."), 2, "can't be written to"),
        (KeyboardInterrupt(), 130, "the same command goes on"),
    ],
)
def test_what_ends_it(calls, capsys, monkeypatch, error: BaseException, code: int, words: str):
    def record(*_):
        raise error

    monkeypatch.setattr(recorder, "record", record)
    assert record_gpu.main([]) == code
    assert words in capsys.readouterr().err


def test_a_whole_session_from_the_command(monkeypatch, tmp_path: Path, capsys):
    """The recorder behind it is the real one, on the CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    real = recorder.record
    chosen = tiny.subjects(tiny.config(tmp_path))
    monkeypatch.setattr(
        recorder, "record", lambda root, bench, only: real(root, tiny.bench(), only, chosen)
    )
    assert record_gpu.main(["--only", "blocks"], tmp_path) == 0
    name = capsys.readouterr().out.strip()
    assert (tmp_path / name).is_file()


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="would measure for minutes")
def test_as_a_program():
    source = Path(record_gpu.__file__)
    environment = {**os.environ, "PYTHONPATH": str(source.parents[1] / "src")}
    done = subprocess.run(
        [sys.executable, str(source), "--quick"], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
