"""Boxes and arrows, top to bottom: how data flows through a pipeline, with shapes on the arrows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unet_atlas.draw import svg
from unet_atlas.draw.svg import SMALL, TEXT, WIDTH, Figure, text, text_width
from unet_atlas.errors import AtlasError

LANE, BETWEEN, PAD = 20.0, 12.0, 8.0
Arrow = tuple[str, str, str]


@dataclass(frozen=True)
class Box:
    """A placed box."""

    row: int
    x: float
    y: float
    w: float
    h: float
    name: tuple[str, ...]
    subtitle: tuple[str, ...]


def flow(
    boxes: Sequence[tuple[str, str]], arrows: Sequence[Arrow], title: str | None = None
) -> Figure:
    """A pipeline as boxes and arrows.

    Args:
        boxes: (name, subtitle) in the order of the flow. Boxes that no arrow separates share a row.
        arrows: (from, to, label). One that points back to an earlier box is drawn as a loop at the
            left, one that skips rows at the right.
    """
    rows = _row_of(boxes, arrows)
    lanes = {side: any(_kind(a, rows) == side for a in arrows) for side in ("back", "skip")}
    left, right = LANE * lanes["back"] + 1, WIDTH - LANE * lanes["skip"] - 1
    parts, y = svg.heading(title, "")
    placed: dict[str, Box] = {}
    for row in range(max(rows.values()) + 1):
        members = [(n, s) for n, s in boxes if rows[n] == row]
        y += _gap(row, rows, arrows) if row else 4
        new = _place(members, row, y, left, right)
        placed |= new
        y += max(b.h for b in new.values())
    parts += [piece for box in placed.values() for piece in _box(box)]
    for arrow in arrows:
        parts += _arrow(arrow, placed, rows, (left, right))
    return svg.finish(parts, y + 3, _alt(boxes, arrows, title), title or "Data flow")


def _row_of(boxes: Sequence[tuple[str, str]], arrows: Sequence[Arrow]) -> dict[str, int]:
    """Row of each box: below all that it waits for, and inputs right above where they are used."""
    order = {name: i for i, (name, _) in enumerate(boxes)}
    if not boxes or len(order) != len(boxes):
        raise AtlasError(
            "A flow needs at least one box, and a name for each that no other box has."
        )
    for start, end, _ in arrows:
        for name in (start, end):
            if name not in order:
                raise AtlasError(f"An arrow names the box {name!r}, which is not in the list.")
    forward = [(a, b) for a, b, _ in arrows if order[a] < order[b]]
    rows: dict[str, int] = {}
    for name in order:
        rows[name] = max((rows[a] + 1 for a, b in forward if b == name), default=0)
    for name in order:
        if not any(b == name for _, b in forward):
            rows[name] = min((rows[b] - 1 for a, b in forward if a == name), default=rows[name])
    return rows


def _kind(arrow: Arrow, rows: dict[str, int]) -> str:
    step = rows[arrow[1]] - rows[arrow[0]]
    return "next" if step == 1 else "skip" if step > 1 else "back"


def _gap(row: int, rows: dict[str, int], arrows: Sequence[Arrow]) -> float:
    """Space above a row: an arrow's length, more if labels stand in it."""
    entering = any(a[2] for a in arrows if _kind(a, rows) == "next" and rows[a[1]] == row)
    lanes = any(a[2] for a in arrows if row == _label_row(a, rows))
    return 16 + 13 * entering + 15 * lanes


def _label_row(arrow: Arrow, rows: dict[str, int]) -> int | None:
    """The row above which a lane's label stands: a loop's below its target, a skip's at its end."""
    return {"next": None, "back": rows[arrow[1]] + 1, "skip": rows[arrow[1]]}[_kind(arrow, rows)]


