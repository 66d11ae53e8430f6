"""The repairs and the checks of finished pages, one fault at a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

import check_site as check_site_module
from check_site import check_site, weight
from finish_site import finish_page, finish_site, first_sentence

PAGE = """<!DOCTYPE html>
<html lang="en"><head><title>t</title><meta name="description" content="d">{head}</head>
<body><article><h1 id="top">Heads</h1>{body}</article></body></html>
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site of one sound page, a style sheet and a picture."""
    site = tmp_path / "book" / "_build" / "html"
    site.mkdir(parents=True)
    (site / "ok.png").write_bytes(b"1")
    (site / "ok.css").write_text("a { background: url(ok.png) }", "utf8")
    (site.parents[1] / "x.png").write_bytes(b"1")  # outside the site
    write(site, '<a href="#top">up</a> <a href="https://example.org/">elsewhere</a>')
    return site


def write(site: Path, body: str, head: str = "") -> None:
    """Put one page into the site."""
    (site / "index.html").write_text(PAGE.format(head=head, body=body), "utf8")


def test_a_sound_site_has_no_findings(site: Path) -> None:
    """Links to other hosts and canonical links are allowed; loading is not."""
    canonical = '<link rel="canonical" href="https://example.org/">'
    css = '<link rel="stylesheet" href="ok.css">'
    write(
        site,
        '<img src="ok.png" alt="A box"><img src="data:,x" alt="" role="none">'
        '<figure id="fig-a"><div class="cell_output"><svg role="img" aria-label="U"><image/></svg>'
        '</div><figcaption><span class="caption-number">Fig. 1</span>'
        '<span class="caption-text">A U.</span></figcaption></figure>',
        canonical + css,
    )
    assert check_site(site) == []


FINDINGS = {
    "script": ('<script src="https://cdn.example.org/a.js"></script>', "another host"),
    "scheme-relative": ('<img src="//cdn.example.org/a.png" alt="x">', "another host"),
    "srcset": ('<img src="ok.png" srcset="https://e.org/a.png 2x" alt="x">', "another host"),
    "frame": ('<iframe src="https://example.org"></iframe>', "another host"),
    "inline style": ('<p style="background: url(https://e.org/a.png)">x</p>', "another host"),
    "style block": ('<style>@import "https://e.org/a.css";</style>', "another host"),
    "script import": ('<script>import("https://e.org/a.js")</script>', "another host"),
    "missing picture": ('<img src="gone.png" alt="x">', "gone.png is missing"),
    "missing script": ('<script src="gone.js"></script>', "gone.js is missing"),
    "dead link": ('<a href="gone.html">x</a>', "gone.html leads to no page"),
    "dead anchor": ('<a href="index.html#gone">x</a>', "#gone leads to no place"),
    "link out of the site": ('<a href="../../x.html">x</a>', "../../x.html leaves the site"),
    "picture from outside": ('<img src="../../x.png" alt="x">', "../../x.png leaves the site"),
    "absolute link": ('<a href="/index.html">x</a>', "/index.html is absolute"),
    "absolute picture": ('<img src="/ok.png" alt="x">', "/ok.png is absolute"),
    "link to a file": ('<a href="file:///home/x.html">x</a>', "x.html is absolute"),
    "no alt": ('<img src="ok.png">', "no alternative text"),
    "empty alt": ('<img src="ok.png" alt="">', "an empty alternative text"),
    "figure without a name": (
        '<figure><img src="ok.png" alt="x"><figcaption><span class="caption-number">Fig. 1</span>'
        '<span class="caption-text">A box.</span></figcaption></figure>',
        "figure 1 has no name that a text could refer to; set `mystnb: {figure: {name",
    ),
    "figure without a caption": (
        '<figure id="fig-a"><img src="ok.png" alt="x"></figure>',
        "fig-a has no numbered caption",
    ),
    "figure without a number": (
        '<figure id="fig-a"><img src="ok.png" alt="x"><figcaption><span class="caption-text">A box.'
        "</span></figcaption></figure>",
        "fig-a has no numbered caption",
    ),
    "figure with an empty caption": (
        '<figure id="fig-a"><img src="ok.png" alt="x"><figcaption><span class="caption-number">1'
        '</span><span class="caption-text"> </span></figcaption></figure>',
        "fig-a has no numbered caption",
    ),
    "figure without words": (
        '<figure id="fig-a"><svg></svg><figcaption><span class="caption-number">Fig. 1</span>'
        '<span class="caption-text">A box.</span></figcaption></figure>',
        "fig-a shows nothing that has words",
    ),
    "picture in no figure": (
        '<div class="cell_output"><img src="ok.png" alt="Two boxes"></div>',
        "the picture 'Two boxes' stands in no figure",
    ),
    "nameless table": ("<table><tr><th>a</th></tr></table>", "table 1 has no name"),
    "table under no heading": (
        '<div role="region" aria-label="Table 1: without a title"><table><tr><th>a</table></div>',
        "table 1 has no name",
    ),
    "table without headers": ("<table><caption>x</caption><td>a</table>", "no header cells"),
    "heading too deep": ("<h3>Deep</h3>", "'Deep' is of level 3 and follows one of level 1"),
    "alt from file": ('<img src="ok.png" alt="_images/0123456789abcdef01.png">', "a file name"),
    "drawing without words": ('<svg role="img"><path/></svg>', "neither aria-label nor title"),
    "double id": ('<p id="top">x</p>', "'top' stands 2 times"),
    "footnote": ("<p>A claim[^7].</p>", "[^7]"),
    "fence": ("<p>``` python</p>", "```"),
    "role": ("<p>see {ref}`there`</p>", "{ref}`"),
    "glue": ("<p>{glue:text}`x`</p>", "{glue:"),
    "formula": ('<span class="katex-error" title="ParseError: x">x</span>', "ParseError"),
}


@pytest.mark.parametrize("fault", FINDINGS)
def test_each_fault_is_found(site: Path, fault: str) -> None:
    """Exactly one finding, which says what and where."""
    body, words = FINDINGS[fault]
    write(site, body)
    findings = check_site(site)
    assert len(findings) == 1
    assert findings[0].startswith("index.html: ")
    assert words in findings[0]


CHAPTER = PAGE.format(
    head="",
    body='<p class="ua-badges"><span class="ua-lane-meta">Runs anywhere</span>'
    "<span>4 min to read</span><span>Run in 7 s</span><span>Last run on 2026-11-23</span></p>"
    '<div class="cell"></div><div class="ua-cite"><pre>@misc</pre></div>'
    '<div class="dropdown-download-buttons"><a href="b.html">Download</a></div>'
    '<a class="btn-source-edit-button" href="https://e.org/edit">Edit</a>'
    '<a class="btn-source-issues-button" href="https://e.org/issue">Report</a>'
    '<nav class="bd-links"><li><a href="a.html">A</a></li><li><a href="#">B</a></li>'
    '<li><a href="c.html">C</a></li></nav>'
    '<a class="left-prev" href="a.html">A</a><a class="right-next" href="c.html">C</a>',
)
LACKS = {
    "lane": ("ua-lane-meta", "x", "has no badge of its lane"),
    "citation": ("ua-cite", "x", "has no box to cite it"),
    "edit": ("btn-source-edit-button", "x", "has no link to edit it"),
    "report": ("btn-source-issues-button", "x", "has no link to report a fault"),
    "download": ("dropdown-download-buttons", "x", "has no download"),
    "reading time": ("4 min to read", "0 min to read", "how long it reads"),
    "seconds": ("Run in 7 s", "", "how long and when they ran"),
    "day": ("Last run on 2026-11-23", "Last run", "how long and when they ran"),
    "previous": ("left-prev", "x", "no link to the previous one"),
    "next": ("right-next", "x", "no link to the next one"),
    "contents": ('href="#"', 'href="c.html"', "does not stand in the contents"),
    "description": ('name="description"', "", "has no description"),
}


def write_chapter(site: Path, text: str) -> None:
    """Put a chapter between two pages that exist."""
    (site / "book").mkdir()
    for name in ("a", "c"):
        (site / f"book/{name}.html").write_text(
            '<meta http-equiv="refresh" content="0; url=b.html">', "utf8"
        )
    (site / "book/b.html").write_text(text, "utf8")


@pytest.mark.parametrize("part", LACKS)
def test_a_chapter_owes_its_reader_some_things(site: Path, part: str, monkeypatch) -> None:
    """Each is missed by its name, once; a chapter that has them all has no finding."""
    monkeypatch.setattr(check_site_module, "CHAPTERS", "book/b")
    old, new, words = LACKS[part]
    assert CHAPTER.count(old) == 1
    write_chapter(site, CHAPTER.replace(old, new))
    (finding,) = check_site(site)
    assert finding.startswith("book/b.html: the page ")
    assert words in finding
    (site / "book/b.html").write_text(CHAPTER, "utf8")
    assert check_site(site) == []


def test_the_first_and_the_last_chapter_have_one_neighbour(site: Path, monkeypatch) -> None:
    """And a page of text needs no seconds."""
    monkeypatch.setattr(check_site_module, "CHAPTERS", "book/b")
    first = CHAPTER.replace('<li><a href="a.html">A</a></li>', "").replace("left-prev", "x")
    last = CHAPTER.replace('<li><a href="c.html">C</a></li>', "").replace("right-next", "x")
    text = CHAPTER.replace('class="cell"', "").replace("Run in 7 s", "").replace("Last run", "")
    write_chapter(site, first)
    for page in (first, last, text):
        (site / "book/b.html").write_text(page, "utf8")
        assert check_site(site) == []


def test_style_sheets_and_preloads_are_checked(site: Path) -> None:
    """Fonts from elsewhere, missing files, preloads from elsewhere; comments do not count."""
    css = (
        "/* url(gone.png) */ @font-face { src: url('https://e.org/f.woff2') } b { x: url(no.png) }"
    )
    (site / "ok.css").write_text(css, "utf8")
    write(site, "", '<link rel="preload" as="font" href="https://e.org/f.woff2">')
    assert check_site(site) == [
        "index.html: loads https://e.org/f.woff2 from another host; "
        "keep a copy in book/_static or drop it",
        "ok.css: loads https://e.org/f.woff2 from another host",
        "ok.css: the file no.png is missing",
    ]


def test_scripts_of_the_site_are_read(site: Path) -> None:
    """A local script that imports from elsewhere loads from elsewhere."""
    (site / "a.js").write_text('import x from "https://e.org/x.js";', "utf8")
    write(site, '<script src="a.js"></script>')
    assert check_site(site) == [
        "index.html: the script a.js loads https://e.org/x.js from another host"
    ]


def test_code_and_formulas_are_not_prose(site: Path) -> None:
    """A page may show markup as an example."""
    body = "<pre>``` {ref}`a`</pre><code>[^1]</code><span class='katex'>{a}`</span>"
    write(site, body)
    assert check_site(site) == []


def test_the_folder_of_the_build_is_not_shown(site: Path) -> None:
    """Paths of the machine do not belong into the output of a cell."""
    write(site, f"<pre>{site.parents[1]}/src/package/code.py</pre>")
    assert check_site(site) == [
        "index.html: the page shows the path of the folder in which the book was built"
    ]


def test_a_page_needs_a_description(site: Path) -> None:
    """But not one that only sends its reader on."""
    text = (site / "index.html").read_text("utf8")
    (site / "index.html").write_text(text.replace('content="d"', 'content=" "'), "utf8")
    (site / "on.html").write_text('<meta http-equiv="refresh" content="0; url=index.html">', "utf8")
    (finding,) = check_site(site)
    assert finding.startswith("index.html: the page has no description; write `myst:")


def test_sound_tables_and_headings(site: Path) -> None:
    """A name by caption, label or frame; a table that only lays out; levels up again at will."""
    write(
        site,
        "<table><caption>x</caption><tr><th>a</table>"
        '<div role="region" aria-label="Table 2: Heads"><table><tr><th>a</table></div>'
        '<table role="presentation"><td>a</table>'
        "<h2>a</h2><h3>b</h3><h2>c</h2>",
    )
    assert check_site(site) == []


def test_a_figure_may_say_what_was_not_measured(site: Path) -> None:
    """Its place, number and caption stay until there is a record."""
    caption = '<span class="caption-number">Fig. 1</span><span class="caption-text">Loss.</span>'
    said = '<p class="ua-record-none">The loss: not measured in this build.</p>'
    write(site, f'<figure id="fig-a">{said}<figcaption>{caption}</figcaption></figure>')
    assert check_site(site) == []


def test_a_missing_site_is_one_finding(tmp_path: Path) -> None:
    """With the remedy."""
    assert check_site(tmp_path) == [
        f"{tmp_path}: there is no index.html; build the book first (make book)"
    ]


BEFORE = PAGE.format(
    head='<meta name="viewport" content="a"><meta name="viewport" content="b">'
    '<script src="_static/scripts/fontawesome.js"></script>'
    '<script src="https://cdn.example.org/require.min.js"></script>'
    '<script type="text/x-thebe-config">{}</script>',
    body='<div id="pst-primary-sidebar"><a class="logo" href="#">Logo</a></div>'
    '<button aria-label="Search" title="Search"><i class="fa-solid"></i> Search it</button>'
    '<button title="Toggle"><span class="fa-solid"></span></button>'
    '<div role="list"><div role="doc-biblioentry">Ho</div></div>'
    '<a class="reference" href="g.html#term-head"><span class="std-term">head</span></a>'
    '<div><style scoped>x</style><table border="1" class="dataframe"><thead><tr><th></th>'
    "<th>a</th></tr></thead></table></div>",
)


def test_a_page_is_repaired() -> None:
    """All repairs at once on a page that needs them all."""
    page = BeautifulSoup(finish_page(BEFORE, {"term-head": "A slice."}), "html.parser")
    assert not page.find_all("script")
    assert len(page.select("meta[name=viewport]")) == 1
    assert page.select_one("#pst-primary-sidebar")["role"] == "region"
    search, toggle = page.find_all("button")
    assert not search.has_attr("aria-label")
    assert toggle["aria-label"] == "Toggle"
    assert page.select_one("[role=list] > [role=listitem]").text == "Ho"
    assert page.select_one("a.reference")["data-ua-tip"] == "A slice."
    table = page.select_one("table.dataframe")
    assert [cell.name for cell in table.select("tr > *")] == ["td", "th"]
    assert not page.find("style")
    assert table.parent["tabindex"] == "0"
    assert table.parent["aria-label"] == "Table 1: Heads"


def test_repairing_twice_changes_nothing() -> None:
    """The repairs are idempotent, to the byte."""
    once = finish_page(BEFORE, {"term-head": "A slice."})
    assert finish_page(once, {"term-head": "A slice."}) == once


def test_a_page_without_language_gets_one() -> None:
    """And a language that is there stays."""
    assert '<html lang="en">' in finish_page("<html><p>x</p></html>", {})
    assert '<html lang="fr">' in finish_page('<html lang="fr"><p>x</p></html>', {})


def test_pages_of_the_theme_are_described() -> None:
    """The search and the index have no front matter; a description that is there stays."""
    page = '<html lang="en"><head><title>Search — Atlas</title>{}</head></html>'
    once = finish_page(page.format(""), {})
    assert '<meta content="Search all pages' in once
    assert finish_page(once, {}) == once
    own = page.format('<meta content="mine" name="description"/>')
    assert finish_page(own, {}) == own
    assert "description" not in finish_page(page.replace("Search", "Heads"), {})


def test_the_page_that_sends_its_reader_on_asks_for_no_icon() -> None:
    """Else a browser asks for /favicon.ico, which is not there; other pages name their own."""
    sends = '<meta http-equiv="Refresh" content="0; url=book/start.html"/>'
    once = finish_page(sends, {})
    assert '<link href="data:," rel="icon"/>' in once
    assert finish_page(once, {}) == once
    assert "data:," not in finish_page(PAGE.format(head="", body=""), {})


def test_the_index_is_laid_out_by_its_tables() -> None:
    """They hold no data: no frame, no name, no place in the count."""
    body = '<table class="indextable"><tr><td>a</td></tr></table><table><tr><th>b</th></tr></table>'
    page = BeautifulSoup(finish_page(PAGE.format(head="", body=body), {}), "html.parser")
    layout, data = page.find_all("table")
    assert layout["role"] == "presentation"
    assert layout.parent.name == "article"
    assert data.parent["aria-label"] == "Table 1: Heads"


def test_the_theme_is_known_at_once_and_boxes_start_without_a_tab_stop() -> None:
    """The theme's first script asks the system; a box that has a tab stop keeps it."""
    head = '<script data-cfasync="false">page.theme = "auto"</script>'
    once = finish_page(PAGE.format(head=head, body='<pre>a</pre><pre tabindex="0">b</pre>'), {})
    page = BeautifulSoup(once, "html.parser")
    assert "matchMedia" in page.script.string
    assert [box["tabindex"] for box in page.find_all("pre")] == ["-1", "0"]
    assert finish_page(once, {}) == once


