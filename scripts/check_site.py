"""Check the finished site: nothing from elsewhere, no dead link, no picture without words.

One line for each finding, exit code 1 if there is any. Links that a reader may follow can lead
anywhere; what a page loads by itself must lie in the site.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag

LOADING_RELS = {"stylesheet", "preload", "modulepreload", "prefetch", "icon", "manifest"}
LOADING_TAGS = ("script", "img", "iframe", "source", "audio", "video", "embed", "track", "input")
CSS_URL = re.compile(r"url\(\s*['\"]?([^'\")]+)['\"]?\s*\)|@import\s+['\"]([^'\"]+)['\"]")
JS_LOAD = re.compile(
    r"(?:\bimport\s*\(?|\bfrom\s*|\bimportScripts\s*\(|\bfetch\s*\()\s*['\"]((?:https?:)?//[^'\"]+)"
)
CSS_COMMENT = re.compile(r"/\*.*?\*/", re.S)
FILE_NAME_ALT = re.compile(r"(?:^|/)[0-9a-f]{16,}|_images/|\.(?:png|svg|jpe?g|gif|webp)$", re.I)
LEFTOVER = re.compile(r"\[\^[^\]\s]*\]?|```|:::|\{[a-z][\w:-]*\}`|\{glue:|\{(?:ref|term|cite)\}")
NAMELESS = "without a title"  # as finish_site names a table under no heading
EXPLORER = "ua-explorer"
CHAPTERS = "book/"
PICTURE = "svg[role=img], img, canvas"
MAX_SITE = 25_000_000  # bytes
MAX_NOTEBOOK = 1_000_000  # bytes; GitHub and Colab open it without complaint
NOT_PROSE = "script, style, pre, code, math, annotation, .katex, svg, textarea"


class Page:
    """A page of the site, parsed once."""

    def __init__(self, site: Path, path: Path) -> None:
        self.path = path
        self.name = path.relative_to(site).as_posix()
        self.text = path.read_text("utf8")
        self.soup = BeautifulSoup(self.text, "html.parser")

    @cached_property
    def ids(self) -> list[str]:
        """All ids, in order, doubles included."""
        return [tag["id"] for tag in self.soup.find_all(id=True)]

    @cached_property
    def anchors(self) -> set[str]:
        """Everything that a link into this page may name."""
        return {*self.ids, *(tag["name"] for tag in self.soup.find_all("a", attrs={"name": True}))}

    @cached_property
    def classes(self) -> dict[str, list[Tag]]:
        """The elements of each class, in order."""
        found: dict[str, list[Tag]] = {}
        for tag in self.soup.find_all(class_=True):
            for name in tag["class"]:
                found.setdefault(name, []).append(tag)
        return found

    @cached_property
    def loaded(self) -> list[str]:
        """The URLs that a browser fetches by itself to show the page."""
        return list(loaded(self.soup))


def check_site(site: Path) -> list[str]:
    """All findings, one line each, in a fixed order."""
    if not (site / "index.html").is_file():
        return [f"{site}: there is no index.html; build the book first (make book)"]
    pages = {path: Page(site, path) for path in sorted(site.rglob("*.html"))}
    findings = []
    for page in pages.values():
        for check in CHECKS:
            findings += [f"{page.name}: {what}" for what in check(page, site, pages)]
    findings += [line for path in sorted(site.rglob("*.css")) for line in sheet(path, site)]
    findings += [line for path in notebooks(site) for line in notebook(path, site)]
    return [*findings, *weight(site)]


def is_foreign(url: str) -> bool:
    """Whether a URL names another host."""
    return bool(urlsplit(url.strip()).netloc)


def is_local(url: str) -> bool:
    """Whether a URL names something in the site: no host, no scheme such as data: or mailto:."""
    parts = urlsplit(url.strip())
    return not parts.netloc and not parts.scheme


def loaded(soup: BeautifulSoup) -> Iterator[str]:
    """The URLs that a browser fetches by itself to show a page."""
    for tag in soup.find_all(LOADING_TAGS):
        yield from (tag[key] for key in ("src", "poster") if tag.get(key))
        for part in (tag.get("srcset") or "").split(","):
            yield from part.split()[:1]
    for link in soup.find_all("link", href=True):
        if LOADING_RELS & set(link.get("rel", [])):
            yield link["href"]
    yield from (tag["data"] for tag in soup.find_all("object", data=True))
    for tag in soup.find_all(["use", "image"]):
        yield from (tag[key] for key in ("href", "xlink:href") if tag.get(key))
    styles = [tag.get_text() for tag in soup.find_all("style")]
    styles += [tag["style"] for tag in soup.find_all(style=True)]
    yield from (url for style in styles for url in css_urls(style))


def css_urls(text: str) -> list[str]:
    """The URLs in a style sheet."""
    return [first or second for first, second in CSS_URL.findall(CSS_COMMENT.sub("", text))]


Pages = dict[Path, Page]


def foreign(page: Page, site: Path, pages: Pages) -> Iterator[str]:
    """What the page would load from another host."""
    for url in page.loaded:
        if is_foreign(url):
            yield f"loads {url} from another host; keep a copy in book/_static or drop it"
    for script in page.soup.find_all("script"):
        for url in JS_LOAD.findall(script.string or ""):
            yield f"a script loads {url} from another host"
        source = script.get("src")
        file = target(page.path, site, source) if source and is_local(source) else None
        for url in JS_LOAD.findall(file.read_text("utf8")) if file and file.is_file() else ():
            yield f"the script {file.name} loads {url} from another host"


def target(base: Path, site: Path, url: str) -> Path:
    """The file that a local URL in the file `base` names."""
    path = unquote(urlsplit(url.strip()).path)
    file = site / path.lstrip("/") if path.startswith("/") else base.parent / path
    file = file.resolve() if path else base
    return file / "index.html" if file.is_dir() else file


def loads(page: Page, site: Path, pages: Pages) -> Iterator[str]:
    """Files that the page loads and that are not there."""
    for url in page.loaded:
        if is_local(url) and not url.startswith("#") and not target(page.path, site, url).is_file():
            yield f"the file {url} is missing"


def astray(page: Page, site: Path, pages: Pages) -> Iterator[str]:
    """URLs that are right on this machine only, or where the site lies at a host's root."""
    followed = [link["href"] for link in page.soup.find_all(["a", "area"], href=True)]
    for url in [*followed, *page.loaded]:
        if urlsplit(url.strip()).scheme == "file" or (is_local(url) and url.startswith("/")):
            yield f"the link {url} is absolute; write it from the page's own place"
        elif is_local(url) and leaves(page, site, url):
            yield f"the link {url} leaves the site"


