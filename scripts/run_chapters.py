"""Run the chapters in parallel and keep their results in the book's execution cache.

jupyter-cache knows a chapter by its code cells alone. Whatever else decides a result (the
package, the records, the checkpoints, the libraries, the machine) goes into a fingerprint; when
that changes, the cache is dropped and every chapter runs again. Failed runs are never kept.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import platform
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn, JupyterCacheAbstract
from jupyter_cache.executors.utils import single_nb_execution
from myst_nb.core.config import NbParserConfig
from myst_nb.core.read import create_nb_reader
from myst_parser.config.main import MdParserConfig
from nbformat import NotebookNode

from unet_atlas.errors import AtlasError
from unet_atlas.files import write_text

ANSI = re.compile(r"\x1b\[[0-9;]*m")
PLAIN = ("requirements.txt", "constraints.txt")
TREES = ("src", "records", "models")
# What the kernels are told: no progress bars, no reports, no warning about missing widgets.
QUIET = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    "PYTHONWARNINGS": "ignore:IProgress not found",
    "TQDM_DISABLE": "1",
}
NOT_SOURCE = ("__pycache__", ".egg-info", ".DS_Store")


@dataclass(frozen=True)
class Chapter:
    """A notebook of the book, read but not run."""

    path: Path
    name: str
    notebook: NotebookNode


@dataclass(frozen=True)
class Run:
    """What came of running a chapter; `error` is empty when all went well."""

    name: str
    seconds: float
    notebook: NotebookNode
    error: str = ""


class ChapterError(Exception):
    """A chapter cannot be read."""


# --- the fingerprint -----------------------------------------------------------------------


def fingerprint(root: Path) -> dict[str, str]:
    """Everything outside a chapter that decides its results, one digest for each part."""
    parts = {tree: digest_files(root, source_files(root / tree)) for tree in TREES}
    parts |= {name: digest_files(root, [root / name]) for name in PLAIN}
    return parts | {
        "python": platform.python_version(),
        "installed packages": digest(installed()),
        "execution settings": digest([execution_settings(root)]),
        "CUDA": cuda(),
        "UNET_ATLAS_WEIGHTS": os.environ.get("UNET_ATLAS_WEIGHTS", ""),
    }


def source_files(folder: Path) -> list[Path]:
    """The files below a folder that are sources, sorted; not those of a model in the making."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(mark in str(path) for mark in NOT_SOURCE)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts[:-1])
    )


def digest(parts: Iterable[str]) -> str:
    """One digest of several strings."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def digest_files(root: Path, files: Iterable[Path]) -> str:
    """One digest of the names, sizes and contents of files; those that do not exist count too."""
    total = hashlib.sha256()
    for path in files:
        body = path.read_bytes() if path.is_file() else b"missing"
        total.update(f"{path.relative_to(root).as_posix()}\0{len(body)}\0".encode())
        total.update(hashlib.sha256(body).digest())
    return total.hexdigest()


def installed() -> list[str]:
    """The installed distributions as name==version."""
    return sorted({f"{d.metadata['Name']}=={d.version}".lower() for d in distributions()})


def execution_settings(root: Path) -> str:
    """How cells are run, as text: the part of _config.yml that bears on it, and QUIET."""
    config = read_yaml(root / "_config.yml")
    sphinx = (config.get("sphinx") or {}).get("config") or {}
    notebook = {key: value for key, value in sphinx.items() if key.startswith("nb_")}
    return json.dumps([config.get("execute"), notebook, QUIET], sort_keys=True)


def cuda() -> str:
    """The name of the CUDA device, or `none`."""
    try:
        import torch
    except ImportError:
        return "none"
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"


def book_root(path: Path) -> Path:
    """The folder of a book, as a full path.

    Raises:
        AtlasError: it lacks the settings or the contents of a book.
    """
    for name in ("_config.yml", "_toc.yml"):
        if not (path / name).is_file():
            raise AtlasError(f"'{path}' holds no book: it has no {name}; name another with --root.")
    return path.resolve()


def read_yaml(path: Path) -> dict:
    """A YAML file as a dict.

    Raises:
        AtlasError: it can't be read, or holds something else.
    """
    try:
        data = yaml.safe_load(path.read_text("utf8")) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise AtlasError(f"'{path.name}' can't be read: {reason}; mend it.") from error
    if not isinstance(data, dict):
        raise AtlasError(f"'{path.name}' holds no names with values; mend it.")
    return data


def write_json(path: Path, data: object) -> None:
    """Write a JSON file, and the folder around it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(data, indent=1, sort_keys=True) + "\n")


def read_json(path: Path) -> dict:
    """A JSON file as a dict; empty when it is missing or broken."""
    with suppress(OSError, ValueError):
        return json.loads(path.read_text("utf8"))
    return {}


def changes(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """The parts in which two fingerprints differ."""
    return sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))


def drop_stale_cache(build: Path, now: dict[str, str]) -> list[str]:
    """Delete the execution cache if it was filled under another fingerprint; say what changed."""
    store = build / "fingerprint.json"
    changed = changes(read_json(store), now)
    if changed:
        shutil.rmtree(build / ".jupyter_cache", ignore_errors=True)
        write_json(store, now)
    return changed


# --- the chapters --------------------------------------------------------------------------


def toc_files(entry: object) -> Iterator[str]:
    """The pages named in a table of contents, in order."""
    if isinstance(entry, dict):
        for key in ("root", "file"):
            if key in entry:
                yield entry[key]
        for key in ("parts", "chapters", "sections", "entries", "subtrees"):
            yield from toc_files(entry.get(key))
    elif isinstance(entry, list):
        for item in entry:
            yield from toc_files(item)