def test_a_number_and_its_unit_stay_on_one_line() -> None:
    """Also behind a number that comes from the run; not in code, not in tables."""
    body = (
        "<p>3 % of <span>5</span> % and 3 × 4 × 5 × a</p><pre>7 % 3</pre><p><code>7 % 3</code></p>"
        "<p><b>x</b> % y</p><table><tr><td>2 × 2</td></tr></table>"
    )
    once = finish_page(PAGE.format(head="", body=body), {})
    page = BeautifulSoup(once, "html.parser")
    seen = page.article.get_text("").replace("\u00a0", "~")
    assert "3~% of 5~% and 3~×~4~×~5 × a7 % 37 % 3x % y2 × 2" in seen
    assert finish_page(once, {}) == once


def test_an_option_stays_on_one_line() -> None:
    """A long name may break, wherever it must."""
    body = "<code>" + "".join(f'<span class="pre">{w}</span>' for w in ("--part", "a", "a-" * 20))
    once = finish_page(PAGE.format(head="", body=f"{body}</code>"), {})
    assert once.count('class="pre ua-whole"') == 1
    assert '"pre ua-whole">--part' in once
    assert finish_page(once, {}) == once


def test_no_button_for_a_sidebar_that_is_not_there() -> None:
    """The theme makes one whenever a page has parts."""
    button = '<button class="sidebar-toggle secondary-toggle" title="x"></button>'
    assert "button" not in finish_page(PAGE.format(head="", body=button), {})
    body = f'{button}<div class="bd-sidebar-secondary"></div>'
    assert "secondary-toggle" in finish_page(PAGE.format(head="", body=body), {})


