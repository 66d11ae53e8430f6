"""How a launch ends: one sentence, and progress in between."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from unet_atlas.evaluation import progress, stopping
from unet_atlas.evaluation.progress import Progress
from unet_atlas.evaluation.team import Team


def test_the_first_to_know_speaks_and_nobody_else(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    stopping.speak_once(Team(1, 2), tmp_path, "the disk is full")
    stopping.speak_once(Team(0, 2), tmp_path, "another process ended")
    assert capsys.readouterr().err == "evaluate: the disk is full\n"
    assert (tmp_path / stopping.STOPPED).read_text() == "the disk is full\n"
    stopping.forget(tmp_path)
    stopping.forget(tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_a_folder_the_first_process_speaks(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for rank in (1, 0):
        stopping.speak_once(Team(rank, 2), tmp_path / "none", f"said by {rank}")
    assert capsys.readouterr().err == "evaluate: said by 0\n"


def test_a_disk_that_takes_nothing_keeps_nobody_silent(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "file").write_text("x")
    stopping.speak_once(Team(1, 2), tmp_path / "file", "the disk is full")
    assert capsys.readouterr().err == "evaluate: the disk is full\n"


def test_control_characters_of_a_path_are_not_shown(capsys: pytest.CaptureFixture) -> None:
    stopping.say("no 'a\x1b[31m\nb'")
    assert capsys.readouterr().err == "evaluate: no 'a [31m b'\n"


def test_only_one_of_several_is_numbered() -> None:
    assert stopping.named(Team(), "full") == "full"
    assert stopping.named(Team(2, 3), "full") == "process 2 of 3: full"


@pytest.fixture
def handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_the_launchers_request_can_be_answered(handler: None) -> None:
    stopping.heed_the_launcher()
    with pytest.raises(stopping.Stopped):
        signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)  # asked twice: the sentence is being said
    stopping.heed_no_more()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_progress_is_lines_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    clock, done = [0.0], [0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    shown = Progress(lambda: done[0], 100, "drawing", Team())
    for seconds in (10, 31, 40):
        clock[0], done[0] = seconds, seconds
        shown.tick()
    done[0] = 100
    shown.close()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" after")[0] for line in lines] == [
        "drawing: 0 of 100",
        "drawing: 31 of 100",
        "drawing: 100 of 100",
    ]


def test_what_is_over_soon_needs_no_progress(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    shown = Progress(lambda: 3, 5, "scoring", Team(), brief=True)
    shown.tick()
    shown.close()
    assert capsys.readouterr().err == ""
    clock[0] = 60
    shown.tick()
    assert capsys.readouterr().err == "scoring: 3 of 5 after 1.0 min\n"


def test_progress_is_a_bar_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    clock, done = [0.0], [3]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    shown = Progress(lambda: done[0], 5, "drawing", Team())
    clock[0], done[0] = 2, 4
    shown.tick()
    done[0] = 5
    shown.close()
    assert "5/5" in capsys.readouterr().err


def test_only_the_first_process_shows_progress(capsys: pytest.CaptureFixture) -> None:
    shown = Progress(lambda: 1, 2, "drawing", Team(1, 2))
    shown.tick()
    shown.close()
    assert capsys.readouterr().err == ""
