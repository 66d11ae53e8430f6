"""The U as a picture: one to three UNets side by side, one row a stage, what differs marked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from unet_atlas.anatomy import MID, Stage
from unet_atlas.draw import svg
from unet_atlas.draw.palette import OPERATIONS
from unet_atlas.draw.svg import HEAD, SMALL, Figure, amount, text, text_width
from unet_atlas.errors import AtlasError
from unet_atlas.roles import RES_CONV

WIDTHS = {1: 360.0, 2: 372.0, 3: 588.0}
BETWEEN, PAD, LAYER, ROW_GAP = 12.0, 6.5, 11.5, 10.0
UNEQUAL = "≠ "
Slot = tuple[int, int]  # (level, k-th stage of that level, counted from the outside of the U)
Row = tuple[str, Slot | None]  # ("down" | "mid" | "up", slot)


@dataclass(frozen=True)
class Cell:
    """A placed stage: its bar, and which of its parts differ from the other models'."""

    stage: Stage
    x: float
    y: float
    w: float
    h: float
    differs: frozenset[str]

    @property
    def centre(self) -> float:
        """The bar's middle."""
        return self.x + self.w / 2


def u_diagram(
    models: Mapping[str, Sequence[Stage]] | None = None,
    /,
    title: str | None = None,
    **named: Sequence[Stage],
) -> Figure:
    """One to three UNets as U's read from top to bottom, stages of one level side by side.

    Circles are resnets, squares transformer blocks, one row a layer; bars narrow as the resolution
    halves; dashed lines are the skip connections; ≠ marks what differs between the models.

    Args:
        models: name → the rows of :func:`unet_atlas.anatomy.stages`; or give them by keyword.
    """
    models = {**(models or {}), **named}
    if len(models) not in WIDTHS:
        raise AtlasError(f"u_diagram() draws one, two or three models, not {len(models)}.")
    width = WIDTHS[len(models)]
    tables = [_by_row(rows) for rows in models.values()]
    parts, y = svg.heading(title, "", width)
    pitch = (width - 2 + BETWEEN) / len(models)
    lefts, column = [1 + i * pitch for i in range(len(models))], pitch - BETWEEN
    headers, y = _headers(models, lefts, column, y + 5 * bool(title))
    cells, y = _layout(tables, lefts, column, y)
    parts += headers
    for placed in cells:
        parts += _connections(placed) + [piece for cell in placed.values() for piece in _cell(cell)]
    key, y = _key(y + 4, width, len(models) > 1)
    name = title or " and ".join(models)
    return svg.finish(parts + key, y, _alt(models, tables, title), name, width)


def _by_row(rows: Sequence[Stage]) -> dict[Row, Stage]:
    """Stages by where they stand in the U; stem and head are left out."""
    table: dict[Row, Stage] = {}
    for side in ("down", "up"):
        members = [s for s in rows if s.key.startswith(side + " ")]
        seen: Counter[int] = Counter()
        for stage in members if side == "down" else reversed(members):
            table[side, (stage.level, seen[stage.level])] = stage
            seen[stage.level] += 1
    table.update(((MID, None), s) for s in rows if s.key == MID)
    if not table:
        raise AtlasError("There is nothing to draw: a model has no down, mid or up stage.")
    return table


def _layout(
    tables: list[dict[Row, Stage]], lefts: list[float], column: float, y: float
) -> tuple[list[dict[Row, Cell]], float]:
    """Place every stage; one dictionary a model."""
    slots = sorted({slot for table in tables for _, slot in table if slot is not None})
    order: list[Row] = (
        [("down", s) for s in slots] + [(MID, None)] + [("up", s) for s in slots[::-1]]
    )
    step = _step(tables, slots, column)
    cells: list[dict[Row, Cell]] = [{} for _ in tables]
    for row in order:
        present = [t[row] for t in tables if row in t]
        if not present:
            continue
        height = max(_height(s) for s in present)
        differs = _differs(present, len(tables))
        for table, left, placed in zip(tables, lefts, cells, strict=True):
            if row in table:
                w = column - step * _narrowing(row, table, slots)
                x = left + (column - w) / 2
                placed[row] = Cell(table[row], x, y, w, height, differs)
        y += height + ROW_GAP
    return cells, y


def _narrowing(row: Row, table: dict[Row, Stage], slots: list[Slot]) -> int:
    """How many steps narrower than the outermost bar; the middle is one below the deepest."""
    if row[1] is not None:
        return slots.index(row[1])
    return max((slots.index(slot) for _, slot in table if slot is not None), default=-1) + 1


def _differs(present: list[Stage], models: int) -> frozenset[str]:
    """Which parts of a row the models don't share."""
    parts = {
        "channels": {s.channels_out for s in present},
        "layers": {(s.resnets, s.depths) for s in present},
        "heads": {(s.heads, s.head_dim) for s in present if s.heads},
    }
    unequal = {name for name, values in parts.items() if len(values) > 1}
    return frozenset(unequal | ({"stage"} if len(present) < models else set()))


