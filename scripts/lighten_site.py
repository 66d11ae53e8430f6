"""Make the finished site light: one short style sheet, one script, the icons that are used.

Runs after finish_site.py, on pages of the theme. The sheets that most pages share become
`_static/site.css` without the rules that no page can use; their scripts become `_static/site.js`,
deferred; the search index is left to the search page; pictures within a page that are worth a
request become files that load when a reader comes near. The same pages always give the same
result, and applying it again changes nothing.
"""

from __future__ import annotations

import base64
import hashlib
import html
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

from bs4 import BeautifulSoup
from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont

from purge_css import drop_unused_faces, drop_unused_variables, purge, used_names
from unet_atlas.files import write_text

SHEET, SCRIPT = "_static/site.css", "_static/site.js"
SEARCH = ("searchtools.js", "language_data.js", "searchindex.js")
SEARCHING = 'id="search-results"'
PAGE_NAME = "DOCUMENTATION_OPTIONS.pagename"
SETTINGS = "documentation_options.js"
# Bootstrap names far more than it uses; what it gives to elements stands in purge_css.SCRIPTED.
WORDY = ("bootstrap.js", "searchindex.js", "site.js")
URL = re.compile(r"url\(\s*(['\"]?)([^'\")]+)\1\s*\)")
IMPORT = re.compile(r"@import\s+(?:url\()?['\"]([^'\"]+)['\"]\)?\s*;")
FACE = re.compile(r"@font-face\s*\{[^{}]*\}")
WOFF2 = re.compile(r"url\(([^()]*\.woff2)\)")
WEIGHT_400 = re.compile(r"font-weight:\s*(?:400|normal)")
ICON = re.compile("[\ue000-\uf8ff]")
THIN_ICON = re.compile(r'class="[^"]*\b(?:far|fa-regular)\b')
INLINE_PICTURE = re.compile(r'<img\b[^>]*\bsrc="data:image/(png|jpeg|webp);base64,([^"]+)"[^>]*>')
SCRIPT_TAG = re.compile(r"<script\b([^>]*)>(.*?)</script>", re.S)
SOURCE = re.compile(r'\bsrc="([^"]+)"')
PRELOAD = re.compile(r'<link as="script"[^>]*rel="preload"[^>]*/>\n?')
LEFT = ("",)  # of no file
# The theme measures every box when a page opens, those in folded parts as well, and so has the
# browser lay out what nobody sees. They are measured when the part is opened.
MEASURED = "e.tabIndex=e.scrollWidth>e.clientWidth||e.scrollHeight>e.clientHeight?0:-1"
FOLDED = f'e.closest("details:not([open])")||({MEASURED})'
# The theme's own fault on a page without the sidebar of its parts: an error in the console.
SIDEBAR = 'document.querySelector("div.bd-sidebar-secondary").classList'
SIDEBAR_IF_ANY = SIDEBAR.replace(").classList", ")?.classList")
# On a phone the list of a page's parts lies over the page; who has chosen a part wants to see it.
CHOOSING = """document.addEventListener("click", (event) => {
  const part = event.target.closest("dialog[open] a[href^='#']");
  if (part) setTimeout(() => part.closest("dialog").close());
});"""
UNFOLDING = 'document.addEventListener("toggle", () => dispatchEvent(new Event("resize")), true);'
FORMULA = re.compile(r'<span[^>]*class="katex-html"[^>]*>')
SPAN = re.compile(r"<span\b[^>]*>|</span>")
TAG = re.compile(r"<[^>]*>")
FONTS = "_static/fonts"
FONT_FILES = ("*.woff2", "*.woff", "*.ttf", "*.eot")
WORTH_A_REQUEST = 600  # bytes of a picture


