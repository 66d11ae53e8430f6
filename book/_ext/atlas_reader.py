"""What a page offers its reader besides its text: how long it reads, how to cite it, and links to
views of the explorer.

Time and citation are made from the page itself; nothing has to be kept in step by hand.
"""

from __future__ import annotations

import re
from importlib.metadata import version

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.docutils import SphinxRole

WORDS_A_MINUTE = 200  # a slow reader of prose; formulas and tables take their own time
CITED = "Cite this page"
# What LaTeX reads as a command, and how the sign itself is written.
LATEX = str.maketrans(
    {sign: f"\\{sign}" for sign in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
)
EXPLORER = "book/explorer"
VIEW = re.compile(r"(?s)(.+?)\s*<(a=[^<>]+)>")


def reading_minutes(doctree: nodes.document) -> int:
    """Minutes for the prose of a page, at least one; what is looked up doesn't count: code,
    outputs, tables, the entries of a bibliography."""
    words = 0
    for paragraph in doctree.findall(nodes.paragraph):
        if not any(in_table(parent) for parent in ancestors(paragraph)):
            words += len(paragraph.astext().split())
    return max(1, round(words / WORDS_A_MINUTE))


def ancestors(node: nodes.Node) -> list[nodes.Node]:
    """The node's parents, the nearest first."""
    found = []
    while node.parent is not None:
        node = node.parent
        found.append(node)
    return found


def in_table(node: nodes.Node) -> bool:
    """Whether a node is a table, an entry of a bibliography, or the output of a cell."""
    return isinstance(node, nodes.table | nodes.citation) or "cell_output" in node.get(
        "classes", []
    )


def bibtex(config: Config, docname: str, title: str) -> str:
    """The BibTeX entry of a page."""
    key = re.sub(r"[^a-z0-9]+", "-", docname.rsplit("/", 1)[-1].lower()).strip("-")
    home = config.html_theme_options.get("repository_url", "")
    name = f"{latex(config.project)}, an executable book"
    fields = {
        "author": f"{{{latex(config.author)}}}",
        "title": f"{{{latex(title)}}}",
        "year": latex(str(config.copyright)),
        "howpublished": f"{name}, \\url{{{home}}}" if home else name,
        "note": f"Version {version('unet-atlas')}, page {latex(docname)}",
    }
    width = max(map(len, fields))
    lines = [f"  {name:{width}} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@misc{{unet-atlas-{key},", *lines, "}"])


def latex(text: str) -> str:
    """A text with LaTeX's own signs written so that they are printed."""
    return text.translate(LATEX)


def citation(config: Config, docname: str, title: str) -> list[nodes.Node]:
    """A folded box with the page's BibTeX entry."""
    entry = bibtex(config, docname, title)
    return [
        nodes.raw(
            "",
            f'<details class="ua-details ua-cite"><summary>{CITED}</summary>',
            format="html",
        ),
        nodes.literal_block(entry, entry, language="bibtex"),
        nodes.raw("", "</details>", format="html"),
    ]


def add_citation(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put the box at the end of every page that has a title."""
    title = next(doctree.findall(nodes.title), None)
    if title is not None:
        title.parent += citation(app.config, docname, title.astext())


class ViewRole(SphinxRole):
    """``{explorer}`words <a=sd-1.5&b=sdxl-base-1.0&q=macs>```: a link to a view of the explorer.

    What follows the words is the end of the link that the explorer itself shows.
    """

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """The link, or an error that names the text."""
        found = VIEW.fullmatch(self.text)
        if found is None:
            message = f"'{self.text}' is no view; write {{explorer}}`words <a=…&b=…>`"
            error = self.inliner.reporter.error(message, line=self.lineno)
            return [nodes.problematic(self.rawtext, self.rawtext)], [error]
        page = self.env.app.builder.get_relative_uri(self.env.docname, EXPLORER)
        link = nodes.reference("", found[1], refuri=f"{page}#{found[2]}", internal=True)
        return [link], []


def setup(app: Sphinx) -> dict[str, object]:
    """Register with Sphinx."""
    app.add_role("explorer", ViewRole())
    app.connect("doctree-resolved", add_citation)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
