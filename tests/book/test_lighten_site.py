"""The lightened site: what goes, what stays, and that nothing happens twice."""

from __future__ import annotations

import base64
import re
from importlib.resources import files
from pathlib import Path

import matplotlib
import pytest
from fontTools.ttLib import TTFont

from lighten_site import (
    MEASURED,
    SIDEBAR,
    formula_signs,
    lighten_site,
    shared_by_most,
    short_sheet,
    subset,
)
from purge_css import Used, drop_unused_faces, drop_unused_variables, purge, used_names

FONT = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
USED = used_names(
    ['<p class="a b" id="top" data-x="1"><svg></svg></p>'], ['e.classList.add("late-one")']
)


@pytest.mark.parametrize(
    ("rule", "stays"),
    [
        (".a{x:1}", True),
        (".gone{x:1}", False),
        (".a .gone{x:1}", False),
        (".a.b:hover>p::before{x:1}", True),
        ("#top{x:1}", True),
        ("#gone{x:1}", False),
        ("table{x:1}", False),
        ("svg path{x:1}", True),
        ("*{x:1}", True),
        (":root{x:1}", True),
        ("[data-x]{x:1}", True),
        ("[data-gone]{x:1}", False),
        ("[aria-sort=none]{x:1}", True),
        (".late-one{x:1}", True),
        (".tooltip .show{x:1}", True),
        ("p:not(.gone){x:1}", True),
        ("p:is(.gone,.a){x:1}", True),
        ("p:is(.gone,.none){x:1}", False),
        ("p:has(>.gone){x:1}", False),
        ("@media print{.a{x:1}}", True),
        ("@media print{.gone{x:1}}", False),
        ("@keyframes turn{from{x:1}}", True),
        ("/*! licence */", True),
        ("/* remark */", False),
        ('@charset "utf-8";', False),
        ("@layer base;", True),
        (".a{}", False),
    ],
)
def test_rules_that_the_site_can_use_stay(rule: str, stays: bool) -> None:
    """By class, id, element, attribute; in groups; and what scripts name."""
    assert purge(rule, USED) == (rule if stays else "")


def test_selectors_go_one_by_one_and_blanks_shrink() -> None:
    """A list keeps those that can match; strings keep their blanks."""
    sheet = '.a,\n .gone ,  p  > svg { content: "a  b" ;\n /* c */ x : 1; }'
    assert purge(sheet, USED) == '.a,p > svg{content: "a  b" ; x : 1}'


def test_a_broken_sheet_is_an_error() -> None:
    """Rather than half a style."""
    with pytest.raises(ValueError, match="can't be read"):
        purge(".a{x:1} .b", USED)


def test_fonts_and_motions_that_nothing_names_go() -> None:
    """Whatever the quotes."""
    kept = '@font-face{font-family:"Two Words";src:url(a)}\n.a{font-family:Two\\ Words}'
    unused = "@font-face{font-family:Other;src:url(b)}@keyframes turn{from{x:1}}"
    assert drop_unused_faces(kept + unused) == kept


def test_variables_that_nothing_reads_go() -> None:
    """Also those that only they read, in groups as well; what a script reads stays."""
    sheet = ":root{--a:1;--b:var(--c);--c:';}';--d:2}\n@media print{.a{--e:1}}\n.a{x:var(--a)}"
    assert drop_unused_variables(sheet, "get('--d')") == ":root{--a:1;--d:2}\n.a{x:var(--a)}"


def test_a_sheet_of_one_page_keeps_the_variables_that_it_reads(tmp_path: Path) -> None:
    """One that no page loads keeps none."""
    static = tmp_path / "_static"
    static.mkdir()
    main = static / "main.css"
    main.write_text(":root{--read:1;--lost:2}", "utf8")
    (static / "own.css").write_text("a{color:var(--read)}", "utf8")
    (static / "left.css").write_text("a{color:var(--lost)}", "utf8")
    pages = {tmp_path / "page.html": '<html><head><link href="_static/own.css"></head></html>'}
    sheet = short_sheet([main], tmp_path, pages)
    assert "--read:1" in sheet
    assert "--lost" not in sheet


