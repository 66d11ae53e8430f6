"""The one place that writes SVG: primitives, text measures, hatches, and the finished figure.

Ink is ``currentColor``, so that a figure takes the page's text colour in light and dark mode.
No transforms and no scripts; ids come from a hash of the content, so figures can share a page.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

WIDTH = 360  # units; about the column of a phone, so that a unit is a pixel there
SMALL, TEXT, HEAD = 11.0, 11.5, 12.5
# Widths of characters in units of the font size: those of a wide font (DejaVu Sans), to be safe.
NARROW, BROAD = frozenset("iljtfrI.,:;·'|()[]/!- "), frozenset("mwMW%@—…→×≠+=−")
LEAST, BOLD = 0.56, 1.1  # least mean width; how much wider bold is
MAX_PX, MAX_TALL, SCALES = 640, 950, (1.2, 1.6)  # pixels; least and most pixels a unit
PAGE_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
ID = "@figure@"  # stands for the figure's own id until it is known


@dataclass(frozen=True)
class Figure:
    """A finished figure: its SVG and the text that stands for it where it can't be seen."""

    svg: str = field(repr=False)
    alt: str

    def _repr_html_(self) -> str:
        """Inline SVG; figures wider than a phone scroll inside their own box."""
        width = float(re.search(r'viewBox="0 0 (\S+)', self.svg)[1])
        if width <= 400:
            return self.svg
        wide = self.svg.replace('style="', f'style="min-width:{width:g}px;', 1)
        return (
            f'<div class="ua-scroll" role="group" tabindex="0" style="overflow-x:auto">{wide}</div>'
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a stand-alone SVG (colours resolved, dark mode by media query), all or nothing."""
        path = Path(path)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            temporary.write_text(_stand_alone(self.svg), encoding="utf-8")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        return path


def finish(parts: list[str], height: float, alt: str, name: str, width: float = WIDTH) -> Figure:
    """Wrap primitives into a figure; ``name`` becomes its ``<title>``."""
    body = "".join(parts)
    digest = hashlib.sha256(f"{alt}\n{name}\n{body}".encode()).hexdigest()[:12]
    scale = min(max(MAX_TALL / height, SCALES[0]), SCALES[1])
    most = min(MAX_PX, round(width * scale))
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" class="ua-figure" '
        f"aria-label={quoteattr(alt)} "
        f'viewBox="0 0 {num(width)} {num(height)}" font-size="{num(TEXT)}" fill="currentColor" '
        f'style="display:block;width:100%;max-width:{most}px;height:auto;margin:0 auto">'
        f"<title>{escape(name)}</title>{body}</svg>"
    )
    return Figure(svg.replace(ID, f"ua-{digest}"), alt)


def num(value: float) -> str:
    """A coordinate with at most two decimals."""
    return f"{round(value, 2) + 0.0:.2f}".rstrip("0").rstrip(".")


def amount(value: float, digits: int = 3) -> str:
    """A number for readers: some significant digits, thousands grouped, a true minus."""
    if value != value:
        return "n/a"
    size = abs(value)
    if size and size < 1e-3:
        mantissa, exponent = f"{size:.{digits - 1}e}".split("e")
        shown = f"{float(mantissa):g}e{int(exponent)}"
    else:
        first = math.floor(math.log10(size)) if size else 0
        shown = f"{size:,.{max(0, digits - 1 - first)}f}"
        shown = shown.rstrip("0").rstrip(".") if "." in shown else shown
    return ("−" if value < 0 and shown != "0" else "") + shown


def text_width(words: str, size: float = TEXT, bold: bool = False) -> float:
    """Approximate width of a line of text in units."""
    em = sum(
        0.37 if c in NARROW else 0.95 if c in BROAD else 0.69 if c.isupper() else 0.63
        for c in words
    )
    return max(em, LEAST * len(words)) * size * (BOLD if bold else 1)


def fit(words: str, width: float, size: float = TEXT, bold: bool = False) -> str:
    """The text, or as much of its beginning as the width holds, with an ellipsis."""
    if text_width(words, size, bold) <= width:
        return words
    kept = words
    while len(kept) > 1 and text_width(kept + "…", size, bold) > width:
        kept = kept[:-1]
    return kept.rstrip() + "…"


def wrap(words: str, width: float, size: float = TEXT, bold: bool = False) -> list[str]:
    """The text in lines that fit the width, broken at spaces."""
    lines: list[str] = []
    for word in words.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(joined, size, bold) <= width:
            lines[-1] = joined
        else:
            lines.append(fit(word, width, size, bold))
    return lines


def text(
    x: float, y: float, words: str, size: float = TEXT, anchor: str = "start", bold: bool = False,
    faint: bool = False,
) -> str:  # fmt: skip
    """A line of text with its baseline at ``y``."""
    more = "" if size == TEXT else f' font-size="{num(size)}"'
    more += "" if anchor == "start" else f' text-anchor="{anchor}"'
    more += ' font-weight="600"' if bold else ""
    more += ' opacity="0.8"' if faint else ""
    return f'<text x="{num(x)}" y="{num(y)}"{more}>{escape(words)}</text>'


def rect(
    x: float, y: float, w: float, h: float, style: str, radius: float = 0, cls: str = ""
) -> str:
    """A rectangle; ``style`` is CSS."""
    more = (f' rx="{num(radius)}"' if radius else "") + (f' class="{cls}"' if cls else "")
    more += f' style="{style}"' if style else ""
    box = f'x="{num(x)}" y="{num(y)}" width="{num(w)}" height="{num(h)}"'
    return f"<rect {box}{more}/>"


def circle(x: float, y: float, r: float, style: str, cls: str = "") -> str:
    """A circle; ``style`` is CSS."""
    more = f' class="{cls}"' if cls else ""
    return f'<circle cx="{num(x)}" cy="{num(y)}" r="{num(r)}"{more} style="{style}"/>'


def path(d: str, style: str = "", cls: str = "") -> str:
    """A line without fill, in thin ink unless ``style`` (CSS) says otherwise."""
    more = f' class="{cls}"' if cls else ""
    return f'<path d="{d}"{more} style="fill:none;stroke:currentColor;{style}"/>'


def line(x1: float, y1: float, x2: float, y2: float, style: str = "", cls: str = "") -> str:
    """A straight thin line."""
    return path(f"M{num(x1)} {num(y1)}L{num(x2)} {num(y2)}", style, cls)


def arrow_head(x: float, y: float, direction: str, size: float = 3.2) -> str:
    """A filled arrow head whose tip is at (x, y); direction: down, up, left or right."""
    dx, dy = {"down": (0, 1), "up": (0, -1), "left": (-1, 0), "right": (1, 0)}[direction]
    back_x, back_y = x - dx * size * 1.7, y - dy * size * 1.7
    one = (back_x - dy * size, back_y - dx * size)
    two = (back_x + dy * size, back_y + dx * size)
    points = " ".join(f"{num(a)},{num(b)}" for a, b in ((x, y), one, two))
    return f'<polygon points="{points}"/>'


def heading(title: str | None, note: str, width: float = WIDTH) -> tuple[list[str], float]:
    """Title and a fainter note below it (units); returns the parts and where they end."""
    parts, y = [], 2.0
    for row in wrap(title or "", width - 4, HEAD, bold=True):
        y += 14
        parts.append(text(0, y, row, HEAD, bold=True))
    for row in wrap(note, width - 4, SMALL):
        y += 13.5
        parts.append(text(0, y, row, SMALL, faint=True))
    return parts, y


def _stand_alone(svg: str) -> str:
    """Resolved colours and a font for programs that know no page around the figure."""
    plain = re.sub(r"var\(--[\w-]+, (#[0-9a-f]+)\)", r"\1", svg)
    style = (
        f"<style>svg{{color:#1a1a1a;font-family:{PAGE_FONT}}}"
        "@media (prefers-color-scheme:dark){svg{color:#e0e0e0}}</style>"
    )
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + plain.replace(
        "</title>", "</title>" + style, 1
    )
