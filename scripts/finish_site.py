"""Repair the finished pages: light, free of leftovers, usable with a keyboard and a screen reader.

Themes and notebooks leave things behind that no setting removes. Every repair can be applied
again without a further effect, and the same pages always give the same result.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from bs4 import BeautifulSoup, NavigableString, Tag

from unet_atlas.files import write_text

# Scripts that the pages do not need: the icons also come as a web font with the style sheets,
# and nothing here runs code in the browser.
NEEDLESS_SCRIPTS = re.compile(
    r"fontawesome\.js|thebe|require(\.min)?\.js|html-manager|mathjax", re.I
)
NEEDLESS_FILES = ("**/*.map", "**/fontawesome.js", "**/thebe*", "_static/*webpack-macros.html")
SOURCE_MAP = re.compile(r"\s*(/\*# sourceMappingURL=.*?\*/|//# sourceMappingURL=\S+)\s*$")
LONG_FORMULA = 40
SHORT_CODE = 24
# "52 %" and "32 × 32" stay on one line; tables may break them, and code is left as it is.
UNIT = re.compile(r"(?<=\d) (?=%)|(?<=\d) (?=× \d)|(?<=\d ×) (?=\d)")
ONE_BY_ONE = ["code", "math", "pre", "script", "style", "svg", "table", "textarea"]
THEME = """
    (() => {
      const page = document.documentElement.dataset;
      const dark = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
      page.mode = localStorage.getItem("mode") || "auto";
      page.theme = page.mode === "auto" ? dark : page.mode;
    })();
  """
BIG = "tables.js"
NO_ICON = "data:,"  # a file would still be on its way when the page is left
DESCRIBED = {  # pages that have no source, by the beginning of their title
    "Search": "Search all pages of UNet Atlas, an executable book on Stable Diffusion's UNets.",
    "Index": "All terms of UNet Atlas, from A to Z, each with the place that defines it.",
}
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`])")


def finish_site(site: Path) -> None:
    """Repair all pages below `site` in place."""
    drop_files(site)
    tips = glossary_tips(site)
    for path in sorted(site.rglob("*.html")):
        before = path.read_text("utf8")
        after = finish_page(before, tips)
        if after != before:
            write_text(path, after)


def drop_files(site: Path) -> None:
    """Delete what no page needs, and the hints at source maps that are gone."""
    for pattern in NEEDLESS_FILES:
        for path in sorted(site.glob(pattern)):
            path.unlink()
    for path in sorted([*site.rglob("*.js"), *site.rglob("*.css")]):
        before = path.read_text("utf8")
        after = SOURCE_MAP.sub("\n", before)
        if after != before:
            write_text(path, after)


def finish_page(html: str, tips: dict[str, str]) -> str:
    """One page with all repairs."""
    page = BeautifulSoup(html, "html.parser")
    for repair in REPAIRS:
        repair(page)
    add_tips(page, tips)
    return str(page)


# --- the glossary --------------------------------------------------------------------------


def glossary_tips(site: Path) -> dict[str, str]:
    """The first sentence of each definition, by the anchor of its term."""
    tips: dict[str, str] = {}
    for path in sorted(site.rglob("*.html")):
        text = path.read_text("utf8")
        if 'class="glossary' in text or "glossary" in path.name:
            page = BeautifulSoup(text, "html.parser")
            for term in page.select("dl.glossary dt[id]"):
                definition = term.find_next_sibling("dd")
                if definition:
                    tips[term["id"]] = first_sentence(definition.get_text(" ", strip=True))
    return tips


def first_sentence(text: str) -> str:
    """The first sentence of a text, with its blanks made even."""
    even = re.sub(r"\s+([,.;:])", r"\1", re.sub(r"\s+", " ", text).strip())
    return SENTENCE_END.split(even, maxsplit=1)[0]


def add_tips(page: BeautifulSoup, tips: dict[str, str]) -> None:
    """Give every link to a term the first sentence of its definition, and every citation what it
    cites: shown on hover and on keyboard focus alike, which a title is not."""
    for link in page.select("a.reference:has(.std-term)"):
        tip = tips.get(link["href"].partition("#")[2])
        if tip:
            link["data-ua-tip"] = tip
            hold_tip(link)
    for link in page.select("a.reference[title][href*='bibliography.html#']"):
        link["data-ua-tip"] = link["title"].partition(" URL: ")[0]
        del link["title"]
        hold_tip(link)


def hold_tip(link: Tag) -> None:
    """Mark the block around a link: its tip stands below, as wide as the block at most."""
    block = link.find_parent(["p", "li", "td", "th", "dd", "figcaption"])
    if block:
        block["class"] = list(dict.fromkeys([*block.get("class", []), "ua-tipped"]))


# --- the repairs ---------------------------------------------------------------------------


def drop_scripts(page: BeautifulSoup) -> None:
    """Remove scripts, preloads and placeholders that nothing here uses."""
    for tag in page.find_all(["script", "link"]):
        if NEEDLESS_SCRIPTS.search(str(tag.get("src") or tag.get("href") or "")):
            tag.decompose()
    for tag in page.select("script[type='text/x-thebe-config'], #ethical-ad-placement"):
        tag.decompose()
    for script in page.find_all("script", src=None):
        if "thebe" in (script.string or ""):
            script.decompose()


def mend_head(page: BeautifulSoup) -> None:
    """A language on every page, one viewport, and a description also for what Sphinx writes."""
    if page.html and not page.html.get("lang"):
        page.html["lang"] = "en"
    for extra in page.select("meta[name=viewport]")[1:]:
        extra.decompose()
    title = page.title.get_text().strip() if page.title else ""
    words = next((words for name, words in DESCRIBED.items() if title.startswith(name)), "")
    if words and page.head and not page.select("meta[name=description]"):
        tag = page.new_tag("meta", attrs={"content": words, "name": "description"})
        page.title.insert_after(tag)


def add_icon(page: BeautifulSoup) -> None:
    """The page that only sends its reader on says that it has no icon: else a browser asks for
    /favicon.ico, which is not there."""
    sends = page.find("meta", attrs={"http-equiv": re.compile("refresh", re.I)})
    if sends is not None and not page.select("link[rel~=icon]"):
        sends.insert_after(page.new_tag("link", attrs={"href": NO_ICON, "rel": "icon"}))


def mend_theme(page: BeautifulSoup) -> None:
    """The theme is known before the first paint: the theme's own script would only find it out
    later, and every element would be styled twice."""
    for script in page.select("head script[data-cfasync]"):
        script.string = THEME


def mend_focus(page: BeautifulSoup) -> None:
    """What the theme's script finds out for each box, whether it needs a tab stop, starts out as
    no: it measures again after each change."""
    for box in page.select("article pre, .cell_output > .output"):
        if not box.has_attr("tabindex"):
            box["tabindex"] = "-1"


def mend_lists(page: BeautifulSoup) -> None:
    """The entries of a bibliography are items of its list."""
    for entry in page.select("[role=list] > [role=doc-biblioentry]"):
        entry["role"] = "listitem"


def mend_labels(page: BeautifulSoup) -> None:
    """The name of a control is what one sees on it; an icon is decoration."""
    for icon in page.select("button i, button span[class*='fa-'], a i[class*='fa-']"):
        icon["aria-hidden"] = "true"
        del icon["title"]
    for control in page.select("button, summary"):
        seen = control.get_text(" ", strip=True)
        if seen:
            del control["aria-label"]
        elif not control.get("aria-label") and control.get("title"):
            control["aria-label"] = control["title"]


def mend_landmarks(page: BeautifulSoup) -> None:
    """The sidebar, with the logo in it, is a region of its own."""
    for sidebar in page.select("#pst-primary-sidebar"):
        sidebar["role"], sidebar["aria-label"] = "region", "Book"


def mend_frames(page: BeautifulSoup) -> None:
    """Tables of pandas: no style of their own, no border, no empty header in the corner."""
    for table in page.select("table.dataframe"):
        for style in table.parent.find_all("style", recursive=False):
            style.decompose()
        del table["border"]
        for corner in table.select("thead th"):
            if not corner.get_text(strip=True):
                corner.name = "td"


def mend_tables(page: BeautifulSoup) -> None:
    """A wide table scrolls inside a frame that has a name and can be reached with the keyboard."""
    for index in page.select("table.indextable"):
        index["role"] = "presentation"  # only sets its links in columns
    named = page.select("article table:not(.indextable)")
    for number, table in enumerate(named, start=1):
        frame = table.parent
        if not {"ua-scroll", "pst-scrollable-table-container"} & set(frame.get("class", [])):
            frame = table.wrap(page.new_tag("div", attrs={"class": "ua-scroll"}))
        frame["tabindex"], frame["role"] = "0", "region"
        frame["aria-label"] = f"Table {number}: {table_name(table)}"


def add_table_script(page: BeautifulSoup) -> None:
    """The script that sorts and filters comes with the pages that hold a large table."""
    if page.select_one("table.ua-big") and page.head and not page.select(f"script[src$='{BIG}']"):
        source = f"{page.html.get('data-content_root', '')}_static/{BIG}"
        page.head.append(page.new_tag("script", attrs={"defer": "", "src": source}))


def table_name(table: Tag) -> str:
    """The caption of a table, else the heading above it."""
    caption = table.find("caption") or table.find_previous(["h1", "h2", "h3", "h4"])
    return caption.get_text(" ", strip=True).rstrip("#").strip() if caption else "without a title"


def mend_formulas(page: BeautifulSoup) -> None:
    """A long formula scrolls inside itself and can be reached with the keyboard."""
    for formula in page.select("article div.math"):
        source = formula.find("annotation")
        if source and len(source.get_text()) > LONG_FORMULA:
            formula["tabindex"], formula["role"] = "0", "group"
            formula["aria-label"] = "Formula"


def mend_units(page: BeautifulSoup) -> None:
    """A number keeps its percent sign, and a product its factors, on one line."""
    for text in page.select_one("article").find_all(string=True) if page.article else []:
        words = str(text)
        after_number = words.startswith(" %") and re.search(r"\d$", before(text))
        words = UNIT.sub("\u00a0", f"\u00a0{words[1:]}" if after_number else words)
        if words != str(text) and not text.find_parent(ONE_BY_ONE):
            text.replace_with(words)


def mend_code(page: BeautifulSoup) -> None:
    """A short name with a hyphen, such as an option, stays on one line."""
    for word in page.select("article code .pre"):
        if "-" in word.get_text() and len(word.get_text()) <= SHORT_CODE:
            word["class"] = list(dict.fromkeys([*word["class"], "ua-whole"]))


def before(text: NavigableString) -> str:
    """What stands right before a piece of text, if it is an element."""
    element = text.previous_sibling
    return element.get_text() if isinstance(element, Tag) else ""


def mend_toggle(page: BeautifulSoup) -> None:
    """No button for a sidebar that the page doesn't have."""
    if not page.select(".bd-sidebar-secondary"):
        for button in page.select("button.secondary-toggle"):
            button.decompose()


def mend_width(page: BeautifulSoup) -> None:
    """The explorer's page is wide from the first moment, not only once its end has been read."""
    if page.select("#ua-explorer"):
        for box in page.select(".bd-article-container"):
            box["class"] = list(dict.fromkeys([*box["class"], "ua-wide"]))


REPAIRS: tuple[Callable[[BeautifulSoup], None], ...] = (
    drop_scripts,
    mend_head,
    add_icon,
    mend_theme,
    mend_focus,
    mend_lists,
    mend_labels,
    mend_landmarks,
    mend_frames,
    mend_tables,
    add_table_script,
    mend_formulas,
    mend_units,
    mend_code,
    mend_toggle,
    mend_width,
)


if __name__ == "__main__":
    finish_site(Path(sys.argv[1] if len(sys.argv) > 1 else "_build/html"))
