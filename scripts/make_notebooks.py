"""Write each chapter as a notebook: unexecuted beside its source, executed into the finished site.

    python scripts/make_notebooks.py           # book/**/x.md → book/**/x.ipynb
    python scripts/make_notebooks.py --check   # exit code 1, naming the notebooks out of step

Colab, Binder and Kaggle open the unexecuted ones from the repository. They hold no outputs, so they
change only with their chapters. `make book` puts the executed ones behind the download button.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import nbformat
from jupyter_cache import get_cache
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from plain_markdown import WORDLESS, Names, SyntaxUnknown, inline, plain, wordless, works
from run_chapters import Chapter, ChapterError, book_root, read_chapter, read_yaml, toc_paths
from unet_atlas.errors import AtlasError
from unet_atlas.files import write_text

GLUE = "application/papermill.record/"
KEPT_TAGS = {"raises-exception"}
HIDDEN = {
    "hide-input": "source_hidden",
    "remove-input": "source_hidden",
    "hide-cell": "source_hidden",
    "remove-cell": "source_hidden",
    "hide-output": "outputs_hidden",
    "remove-output": "outputs_hidden",
}
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
# What the first cell does. The clone brings the models and records along with the package.
SETUP = """\
# Does nothing where UNet Atlas is installed; elsewhere (Colab, Kaggle, ...) it installs it.
import importlib.util

if importlib.util.find_spec("unet_atlas") is None:
    import os
    import subprocess
    import sys
    from pathlib import Path

    source = os.environ.get("UNET_ATLAS_SOURCE", "{url}")
    home = Path("unet-atlas").resolve()
    if not home.is_dir():
        subprocess.run(["git", "clone", "--quiet", "--depth", "1", source, home], check=True)
    subprocess.run([sys.executable, home / "scripts" / "install_here.py"], check=True)
    sys.path.insert(0, str(home / "src"))"""


def main() -> int:
    """Write the notebooks, or compare them with their chapters."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = Path(__file__).resolve().parent.parent
    parser.add_argument("--root", type=Path, default=here, help="the folder of _config.yml")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if out of step")
    options = parser.parse_args()
    try:
        root = book_root(options.root)
        wanted = unexecuted(root)
    except AtlasError as error:
        print(f"make_notebooks: {error}", file=sys.stderr)
        return 2
    except (ChapterError, SyntaxUnknown) as error:
        print(error, file=sys.stderr)
        return 1
    faults = out_of_step(root, wanted)
    if options.check:
        print("\n".join(faults) or f"{len(wanted)} notebooks, in step with their chapters")
        return 1 if faults else 0
    for path, text in wanted.items():
        write(root / path, text)
    print(f"{len(wanted)} notebooks in step")
    left = out_of_step(root, wanted)
    print("\n".join(left), file=sys.stderr, end="\n" if left else "")
    return 1 if left else 0


def write(path: Path, text: str) -> None:
    """Write a text, unless it is there already."""
    if path.is_file() and path.read_text("utf8") == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)


def out_of_step(root: Path, wanted: dict[str, str]) -> list[str]:
    """One line for each notebook that is missing, differs from its chapter, or has none."""
    faults = []
    for name, text in wanted.items():
        path = root / name
        if not path.is_file():
            faults.append(f"{name} is missing: run `make notebooks`")
        elif path.read_text("utf8") != text:
            faults.append(f"{name} is out of step with its chapter: run `make notebooks`")
    there = {path.relative_to(root).as_posix() for path in (root / "book").rglob("*.ipynb")}
    strays = sorted(name for name in there - wanted.keys() if ".ipynb_checkpoints" not in name)
    return faults + [f"{name} belongs to no chapter: move or delete it" for name in strays]


# --- both kinds ----------------------------------------------------------------------------


def chapters(root: Path) -> list[Chapter]:
    """The pages of the book that have cells, in order, as the book's build reads them."""
    read = (read_chapter(root, path) for path in toc_paths(root))
    return [chapter for chapter in read if chapter]