def _place(
    members: list[tuple[str, str]], row: int, y: float, left: float, right: float
) -> dict[str, Box]:
    width = (right - left - BETWEEN * (len(members) - 1)) / len(members)
    written = {
        name: (
            tuple(svg.wrap(name, width - 2 * PAD, TEXT, True)),
            tuple(svg.wrap(sub, width - 10, SMALL)),
        )
        for name, sub in members
    }
    height = max(14.5 * len(n) + 13.5 * len(s) for n, s in written.values()) + 11
    return {
        name: Box(row, left + i * (width + BETWEEN), y, width, height, *written[name])
        for i, (name, _) in enumerate(members)
    }


def _box(box: Box) -> list[str]:
    style = "fill:currentColor;fill-opacity:0.06;stroke:currentColor;stroke-opacity:0.5"
    parts = [svg.rect(box.x, box.y, box.w, box.h, style, 4, cls="box")]
    centre = box.x + box.w / 2
    y = box.y + (box.h - 14.5 * len(box.name) - 13.5 * len(box.subtitle)) / 2 - 3
    for words in box.name:
        y += 14.5
        parts.append(text(centre, y, words, TEXT, "middle", bold=True))
    for words in box.subtitle:
        y += 13.5
        parts.append(text(centre, y, words, SMALL, "middle", faint=True))
    return parts


def _arrow(
    arrow: Arrow, placed: dict[str, Box], rows: dict[str, int], sides: tuple[float, float]
) -> list[str]:
    start, end, label = placed[arrow[0]], placed[arrow[1]], arrow[2]
    kind = _kind(arrow, rows)
    if kind == "next":
        return _next(start, end, label)
    if kind == "back":
        return _lane(start, end, label, 5.0, start.x, end.x, "right", sides)
    return _lane(start, end, label, WIDTH - 5.0, start.x + start.w, end.x + end.w, "left", sides)


def _next(start: Box, end: Box, label: str) -> list[str]:
    low, high = max(start.x, end.x), min(start.x + start.w, end.x + end.w)
    narrow = start if start.w <= end.w else end
    x = min(narrow.x + narrow.w / 2, narrow.x + narrow.w - text_width(label, SMALL) - 9)
    x = min(max(x, low + 10), high - 10)
    top, tip = start.y + start.h, end.y - 1
    room = narrow.x + narrow.w - x - 7 if start.w != end.w else high - x - 7
    words = svg.fit(label, room, SMALL)
    parts = [svg.line(x, top, x, tip - 4, cls="arrow"), svg.arrow_head(x, tip, "down")]
    return parts + ([text(x + 7, tip - 9, words, SMALL)] if label else [])


def _lane(
    start: Box, end: Box, label: str, lane: float, from_x: float, to_x: float, head: str,
    sides: tuple[float, float],
) -> list[str]:  # fmt: skip
    """An arrow along the margin, dashed, with its label in the gap beside its target."""
    from_y, to_y = start.y + start.h / 2, end.y + end.h / 2
    inward = 1 if head == "right" else -1
    stop = to_x - inward * 5
    d = f"M{svg.num(from_x)} {svg.num(from_y)}H{svg.num(lane)}V{svg.num(to_y)}H{svg.num(stop)}"
    parts = [
        svg.path(d, "stroke-dasharray:4 2.5", cls="arrow"),
        svg.arrow_head(to_x - inward, to_y, head),
    ]
    if label:
        y = end.y + end.h + 12 if inward == 1 else end.y - 7
        room = (sides[1] - sides[0]) / 2 - 8
        words = svg.fit(label, room, SMALL)
        x = lane + 6 if inward == 1 else lane - 6
        parts.append(text(x, y, words, SMALL, "start" if inward == 1 else "end"))
    return parts


def _alt(boxes: Sequence[tuple[str, str]], arrows: Sequence[Arrow], title: str | None) -> str:
    named = ", ".join(f"{n} ({s})" if s else n for n, s in boxes)
    told = "; ".join(f"{a} to {b}" + (f": {label}" if label else "") for a, b, label in arrows)
    return f"{title + '. ' if title else ''}Data flow. Boxes: {named}. Arrows: {told}."