def _height(stage: Stage) -> float:
    return 18 + LAYER * _layers(stage) + (13.5 if stage.heads else 0) + 3


def _layers(stage: Stage) -> int:
    return max(stage.resnets, len(stage.depths), 1)


def _step(tables: list[dict[Row, Stage]], slots: list[Slot], column: float) -> float:
    """How much each level narrows: as much as its words allow, down to half at the bottom."""
    step = column / 2 / max(len(slots), 1)
    for row in {row for table in tables for row in table}:
        present = [t[row] for t in tables if row in t]
        differs = _differs(present, len(tables))
        for table in tables:
            if row in table and (steps := _narrowing(row, table, slots)):
                step = min(step, (column - _needed(table[row], differs)) / steps)
    return max(step, 0.0)


def _needed(stage: Stage, differs: frozenset[str]) -> float:
    """Room that a bar needs for its words and squares."""
    top = text_width(" ".join(_label(stage, differs)), SMALL, bold=True)
    layers = 45 + 5.2 * min(max(stage.depths, default=0), 12)
    heads = text_width(_heads(stage, differs), SMALL)
    none = 15 + text_width("no attention ≠", SMALL) if not stage.depths else 0
    return max(top, layers, heads, none) + 2 * PAD + 0.5  # so that rounding never cuts a word


def _label(stage: Stage, differs: frozenset[str]) -> tuple[str, str]:
    """The first line of a bar: where it stands, and its channels."""
    place = (UNEQUAL if "stage" in differs else "") + _place(stage)
    return place, (UNEQUAL if "channels" in differs else "") + str(stage.channels_out)


def _heads(stage: Stage, differs: frozenset[str]) -> str:
    """The last line of a bar."""
    mark = UNEQUAL if "heads" in differs else ""
    return f"{mark}{stage.heads} heads × {stage.head_dim}" if stage.heads else ""


def _place(stage: Stage) -> str:
    return f"{stage.key} · {size(stage.size)}"


def size(hw: tuple[int, int]) -> str:
    """``64²``, or ``96×64`` where height and width differ."""
    return f"{hw[0]}²" if hw[0] == hw[1] else f"{hw[0]}×{hw[1]}"


def _headers(
    models: Mapping[str, Sequence[Stage]], lefts: list[float], column: float, y: float
) -> tuple[list[str], float]:
    """What stands above each U, and where the U's begin."""
    parts, ends = [], []
    for (name, rows), left in zip(models.items(), lefts, strict=True):
        lines = _header(name, rows, column)
        parts += [text(left + column / 2, y + dy, *rest) for dy, *rest in lines]
        ends.append(y + lines[-1][0] + 12)
    return parts, max(ends)


def _header(name: str, rows: Sequence[Stage], width: float) -> list[tuple]:
    """Name, latent and size of a model, as (dy, words, size, anchor, bold, faint)."""
    lines = [(14.0 * (i + 1), w, HEAD, "middle", True, False)
             for i, w in enumerate(svg.wrap(name, width, HEAD, True))]  # fmt: skip
    facts = [f"{_parameters(rows)} parameters"]
    stem = next((s for s in rows if s.key == "stem"), None)
    text_dims = sorted({s.cross_attention_dim for s in rows if s.cross_attention_dim})
    latent = [f"latent {stem.channels_in} × {size(stem.size)}"] if stem else []
    latent += [f"text {'/'.join(map(str, text_dims))}"] if text_dims else []
    for words in (facts[0], " · ".join(latent)):
        if words:
            lines.append(
                (lines[-1][0] + 14, svg.fit(words, width, SMALL), SMALL, "middle", False, True)
            )
    return lines


def _parameters(rows: Sequence[Stage]) -> str:
    total = sum(s.params for s in rows)
    return f"{amount(total / 1e6, 4)} M" if total >= 1e6 else f"{total:,}"


def _cell(cell: Cell) -> list[str]:
    """A bar with its label, its layers and its heads."""
    stage, left, right = cell.stage, cell.x + PAD, cell.x + cell.w - PAD
    frame = "fill:currentColor;fill-opacity:0.05;stroke:currentColor;stroke-opacity:0.45"
    name, width = _label(stage, cell.differs)
    parts = [
        svg.rect(cell.x, cell.y, cell.w, cell.h, frame, 3, cls="bar"),
        text(left, cell.y + 13, name, SMALL),
        text(right, cell.y + 13, width, SMALL, "end", bold=True),
    ]
    y = cell.y + 23
    for i in range(_layers(stage)):
        more = f" {UNEQUAL.strip()}" if i == 0 and "layers" in cell.differs else ""
        parts += _layer(stage, i, (left, right), y, more)
        y += LAYER
    if stage.heads:
        words = svg.fit(_heads(stage, cell.differs), right - left, SMALL)
        parts.append(text(left, y + 6, words, SMALL, faint=True))
    return parts


