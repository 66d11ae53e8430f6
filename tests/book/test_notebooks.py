"""The notebooks that readers get: in step with the chapters, readable, able to run anywhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jupytext
import nbformat
import pytest
from bs4 import BeautifulSoup
from jupyter_cache import get_cache
from jupytext.config import load_jupytext_config
from nbformat.v4 import new_code_cell, new_notebook, new_output
from tiny_book import ROOT, TinyBook

import browse
import build_book
import install_here
import make_notebooks
import run_chapters
import serve_book
import try_notebooks
from plain_markdown import Names, SyntaxUnknown, plain, works

NOTEBOOKS = sorted(
    path for path in (ROOT / "book").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts
)
MYST = re.compile(r"\{[a-z][a-z:-]*\}`|^\s*:{3,}|^`{3,}\{|^\([\w-]+\)=$", re.M)
NAMES = Names(
    folder="book/one",
    pages={"book/two": ("The second page", "https://example.org/two.ipynb")},
    works={
        "ho2020": ("Ho et al.", "2020", "https://example.org/ho"),
        "ho2022": ("Ho and Salimans", "2022", ""),
    },
    values={"total": "860M"},
    figures={"fig-u": "Figure 2"},
)


# --- in step -------------------------------------------------------------------------------


def test_the_notebooks_are_in_step_with_the_chapters() -> None:
    """The remedy is `make notebooks`."""
    assert make_notebooks.out_of_step(ROOT, make_notebooks.unexecuted(ROOT)) == []


def test_every_chapter_with_cells_has_a_notebook() -> None:
    """As many as the book runs; jupytext, and so JupyterLab, reads the same cells."""
    texts = make_notebooks.unexecuted(ROOT)
    chapters = make_notebooks.chapters(ROOT)
    assert len(texts) == len(chapters)
    for chapter, text in zip(chapters, texts.values(), strict=True):
        cells = [c.source for c in nbformat.reads(text, 4).cells if c.cell_type == "code"]
        same = jupytext.read(chapter.path, fmt="md:myst").cells
        assert cells[1:] == [c.source for c in same if c.cell_type == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_plain_and_without_outputs(path: Path) -> None:
    """No MyST left in the prose; the first code cell installs; ids are unique."""
    notebook = nbformat.read(path, 4)
    prose = [c.source for c in notebook.cells if c.cell_type == "markdown"]
    assert [found for text in prose for found in MYST.findall(no_code(text))] == []
    code = [c for c in notebook.cells if c.cell_type == "code"]
    assert notebook.cells[1] is code[0]
    assert "install_here.py" in code[0].source
    assert [c for c in code if c.outputs or c.execution_count] == []
    assert len({c.id for c in notebook.cells}) == len(notebook.cells)


def no_code(text: str) -> str:
    """Prose without its code."""
    return re.sub(r"^(`{3,})[^{`].*?^\1$|(?<!\})`[^`\n]*`", "", text, flags=re.S | re.M)


def test_jupyterlab_keeps_a_chapters_front_matter() -> None:
    """Without its settings jupytext drops what it does not know: the lane and the description."""
    path = ROOT / "book/architecture/stages.md"
    config = load_jupytext_config(str(path))
    form = {"extension": ".md", "format_name": "myst"}
    notebook = jupytext.reads(path.read_text("utf8"), form, config=config)
    saved = jupytext.writes(notebook, form, config=config)
    head = saved.split("---\n")[1]
    assert "lane: meta" in head
    assert "description: " in head


def test_out_of_step_notebooks_are_named(tiny: TinyBook, monkeypatch, capsys) -> None:
    """Missing, stale, and without a chapter; writing mends the first two."""

    def run(*options: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["make_notebooks", "--root", str(tiny.root), *options])
        code = make_notebooks.main()
        return code, "".join(capsys.readouterr())

    assert run("--check") == (1, "book/start.ipynb is missing: run `make notebooks`\n")
    assert run() == (0, "1 notebooks in step\n")
    assert run("--check")[0] == 0
    tiny.edit("book/start.md", lambda text: text.replace("A tiny book", "A small book"))
    code, said = run("--check")
    assert code == 1
    assert "book/start.ipynb is out of step" in said
    (tiny.root / "book/mine.ipynb").write_text("{}", "utf8")
    code, said = run()
    assert code == 1
    assert "book/mine.ipynb belongs to no chapter" in said
    tiny.edit("book/start.md", lambda text: f"{text}\n{{smallcaps}}`x`\n")
    code, said = run()
    assert code == 1
    assert "book/start.md: the role {smallcaps} has no translation" in said


def test_ids_follow_the_text() -> None:
    """A new cell leaves the ids of the others alone; equal cells have ids of their own."""
    cells = [new_code_cell(text) for text in ("a", "b", "a")]
    first = list(make_notebooks.cell_ids(cells))
    assert len(set(first)) == 3
    assert set(first) < set(make_notebooks.cell_ids([cells[0], new_code_cell("new"), *cells[1:]]))


# --- plain Markdown ------------------------------------------------------------------------

PLAIN = {
    "term": ("A {term}`latent` and {term}`UNets <UNet>`.", "A latent and UNets."),
    "page": ("See {doc}`/book/two`.", "See [The second page](https://example.org/two.ipynb)."),
    "page nearby": ("{doc}`../two`", "[The second page](https://example.org/two.ipynb)"),
    "page with words": ("{doc}`there </book/two>`", "[there](https://example.org/two.ipynb)"),
    "value": ("{glue:text}`total` of {glue:text}`gone`", "860M of …"),
    "citation": (
        "Noise {cite}`ho2020,ho2022`.",
        "Noise ([Ho et al., 2020](https://example.org/ho); Ho and Salimans, 2022).",
    ),
    "textual citation": ("{cite:t}`ho2022` say", "Ho and Salimans (2022) say"),
    "figure": ("{numref}`fig-u`, {numref}`fig-else`", "Figure 2, the figure"),
    "place": ("(sec-a)=\n## A\n{ref}`below <sec-a>`, {ref}`sec-a`", "## A\nbelow, here"),
    "link into the page": ("The plan is [below](#plan).", "The plan is below."),
    "code": (
        "`{term}` and ``a `b` {doc}`/x` ``\n\n```python\n{term}`x`\n```",
        "`{term}` and ``a `b` {doc}`/x` ``\n\n```python\n{term}`x`\n```",
    ),
    "view of the explorer": ("{explorer}`two Us <a=sd-1.5&b=mini-sd>`.", "two Us."),
    "mathematics": ("$\\frac{a}{b}$\n\n$$\nx_{t}\n$$", "$\\frac{a}{b}$\n\n$$\nx_{t}\n$$"),
    "admonition": (
        ":::{admonition} Aims\n:class: tip\n- a {term}`latent`\n:::\nText",
        "> **Aims**\n>\n> - a latent\n\nText",
    ),
    "note": (":::{note}\nOnce.\n:::", "> **Note**\n>\n> Once."),
    "exercise": (
        "::::{admonition} Exercise 1: count\n:class: exercise\nHow many?\n\n"
        ":::{dropdown} Solution\n{glue:text}`total`\n:::\n::::",
        "**Exercise 1: count**\n\nHow many?\n\n"
        "<details><summary>Solution</summary>\n\n860M\n\n</details>",
    ),
    "cards": (
        "::::{grid} 1 1 3 3\n:gutter: 2\n\n:::{grid-item-card} Read\nOn.\n:::\n::::",
        "**Read**\n\nOn.",
    ),
    "lane": (":::{lane} gpu\n:::\nHere", "*Lane of what follows: gpu.*\n\nHere"),
    "markup": (
        "a\n\n```{raw} html\n<!-- notebook: *Here* is\n{doc}`/book/two`. -->\n<b>\n```\n\nb",
        "a\n\n*Here* is [The second page](https://example.org/two.ipynb).\n\nb",
    ),
    "markup of the page only": (
        "a\n\n```{raw} html\n<!-- notebook: -->\n<b>\n```\n\nb",
        "a\n\nb",
    ),
    "open fence": ("```python\nx = 1", "```python\nx = 1\n```"),
}


@pytest.mark.parametrize("what", PLAIN)
def test_prose_becomes_plain_markdown(what: str) -> None:
    myst, markdown = PLAIN[what]
    assert plain(myst, NAMES) == markdown


@pytest.mark.parametrize(
    ("myst", "told"),
    [
        ("{sub}`2`", "the role {sub}"),
        (":::{epigraph}\nx\n:::", "the directive {epigraph}"),
        ("```{raw} html\n<b>\n```", "a {raw} block begins with what a notebook says instead"),
    ],
)
def test_what_has_no_translation_is_an_error(myst: str, told: str) -> None:
    with pytest.raises(SyntaxUnknown, match=re.escape(told)):
        plain(myst, NAMES)


def test_a_raw_block_without_words_is_told_with_its_line(tiny: TinyBook) -> None:
    """The chapter and the line of the first such block; one with a comment is none."""
    said = "```{raw} html\n<!-- notebook: A form. -->\n<form>\n```\n"
    tiny.edit("book/start.md", lambda text: f"{text}\n{said}\n```{{raw}} html\n<b>\n```\n")
    lines = (tiny.root / "book/start.md").read_text("utf8").splitlines()
    line = len(lines) - lines[::-1].index("```{raw} html")
    with pytest.raises(SyntaxUnknown, match=rf"book/start.md, line {line}: a {{raw}} block"):
        make_notebooks.unexecuted(tiny.root)


def test_authors_in_short(tmp_path: Path) -> None:
    """One, two, many, none; braces and accents of LaTeX are gone."""
    (tmp_path / "a.bib").write_text(
        '@misc{one, author = {van der M{\\"u}ller, Jo}, title = {T}, year = 2020}\n'
        "@misc{two, author = {Ho, J and Li, K}, title = {T}, url = {https://example.org}}\n"
        "@misc{many, author = {A, B and C, D and E, F}, title = {T}, year = {2021}}\n"
        "@misc{none, title = {{SDXL} Notes}, year = {2022}}\n",
        "utf8",
    )
    assert works(tmp_path / "a.bib") == {
        "one": ("van der Müller", "2020", ""),
        "two": ("Ho and Li", "n.d.", "https://example.org"),
        "many": ("A et al.", "2021", ""),
        "none": ("SDXL Notes", "2022", ""),
    }


def test_an_unknown_name_is_told_with_its_chapter(tiny: TinyBook) -> None:
    tiny.edit("book/start.md", lambda text: f"{text}\n{{doc}}`/book/gone`\n")
    with pytest.raises(SyntaxUnknown, match=r"book/start.md: nothing in the book is called 'book"):
        make_notebooks.unexecuted(tiny.root)


# --- the first cell ------------------------------------------------------------------------


def setup_cell() -> str:
    """The code of the first cell."""
    return nbformat.read(NOTEBOOKS[0], 4).cells[1].source


def test_the_first_cell_does_nothing_where_the_package_is(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("it installs"))
    exec(setup_cell(), {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", [False, True])
def test_the_first_cell_clones_and_installs(tmp_path: Path, monkeypatch, there: bool) -> None:
    """Into ./unet-atlas, from the address in _config.yml or in UNET_ATLAS_SOURCE; once."""
    calls = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: calls.append(command))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(sys, "path", list(sys.path))
    home = tmp_path.resolve() / "unet-atlas"
    install = [sys.executable, home / "scripts" / "install_here.py"]
    if there:
        home.mkdir()
        monkeypatch.setenv("UNET_ATLAS_SOURCE", "elsewhere")
    else:
        monkeypatch.delenv("UNET_ATLAS_SOURCE", raising=False)
    exec(setup_cell(), {})
    url = run_chapters.read_yaml(ROOT / "_config.yml")["repository"]["url"]
    clone = ["git", "clone", "--quiet", "--depth", "1", url, home]
    assert calls == ([install] if there else [clone, install])
    assert sys.path[0] == str(home / "src")


def test_what_is_there_stays_and_what_decides_numbers_is_exact() -> None:
    """A torch, whatever its version, and its companions stay; diffusers is replaced."""
    pins = {"torch": "2.13.0", "diffusers": "0.42.1", "PyYAML": "6.0.3", "scipy": "1.17.1"}
    there = {"torch": "2.9.0+cu126", "diffusers": "0.30.0", "pyyaml": "6.0"}
    asked = install_here.wanted(list(pins), pins, there)
    assert asked == ["diffusers==0.42.1", "scipy==1.17.1", "--editable", str(ROOT)]


def test_the_installer_pins_the_torch_that_is_there(monkeypatch, capsys) -> None:
    """pip must not replace it for the sake of another package; the reader is told."""
    seen = {}

    def pip(command: list[str]) -> subprocess.CompletedProcess:
        seen["kept"] = Path(command[command.index("-c") + 1]).read_text("utf8")
        return subprocess.CompletedProcess(command, 7)

    monkeypatch.setattr(subprocess, "run", pip)
    torch = {"metadata": {"Name": "torch"}, "version": "2.9.0+cu126"}
    monkeypatch.setattr(install_here, "distributions", lambda: [type("D", (), torch)])
    assert install_here.main() == 7
    assert seen["kept"] == "torch==2.9.0+cu126\n"
    assert "torch 2.9.0+cu126 stays" in capsys.readouterr().out
    monkeypatch.setattr(install_here, "distributions", lambda: [])
    assert install_here.main() == 7
    assert seen["kept"] == ""
    assert "stays" not in capsys.readouterr().out


def test_the_installer_refuses_another_python(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 1))
    assert install_here.main() == 1
    assert "needs Python >=3.11,<3.14" in capsys.readouterr().err


def test_everything_that_the_package_needs_is_pinned() -> None:
    pins = dict(install_here.PIN.findall((ROOT / "requirements.txt").read_text("utf8")))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["project"]
    assert set(project["dependencies"]) <= pins.keys()
    assert set(project["dependencies"]) >= install_here.EXACT


# --- executed ------------------------------------------------------------------------------


def test_executed_notebooks_hold_results_and_values(tiny: TinyBook) -> None:
    """Outputs from the cache, values in the text, and nothing that only the build reads."""
    tiny.edit("book/start.md", lambda text: text.replace("a formula", "{glue:text}`six-times`"))
    chapter = make_notebooks.chapters(tiny.root)[0]
    run = deepcopy(chapter.notebook)
    cell = next(cell for cell in run.cells if cell.cell_type == "code")
    glue = {"data": {"application/papermill.record/text/plain": "'42'"}}
    glue["metadata"] = {"scrapbook": {"name": "six-times"}}
    cell.outputs = [
        new_output("stream", text="six times seven is 42\n"),
        new_output("display_data", **glue),
        new_output("display_data", {"text/html": "<b>42</b>", "text/plain": "Bold(42)"}),
    ]
    build = tiny.root / "_build"
    cache = get_cache(str(build / ".jupyter_cache"))
    run_chapters.keep(cache, chapter, run_chapters.Run(chapter.name, 1.0, run))
    assert make_notebooks.write_executed(tiny.root, build) == []
    notebook = nbformat.read(build / "html/_sources/book/start.ipynb", 4)
    assert "A latent and 42 $a^2$." in "\n".join(cell.source for cell in notebook.cells)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [output.output_type for output in outputs] == ["stream", "display_data"]
    assert outputs[1].data == {"text/html": "<b>42</b>"}
    assert [cell.cell_type for cell in notebook.cells[:2]] == ["markdown", "code"]
    tiny.edit("book/start.md", lambda text: text.replace("{term}", "{smallcaps}"))
    (fault,) = make_notebooks.write_executed(tiny.root, build)
    assert "the role {smallcaps} has no translation" in fault


def test_an_unexecuted_notebook_says_what_the_dots_are(tiny: TinyBook) -> None:
    """Only where there are any."""
    (text,) = make_notebooks.unexecuted(tiny.root).values()
    assert "stands for a value" not in text
    tiny.edit("book/start.md", lambda text: text.replace("a formula", "{glue:text}`six-times`"))
    (text,) = make_notebooks.unexecuted(tiny.root).values()
    assert "stands for a value" in text


def test_figures_are_numbered_with_their_captions() -> None:
    """Below their cells; a table has numbers of its own, and a cell may stay folded."""
    source = "{numref}`tab-b` and {numref}`fig-b`"
    figures = [("fig-a", ["hide-input"]), ("tab-b", []), ("fig-b", ["raises-exception"])]
    cells = [
        new_code_cell(
            name,
            metadata={
                "tags": tags,
                "mystnb": {"figure": {"name": name, "caption": f"On {source}"}},
            },
        )
        for name, tags in figures
    ]
    names = replace(NAMES, figures=make_notebooks.figure_names(new_notebook(cells=cells)))
    made = [new for cell in cells for new in make_notebooks.reader_cells(cell, names)]
    assert [made[i].source for i in (1, 3, 5)] == [
        f"**{number}.** On Table 1 and Figure 2" for number in ("Figure 1", "Table 1", "Figure 2")
    ]
    assert made[0].metadata == {"jupyter": {"source_hidden": True}}
    assert made[4].metadata == {"tags": ["raises-exception"]}
    plain_cell = new_code_cell("x", metadata={"mystnb": {"figure": {"caption": "Unnumbered"}}})
    assert make_notebooks.reader_cells(plain_cell, names)[1].source == "Unnumbered"


def test_values_come_as_they_are_shown() -> None:
    """Strings without quotes; anything else as text."""
    shown = [make_notebooks.unquoted(text) for text in ("'4.2 %'", "42", "<object>")]
    assert shown == ["4.2 %", "42", "<object>"]


# --- from the page -------------------------------------------------------------------------


@pytest.mark.slow
def test_a_page_offers_its_notebook(tiny: TinyBook, monkeypatch) -> None:
    """Colab and Binder open the notebook, not the .md; the download is executed, twice alike."""
    for name, text in make_notebooks.unexecuted(tiny.root).items():
        make_notebooks.write(tiny.root / name, text)
    for _ in range(2):
        result = tiny.build()
        assert result.returncode == 0, result.stdout + result.stderr
        page = BeautifulSoup((tiny.site / "book/start.html").read_text("utf8"), "html.parser")
        links = [link["href"] for link in page.find_all("a", href=True)]
        place = run_chapters.read_yaml(tiny.root / "_config.yml")["repository"]
        owner = place["url"].removeprefix("https://github.com/")
        colab = f"https://colab.research.google.com/github/{owner}/blob/{place['branch']}"
        binder = f"https://mybinder.org/v2/gh/{owner}/{place['branch']}?urlpath=lab/tree"
        assert f"{colab}/book/start.ipynb" in links
        assert f"{binder}/book/start.ipynb" in links
        assert "../_sources/book/start.ipynb" in links
        given = (tiny.site / "_sources/book/start.ipynb").read_text("utf8")
        assert "six times seven is 42" in given
        assert "install_here.py" in given
        tiny.edit("book/glossary.md", lambda text: text.replace("four", "some"))
    assert tiny.runs == 1


def test_a_clean_run_tells_which_notebook_failed(tmp_path: Path, monkeypatch, capsys) -> None:
    """In an empty folder of its own; the failing cell's error is shown."""
    monkeypatch.setattr(try_notebooks, "KERNEL", "python3")
    cells = {"good": "import os; assert not os.listdir()", "bad": "1 / 0"}
    for name, code in cells.items():
        nbformat.write(new_notebook(cells=[new_code_cell(code)]), tmp_path / f"{name}.ipynb")
    nothing = Path("true")
    good, bad = (
        try_notebooks.runs(tmp_path / f"{name}.ipynb", tmp_path, nothing, 60) for name in cells
    )
    assert (good, bad) == (True, False)
    said = capsys.readouterr().out
    assert "good.ipynb: ran in" in said
    assert "bad.ipynb: FAILED" in said
    assert "ZeroDivisionError" in said


