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
    assert "page book/metrics/clip_score" in entry
    assert entry.count("{") == entry.count("}")


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