def unexecuted(root: Path) -> dict[str, str]:
    """File → text of each chapter's notebook without outputs."""
    found = chapters(root)
    names = book_names(root, found)
    return {
        notebook_file(c.name): as_text(
            notebook(
                root, c, names, note=" In the text, … stands for a value that the cells compute."
            )
        )
        for c in found
    }


def executed(root: Path, build: Path) -> dict[str, str]:
    """File → text of each chapter's notebook with the results in the execution cache.

    Raises:
        KeyError: the cache lacks a chapter; run the chapters first.
    """
    cache = get_cache(str(build / ".jupyter_cache"))
    found = chapters(root)
    names = book_names(root, found)
    texts = {}
    for chapter in found:
        _, run = cache.merge_match_into_notebook(chapter.notebook)
        filled = replace(names, values=glued(run))
        texts[notebook_file(chapter.name)] = as_text(
            notebook(root, replace(chapter, notebook=run), filled)
        )
    return texts


def write_executed(root: Path, build: Path) -> list[str]:
    """Put the executed notebooks where the pages' download buttons point to; the faults."""
    try:
        texts = executed(root, build)
    except SyntaxUnknown as error:
        return [str(error)]
    for name, text in texts.items():
        write(build / "html" / "_sources" / name, text)
    return []


def notebook_file(chapter: str) -> str:
    """The notebook's file beside a chapter's."""
    return str(Path(chapter).with_suffix(".ipynb").as_posix())


def as_text(notebook: NotebookNode) -> str:
    """A notebook as the text of its file."""
    nbformat.validate(notebook)
    return nbformat.writes(notebook, version=nbformat.NO_CONVERT) + "\n"


def notebook(root: Path, chapter: Chapter, names: Names, note: str = "") -> NotebookNode:
    """A chapter as a notebook for readers; it holds the outputs that the chapter's cells hold."""
    folder = Path(chapter.name).parent.as_posix()
    names = replace(names, folder=folder, figures=figure_names(chapter.notebook))
    if lines := wordless(chapter.path.read_text("utf8")):
        raise SyntaxUnknown(f"{chapter.name}, line {lines[0]}: {WORDLESS}")
    try:
        body = [new for cell in chapter.notebook.cells for new in reader_cells(cell, names)]
    except SyntaxUnknown as error:
        raise SyntaxUnknown(f"{chapter.name}: {error}") from error
    except KeyError as error:
        raise SyntaxUnknown(f"{chapter.name}: nothing in the book is called {error}") from error
    has_values = note and any("…" in c.source for c in body if c.cell_type == "markdown")
    cells = [*opening(root, chapter, note if has_values else ""), *body]
    for cell, name in zip(cells, cell_ids(cells), strict=True):
        cell["id"] = name
    return new_notebook(cells=cells, metadata=METADATA)


def opening(root: Path, chapter: Chapter, note: str) -> list[NotebookNode]:
    """Where the notebook comes from, and the cell that installs what it needs."""
    settings = read_yaml(root / "_config.yml")
    url = settings["repository"]["url"].rstrip("/")
    page = f"{blob(settings)}/{chapter.name}"
    words = (
        f"*A chapter of [{settings['title']}]({url}), made from [{chapter.name}]({page}). "
        f"The first cell installs what the others need, where it is not there.{note}*"
    )
    return [new_markdown_cell(words), new_code_cell(SETUP.format(url=url))]


def blob(settings: dict) -> str:
    """The address below which the repository shows its files."""
    place = settings["repository"]
    return f"{place['url'].rstrip('/')}/blob/{place.get('branch', 'main')}"


def cell_ids(cells: Iterable[NotebookNode]) -> Iterator[str]:
    """Ids that follow from the cells' texts: a change elsewhere does not move them."""
    seen: dict[str, int] = {}
    for cell in cells:
        digest = hashlib.sha256(f"{cell.cell_type}\0{cell.source}".encode()).hexdigest()[:8]
        seen[digest] = seen.get(digest, 0) + 1
        yield digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"