def _layer(stage: Stage, i: int, sides: tuple[float, float], y: float, more: str) -> list[str]:
    """The i-th resnet and attention module, ``○ ■ ■ ■ 3``, and a mark behind it."""
    parts, x = [], sides[0] + 13
    if i < stage.resnets:
        style = f"fill:none;stroke:{OPERATIONS[RES_CONV].colour};stroke-width:1.7"
        parts.append(svg.circle(sides[0] + 4, y, 3.4, style, cls="resnet"))
    if i >= len(stage.depths):
        words = ("" if stage.depths or i else "no attention") + more
        return [*parts, text(x, y + 4, words.strip(), SMALL, faint=True)] if words else parts
    depth = stage.depths[i]
    if depth == 0:
        diamond = f"M{svg.num(x)} {svg.num(y)}l3.5 -3.5l3.5 3.5l-3.5 3.5z"
        parts.append(f'<path class="attention" d="{diamond}"/>')
        return [*parts, text(x + 11, y + 4, "attn" + more, SMALL)]
    pitch = min(7.4, (sides[1] - x - 4 - text_width(f"{depth} ≠", SMALL)) / depth)
    for j in range(depth):
        parts.append(svg.rect(x + j * pitch, y - 2.9, 0.78 * pitch, 5.8, "", cls="block"))
    return [*parts, text(x + depth * pitch + 3, y + 4, f"{depth}{more}", SMALL)]


def _connections(placed: dict[Row, Cell]) -> list[str]:
    """The way through the stages, and the dashed skips from each down stage to its up partner."""
    parts = []
    for upper, lower in pairwise(placed.values()):
        x, tip = upper.centre, lower.y - 1
        parts.append(svg.line(x, upper.y + upper.h, x, tip - 3, "stroke-opacity:0.7"))
        parts.append(svg.arrow_head(x, tip, "down", 2.4))
    downs = [c for (side, _), c in placed.items() if side == "down"]
    ups = [c for (side, _), c in placed.items() if side == "up"]
    widths = sorted({c.w for c in placed.values()})
    inset = min((b - a for a, b in pairwise(widths)), default=16.0) / 4
    for down, up in zip(downs, reversed(ups), strict=False):
        x, tip = max(down.x, up.x) + min(inset, 8.0), up.y - 1
        style = "stroke-dasharray:3 2;stroke-opacity:0.75"
        parts.append(svg.line(x, down.y + down.h, x, tip - 3, style, cls="skip"))
        parts.append(svg.arrow_head(x, tip, "down", 2.0))
    return parts


def _key(y: float, width: float, several: bool) -> tuple[list[str], float]:
    """What the marks mean, in as many lines as they need."""
    ring = f"fill:none;stroke:{OPERATIONS[RES_CONV].colour};stroke-width:1.7"
    items = [
        (11, "resnet", lambda x, y: svg.circle(x + 4, y - 4, 3.4, ring)),
        (11, "transformer block", lambda x, y: svg.rect(x, y - 7, 5.8, 5.8, "")),
        (22, "skip", lambda x, y: svg.line(x, y - 4, x + 17, y - 4, "stroke-dasharray:3 2")),
        (0, "bold: channels out", lambda x, y: ""),
        (12, "differs between the models", lambda x, y: text(x, y, UNEQUAL.strip(), SMALL)),
    ]
    parts, x = [], 2.0
    y += 10
    for indent, words, mark in items if several else items[:-1]:
        needed = indent + text_width(words, SMALL)
        if x > 2 and x + needed > width:
            x, y = 2.0, y + 16
        parts += [mark(x, y), text(x + indent, y, words, SMALL)]
        x += needed + 12
    return parts, y + 5


def _alt(
    models: Mapping[str, Sequence[Stage]], tables: list[dict[Row, Stage]], title: str | None
) -> str:
    told = []
    for (name, rows), table in zip(models.items(), tables, strict=True):
        ordered = [s for s in rows if s in table.values()]
        told.append(
            f"{name}, {_parameters(rows)} parameters: " + "; ".join(_told(s) for s in ordered)
        )
    joined = ". ".join(told)
    kind = "U-shaped diagram" if len(models) == 1 else f"U-shaped diagrams of {len(models)} models"
    return f"{title + '. ' if title else ''}{kind}. {joined}."


def _told(stage: Stage) -> str:
    if not stage.depths:
        attention = "no attention"
    elif not any(stage.depths):
        attention = (
            f"{len(stage.depths)} bare attention layers, {stage.heads} heads of {stage.head_dim}"
        )
    else:
        attention = (
            f"transformer blocks {', '.join(map(str, stage.depths))}, "
            f"{stage.heads} heads of {stage.head_dim}"
        )
    return (
        f"{stage.key} at {size(stage.size)}, {stage.channels_out} channels, "
        f"{stage.resnets} resnets, {attention}"
    )