def test_names_are_read_off_pages_and_scripts() -> None:
    """Single quotes, attributes without values, upper case."""
    used = used_names(["<DIV class='one two' hidden><br/>"], ["f('three')"])
    assert isinstance(used, Used)
    assert {"div", "one", "two", "br", "three"} <= used.names
    assert {"class", "hidden"} <= used.attributes


def test_fonts_are_cut_down(tmp_path: Path) -> None:
    """To the signs asked for, the same bytes each time; nothing for signs it does not have."""
    short = subset(FONT, "ab\ue000", "woff2")
    assert short == subset(FONT, "ab", "woff2")
    (tmp_path / "short.woff2").write_bytes(short)
    assert set(TTFont(tmp_path / "short.woff2").getBestCmap()) == {ord("a"), ord("b")}
    assert subset(FONT, "\uf8f0", "woff") == b""


def test_signs_of_formulas_only() -> None:
    """Through all nested spans, and no further."""
    formula = "<span>a</span>&lt;<span></span>"
    page = f'<b>x</b><span aria-hidden="true" class="katex-html">{formula}</span>y'
    assert formula_signs([page]) == " <a\u00a0"


def test_what_most_pages_share() -> None:
    """In more than half of them, in order, twice on one page counting once."""
    assert shared_by_most([["b", "a", "a"], ["a", "c"], ["b", "c", "a"]]) == ["b", "a", "c"]
    assert shared_by_most([["a", "a"], ["b"], []]) == []


PICTURE = "data:image/png;base64," + base64.b64encode(b"picture" * 200).decode()
SMALL = "data:image/png;base64,AAAA"
PAGE = """<!DOCTYPE html>
<html data-content_root="../" lang="en"><head>
<script data-cfasync="false">first()</script>
<link href="../_static/a.css?v=1" rel="stylesheet"/>
<link href="../_static/b.css" rel="stylesheet"/>
{own}<link as="script" href="../_static/late.js" rel="preload"/>
<script>let hint = 'x';</script>
<script src="../_static/documentation_options.js"></script>
<script>DOCUMENTATION_OPTIONS.pagename = '{name}';</script>
<script src="../_static/searchtools.js"></script>
</head><body>{body}
<script defer="" src="../_static/late.js"></script>
</body></html>"""
OWN = '<link href="../_static/own.css" rel="stylesheet"/>\n'


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Three pages with shared and own sheets and scripts, and a page that sends on."""
    static = tmp_path / "_static"
    (static / "fonts").mkdir(parents=True)
    (tmp_path / "book").mkdir()
    contents = {
        "a.css": '@import "base.css";\n.one{background:url(dot.svg)}.gone{x:1}',
        "base.css": ".base{x:1}",
        "b.css": f'@font-face{{font-family:F;src:url({FONT.name})format("truetype")}}.base{{y:2}}',
        "own.css": ".own{x:1}",
        "documentation_options.js": "const DOCUMENTATION_OPTIONS = {};",
        "searchtools.js": "search()",
        "late.js": "late()",
        "unused.woff2": "",
    }
    for name, text in contents.items():
        (static / name).write_text(text, "utf8")
    pictures = f'<img alt="a" src="{PICTURE}" width="3"/><img alt="b" src="{SMALL}"/>'
    body = f'<p class="one base">x</p>{pictures}'
    pages = {
        "one": ("", body),
        "two": (OWN, body),
        "search": ("", '<div id="search-results"></div>'),
    }
    for name, (own, inside) in pages.items():
        page = PAGE.format(name=name, own=own, body=inside)
        (tmp_path / f"book/{name}.html").write_text(page, "utf8")
    (tmp_path / "index.html").write_text('<meta http-equiv="Refresh" content="0"/>', "utf8")
    return tmp_path


def test_pages_share_one_sheet_and_one_script(site: Path) -> None:
    """Imports inside, unused rules gone, settings first; a page keeps what is its own."""
    lighten_site(site)
    one, two = ((site / f"book/{name}.html").read_text("utf8") for name in ("one", "two"))
    sheet = (site / "_static/site.css").read_text("utf8")
    assert sheet.startswith('@charset "utf-8";\n.base{x:1}\n.one{background:url(dot.svg)}')
    assert ".gone" not in sheet
    assert "@font-face" not in sheet
    assert re.findall(r'<link href="([^"?]+)[^>]*"stylesheet"', one) == ["../_static/site.css"]
    assert re.findall(r'<link href="([^"?]+)[^>]*"stylesheet"', two)[1] == "../_static/own.css"
    script = (site / "_static/site.js").read_text("utf8")
    order = [script.index(part) for part in ("DOCUMENTATION_OPTIONS =", "let hint", "late()")]
    assert order == sorted(order)
    assert "search()" not in script
    assert re.findall(r'<script defer="" src="([^"?]+)', one) == ["../_static/site.js"]
    assert "first()" in one
    assert "preload" not in one
    assert "pagename" not in one
    left = {path.name for path in (site / "_static").iterdir() if path.is_file()}
    assert left == {"site.css", "site.js", "base.css", "own.css", "searchtools.js"}


def test_folded_parts_are_not_measured(site: Path) -> None:
    """The theme's own line, kept from boxes inside a closed part."""
    (site / "_static/late.js").write_text(f"late(e=>{{{MEASURED}}})", "utf8")
    lighten_site(site)
    script = (site / "_static/site.js").read_text("utf8")
    assert f'late(e=>{{e.closest("details:not([open])")||({MEASURED})}})' in script
    theme = files("pydata_sphinx_theme") / "theme/pydata_sphinx_theme/static/scripts"
    assert MEASURED in (theme / "pydata-sphinx-theme.js").read_text("utf8")


