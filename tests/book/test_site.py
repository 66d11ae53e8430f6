"""The repairs and the checks of finished pages, one fault at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from check_site import check_site
from finish_site import finish_page, finish_site, first_sentence

PAGE = """<!DOCTYPE html>
<html lang="en"><head><title>t</title>{head}</head>
<body><article><h1 id="top">Heads</h1>{body}</article></body></html>
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site of one sound page, a style sheet and a picture."""
    site = tmp_path / "book" / "_build" / "html"
    site.mkdir(parents=True)
    (site / "ok.png").write_bytes(b"1")
    (site / "ok.css").write_text("a { background: url(ok.png) }", "utf8")
    write(site, '<a href="#top">up</a> <a href="https://example.org/">elsewhere</a>')
    return site


def write(site: Path, body: str, head: str = "") -> None:
    """Put one page into the site."""
    (site / "index.html").write_text(PAGE.format(head=head, body=body), "utf8")


def test_a_sound_site_has_no_findings(site: Path) -> None:
    """Links to other hosts and canonical links are allowed; loading is not."""
    canonical = '<link rel="canonical" href="https://example.org/">'
    css = '<link rel="stylesheet" href="ok.css">'
    write(site, '<img src="ok.png" alt="A box"><img src="data:,x" alt="">', canonical + css)
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
    "no alt": ('<img src="ok.png">', "no alternative text"),
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
