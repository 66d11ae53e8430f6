"""The book's own Sphinx extension, without a book."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from sphinxcontrib import katex

import atlas_book


def environment(**pages: dict) -> SimpleNamespace:
    """A stand-in for Sphinx's environment: pages with lane and, if they ran, their run."""
    ran = {name: {"exec_data": page["run"]} for name, page in pages.items() if "run" in page}
    return SimpleNamespace(
        metadata={name: {"lane": page["lane"]} for name, page in pages.items()},
        nb_metadata={name: ran.get(name, {}) for name in pages},
        found_docs=set(pages),
        toctree_includes={"start": ["two", "three"], "two": ["three"]},
        config=SimpleNamespace(root_doc="start"),
    )


def test_an_executed_page_shows_lane_seconds_and_day() -> None:
    """Three badges, with a class for the lane."""
    run = {"runtime": 7.6, "mtime": datetime(2026, 11, 22, 23, 50).timestamp()}
    line = atlas_book.badges(environment(page={"lane": "meta", "run": run}), "page", 7)
    assert "7 min to read" in line.astext()
    assert "Run in 8 s" in line.astext()
    assert "Last run on 2026-11-22" in line.astext()
    assert "ua-lane-meta" in line[0]["classes"]


def test_a_page_of_text_shows_its_lane_only() -> None:
    """No seconds, no day."""
    line = atlas_book.badges(environment(page={"lane": "none"}), "page", 1)
    assert line.astext() == f"{atlas_book.LANES['none']} 1 min to read"


def test_a_cell_may_have_a_lane_of_its_own() -> None:
    """A badge with the lane's words; a lane that does not exist is an error."""
    directive = atlas_book.LaneDirective.__new__(atlas_book.LaneDirective)
    directive.arguments = ["gpu"]
    (line,) = directive.run()
    assert line.astext() == atlas_book.LANES["gpu"]
    assert "ua-lane-gpu" in line[0]["classes"]
    directive.arguments, directive.error = ["warp"], ValueError
    with pytest.raises(ValueError, match="'warp' is no lane"):
        directive.run()


def test_pages_are_listed_once_in_reading_order() -> None:
    """Depth first from the root; a page that two others name stands once."""
    env = environment(three={"lane": "gpu"}, two={"lane": "meta"}, start={"lane": "none"})
    assert atlas_book.reading_order(env) == ["start", "two", "three"]


def test_status_pages_are_renewed_and_forgotten() -> None:
    """Pages with the table are written in every build, until they are gone."""
    env = environment(start={"lane": "none"})
    atlas_book.status_pages(env).update({"start", "gone"})
    assert atlas_book.renew_status(None, env) == ["start"]
    atlas_book.forget(None, env, "start")
    assert atlas_book.renew_status(None, env) == []


def test_libraries_are_those_of_this_build() -> None:
    """Each library with its installed version; Python first, CUDA last."""
    rows = dict(atlas_book.library_rows())
    assert rows["torch"].startswith("2.")
    assert "not installed" not in rows.values()
    assert next(iter(rows)) == "Python"
    assert list(rows)[-1] == "CUDA"


def test_katex_waits_for_a_server_that_listens_late(tmp_path: Path, monkeypatch) -> None:
    """The socket file is there before anyone listens on it: refused at first, then connected."""
    late = (
        "import socket, sys, time; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]);"
        "time.sleep(0.5); s.listen(); c, _ = s.accept(); c.sendall(b'ok'); time.sleep(5)"
    )
    monkeypatch.setattr(katex.KaTeXServer, "build_command", lambda socket: python(late, socket))
    process, connection = atlas_book.start_katex(tmp_path, timeout=30)
    with connection:
        assert connection.recv(2) == b"ok"
    stop(process)


def test_katex_that_never_starts_is_told(tmp_path: Path, monkeypatch) -> None:
    """One clear error, and no process left behind."""
    monkeypatch.setattr(katex.KaTeXServer, "build_command", lambda socket: python("1", socket))
    with pytest.raises(katex.KaTeXError, match="did not start"):
        atlas_book.start_katex(tmp_path, timeout=30)


def python(code: str, socket: Path) -> list[str]:
    """A command that runs a line of Python with the path of a socket."""
    return [sys.executable, "-c", code, str(socket)]


def stop(process: subprocess.Popen) -> None:
    """End a server and wait for it."""
    process.terminate()
    process.communicate(timeout=10)


def test_node_comes_with_the_wheel() -> None:
    """The pinned Node is there and runs."""
    done = subprocess.run([atlas_book.node_program(), "--version"], capture_output=True, text=True)
    assert done.stdout.startswith("v")