def leaves(page: Page, site: Path, url: str) -> bool:
    """Whether a local URL leads out of the folder of the site."""
    return not target(page.path, site, url).resolve().is_relative_to(site.resolve())


def links(page: Page, site: Path, pages: Pages) -> Iterator[str]:
    """Links into the site that lead nowhere."""
    for link in page.soup.find_all(["a", "area"], href=True):
        url = link["href"]
        if not is_local(url) or leaves(page, site, url):
            continue
        file, anchor = target(page.path, site, url), unquote(urlsplit(url).fragment)
        if not file.is_file():
            yield f"the link {url} leads to no page"
        elif "=" in anchor and file in pages and EXPLORER in pages[file].anchors:
            continue  # a view of the explorer; its own tests follow these links
        elif anchor and file in pages and anchor not in pages[file].anchors:
            yield f"the link {url} leads to no place on its page"
    for refresh in page.soup.find_all("meta", attrs={"http-equiv": re.compile("refresh", re.I)}):
        url = refresh.get("content", "").partition("url=")[2]
        if url and is_local(url) and not target(page.path, site, url).is_file():
            yield f"the page sends its reader on to {url}, which is not there"


def pictures(page: Page, site: Path, pages: Pages) -> Iterator[str]:
    """Pictures without words."""
    for image in page.soup.find_all("img"):
        name, alt = image.get("src", "without a source"), image.get("alt")
        if alt is None:
            yield f"the picture {name} has no alternative text"
        elif not alt.strip() and not is_decoration(image):
            yield f"the picture {name} has an empty alternative text; {HOW_TO_ALT}"
        elif FILE_NAME_ALT.search(alt.strip()):
            yield f"the picture {name} has a file name for alternative text; {HOW_TO_ALT}"
    for drawing in page.soup.select("svg[role=img]"):
        title = drawing.find("title", recursive=False)
        named = drawing.get("aria-label") or drawing.get("aria-labelledby")
        if not named and not (title and title.get_text(strip=True)):
            yield "a drawing (svg role=img) has neither aria-label nor title"