def test_the_explorer_is_wide_from_the_first_moment() -> None:
    """A class on its container, which a browser knows before it has read the page's end."""
    box = '<div class="bd-article-container"><div id="{}"></div></div>'
    assert "ua-wide" in finish_page(PAGE.format(head="", body=box.format("ua-explorer")), {})
    assert "ua-wide" not in finish_page(PAGE.format(head="", body=box.format("x")), {})


def test_large_tables_bring_their_script() -> None:
    """Once, and only where there is one."""
    page = '<html data-content_root="../" lang="en"><head></head><article>{}</article></html>'
    plain = page.format('<table class="ua-table"></table>')
    assert "tables.js" not in finish_page(plain, {})
    big = finish_page(page.format('<table class="ua-table ua-big"></table>'), {})
    assert big.count('<script defer="" src="../_static/tables.js"></script>') == 1
    assert finish_page(big, {}) == big


def test_citations_show_what_they_cite() -> None:
    """As a tip, without its address; the browser's own title goes."""
    link = '<a class="reference" href="bibliography.html#id1" title="Ho et al. URL: x">1</a>'
    body = f'<p class="lead"><b>{link}</b> {link}</p>{link}'
    page = BeautifulSoup(finish_page(PAGE.format(head="", body=body), {}), "html.parser")
    assert page.p["class"] == ["lead", "ua-tipped"]
    assert page.a["data-ua-tip"] == "Ho et al."
    assert not page.a.has_attr("title")


