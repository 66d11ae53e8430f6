"""Shorten style sheets to the rules that the pages of one site can use.

A rule stays when each class, id, element and attribute that its selector asks for occurs in a page
or as a word of a script. What a script puts together piece by piece stands in `SCRIPTED`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import tinycss2
from tinycss2.ast import AtRule, Node, QualifiedRule

NAME = re.compile(r"[A-Za-z_][\w-]*")
VARIABLE = re.compile(r"--[\w-]+")
READING = re.compile(r"var\(\s*(--[\w-]+)")
DEFINING = re.compile(r"\s*(--[\w-]+)\s*:")
GROUPS = ("media", "supports", "layer", "container")
MARKUP = re.compile(r"<([a-z][\w:-]*)((?:\s+[^\s=>/]+(?:=\"[^\"]*\"|='[^']*')?)*)\s*/?>", re.I)
ATTRIBUTE = re.compile(r"([^\s=>/\"']+)(?:=\"([^\"]*)\"|='([^']*)')?")

# Names that Bootstrap and the theme give to elements while a reader uses the page, and the
# elements that every page may hold.
SCRIPTED = frozenset(
    {
        *("active", "collapse", "collapsed", "collapsing", "disabled", "fade", "hiding", "show"),
        *("showing", "tooltip", "tooltip-arrow", "tooltip-inner", "bs-tooltip-auto"),
        *("bs-tooltip-bottom", "bs-tooltip-end", "bs-tooltip-start", "bs-tooltip-top"),
        *("dropdown", "dropdown-item", "dropdown-menu", "dropup"),
        *("html", "body", "main", "dialog", "details", "summary", "mark", "svg", "path", "root"),
    }
)
ANY_OF = {"is", "where", "matches", "-webkit-any", "has", "host", "slotted"}


@dataclass(frozen=True)
class Used:
    """The names that occur on a site; attributes are told apart from all others."""

    names: frozenset[str]
    attributes: frozenset[str]


def used_names(pages: Iterable[str], scripts: Iterable[str]) -> Used:
    """Classes, ids and elements of the pages with the words of the scripts, and attributes."""
    names, attributes = set(SCRIPTED), {"open", "data-popper-placement"}
    for page in pages:
        for element, rest in MARKUP.findall(page):
            names.add(element.lower())
            for name, *values in ATTRIBUTE.findall(rest):
                attributes.add(name.lower())
                if name in ("class", "id"):
                    names.update("".join(values).split())
    words = {word for script in scripts for word in NAME.findall(script)}
    return Used(frozenset(names | words), frozenset(attributes | words))


def purge(sheet: str, used: Used) -> str:
    """A style sheet without the rules that the site can't use, without comments and blanks."""
    rules = tinycss2.parse_stylesheet(sheet, skip_comments=False, skip_whitespace=True)
    return "\n".join(text for rule in rules if (text := kept(rule, used)))


def kept(rule: Node, used: Used) -> str:
    """A rule's shortened text; empty for one that goes. Comments that name a licence stay."""
    if rule.type == "comment":
        return f"/*{rule.value}*/" if rule.value.startswith("!") else ""
    if rule.type == "error":
        raise ValueError(f"a style sheet can't be read: {rule.message}")
    if isinstance(rule, QualifiedRule):
        return kept_rule(rule, used)
    return kept_at_rule(rule, used)


def kept_rule(rule: QualifiedRule, used: Used) -> str:
    """A rule with those of its selectors that can match."""
    selectors = [s for s in split(rule.prelude) if can_match(s, used)]
    body = text_of(rule.content).strip(" ;")
    return f"{','.join(text_of(s).strip() for s in selectors)}{{{body}}}" * bool(selectors and body)


def kept_at_rule(rule: AtRule, used: Used) -> str:
    """An at-rule; one that groups others is shortened inside."""
    head = f"@{rule.at_keyword}{text_of(rule.prelude).rstrip()}"
    if rule.content is None:
        return f"{head};" if rule.lower_at_keyword != "charset" else ""
    if rule.lower_at_keyword in GROUPS:
        inner = tinycss2.parse_rule_list(rule.content, skip_whitespace=True)
        body = "".join(kept(each, used) for each in inner)
    else:
        body = text_of(rule.content).strip(" ;")
    return f"{head}{{{body}}}" if body else ""