def figures(page: Page, site: Path, pages: Pages) -> Iterator[str]:
    """Figures that no text can refer to: without a name, a number or words in the caption; and
    pictures of a run outside every figure."""
    for place, figure in enumerate(page.soup.find_all("figure"), start=1):
        name = figure.get("id") or f"figure {place}"
        number = figure.select_one("figcaption .caption-number")
        words = figure.select_one("figcaption .caption-text")
        if not figure.get("id"):
            yield f"{name} has no name that a text could refer to; {HOW_TO_CAPTION}"
        if number is None or words is None or not words.get_text(strip=True):
            yield f"{name} has no numbered caption; {HOW_TO_CAPTION}"
        if not figure.select(SHOWN):
            yield f"{name} shows nothing that has words"
    outputs = page.classes.get("cell_output", [])
    for picture in [picture for output in outputs for picture in output.select(PICTURE)]:
        if not picture.find_parent(["figure", "svg", "table"]):
            words = picture.get("alt") or picture.get("aria-label") or ""
            yield f"the picture '{words[:40]}' stands in no figure; {HOW_TO_CAPTION}"


SHOWN = "svg[role=img], img, table, pre, .ua-record-none"  # the last says what was not measured
HOW_TO_CAPTION = 'set `mystnb: {figure: {name: fig-x, caption: "..."}}` in its cell'


def is_decoration(image: Tag) -> bool:
    """Whether a picture says of itself that it has nothing to tell."""
    return image.get("role") in ("presentation", "none") or image.get("aria-hidden") == "true"


HOW_TO_ALT = 'set `mystnb: {image: {alt: "..."}}` in its cell'


def tables(page: Page, site: Path, pages: Pages) -> Iterator[str]:
    """Tables without a name or without headers; those that only lay out links have neither."""
    for number, table in enumerate(page.soup.select("article table"), start=1):
        if table.get("role") in ("presentation", "none"):
            continue
        frame = table.find_parent(attrs={"aria-label": True, "role": "region"})
        name = table.find("caption") or table.get("aria-label") or table.get("aria-labelledby")
        if not name and (frame is None or frame["aria-label"].endswith(NAMELESS)):
            yield f"table {number} has no name: give it a caption, or a heading above it"
        if not table.find("th"):
            yield f"table {number} has no header cells"


def headings(page: Page, site: Path, pages: Pages) -> Iterator[str]:
    """Headings that skip a level."""
    level = 0
    for heading in page.soup.select("article :is(h1, h2, h3, h4, h5, h6)"):
        now = int(heading.name[1])
        if now > level + 1:
            words = heading.get_text(" ", strip=True).rstrip("#").strip()
            yield f"the heading '{words}' is of level {now} and follows one of level {level}"
        level = now


def descriptions(page: Page, site: Path, pages: Pages) -> Iterator[str]:
    """Pages that a search engine would have to describe by itself."""
    if page.soup.find("meta", attrs={"http-equiv": re.compile("refresh", re.I)}):
        return
    found = page.soup.find("meta", attrs={"name": "description"})
    if found is None or not (found.get("content") or "").strip():
        yield f"the page has no description; {HOW_TO_DESCRIBE}"


# What each chapter offers, and the class of what shows that it does.
FURNITURE = {
    "box to cite it": "ua-cite",
    "link to edit it": "btn-source-edit-button",
    "link to report a fault": "btn-source-issues-button",
    "download": "dropdown-download-buttons",
}
LANE = "[class*=ua-lane-]"
TIME_TO_READ = re.compile(r"\b[1-9]\d* min to read\b")
TIME_TO_RUN = re.compile(r"\bRun in \d+ s\b.*\bLast run on \d{4}-\d\d-\d\d\b")


