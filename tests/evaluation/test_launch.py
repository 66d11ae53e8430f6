"""Launches of two and three real processes: the same run, gone on with after a kill, never a hang.

Each launch takes some twenty seconds on two cores, so that there are few of them.
"""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import psutil
import pytest
from launching import Ended, ended, home_of, pixels, rows, start, until, words

pytestmark = pytest.mark.slow
STEPS = 80  # slow enough to be caught while it draws


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return home_of(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def alone(home: Path) -> Path:
    """The run of one process."""
    return finished(home, 1)


@pytest.fixture(scope="module")
def pair(home: Path) -> Path:
    """The run of two."""
    return finished(home, 2)


def finished(home: Path, processes: int) -> Path:
    output = home / f"by {processes}"
    end = ended(start(processes, words(home, output, "--steps", STEPS)))
    assert (end.code, end.said) == (0, []), end.err
    assert "FID" in end.out
    assert end.err.count("drawing: 22 of 22") == 1
    return output


def workers(launch: int) -> list[psutil.Process]:
    """The launch's processes, in the order of their ranks."""
    found = [p for p in psutil.Process(launch).children(recursive=True) if is_worker(p)]
    return sorted(found, key=lambda p: int(p.environ()["RANK"]))


def is_worker(process: psutil.Process) -> bool:
    try:
        return "evaluate.py" in " ".join(process.cmdline()) and "RANK" in process.environ()
    except psutil.Error:
        return False


def drawing(output: Path) -> bool:
    return len(list(output.glob("*.png"))) >= 4


def assert_same(one: Path, other: Path) -> None:
    assert pixels(one) == pixels(other)
    assert rows(one, "score") == rows(other, "score")
    assert rows(one, "run") == rows(other, "run")


def test_two_processes_are_like_one(alone: Path, pair: Path) -> None:
    assert_same(alone, pair)
    speed = rows(pair, "throughput")[0]
    assert (speed["processes"], len(speed["by_process"]), speed["drawn"]) == (2, 2, 22)


def test_killed_and_gone_on_with_by_three(home: Path, alone: Path) -> None:
    output = home / "killed"
    slow = words(home, output, "--steps", STEPS)
    launch = start(2, slow)
    until(lambda: drawing(output))
    for process in [psutil.Process(launch.pid), *workers(launch.pid)]:
        process.kill()
    launch.communicate()
    left = sorted(output.glob("*.png"))
    assert 4 <= len(left) < 22
    left[0].write_bytes(left[0].read_bytes()[:-40])
    left[1].write_bytes(b"")
    end = ended(start(3, slow))
    assert (end.code, end.said) == (0, []), end.err
    assert_same(output, alone)
    assert 0 < rows(output, "throughput")[0]["found"] < 22


def test_a_bad_input_is_said_once_and_before_the_launchers_report(home: Path) -> None:
    (home / "titles.csv").write_text("file,title\n0.png,x\n1.png,y\n")
    arguments = words(home, home / "untitled", "--captions", home / "titles.csv")
    end = ended(start(2, arguments))
    assert end.code != 0
    assert end.said == [
        f"evaluate: '{home / 'titles.csv'}' has no column 'caption' (it has file, title)."
    ]
    assert not (home / "untitled").exists()


def test_a_fault_of_one_process_ends_all_with_its_sentence(home: Path, pair: Path) -> None:
    output = home / "blocked"
    shutil.copytree(pair, output)
    (output / "00000.png").unlink()
    (output / "00005.png").unlink()
    (output / "00005.png").mkdir()  # a picture that the second process can't write
    end = ended(start(2, words(home, output, "--steps", STEPS)))
    assert end.code != 0
    assert end.said == [
        f"evaluate: process 1 of 2: '{output / '00005.png'}' can't be written: Is a directory; "
        "mend that, and the same command goes on."
    ]
    assert (output / ".stopped").read_text().startswith("process 1 of 2")


def lost(home: Path, name: str, sign: signal.Signals, *more: object) -> Ended:
    """A launch whose second process gets a signal while pictures are drawn."""
    output = home / name
    launch = start(2, words(home, output, "--steps", STEPS, *more))
    until(lambda: drawing(output))
    workers(launch.pid)[1].send_signal(sign)
    return ended(launch, 90)


def test_a_process_that_dies_ends_the_launch(home: Path) -> None:
    end = lost(home, "died", signal.SIGKILL)
    assert end.code != 0
    assert len(end.said) == 1
    assert "another process" in end.said[0].lower()
    assert "the same command goes on" in end.said[0]


def test_a_process_that_hangs_ends_the_launch(home: Path) -> None:
    end = lost(home, "hung", signal.SIGSTOP, "--patience", 5)
    assert end.code != 0
    assert end.said == [
        "evaluate: process 0 of 2: Another process ended, or did not answer within 5 s; start the "
        "same command again, it goes on with what is there."
    ]