# --- while writing -------------------------------------------------------------------------


NO_BOOK = {
    "no settings": ({"_config.yml": None}, "holds no book: it has no _config.yml"),
    "no contents": ({"_toc.yml": None}, "holds no book: it has no _toc.yml"),
    "broken settings": ({"_config.yml": "a: [1"}, "'_config.yml' can't be read: while parsing"),
    "a list": ({"_config.yml": "- 1"}, "'_config.yml' holds no names with values"),
    "no text": ({"_config.yml": b"\xff"}, "'_config.yml' can't be read: 'utf-8' codec"),
}
SCRIPTS = {"build_book": build_book, "make_notebooks": make_notebooks, "serve_book": serve_book}


@pytest.mark.parametrize("fault", NO_BOOK)
@pytest.mark.parametrize("script", ["build_book", "make_notebooks"])
def test_a_folder_without_a_book_is_told(
    tiny: TinyBook, monkeypatch, capsys, script: str, fault: str
) -> None:
    """One sentence with the remedy, exit code 2."""
    files, words = NO_BOOK[fault]
    for name, content in files.items():
        (tiny.root / name).unlink()
        if content is not None:
            body = content if isinstance(content, bytes) else content.encode()
            (tiny.root / name).write_bytes(body)
    monkeypatch.setattr(sys, "argv", [script, "--root", str(tiny.root)])
    assert SCRIPTS[script].main() == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"{script}: '")
    assert words in said