def test_needless_files_go(site: Path) -> None:
    """Source maps and scripts that no page needs, with the hints at them."""
    (site / "_static").mkdir()
    (site / "_static/a.js").write_text("f()\n//# sourceMappingURL=a.js.map", "utf8")
    (site / "_static/a.js.map").touch()
    (site / "_static/fontawesome.js").touch()
    finish_site(site)
    assert [path.name for path in (site / "_static").iterdir()] == ["a.js"]
    assert (site / "_static/a.js").read_text("utf8") == "f()\n"


def test_tips_come_from_the_glossary_page(site: Path) -> None:
    """The first sentence of the definition reaches the links on other pages."""
    (site / "words.html").write_text(
        PAGE.format(
            head="",
            body='<dl class="glossary"><dt id="term-x">x</dt>'
            "<dd><p>The  unknown, as in <code>x.y</code>. More.</p></dd></dl>",
        ),
        "utf8",
    )
    write(site, '<a class="reference" href="words.html#term-x"><span class="std-term">x</span></a>')
    finish_site(site)
    page = BeautifulSoup((site / "index.html").read_text("utf8"), "html.parser")
    assert page.select_one("a.reference")["data-ua-tip"] == "The unknown, as in x.y."


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("One. Two.", "One."),
        ("SD 1.x and 2.1 differ. More.", "SD 1.x and 2.1 differ."),
        ("Only one", "Only one"),
    ],
)
def test_first_sentence(text: str, sentence: str) -> None:
    """A point inside a version does not end a sentence."""
    assert first_sentence(text) == sentence