def split(tokens: Iterable[Node], sign: str = ",") -> list[list[Node]]:
    """Tokens, cut at the commas (or another sign) of their own level."""
    parts: list[list[Node]] = [[]]
    for token in tokens:
        if token == sign:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def can_match(selector: list[Node], used: Used) -> bool:
    """Whether all that a selector asks for occurs on the site."""
    before: Node | None = None
    for token in selector:
        if not asked(token, before, used):
            return False
        before = token
    return True


def asked(token: Node, before: Node | None, used: Used) -> bool:
    """Whether what one token of a selector asks for occurs; `before` tells what it is."""
    if token.type == "hash":
        return token.value in used.names
    if token.type == "ident":
        return before == ":" or token.value in used.names
    if token.type == "[] block":
        name = next((t.value for t in token.content if t.type == "ident"), "")
        return name.startswith("aria-") or name.lower() in used.attributes
    if token.type == "function" and token.lower_name in ANY_OF:
        return any(can_match(part, used) for part in split(token.arguments))
    return True


def text_of(tokens: Iterable[Node]) -> str:
    """Tokens as text, without comments, and every blank a single space."""
    return tinycss2.serialize([*evened(tokens)])


def evened(tokens: Iterable[Node]) -> Iterator[Node]:
    """Tokens without comments; a line break or a row of blanks becomes one space."""
    blank = False
    for token in tokens:
        if token.type == "comment" or (blank and token.type == "whitespace"):
            continue
        blank = token.type == "whitespace"
        if blank:
            token.value = " "
        for inner in ("content", "arguments"):
            if isinstance(getattr(token, inner, None), list):
                setattr(token, inner, [*evened(getattr(token, inner))])
        yield token


def drop_unused_faces(sheet: str) -> str:
    """Without @font-face rules of families, and @keyframes of names, that no other rule names."""
    rules = tinycss2.parse_stylesheet(sheet, skip_whitespace=True)
    named = {"font-face", "keyframes", "-webkit-keyframes"}
    definitions = [r for r in rules if r.type == "at-rule" and r.lower_at_keyword in named]
    others = "".join(r.serialize() for r in rules if r not in definitions)
    families = plain(others)
    text = [
        r.serialize()
        for r in rules
        if r not in definitions or plain(definition_name(r)) in families
    ]
    return "\n".join(text)


def definition_name(rule: AtRule) -> str:
    """The family of a @font-face, the name of a @keyframes."""
    if rule.lower_at_keyword != "font-face":
        return tinycss2.serialize(rule.prelude).strip()
    family = re.search(r"font-family:\s*([^;}]+)", tinycss2.serialize(rule.content))
    return family[1] if family else ""


def plain(text: str) -> str:
    """Names as they are compared: without quotes, escapes and blanks."""
    return re.sub(r"[\s\"'\\]+", "", text)


def drop_unused_variables(sheet: str, elsewhere: str) -> str:
    """Without custom properties that neither the sheet nor `elsewhere` reads, chains included."""
    while True:
        read = {*VARIABLE.findall(elsewhere), *READING.findall(sheet)}
        rules = tinycss2.parse_stylesheet(sheet, skip_whitespace=True)
        shorter = "\n".join(text for rule in rules if (text := with_variables(rule, read)))
        if shorter == sheet:
            return sheet
        sheet = shorter


def with_variables(rule: Node, read: set[str]) -> str:
    """A rule with no custom properties but those in `read`; empty if nothing is left."""
    if rule.type == "comment" or rule.content is None:
        return rule.serialize()
    head = tinycss2.serialize(rule.prelude)
    if rule.type == "at-rule":
        head = f"@{rule.at_keyword}{head}"
        if rule.lower_at_keyword in GROUPS:
            inner = tinycss2.parse_rule_list(rule.content, skip_whitespace=True)
            body = "".join(with_variables(each, read) for each in inner)
            return f"{head}{{{body}}}" if body else ""
    parts = [tinycss2.serialize(part) for part in split(rule.content, ";")]
    body = ";".join(p for p in parts if (name := DEFINING.match(p)) is None or name[1] in read)
    return f"{head}{{{body}}}" if body else ""
