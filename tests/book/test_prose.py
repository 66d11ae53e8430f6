"""Every number in a chapter's prose is glued from the run or named in a proved claim."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

BOOK = Path(__file__).parents[2] / "book"
CHAPTERS = sorted(p for p in BOOK.rglob("*.md") if "kernelspec" in p.read_text("utf-8")[:600])

# Names with a digit in them: models, parts of the U, standards, programs. Not measurements.
NAMES = re.compile(
    r"""
    (?:Stable\ Diffusion|SD|sd)[ -]?v?\d(?:\.[\dx]+)?
      (?:(?:,\ |\ and\ |\ or\ |\ to\ |–|/)v?[12]\.[0-5x](?![\d.]))*
      (?:(?:-base|-v|-unclip-[hl])\b|\ ?\(768-v\))?
    | \b(?:v[12]\.[0-5x](?!\d)|[12]\.[0-5](?=-(?:base|v|unclip-[hl])\b))
      (?:[–-](?:base|v|unclip-[hl])\b)?
    | \bSD\ ?[12]\b | \bSDXL(?:\ 0\.9|\ (?:base|refiner)?(?:-| )?1\.0)?
    | ViT-\w+/\d+ | \bCLIP[ -]ViT\S* | \b[HABL]\d{2,3}\b
    | \b(?:DownBlock|UpBlock|Block|Transformer|UNet)2D\w*
    | \b(?:level|levels|stage|stages|down|up|depth|depths|Exercise|Table|Figure|Part)
      \s\d+(?:(?:,\ |\ and\ |\ to\ |–)\d+)*
    | \b(?:issue|discussion|PR)\s\#?\d+
    | \bfp(?:32|16|8)\b | \bbf16\b | \bint8\b | \btf32\b | \bLAION-\dB(?:-en)?\b | laion2B\S*
    | \b[Vv]?1\b(?=\ (?:checkpoints|models))
    | \bPython\ 3\.\d+ | \b(?:torch(?:info|vision|profile)?|fvcore)\ [\d.]+
    | \bdiffusers\ (?:[<>=≥≤]+\ ?)?\d[\d.]+(?:(?:–|\ to\ )\d[\d.]+)?
    | \b(?:19|20)\d\d\b | \bApache-2\.0 | \bCC\ BY\ 4\.0 | \bC4\b | \barXiv[ :]\S+ | \bCOCO-?\d+k?
    | \bOkabe\S* | \bx[_]?[0tT]\b
    """,
    re.VERBOSE,
)
NUMBER = re.compile(r"(?<![\w.])[−+±-]?\d[\d,]*(?:\.\d+)?(?:[eE]-?\d+)?")


def prose(text: str) -> str:
    """A chapter's sentences: no front matter, code, mathematics, roles, directives or addresses."""
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    text = re.sub(
        r"^(`{3,}|~{3,})(?!\{(?:admonition|note|tip|dropdown)).*?^\1\s*$",
        "",
        text,
        flags=re.DOTALL | re.MULTILINE,
    )
    text = re.sub(r"\$\$.*?\$\$|(?<!\\)\$[^$\n]+\$", "", text, flags=re.DOTALL)
    text = re.sub(r"\{[a-z:-]+\}`[^`]*`|`[^`]+`", " ", text)
    text = re.sub(r"\]\([^)]*\)|<https?:[^>]*>|https?://\S+|<!--.*?-->", " ", text, flags=re.DOTALL)
    text = re.sub(
        r"^\s*:{3,}.*$|^\s*:\w[\w-]*:.*$|^\s*\d+\.\s|^\|[\s:|-]+\|$|^\([\w-]+\)=$",
        " ",
        text,
        flags=re.MULTILINE,
    )
    return NAMES.sub(" ", text)


def claims(text: str) -> str:
    """The keys of every ``prove({...})`` in a chapter's code cells, as one string."""
    keys = []
    for cell in re.findall(
        r"^```\{code-cell\}.*?\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE
    ):
        code = re.sub(r"\A(?:---\n.*?\n---\n|(?::\w[^\n]*\n)+)", "", cell, flags=re.DOTALL)
        for node in ast.walk(ast.parse(code)):
            if (
                isinstance(node, ast.Call)
                and getattr(node.func, "id", getattr(node.func, "attr", "")) == "prove"
            ):
                keys += [k.value for k in node.args[0].keys if isinstance(k, ast.Constant)]
    return "\n".join(keys)


def unproved(text: str) -> list[str]:
    """Numbers of the prose that no proved claim contains."""
    proved = set(NUMBER.findall(NAMES.sub(" ", claims(text)))) | set(NUMBER.findall(claims(text)))
    plain = {n.lstrip("+−-±").rstrip(",") for n in proved}
    found = [m.group().rstrip(",") for m in NUMBER.finditer(prose(text))]
    return [n for n in found if n.lstrip("+−-±") not in plain]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda p: p.stem)
def test_every_number_is_glued_or_proved(chapter: Path) -> None:
    assert unproved(chapter.read_text("utf-8")) == []


def test_there_are_chapters() -> None:
    assert len(CHAPTERS) >= 9


CELL = "```{code-cell} ipython3\nprove({'it has 860M parameters': True})\n```\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It has 861M parameters.\n" + CELL, ["861"]),
        ("It has 860M parameters.\n" + CELL, []),
        ("SD 1.5, SD 2.1-v and ViT-L/14 at level 3.", []),
        ("It has {glue:text}`n` and `code 12` and $x^2 = 4$ parts.", []),
        ("A +1,234.5 difference.", ["+1,234.5"]),
    ],
)
def test_the_lint_itself(text: str, expected: list[str]) -> None:
    assert unproved(text) == expected