def test_the_theme_looks_for_a_sidebar_that_may_be_missing(site: Path) -> None:
    """Its own line, made safe; and the list of a page's parts closes when one is chosen."""
    (site / "_static/late.js").write_text(f'{SIDEBAR}.add("hide")', "utf8")
    lighten_site(site)
    script = (site / "_static/site.js").read_text("utf8")
    assert SIDEBAR not in script
    assert 'querySelector("div.bd-sidebar-secondary")?.classList.add("hide")' in script
    assert "dialog[open] a[href^='#']" in script
    theme = files("sphinx_book_theme") / "theme/sphinx_book_theme/static/scripts"
    assert SIDEBAR in (theme / "sphinx-book-theme.js").read_text("utf8")


def test_the_search_stays_on_its_page(site: Path) -> None:
    """After the shared script, in order, none of them deferred."""
    lighten_site(site)
    page = (site / "book/search.html").read_text("utf8")
    tail = page[page.index("search-results") :]
    assert re.findall(r'<script src="\.\./_static/([\w.]+)', tail) == ["site.js", "searchtools.js"]
    assert "searchtools" not in (site / "book/one.html").read_text("utf8")


def test_pictures_become_files(site: Path) -> None:
    """One file for equal pictures, loaded late; a tiny one stays in its page."""
    lighten_site(site)
    (picture,) = (site / "_images").iterdir()
    assert picture.read_bytes() == b"picture" * 200
    page = (site / "book/one.html").read_text("utf8")
    assert f'<img alt="a" loading="lazy" src="../_images/{picture.name}" width="3"/>' in page
    assert SMALL in page


def test_lightening_twice_changes_nothing(site: Path) -> None:
    """To the byte."""
    lighten_site(site)
    once = {path: path.read_bytes() for path in site.rglob("*") if path.is_file()}
    lighten_site(site)
    assert {path: path.read_bytes() for path in site.rglob("*") if path.is_file()} == once