def toc_paths(root: Path) -> list[Path]:
    """The source files of the book that exist; Sphinx reports the others."""
    names = [root / name for name in toc_files(read_yaml(root / "_toc.yml"))]
    found = (next((p for p in candidates(name) if p.is_file()), None) for name in names)
    return [path for path in found if path is not None]


def candidates(name: Path) -> list[Path]:
    """The files a name in the table of contents may stand for."""
    return [name, *(name.with_name(name.name + suffix) for suffix in (".md", ".ipynb"))]


def read_chapter(root: Path, path: Path) -> Chapter | None:
    """A page as a notebook, exactly as the book's build reads it; None for a page of text."""
    text = path.read_text("utf8")
    enabled = (read_yaml(root / "_config.yml").get("parse") or {}).get("myst_enable_extensions")
    config = MdParserConfig(enable_extensions=set(enabled or ()))
    name = path.relative_to(root).as_posix()
    try:
        reader = create_nb_reader(str(path), config, NbParserConfig(), text)
        notebook = reader.read(text) if reader else None
    except Exception as error:
        raise ChapterError(f"{name}: cannot be read as a notebook: {error}") from error
    if notebook is None or notebook.metadata.get("mystnb", {}).get("execution_mode") == "off":
        return None
    has_code = any(cell.cell_type == "code" for cell in notebook.cells)
    return Chapter(path, name, notebook) if has_code else None


def in_cache(cache: JupyterCacheAbstract, chapter: Chapter) -> bool:
    """Whether the cache holds the results of exactly these cells."""
    try:
        cache.get_cache_bundle(cache.match_cache_notebook(chapter.notebook).pk)
    except KeyError:
        return False
    return True


def run_chapter(chapter: Chapter, timeout: int) -> Run:
    """Run a chapter in an empty folder, as readers do. This happens in a process of its own."""
    start, notebook = time.perf_counter(), chapter.notebook
    try:
        with TemporaryDirectory(prefix="chapter-", ignore_cleanup_errors=True) as empty:
            result = single_nb_execution(
                notebook,
                cwd=empty,
                timeout=timeout,
                allow_errors=False,
                extra_arguments=["--log-level=ERROR"],
            )
    except Exception as error:  # a kernel that died, or never started
        error_text = f"{type(error).__name__}: {error}"
        return Run(chapter.name, time.perf_counter() - start, notebook, error_text)
    error_text = describe(notebook, result.err) if result.err else ""
    return Run(chapter.name, result.time, notebook, error_text)


def describe(notebook: NotebookNode, error: Exception) -> str:
    """Which cell failed, with its line in the source, and the traceback."""
    lines = notebook.metadata.get("source_map", [])
    for index, cell in enumerate(notebook.cells):
        failed = [o for o in cell.get("outputs", []) if o.output_type == "error"]
        if failed and "raises-exception" not in cell.metadata.get("tags", []):
            where = f"cell {index + 1}" + (f" (line {lines[index]})" if lines else "")
            return ANSI.sub("", f"{where}: {failed[0].ename}\n" + "\n".join(failed[0].traceback))
    return ANSI.sub("", f"{type(error).__name__}: {error}")


def keep(cache: JupyterCacheAbstract, chapter: Chapter, run: Run) -> None:
    """Put the results of a run into the cache."""
    data = {"execution_seconds": run.seconds}
    bundle = CacheBundleIn(run.notebook, str(chapter.path), data=data)
    cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


def run_chapters(root: Path, build: Path, workers: int) -> list[str]:
    """Run what the cache lacks, a line for each chapter as it ends; return the failures."""
    cache = get_cache(str(build / ".jupyter_cache"))
    try:
        read = [read_chapter(root, path) for path in toc_paths(root)]
    except ChapterError as error:
        return [str(error)]
    chapters = [chapter for chapter in read if chapter]
    last = read_json(build / "seconds.json")
    missing = [chapter for chapter in chapters if not in_cache(cache, chapter)]
    missing.sort(key=lambda chapter: -last.get(chapter.name, 0))  # the longest run starts first
    todo = {chapter.name: chapter for chapter in missing}
    print(f"{len(chapters)} chapters with code, {len(todo)} to run", flush=True)
    failures = []
    for done, run in enumerate(run_all(list(todo.values()), timeout(root), workers), start=1):
        state = "FAILED" if run.error else "ran"
        progress = f"[{done}/{len(todo)}]"
        print(f"  {progress} {run.name} {state} in {run.seconds:.1f} s", flush=True)
        if run.error:
            failures.append(f"{run.name}, {run.error}")
        else:
            keep(cache, todo[run.name], run)
            last[run.name] = round(run.seconds, 1)
    write_json(build / "seconds.json", last)
    return failures


def timeout(root: Path) -> int:
    """Seconds a single cell may take."""
    return int((read_yaml(root / "_config.yml").get("execute") or {}).get("timeout", 600))


def run_all(chapters: list[Chapter], timeout: int, workers: int) -> Iterator[Run]:
    """Run chapters in parallel and yield each when it is done."""
    if not chapters:
        return
    workers = max(1, min(workers, len(chapters)))
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    os.environ.setdefault("OMP_NUM_THREADS", threads)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        for future in as_completed([pool.submit(run_chapter, c, timeout) for c in chapters]):
            yield future.result()
