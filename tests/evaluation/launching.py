"""Runs of scripts/evaluate.py for tests: what they need on disk, launches, a team in threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tiny_pipelines as tiny

from unet_atlas.evaluation.team import Team
from unet_atlas.images import write_png
from unet_atlas.sampling import pipelines

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "evaluate.py"
LAUNCHER = (
    *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1"),
    *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"),
)


def home_of(folder: Path, captions: int = 22) -> Path:
    """A folder with ``pipeline``, ``clip``, ``captions.csv`` and the reference ``real``."""
    with pipelines.quiet():
        tiny.quiet(tiny.stable_diffusion(folder / "words")).save_pretrained(folder / "pipeline")
        tiny.scorer(folder / "clip")
    lines = [f"{tiny.CAPTIONS[i % 8]} {i}" for i in range(captions)]
    (folder / "captions.csv").write_text("caption\n" + "\n".join(lines) + "\n")
    blotches(folder / "real", 24)
    return folder


def blotches(folder: Path, n: int, side: int = 32) -> Path:
    """A folder of pictures that differ."""
    folder.mkdir()
    rng = np.random.default_rng(n)
    for i in range(n):
        blotch = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        write_png(folder / f"{i}.png", np.kron(blotch, np.ones((side // 4, side // 4, 1), "u1")))
    return folder


def words(home: Path, output: Path, *more: Any) -> list[str]:
    """The arguments of a quick run."""
    given = [home / "pipeline", "--captions", home / "captions.csv", "--output", output]
    given += ["--reference", home / "real", "--clip", home / "clip", "--device", "cpu"]
    given += ["--steps", 2, "--batch", 4, *more]
    return [str(word) for word in given]


def start(processes: int, arguments: Sequence[str]) -> subprocess.Popen:
    """A launch of so many processes, one thread each, in a process group of its own."""
    launcher = [*LAUNCHER, "--num_processes", str(processes)] if processes > 1 else [sys.executable]
    return subprocess.Popen(
        [*launcher, str(SCRIPT), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


@dataclass(frozen=True)
class Ended:
    """How a launch ended."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> list[str]:
        """The lines that are the program's own, not the launcher's."""
        return [line for line in self.err.splitlines() if line.startswith("evaluate: ")]


def ended(process: subprocess.Popen, seconds: float = 240) -> Ended:
    """Wait for a launch."""
    out, err = process.communicate(timeout=seconds)
    return Ended(process.returncode, out, err)


def until(is_so: Callable[[], bool], seconds: float = 120) -> None:
    """Wait until something is so."""
    limit = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < limit, "it never came to pass"
        time.sleep(0.05)


def rows(output: Path, kind: str) -> list[dict[str, Any]]:
    """The rows of ``scores.json`` of one kind."""
    content = json.loads((output / "scores.json").read_text("utf8"))
    return [row for row in content["rows"] if row["kind"] == kind]


def pixels(folder: Path) -> dict[str, bytes]:
    """Every picture of a run as it lies on disk."""
    return {f.name: f.read_bytes() for f in folder.glob("*.png")}


@dataclass(frozen=True)
class Thread(Team):
    """A process of a team whose processes are threads."""

    slots: Any = None
    barrier: Any = None

    def _all(self, value: Any) -> list[Any]:
        self.slots[self.rank] = value
        self.barrier.wait(60)
        found = list(self.slots)
        self.barrier.wait(60)
        return found

    def gather(self, items: Sequence[Any]) -> list[Any]:
        return [item for part in self._all(list(items)) for item in part]

    def total(self, array: np.ndarray) -> np.ndarray:
        return sum(self._all(array)[::-1])  # in another order than a process alone

    def share(self, value: Any) -> Any:
        return self._all(value)[0]


def in_threads(world: int, work: Callable[[Team], Any]) -> list[Any]:
    """What each of ``world`` threads returns, or the exception that it ends with."""
    slots, barrier = [None] * world, threading.Barrier(world)

    def one(rank: int) -> Any:
        try:
            return work(Thread(rank, world, rank, slots=slots, barrier=barrier))
        except Exception as error:
            return error

    with ThreadPoolExecutor(world) as pool:
        return list(pool.map(one, range(world)))