NOTEBOOKS = {
    "no JSON": ("{", "is no notebook"),
    "no cells": ("{}", "is no notebook"),
    "a list": ("[]", "is no notebook"),
    "unexecuted": ('{"cells": [{"outputs": []}, {}]}', "holds no results"),
    "failed": ('{"cells": [{"outputs": [{"output_type": "error"}]}]}', "a cell of the notebook"),
    "too large": ('{"cells": [{"outputs": [{}], "source": "' + "x" * 2_000_000 + '"}]}', "2.0 MB"),
}


@pytest.mark.parametrize("fault", NOTEBOOKS)
def test_notebooks_of_the_site_are_executed_and_light(site: Path, fault: str) -> None:
    text, words = NOTEBOOKS[fault]
    (site / "a.ipynb").write_text(text, "utf8")
    (finding,) = check_site(site)
    assert finding.startswith("a.ipynb: ")
    assert words in finding


def test_a_notebook_shows_no_path_of_the_build(site: Path) -> None:
    text = json.dumps({"cells": [{"outputs": [{"text": f"{site.parents[1]}/src/code.py"}]}]})
    (site / "a.ipynb").write_text(text, "utf8")
    assert check_site(site) == [
        "a.ipynb: the notebook shows the path of the folder in which the book was built"
    ]
    (site / "a.ipynb").write_text(text.replace(str(site.parents[1]), ""), "utf8")
    assert check_site(site) == []


def test_a_heavy_site_is_told(site: Path) -> None:
    assert list(weight(site)) == []
    (site / "big").write_bytes(b"0" * 2_000_000)
    assert list(weight(site, 1_500_000)) == ["the site has 2.0 MB, more than 1.5; find what grew"]
