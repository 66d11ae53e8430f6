"""Reading time and citation, without a book."""

from __future__ import annotations

from types import SimpleNamespace

from docutils import nodes

import atlas_reader


def paragraph(words: int) -> nodes.paragraph:
    """A paragraph of so many words."""
    return nodes.paragraph("", "word " * words)


def test_reading_time_counts_prose_only() -> None:
    """Not tables, not outputs, not code; at least a minute."""
    page = nodes.document(None, None)
    page += nodes.section(
        "", paragraph(900), nodes.bullet_list("", nodes.list_item("", paragraph(100)))
    )
    page += nodes.literal_block("", "code " * 1000)
    page += nodes.container("", paragraph(5000), classes=["cell_output"])
    page += nodes.table("", nodes.entry("", paragraph(5000)))
    page += nodes.citation("", paragraph(5000))
    assert atlas_reader.reading_minutes(page) == 5
    assert atlas_reader.reading_minutes(nodes.document(None, None)) == 1


def config() -> SimpleNamespace:
    """Settings as the book's own."""
    options = {"repository_url": "https://example.org/atlas"}
    return SimpleNamespace(
        author="The authors", copyright="2026", project="UNet Atlas", html_theme_options=options
    )


def test_a_page_is_cited_by_name_year_and_version() -> None:
    """A complete BibTeX entry with balanced braces and a key of its own."""
    entry = atlas_reader.bibtex(config(), "book/metrics/clip_score", "CLIP score")
    assert entry.startswith("@misc{unet-atlas-clip-score,\n")
    assert "title        = {{CLIP score}}," in entry
    assert "author       = {{The authors}}," in entry
    assert r"\url{https://example.org/atlas}" in entry
    assert r"page book/metrics/clip\_score" in entry
    assert entry.count("{") == entry.count("}")


def test_a_citation_prints_latex_signs() -> None:
    """Each of LaTeX's ten special signs, in a title; the address keeps its own."""
    settings = config()
    settings.html_theme_options["repository_url"] = "https://example.org/a_b"
    entry = atlas_reader.bibtex(settings, "book/x", r"50 % & $5 #1 a_b {c} ~ ^ \d")
    plain = r"50 \% \& \$5 \#1 a\_b \{c\}"
    named = r"\textasciitilde{} \textasciicircum{} \textbackslash{}d"
    assert f"title        = {{{{{plain} {named}}}}}," in entry
    assert r"\url{https://example.org/a_b}" in entry


def test_the_box_stands_at_the_end_of_a_titled_page() -> None:
    """Folded, with the entry as code; a page without a title has none."""
    page = nodes.document(None, None)
    page += nodes.section("", nodes.title("", "FID"), paragraph(3))
    atlas_reader.add_citation(SimpleNamespace(config=config()), page, "book/metrics/fid")
    *_, opened, code, closed = page[0].children
    assert opened.astext().startswith("<details")
    assert code["language"] == "bibtex"
    assert closed.astext() == "</details>"
    bare = nodes.document(None, None)
    atlas_reader.add_citation(SimpleNamespace(config=config()), bare, "x")
    assert not bare.children


def view_role(text: str) -> tuple[list[nodes.Node], list[nodes.Node]]:
    """What the explorer's role makes of its text, on a page of the second part."""
    role = atlas_reader.ViewRole()
    role.text, role.rawtext, role.lineno = text, f"{{explorer}}`{text}`", 1
    builder = SimpleNamespace(get_relative_uri=lambda here, there: f"../{there[5:]}.html")
    env = SimpleNamespace(docname="book/part/page", app=SimpleNamespace(builder=builder))
    error = lambda message, line: nodes.paragraph("", message)  # noqa: E731
    settings = SimpleNamespace(env=env)
    role.inliner = SimpleNamespace(
        document=SimpleNamespace(settings=settings), reporter=SimpleNamespace(error=error)
    )
    return role.run()


def test_a_view_of_the_explorer_is_linked() -> None:
    """By the end of the explorer's own link; a text without one is an error that names it."""
    (link,), faults = view_role("both in the explorer <a=sd-1.5&b=mini-sd>")
    assert faults == []
    assert link["refuri"] == "../explorer.html#a=sd-1.5&b=mini-sd"
    assert link.astext() == "both in the explorer"
    _, (fault,) = view_role("both in the explorer")
    assert "'both in the explorer' is no view" in fault.astext()