BAD_PORTS = {"in use": None, "no such port": 70_000}


@pytest.mark.parametrize("fault", BAD_PORTS)
def test_a_port_that_can_not_be_used_is_told(
    tiny: TinyBook, monkeypatch, capsys, fault: str
) -> None:
    """One sentence with the remedy, exit code 2; so is a folder without a book."""
    with browse.serve(tiny.root) as server:
        port = BAD_PORTS[fault] or server.server_port
        monkeypatch.setattr(sys, "argv", ["serve_book", f"--root={tiny.root}", f"--port={port}"])
        assert serve_book.main() == 2
        assert f"port {port} can't be used: " in capsys.readouterr().err
        monkeypatch.setattr(sys, "argv", ["serve_book", "--root", str(tiny.root / "book")])
        assert serve_book.main() == 2
        assert "holds no book" in capsys.readouterr().err
        server.shutdown()


def test_a_build_that_breaks_off_does_not_end_the_server(
    tiny: TinyBook, monkeypatch, capsys
) -> None:
    """It is told in a sentence, whatever broke; the next save builds again."""
    breaks = [KeyError("a chapter that is half saved"), UnicodeDecodeError("utf8", b"x", 0, 1, "?")]
    server = SimpleNamespace(builds=0)

    def refresh(root: Path) -> list[str]:
        tiny.edit("book/start.md", lambda text: f"{text} ")
        if breaks:
            raise breaks.pop(0)
        raise KeyboardInterrupt

    monkeypatch.setattr(serve_book, "refresh", refresh)
    monkeypatch.setattr(serve_book, "PAUSE", 0.01)
    with pytest.raises(KeyboardInterrupt):
        serve_book.watch(tiny.root, server)
    assert server.builds == 2
    told = capsys.readouterr().out
    assert "The book can't be built: KeyError: 'a chapter that is half saved'." in told
    assert "UnicodeDecodeError" in told
    assert "the next save builds again" in told