def lighten_site(site: Path) -> None:
    """Lighten all pages below `site` in place."""
    pages = {path: path.read_text("utf8") for path in sorted(site.rglob("*.html"))}
    before = dict(pages)
    for path, text in pages.items():
        pages[path] = with_files(text, path, site)
    heads = {path: head_of(text) for path, text in pages.items() if "</head>" in text}
    merge_sheets(site, pages, heads)
    merge_scripts(site, pages, heads)
    for path, head in heads.items():
        pages[path] = f"{head}{pages[path].partition('</head>')[2]}"
    for path, text in pages.items():
        if text != before[path]:
            write_text(path, text)
    drop_unused_files(site)


# --- pictures ------------------------------------------------------------------------------


def with_files(text: str, page: Path, site: Path) -> str:
    """A page whose larger pictures are files, loaded when they come near the window."""

    def moved(found: re.Match[str]) -> str:
        content = base64.b64decode(found[2])
        if len(content) < WORTH_A_REQUEST:
            return found[0]
        name = f"{hashlib.sha256(content).hexdigest()[:20]}.{found[1].replace('jpeg', 'jpg')}"
        file = site / "_images" / name
        if not file.is_file():
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content)
        source = f"{climb(page, site)}_images/{name}"
        tag = found[0].replace(f"data:image/{found[1]};base64,{found[2]}", source)
        return tag if "loading=" in tag else tag.replace(" src=", ' loading="lazy" src=', 1)

    return INLINE_PICTURE.sub(moved, text)


def climb(page: Path, site: Path) -> str:
    """The way from a page's folder up to the site: `../../`."""
    return "../" * (len(page.relative_to(site).parts) - 1)


# --- style sheets --------------------------------------------------------------------------


def merge_sheets(site: Path, pages: dict[Path, str], heads: dict[Path, str]) -> None:
    """One sheet in place of those that most pages share, shortened to what the site uses."""
    found = {path: BeautifulSoup(head, "html.parser") for path, head in heads.items()}
    links = {
        path: [link for link in head.select("link[rel=stylesheet]") if is_here(link["href"])]
        for path, head in found.items()
    }
    shared = shared_by_most(
        [[named(link["href"], path, site) for link in each] for path, each in links.items()]
    )
    sources = [site / name for name in shared if name != SHEET]
    if not sources:
        return
    sheet = short_sheet(sources, site, pages)
    write_text(site / SHEET, sheet)
    mark = hashlib.sha256(sheet.encode()).hexdigest()[:8]
    for path, each in links.items():
        first = True
        for link in each:
            if named(link["href"], path, site) not in shared:
                continue
            tag = (
                f'<link href="{climb(path, site)}{SHEET}?v={mark}" rel="stylesheet"/>'
                if first
                else ""
            )
            heads[path] = cut(heads[path], str(link), tag)
            first = False
    for source in sources:
        source.unlink()


def head_of(text: str) -> str:
    """A page up to and with the end of its head."""
    return text.partition("</head>")[0] + "</head>"


def cut(text: str, old: str, new: str) -> str:
    """A text with the one tag replaced, and with its line if nothing takes its place."""
    if old not in text:
        raise ValueError(f"'{old}' is not as finish_site writes it; run finish_site first")
    return text.replace(f"{old}\n" if not new and f"{old}\n" in text else old, new, 1)


def is_here(url: str) -> bool:
    """Whether a URL names a file of the site."""
    return not urlsplit(url).netloc and not urlsplit(url).scheme


def named(url: str, page: Path, site: Path) -> str:
    """The file that a page's URL names, from the site's root."""
    file = (page.parent / urlsplit(url).path).resolve()
    root = site.resolve()
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else ""


def shared_by_most(lists: list[list[str]]) -> list[str]:
    """The names that stand in more than half of the lists, each where it stood first."""
    number = Counter(name for names in lists for name in dict.fromkeys(names))
    order = dict.fromkeys(name for names in lists for name in names)
    return [name for name in order if number[name] * 2 > len(lists)]


