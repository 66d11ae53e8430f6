"""Turn the book's MyST text into Markdown that reads well in Jupyter, Colab and on Kaggle.

Roles become words or links, directives become quotes and folds; code and mathematics stay as they
are. A role or directive that is not known here is an error, so that none is left raw by accident.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from posixpath import join, normpath

from pybtex.database import Person, parse_file
from pybtex.richtext import Text

UNKNOWN_VALUE = "…"
ROLE = re.compile(r"\{([a-z][a-z:-]*)\}`([^`]+)`")
ROLE_OR_CODE = re.compile(rf"{ROLE.pattern}|(`+)(?!`).+?(?<!`)\3(?!`)", re.S)
TITLED = re.compile(r"(.*?)\s*<([^<>]+)>", re.S)
OPENING = re.compile(r"(:{3,}|`{3,})\{([a-z][a-z-]*)\}[ \t]*(.*)")
CODE = re.compile(r"\s*(`{3,}|~{3,})")
OPTION = re.compile(r":[\w-]+:(\s|$)")
TO_THIS_PAGE = re.compile(r"\[([^\]]+)\]\(#[^)]*\)")
RAW = re.compile(r"(?::{3,}|`{3,})\{raw\}")
SAID = re.compile(r"\s*<!-- notebook:(.*?)-->", re.S)
WORDLESS = (
    "a {raw} block begins with what a notebook says instead: <!-- notebook: a sentence -->, "
    "or <!-- notebook: --> where nothing is lost"
)
TARGET = re.compile(r"\([\w-]+\)=\s*")


class SyntaxUnknown(Exception):
    """The text uses a role or directive that has no translation."""


@dataclass(frozen=True)
class Names:
    """What names in the text stand for.

    Attributes:
        folder: the folder of the page at hand (``book/architecture``), where relative names start.
        pages: page (``book/architecture/stages``) → (title, address).
        works: key of the bibliography → (authors, year, address or an empty string).
        values: name of a value that the run glues into the text → the value.
        figures: name of a figure or table of the page → ``Figure 1``.
    """

    folder: str = ""
    pages: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    works: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, str] = field(default_factory=dict)


# --- blocks --------------------------------------------------------------------------------


def plain(text: str, names: Names) -> str:
    """MyST text as plain Markdown.

    Raises:
        SyntaxUnknown: naming the role or directive.
    """
    lines, out, prose = text.splitlines(), [], []
    while lines:
        line = lines.pop(0)
        opening, code = OPENING.fullmatch(line.rstrip()), CODE.match(line)
        if not (opening or code):
            prose += [] if TARGET.fullmatch(line) else [line]
            continue
        out, prose = [*out, inline("\n".join(prose), names)] if prose else out, []
        body = take_body(lines, opening[1] if opening else code[1])
        out.append(
            directive(opening[2], inline(opening[3], names), body, names)
            if opening
            else "\n".join([line, *body, code[1]])
        )
    out += [inline("\n".join(prose), names)] if prose else []
    return re.sub(r"\n{3,}", "\n\n", "\n".join(out)).strip()


def take_body(lines: list[str], fence: str) -> list[str]:
    """Remove the lines up to the closing fence from `lines`, and return them without it."""
    end = next((i for i, line in enumerate(lines) if line.strip() == fence), len(lines))
    body = lines[:end]
    del lines[: end + 1]
    return body


def directive(name: str, title: str, body: list[str], names: Names) -> str:
    """A directive as Markdown."""
    kind = ""
    while body and OPTION.match(body[0]):
        option = body.pop(0)
        kind = option.partition(":class:")[2].strip() or kind
    text = plain("\n".join(body), names)
    if name == "raw":
        return instead("\n".join(body), names)
    if name == "lane":
        return f"\n*Lane of what follows: {title}.*\n"
    if name == "dropdown":
        return f"\n<details><summary>{title}</summary>\n\n{text}\n\n</details>\n"
    if name in ("grid", "grid-item-card") or "exercise" in kind:
        heading = f"**{title}**\n\n" if name != "grid" else ""
        return f"\n{heading}{text}\n"
    if name in ("admonition", "note", "tip", "warning"):
        title = title or name.capitalize()
        return "\n" + quote(f"**{title}**\n\n{text}") + "\n"
    raise SyntaxUnknown(f"the directive {{{name}}} has no translation in scripts/plain_markdown.py")


def instead(markup: str, names: Names) -> str:
    """What stands in a notebook for a block of raw markup: the sentence that it begins with.

    Raises:
        SyntaxUnknown: it begins with none.
    """
    said = SAID.match(markup)
    if said is None:
        raise SyntaxUnknown(WORDLESS)
    words = inline(" ".join(said[1].split()), names)
    return f"\n{words}\n" if words else ""


def wordless(text: str) -> list[int]:
    """The numbers of the lines where a chapter opens a raw block without words for notebooks."""
    lines = text.splitlines()
    opened = [number for number, line in enumerate(lines, start=1) if RAW.match(line)]
    return [number for number in opened if not SAID.match("\n".join(lines[number:]))]


def quote(text: str) -> str:
    """A block quote."""
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())


# --- words ---------------------------------------------------------------------------------


def inline(text: str, names: Names) -> str:
    """Translate the roles of a text, and drop links to headings of the page; code stays."""

    def translate(match: re.Match[str]) -> str:
        return role(match[1], match[2], names) if match[1] else match[0]

    return TO_THIS_PAGE.sub(r"\1", ROLE_OR_CODE.sub(translate, text))


def role(name: str, content: str, names: Names) -> str:
    """One role as Markdown."""
    titled = TITLED.fullmatch(content)
    shown, target = (titled[1], titled[2]) if titled else ("", content)
    if name == "term":
        return shown or target
    if name == "doc":
        title, address = names.pages[normpath(join(f"/{names.folder}", target)).lstrip("/")]
        return f"[{shown or title}]({address})"
    if name == "explorer":  # works in the built book only
        return shown
    if name == "ref":
        return shown or "here"
    if name == "numref":
        return names.figures.get(target, "the figure")
    if name in ("glue:text", "glue"):
        return names.values.get(content.partition(":")[0], UNKNOWN_VALUE)
    if name in ("cite", "cite:p"):
        return f"({'; '.join(cited(key, names, ', {}') for key in keys(content))})"
    if name == "cite:t":
        return " and ".join(cited(key, names, " ({})") for key in keys(content))
    raise SyntaxUnknown(f"the role {{{name}}} has no translation in scripts/plain_markdown.py")


def keys(content: str) -> list[str]:
    """The keys of a citation."""
    return [key.strip() for key in content.split(",")]


def cited(key: str, names: Names, year_form: str) -> str:
    """A work by its authors and year, linked where it has an address."""
    authors, year, address = names.works[key]
    words = authors + year_form.format(year)
    return f"[{words}]({address})" if address else words


def works(bibliography: Path) -> dict[str, tuple[str, str, str]]:
    """The works of a BibTeX file by key: authors in short, year, address."""
    entries = parse_file(str(bibliography)).entries
    return {
        key: (
            short_authors(entry.persons.get("author", [])) or plain_latex(entry.fields["title"]),
            entry.fields.get("year", "n.d."),
            entry.fields.get("url", ""),
        )
        for key, entry in entries.items()
    }


def short_authors(persons: list[Person]) -> str:
    """`Ho`, `Ho and Salimans`, `Ho et al.`"""
    last = [plain_latex(" ".join([*p.prelast_names, *p.last_names])) for p in persons]
    return " and ".join(last) if len(last) < 3 else f"{last[0]} et al."


def plain_latex(text: str) -> str:
    """LaTeX text without braces and accents as commands."""
    return str(Text.from_latex(text))