def test_a_source_that_goes_while_it_is_looked_at_is_left_out(tiny: TinyBook, monkeypatch) -> None:
    """Editors write files beside the chapter and take them away again."""
    gone = tiny.root / "book/start.md~"
    found = run_chapters.source_files
    monkeypatch.setattr(serve_book, "source_files", lambda tree: [*found(tree), gone])
    assert str(gone) not in serve_book.stamps(tiny.root)
    assert str(tiny.root / "book/start.md") in serve_book.stamps(tiny.root)


@contextmanager
def serving(site: Path) -> Iterator[tuple]:
    """A server of a site, and its address."""
    server = serve_book.serve(site, 0)
    try:
        yield server, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def read(address: str) -> str:
    """What a server answers."""
    with urllib.request.urlopen(address, timeout=30) as answer:
        return answer.read().decode()


def test_pages_load_themselves_anew(tmp_path: Path) -> None:
    """The script is added on the way out; files stay as they are."""
    (tmp_path / "index.html").write_text("<body>Hello</body>", "utf8")
    (tmp_path / "a.css").write_text("a {}", "utf8")
    (tmp_path / "half.html").write_bytes(b"<body>\xc3</body>")  # a page that is being written
    with serving(tmp_path) as (server, address):
        assert read(f"{address}/which-build") == "0"
        server.builds += 1
        assert read(f"{address}/which-build") == "1"
        assert "location.reload()" in read(f"{address}/")
        assert read(f"{address}/a.css") == "a {}"
        assert "location.reload()" in read(f"{address}/half.html")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            read(f"{address}/gone.html")
    assert (tmp_path / "index.html").read_text("utf8") == "<body>Hello</body>"