def short_sheet(sources: list[Path], site: Path, pages: dict[Path, str]) -> str:
    """The sources in one, without what no page uses, with the icons inside."""
    whole = "\n".join(inlined(source, site) for source in sources)
    scripts = [
        path.read_text("utf8")
        for path in sorted(site.glob("_static/**/*.js"))
        if path.name not in WORDY
    ]
    sheet = drop_unused_faces(purge(whole, used_names(pages.values(), scripts)))
    apart = [path.read_text("utf8") for path in sheets_apart(sources, site, pages)]
    sheet = drop_unused_variables(sheet, "\n".join([*pages.values(), *scripts, *apart]))
    thin = any(map(THIN_ICON.search, pages.values()))
    signs = formula_signs(pages.values())
    icons = "".join(sorted(set(ICON.findall(sheet))))
    sheet = FACE.sub(lambda found: face(found[0], site, icons, thin, signs), sheet)
    return f'@charset "utf-8";\n{sheet}\n'


def sheets_apart(sources: list[Path], site: Path, pages: dict[Path, str]) -> list[Path]:
    """The sheets that single pages load beside the sources, and that may read their variables."""
    others = set(site.glob("_static/**/*.css")) - set(sources)
    return sorted(o for o in others if any(f"/{o.name}" in text for text in pages.values()))


def inlined(source: Path, site: Path) -> str:
    """A sheet with its imports inside and its URLs as seen from the merged sheet."""

    def moved(found: re.Match[str]) -> str:
        if not is_here(found[2]) or found[2].startswith("#"):
            return found[0]
        return f"url({relative(source.parent / found[2], site / SHEET)})"

    parts = IMPORT.split(URL.sub(moved, source.read_text("utf8")))
    for place in range(1, len(parts), 2):
        parts[place] = inlined(source.parent / parts[place], site)
    return "".join(parts)


def relative(file: Path, base: Path) -> str:
    """The way from the file `base` to another."""
    return Path(os.path.relpath(file, base.parent)).as_posix()


def face(rule: str, site: Path, icons: str, thin: bool, signs: str) -> str:
    """A @font-face with a font cut down to what is used; text shows before its font is there.

    Icons come inside the sheet. The fonts of formulas are files named by their content.
    """
    source = WOFF2.search(rule)
    if source is None:
        return rule
    rule = re.sub(r"font-display:[^;}]*;?", "", rule)
    font = (site / SHEET).parent / source[1]
    if "fontawesome" in source[1]:
        if WEIGHT_400.search(rule) and "brands" not in source[1] and not thin:
            return ""
        short = subset(font, icons, "woff")
        place = f"data:font/woff;base64,{base64.b64encode(short).decode()}"
    else:
        rule = f"{rule[:-1].rstrip(';')};font-display:swap}}"
        short = subset(font, signs, "woff2")
        file = site / FONTS / f"{font.stem}-{hashlib.sha256(short).hexdigest()[:8]}.woff2"
        if short:
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(short)
        place = relative(file, site / SHEET)
    return re.sub(r"src:[^;}]*", lambda _: f"src:url({place})", rule) if short else ""


def subset(font: Path, signs: str, flavor: str) -> bytes:
    """A font cut down to some signs, with its licence; empty if it has none of them."""
    whole = TTFont(font, recalcTimestamp=False)
    known = whole.getBestCmap()
    wanted = [ord(sign) for sign in signs if ord(sign) in known]
    if not wanted:
        return b""
    # Hints are for the smallest sizes of old screens, and a third of a formula's font.
    cutter = Subsetter(Options(name_IDs=["*"], notdef_outline=True, hinting=flavor == "woff"))
    cutter.populate(unicodes=wanted)
    cutter.subset(whole)
    whole.flavor = flavor
    out = BytesIO()
    whole.save(out)
    return out.getvalue()


