"""The servers and the browser that the printer and the tests share."""

from __future__ import annotations

import gzip
import socket
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import browse


def answer(address: str) -> tuple[bytes, str | None]:
    """The body of an answer and its encoding."""
    with urllib.request.urlopen(address, timeout=30) as got:
        return got.read(), got.headers["Content-Encoding"]


def test_a_folder_is_served_until_the_block_ends(tmp_path: Path, capsys) -> None:
    """On this machine only, without a word for each request."""
    (tmp_path / "a.html").write_text("Hello", "utf8")
    with browse.served(tmp_path) as address:
        assert address.startswith("http://127.0.0.1:")
        assert answer(f"{address}/a.html") == (b"Hello", None)
    with pytest.raises(urllib.error.URLError):
        answer(f"{address}/a.html")
    assert capsys.readouterr().err == ""


def test_text_is_compressed_and_pictures_are_not(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("Hello", "utf8")
    (tmp_path / "a.png").write_bytes(b"picture")
    with browse.served(tmp_path, browse.Gzip) as address:
        body, encoding = answer(f"{address}/a.html")
        assert (gzip.decompress(body), encoding) == (b"Hello", "gzip")
        assert answer(f"{address}/a.png") == (b"picture", None)


def test_a_reader_who_goes_is_no_error(tmp_path: Path, capsys) -> None:
    """Any other error is told."""
    with browse.serve(tmp_path) as server:
        for error in (ConnectionResetError(), BrokenPipeError(), ValueError("a fault")):
            try:
                raise error
            except Exception:
                server.handle_error(socket.socket(), ("127.0.0.1", 1))
        server.shutdown()
    told = capsys.readouterr().err
    assert "ValueError: a fault" in told
    assert "ConnectionResetError" not in told
    assert "BrokenPipeError" not in told


def test_the_first_browser_there_is(tmp_path: Path, monkeypatch, capsys) -> None:
    """By the names of Chromium and Chrome; its path, or exit code 1 and the remedy."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert browse.main() == 1
    assert "apt-get install chromium" in capsys.readouterr().out
    program = tmp_path / "google-chrome"
    program.write_text(f"#!{sys.executable}", "utf8")
    program.chmod(0o755)
    assert browse.main() == 0
    assert capsys.readouterr().out == f"{program}\n"
