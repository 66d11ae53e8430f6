"""matplotlib in the house style: a sheet to plot on, and its drawing as a :class:`Figure`.

Plots use the palette's fallback colours, ``INK`` and ``PAPER``; the finished drawing has the CSS
variables in their place. A ``gid`` (letters only) becomes the class of what it is set on.
"""

from __future__ import annotations

import io
import re

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Sheet

from unet_atlas.draw import svg
from unet_atlas.draw.palette import MUTED, OPERATIONS, SERIES
from unet_atlas.draw.svg import SMALL, TEXT, WIDTH, Figure

INK, PAPER = "#010203", "#fcfdfe"  # stand for the page's text colour and its background
CSS = {m.fallback: m.colour for m in (*OPERATIONS.values(), MUTED, *SERIES)}
CSS |= {INK: "currentColor", PAPER: "var(--ua-paper, #ffffff)"}
LINE = 13.5  # of names beside a plot
GAP = 6.0  # between the heading and the plot
FAINT = {"alpha": 0.8, "fontsize": SMALL}
INKED = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
UNFRAMED = ("axes.spines.top", "axes.spines.left", "axes.spines.right")
HOUSE = dict.fromkeys((*INKED, "grid.color"), INK) | dict.fromkeys(UNFRAMED, False)
HOUSE |= {
    "svg.fonttype": "none",
    "svg.hashsalt": "unet-atlas",
    "text.parse_math": False,
    "font.size": TEXT,
    "axes.labelsize": SMALL,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "ytick.major.size": 0,
    "grid.alpha": 0.16,
    "axes.axisbelow": True,
    "hatch.color": PAPER,
    "legend.frameon": False,
    "legend.borderpad": 0,
    "legend.borderaxespad": 0,
}
# Around each plotting function: the house's settings there, whatever the reader's are elsewhere.
in_house_style = style.context(["default", HOUSE])


def sheet(height: float, title: str | None, note: str) -> tuple[list[str], Sheet, Axes]:
    """Title and note, and below them axes that share ``height`` units with all their labels."""
    heading, top = svg.heading(title, note)
    total = top + GAP + height
    fig = Sheet((WIDTH / 72, total / 72), dpi=72, layout="constrained")
    fig.get_layout_engine().set(rect=(0, 0, 1, height / total), w_pad=0.02, h_pad=0.04)
    return heading, fig, fig.add_subplot()


def name_rows(ax: Axes, names: list[list[str]], gap: float) -> None:
    """The names of rows 0, 1, …, each in one or more lines, left of the axes by ``gap`` points."""
    for i, lines in enumerate(names):
        for j, words in enumerate(lines):
            at = (-gap, LINE * ((len(lines) - 1) / 2 - j))
            ax.annotate(words, (0, i), at, ("axes fraction", "data"), "offset points",
                        ha="right", va="center_baseline")  # fmt: skip


def finish(heading: list[str], fig: Sheet, alt: str, name: str) -> Figure:
    """The drawing in the page's colours and font, with ids of its own."""
    page = io.StringIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    fig.savefig(page, format="svg", transparent=True, metadata=metadata)
    body = page.getvalue().split("</style>\n </defs>", 1)[1].rsplit("</svg>", 1)[0]
    for pattern, new in (
        (r"(?s)<!--.*?-->|<clipPath.*?</clipPath>|<g id=\"[^\"]*\"/>", ""),
        (r"\s*\n\s*", " "),
        (r"> <", "><"),
        (r"<[^>]*>", _tag),
    ):
        body = re.sub(pattern, new, body)
    group = f'<g stroke-linejoin="round">{body}</g>'
    return svg.finish([*heading, group], fig.get_figheight() * 72, alt, name)


def _tag(found: re.Match[str]) -> str:
    """One tag of matplotlib's, made to live on a page (the words between tags are left alone)."""
    tag = found[0]
    for pattern, new in (
        (r" (clip-path|transform)=\"(url|rotate)\([^\"]*\"| font-family: [^;\"]*;|xlink:", ""),
        (r"^<g id=\"([a-z]+)\">", r'<g class="\1">'),
        (r"^<g id=\"[^\"]*\">", "<g>"),
        (r"(id=\"|url\(#|href=\"#)", rf"\1{svg.ID}-"),
        (r" fill=\"(#\w+)\"", r' style="fill: \1"'),
        (r"#[0-9a-f]{6}\b", lambda m: CSS.get(m[0], m[0])),
        (r"\d+\.\d{3,}", lambda m: svg.num(float(m[0]))),
    ):
        tag = re.sub(pattern, new, tag)
    return tag