def reader_cells(cell: NotebookNode, names: Names) -> list[NotebookNode]:
    """A chapter's cell for readers: prose in plain Markdown, code with its caption below."""
    if cell.cell_type != "code":
        text = plain(cell.source, names)
        return [new_markdown_cell(text)] if text else []
    cells = [code_cell(cell)]
    figure = (cell.metadata.get("mystnb") or {}).get("figure") or {}
    if figure.get("caption"):
        number = names.figures.get(figure.get("name", ""), "")
        caption = inline(" ".join(figure["caption"].split()), names)
        cells.append(new_markdown_cell(f"**{number}.** {caption}" if number else caption))
    return cells


def code_cell(cell: NotebookNode) -> NotebookNode:
    """The code, folded where the page folds it, with the outputs that are there."""
    tags = cell.metadata.get("tags", [])
    metadata = {}
    if hidden := {HIDDEN[tag]: True for tag in tags if tag in HIDDEN}:
        metadata["jupyter"] = hidden
    if kept := sorted(KEPT_TAGS.intersection(tags)):
        metadata["tags"] = kept
    outputs = [light for output in cell.get("outputs", []) if (light := lighter(output))]
    count = cell.get("execution_count")
    return new_code_cell(cell.source, metadata=metadata, outputs=outputs, execution_count=count)


def lighter(output: NotebookNode) -> NotebookNode | None:
    """An output without what only the build or a terminal reads; None where nothing is left."""
    if "data" not in output:
        return output
    data = {kind: value for kind, value in output.data.items() if not kind.startswith(GLUE)}
    if "text/html" in data:
        data.pop("text/plain", None)
    return NotebookNode(output | {"data": data}) if data else None


# --- what names stand for ------------------------------------------------------------------


def book_names(root: Path, found: list[Chapter]) -> Names:
    """The titles and addresses of the pages, and the works of the bibliography."""
    settings = read_yaml(root / "_config.yml")
    executable = {chapter.name for chapter in found}
    pages = {}
    for path in toc_paths(root):
        name = path.relative_to(root).as_posix()
        shown = notebook_file(name) if name in executable else name
        page = name.removesuffix(path.suffix)
        pages[page] = (title(path.read_text("utf8")) or page, f"{blob(settings)}/{shown}")
    known: dict[str, tuple[str, str, str]] = {}
    for file in settings.get("bibtex_bibfiles", []):
        known |= works(root / file)
    return Names(pages=pages, works=known)


def title(text: str) -> str:
    """The first heading of a page."""
    lines = (line for line in text.splitlines() if line.startswith("# "))
    return next(lines, "")[2:].strip()


def figure_names(notebook: NotebookNode) -> dict[str, str]:
    """Figures and tables numbered in the order of the cells, by their names in the text."""
    numbers, found = {"Figure": 0, "Table": 0}, {}
    for cell in notebook.cells:
        figure = (cell.metadata.get("mystnb") or {}).get("figure") or {}
        if name := figure.get("name"):
            kind = "Table" if name.startswith("tab-") else "Figure"
            numbers[kind] += 1
            found[name] = f"{kind} {numbers[kind]}"
    return found


def glued(run: NotebookNode) -> dict[str, str]:
    """The values that an executed notebook hands to its text."""
    values = {}
    for cell in run.cells:
        for output in cell.get("outputs", []):
            name = output.get("metadata", {}).get("scrapbook", {}).get("name")
            text = output.get("data", {}).get(f"{GLUE}text/plain")
            if name and text is not None:
                values[name] = unquoted(text)
    return values


def unquoted(text: str) -> str:
    """The string that a `repr` shows; other values stay as they are shown."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if isinstance(value, str) else text


if __name__ == "__main__":
    sys.exit(main())
