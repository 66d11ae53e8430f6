"""The command line, as a reader uses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest
from test_config import TINY, saved

from unet_atlas import catalog
from unet_atlas.cli import FORMATS, main


def run(capsys: pytest.CaptureFixture, *words: object) -> tuple[int, str, str]:
    code = main([str(w) for w in words])
    out, err = capsys.readouterr()
    return code, out, err


def test_list_names_all_thirteen(capsys: pytest.CaptureFixture) -> None:
    code, out, _ = run(capsys, "list")
    assert code == 0
    assert all(model in out for model in catalog.ids())


def test_show_ends_in_the_total(capsys: pytest.CaptureFixture) -> None:
    _, out, _ = run(capsys, "show", "sd-1.5")
    assert out.strip().endswith("859,520,964")


def test_compare_says_where_the_parameters_went(capsys: pytest.CaptureFixture) -> None:
    _, out, _ = run(capsys, "compare", "sd-1.5", "sd-2.1-v")
    assert "8 × 40 ≠ 5 × 64" in out
    assert "+6,389,760" in out


def test_compare_takes_any_number_of_models_and_one_twice(capsys: pytest.CaptureFixture) -> None:
    words = ("sd-1.5", "sd-1.5", "sdxl-base-1.0", "--part", "stages")
    code, out, _ = run(capsys, "compare", *words)
    assert code == 0
    assert "sd-1.5 (1) ≠ sd-1.5 (2) ≠ sdxl-base-1.0" in out


def test_cost_at_another_size(capsys: pytest.CaptureFixture) -> None:
    _, out, _ = run(capsys, "cost", "sd-1.5", "--resolution", 768, "--batch", 2)
    assert "2,148.122 GMACs" in out
    assert "weights" in out


@pytest.mark.parametrize(
    "command",
    [("list",), ("show", "sd-1.5"), ("compare", "sd-1.5", "sd-2.1-v"), ("cost", "sd-1.5")],
)
@pytest.mark.parametrize("form", FORMATS)
def test_every_command_in_every_format(
    capsys: pytest.CaptureFixture, command: tuple[str, ...], form: str
) -> None:
    code, out, err = run(capsys, *command, "--format", form)
    assert (code, err) == (0, "")
    if form == "json":
        json.loads(out)
    if form == "html":
        ElementTree.fromstring(f"<div>{out}</div>")
    if form == "csv":
        width = out.splitlines()[0].count(",")
        assert width >= 2
    if form == "markdown":
        assert "|---" in out


def test_several_models_in_one_csv_are_told_apart(capsys: pytest.CaptureFixture) -> None:
    _, out, _ = run(capsys, "show", "sd-1.5", "sdxl-base-1.0", "--format", "csv")
    lines = out.splitlines()
    assert lines[0].startswith("model,")
    assert {line.split(",")[0] for line in lines[1:]} == {"sd-1.5", "sdxl-base-1.0"}


def test_output_is_written_whole_or_not_at_all(
    capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    file = tmp_path / "table.csv"
    code, out, _ = run(capsys, "show", "sd-1.5", "--format", "csv", "--output", file)
    assert (code, out) == (0, "")
    assert file.read_text().startswith("key,block")
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]
    code, _, err = run(capsys, "show", "nope", "--output", tmp_path / "other.txt")
    assert code == 2
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]
    code, _, err = run(capsys, "list", "--output", tmp_path / "no" / "folder.txt")
    assert code == 2
    assert "can't be written" in err


def test_a_folder_of_the_readers_own(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    saved(tmp_path, TINY)
    code, out, _ = run(capsys, "compare", tmp_path, "sd-1.5", "--part", "stages")
    assert code == 0
    assert f"{tmp_path.name} ≠ sd-1.5" in out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("show", "sd-1.55"), "did you mean 'sd-1.5'"),
        (("show", "sd15"), "did you mean 'sd-1.5'"),
        (("show", "runwayml/stable-diffusion-v1-5"), "did you mean 'sd-1.5'"),
        (("show", "quite-another"), "'unet-atlas list' shows the ids"),
        (("compare", "sd-1.5"), "two models or more"),
        (("cost", "sd-1.5", "--resolution", "100"), "multiple of 8"),
        (("cost", "sd-1.5", "--batch", "0"), "batch 0 is out of range"),
        (("cost", "sd-1.5", "--dtype", "fp7"), "'fp7' is no dtype"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    capsys: pytest.CaptureFixture, words: tuple[str, ...], expected: str
) -> None:
    code, out, err = run(capsys, *words)
    assert code == 2
    assert out == ""
    assert expected in err
    assert len(err.strip().splitlines()) == 1


def test_a_hostile_config_through_the_command_line(
    capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    for hostile in ({**TINY, "block_out_channels": [2**40, 2**40]}, {**TINY, "act_fn": "eval"}):
        code, _, err = run(capsys, "show", saved(tmp_path, hostile))
        assert code == 2
        assert len(err.strip().splitlines()) == 1


@pytest.mark.slow
def test_all_thirteen_within_fifteen_seconds_and_a_gigabyte() -> None:
    script = (
        "import resource, sys; from unet_atlas.cli import main; code = main(['show', 'all']);"
        "sys.stderr.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)); sys.exit(code)"
    )
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    seconds, kibibytes = time.monotonic() - begin, int(done.stderr.split()[-1])
    scale = 1024 if sys.platform == "darwin" else 1
    assert kibibytes / scale < 1_000_000
    assert seconds < 15 * max(1, os.getloadavg()[0] / (os.cpu_count() or 1))


def test_help_shows_an_example_and_every_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "unet_atlas.cli", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Example: unet-atlas compare" in done.stdout
    assert all(command in done.stdout for command in ("list", "show", "compare", "cost"))


def test_a_closed_pipe_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m unet_atlas.cli list | true",
        shell=True,
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""


def test_all_may_stand_among_others(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    code, out, _ = run(capsys, "show", saved(tmp_path, TINY), "all", "--format", "csv")
    assert code == 0
    assert len({line.split(",")[0] for line in out.splitlines()[1:]}) == 1 + len(catalog.ids())


def test_a_path_with_control_characters_stays_one_line(
    capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    for name in ("a\nb.json", "\x1b[31mred.json"):
        (tmp_path / name).write_text("x")
        code, _, err = run(capsys, "show", tmp_path / name)
        assert code == 2
        assert err.rstrip("\n").isprintable()


@pytest.mark.parametrize("name", ["key", "role", "difference"])
def test_a_folder_called_like_a_column(
    capsys: pytest.CaptureFixture, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).mkdir()
    saved(tmp_path / name, TINY)
    code, out, _ = run(capsys, "compare", tmp_path / name, "sd-1.5", "--format", "json")
    assert code == 0
    _, keys, roles = json.loads(out)
    assert set(keys["rows"][0]) == {"key", f"{name} (1)", "sd-1.5"}
    assert set(roles["rows"][0]) == {"role", f"{name} (1)", "sd-1.5", "difference"}


def test_a_terminal_without_the_signs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "unet_atlas.cli", "show", "sd-1.5"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"859,520,964" in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_sentence() -> None:
    done = subprocess.run(
        f"{sys.executable} -m unet_atlas.cli list > /dev/full",
        shell=True,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr == "unet-atlas: The answer can't be written: No space left on device.\n"