@pytest.mark.slow
def test_prose_is_shown_without_running_cells(tiny: TinyBook, monkeypatch) -> None:
    """First everything, then only what changed; a fault is told, and mended without a restart."""
    monkeypatch.setenv("TINY_BOOK_RUNS", str(tiny.root / "runs.log"))
    monkeypatch.setenv("IPYTHONDIR", str(tiny.root / "_build/.ipython"))
    assert serve_book.refresh(tiny.root) == []
    tiny.edit("book/start.md", lambda text: text.replace("a formula", "one formula"))
    assert serve_book.refresh(tiny.root) == []
    assert "one formula" in (tiny.site / "book/start.html").read_text("utf8")
    tiny.edit("book/start.md", lambda text: text.replace("{term}`latent`", "{term}`gone`"))
    assert any("gone" in fault for fault in serve_book.refresh(tiny.root))
    assert tiny.runs == 1
    tiny.edit("book/start.md", lambda text: text.replace("6 * 7", "6 / 0"))
    assert any("ZeroDivisionError" in fault for fault in serve_book.refresh(tiny.root))


def test_what_is_watched(tiny: TinyBook) -> None:
    """Sources, not the notebooks that are made from them."""
    before = serve_book.stamps(tiny.root)
    (tiny.root / "book/start.ipynb").write_text(json.dumps({}), "utf8")
    assert serve_book.stamps(tiny.root) == before
    (tiny.root / "book/new.md").write_text("# New", "utf8")
    assert serve_book.stamps(tiny.root) != before