def furniture(page: Page, site: Path, pages: Pages) -> Iterator[str]:
    """What a chapter owes its reader beside its text, and lacks."""
    if not page.name.startswith(CHAPTERS):
        return
    there = page.classes
    missing = [what for what, mark in FURNITURE.items() if mark not in there]
    badges = next(iter(there.get("ua-badges", [])), None)  # those under the title come first
    missing += ["badge of its lane"] * (badges is None or not badges.select(LANE))
    yield from (f"the page has no {what}" for what in missing)
    words = badges.get_text(" ", strip=True) if badges else ""
    if not TIME_TO_READ.search(words):
        yield "the page does not say how long it reads"
    if "cell" in there and not TIME_TO_RUN.search(words):
        yield "the page has cells, and does not say how long and when they ran"
    contents = [a["href"] for nav in there.get("bd-links", []) for a in nav.select("li > a[href]")]
    if "#" not in contents:
        yield "the page does not stand in the contents"
        return
    if contents[0] != "#" and "left-prev" not in there:
        yield "the page has no link to the previous one"
    if contents[-1] != "#" and "right-next" not in there:
        yield "the page has no link to the next one"


HOW_TO_DESCRIBE = "write `myst: {html_meta: {description: ...}}` in its front matter"


def ids(page: Page, site: Path, pages: Pages) -> Iterator[str]:
    """Ids that stand more than once on a page."""
    for name, number in sorted(Counter(page.ids).items()):
        if number > 1:
            yield f"the id '{name}' stands {number} times on the page"


def leftovers(page: Page, site: Path, pages: Pages) -> Iterator[str]:
    """Markup that was left as text: undefined footnotes, unclosed fences, roles."""
    article = BeautifulSoup(str(page.soup.find("article") or ""), "html.parser")
    for tag in article.select(NOT_PROSE):
        if not tag.decomposed:
            tag.decompose()
    text = re.sub(r"\s+", " ", article.get_text())
    for match in LEFTOVER.finditer(text):
        around = text[max(0, match.start() - 30) : match.end() + 30].strip()
        yield f"markup left as text: '… {around} …'"


def formulas(page: Page, site: Path, pages: Pages) -> Iterator[str]:
    """Formulas that KaTeX could not read."""
    for error in page.soup.select(".katex-error"):
        yield f"a formula has a fault: {error.get('title') or error.get_text()}"


def paths(page: Page, site: Path, pages: Pages) -> Iterator[str]:
    """Output that shows the folder in which the book was built."""
    folder = site.resolve().parent.parent
    if len(folder.parts) > 2 and f"{folder}/" in page.text:
        yield "the page shows the path of the folder in which the book was built"


CHECKS = (
    *(foreign, loads, astray, links, pictures, figures, tables, headings),
    *(descriptions, furniture, ids, leftovers, formulas, paths),
)


def sheet(path: Path, site: Path) -> Iterator[str]:
    """Faults in a style sheet."""
    name = path.relative_to(site).as_posix()
    for url in css_urls(path.read_text("utf8")):
        if is_foreign(url):
            yield f"{name}: loads {url} from another host"
        elif is_local(url) and not url.startswith("#") and not target(path, site, url).is_file():
            yield f"{name}: the file {url} is missing"


def notebooks(site: Path) -> list[Path]:
    """The notebooks that readers can download."""
    return sorted(site.rglob("*.ipynb"))


def notebook(path: Path, site: Path) -> Iterator[str]:
    """Faults in a notebook for readers: not executed, failed, too large, or a path in it."""
    name, text = path.relative_to(site).as_posix(), path.read_text("utf8")
    try:
        cells = json.loads(text)["cells"]
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
    except (ValueError, KeyError, TypeError, AttributeError):
        yield f"{name}: this is no notebook"
        return
    if not outputs:
        yield f"{name}: the notebook holds no results; it comes from the execution cache"
    if any(output.get("output_type") == "error" for output in outputs):
        yield f"{name}: a cell of the notebook failed"
    if len(text.encode()) > MAX_NOTEBOOK:
        yield f"{name}: the notebook has {len(text.encode()) / 1e6:.1f} MB; show smaller pictures"
    folder = site.resolve().parent.parent
    if len(folder.parts) > 2 and f"{folder}/" in text:
        yield f"{name}: the notebook shows the path of the folder in which the book was built"


def weight(site: Path, limit: int = MAX_SITE) -> Iterator[str]:
    """A site that is too heavy to copy about."""
    total = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    if total > limit:
        yield f"the site has {total / 1e6:.1f} MB, more than {limit / 1e6:.1f}; find what grew"


def main() -> int:
    """Print the findings; 1 if there is any."""
    site = Path(sys.argv[1] if len(sys.argv) > 1 else "_build/html").resolve()
    findings = check_site(site)
    print("\n".join(findings) or f"{len(list(site.rglob('*.html')))} pages, no fault")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