def formula_signs(pages: Iterable[str]) -> str:
    """The signs that the formulas of some pages show."""
    signs = {" ", "\u00a0"}
    for text in pages:
        for start in FORMULA.finditer(text):
            depth, place = 1, start.end()
            while depth:
                tag = SPAN.search(text, place)
                signs.update(html.unescape(TAG.sub("", text[place : tag.start()])))
                depth += -1 if tag[0] == "</span>" else 1
                place = tag.end()
    return "".join(sorted(signs))


# --- scripts -------------------------------------------------------------------------------


def merge_scripts(site: Path, pages: dict[Path, str], heads: dict[Path, str]) -> None:
    """One deferred script in place of those that most pages share.

    The search page alone gets the search and its index; its scripts stand at its end, in order,
    since the search must be there before the theme asks for it.
    """
    found = {path: scripts_of(heads[path], pages[path], path, site) for path in heads}
    shared = [s for s in shared_by_most([[*each] for each in found.values()]) if s not in LEFT]
    sources = [s for s in shared if Path(s).name not in SEARCH and s != SCRIPT]
    if not sources:
        return
    first = [s for s in sources if s.endswith(SETTINGS)] + [s for s in sources if s[-3:] != ".js"]
    bundle = "".join(
        f"{(site / s).read_text('utf8') if s.endswith('.js') else s}\n;\n"
        for s in dict.fromkeys([*first, *sources])
    )
    bundle = bundle.replace(MEASURED, FOLDED).replace(SIDEBAR, SIDEBAR_IF_ANY)
    bundle = f"{bundle}{UNFOLDING}\n{CHOOSING}\n"
    write_text(site / SCRIPT, bundle)
    mark = hashlib.sha256(bundle.encode()).hexdigest()[:8]
    for path, each in found.items():
        address = f"{climb(path, site)}{SCRIPT}?v={mark}"
        old = [tag for name, tag in each.items() if name in shared or PAGE_NAME in name]
        searching = [tag for name, tag in each.items() if Path(name).name in SEARCH]
        body = pages[path].partition("</head>")[2]
        for tag in dict.fromkeys([*old, *searching]):
            heads[path] = re.sub(re.escape(tag) + r"\n?", "", heads[path])
            body = re.sub(re.escape(tag) + r"\n?", "", body)
        heads[path] = PRELOAD.sub("", heads[path])
        if SEARCHING in body:
            tags = "\n".join([f'<script src="{address}"></script>', *searching])
            body = body.replace("</body>", f"{tags}\n</body>", 1)
        else:
            tag = f'<script defer="" src="{address}"></script>'
            heads[path] = heads[path].replace("</head>", f"{tag}\n</head>", 1)
        pages[path] = f"</head>{body}"
    for source in sources:
        (site / source).unlink(missing_ok=True) if source.endswith(".js") else None


def scripts_of(head: str, text: str, path: Path, site: Path) -> dict[str, str]:
    """The scripts of a page, in order: file or content → tag."""
    body = text.partition("</head>")[2]
    tags = [*SCRIPT_TAG.finditer(head), *SCRIPT_TAG.finditer(body)]
    found = {}
    for tag in tags:
        source = SOURCE.search(tag[1])
        if source and is_here(source[1]):
            found[named(source[1], path, site)] = tag[0]
        elif tag.string is head and not source and "data-cfasync" not in tag[1]:
            found[tag[2].strip()] = tag[0]
    return found


# --- files ---------------------------------------------------------------------------------


def drop_unused_files(site: Path) -> None:
    """Delete fonts that no sheet names, and the theme's translations."""
    named_fonts = {
        (sheet.parent / url).resolve()
        for sheet in site.rglob("*.css")
        for _, url in URL.findall(sheet.read_text("utf8"))
        if is_here(url)
    }
    for pattern in FONT_FILES:
        for font in sorted(site.glob(f"_static/**/{pattern}")):
            if font.resolve() not in named_fonts:
                font.unlink()
    shutil.rmtree(site / "_static" / "locales", ignore_errors=True)


if __name__ == "__main__":
    lighten_site(Path(sys.argv[1] if len(sys.argv) > 1 else "_build/html"))
