"""The family tree: which checkpoint was trained on from which, and for how many steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from unet_atlas.catalog import Model, TrainingStage
from unet_atlas.draw import svg
from unet_atlas.draw.palette import MUTED
from unet_atlas.draw.svg import HEAD, SMALL, WIDTH, Figure, text, text_width
from unet_atlas.errors import AtlasError

INDENT, ROW, R = 23.0, 39.0, 8.5
SIGNS = {"epsilon": ("ε", "noise"), "v_prediction": ("v", "velocity")}


def family_tree(models: Sequence[Model], title: str | None = None) -> Figure:
    """Models as an indented tree, each below the one that its training started from.

    A circle with ε marks models that predict the noise, a square with v those that predict the
    velocity. A model whose start is not among ``models`` stands at the left edge and names it.
    """
    if not models:
        raise AtlasError("There is nothing to draw: no models are given.")
    rows = list(_rows(models))
    parts, top = svg.heading(title, "steps and size (pixels a side) of each stage of training")
    top += 10
    centre = {
        m.id: (R + 1 + depth * INDENT, top + i * ROW + 13) for i, (m, depth) in enumerate(rows)
    }
    for model, _ in rows:
        x, y = centre[model.id]
        if model.training.start in centre:
            from_x, from_y = centre[model.training.start]
            parts.append(svg.path(
                f"M{svg.num(from_x)} {svg.num(from_y + R)}V{svg.num(y)}H{svg.num(x - R)}",
                f"stroke:{MUTED.colour}", cls="edge",
            ))  # fmt: skip
        parts += _node(model, x, y, model.training.start in centre)
    y = top + len(rows) * ROW + 14
    return svg.finish(parts + _key(y), y + 14, _alt(rows, title), title or "Family tree")


def _rows(models: Sequence[Model]) -> Iterator[tuple[Model, int]]:
    """Depth first, children in the order given."""
    known = {m.id for m in models}

    def below(start: str, depth: int) -> Iterator[tuple[Model, int]]:
        for child in models:
            if child.training.start == start:
                yield child, depth
                yield from below(child.id, depth + 1)

    for model in models:
        if model.training.start not in known:
            yield model, 0
            yield from below(model.id, 1)


def _node(model: Model, x: float, y: float, has_parent: bool) -> list[str]:
    left = x + R + 7
    name_width = text_width(model.name, HEAD, bold=True)
    facts = f"{model.resolution}²"
    told = _origin(model, has_parent) + _steps(model.training.stages)
    return [
        *_sign(model.training.objective, x, y),
        text(left, y - 1, svg.fit(model.name, WIDTH - left - 40, HEAD, True), HEAD, bold=True),
        text(min(left + name_width + 6, WIDTH - 34), y - 1, facts, SMALL),
        text(left, y + 13, svg.fit(told, WIDTH - left, SMALL), SMALL, faint=True),
    ]


def _sign(objective: str, x: float, y: float) -> list[str]:
    """The mark of an objective: its letter in a circle, a square or (unknown ones) nothing."""
    letter, _ = SIGNS.get(objective, ("?", objective))
    outline = "fill:none;stroke:currentColor;stroke-width:"
    if objective == "v_prediction":
        shape = svg.rect(
            x - R + 0.5, y - R + 0.5, 2 * R - 1, 2 * R - 1, outline + "2.2", cls="node"
        )
    else:
        shape = svg.circle(x, y, R, outline + "1.2", cls="node")
    return [shape, text(x, y + 4, letter, HEAD, "middle", bold=objective == "v_prediction")]


def _origin(model: Model, has_parent: bool) -> str:
    if has_parent:
        return "+ " if any(s.steps for s in model.training.stages) else ""
    return f"{_start(model)}: "


def _start(model: Model) -> str:
    start = model.training.start
    return "start not published" if start == "unpublished" else f"from {start}"


def _steps(stages: Sequence[TrainingStage]) -> str:
    """``237k at 256² + 194k at 512²``; ``?`` where no source gives a number."""
    if all(s.steps is None for s in stages):
        return "steps not published"
    sizes = {s.resolution for s in stages}
    if len(stages) > 1 and len(sizes) == 1 and None not in sizes:
        return " + ".join(_thousands(s) for s in stages) + f" at {stages[0].resolution}²"
    return " + ".join(
        f"{_thousands(s)} at {f'{s.resolution}²' if s.resolution else '?'}" for s in stages
    )


def _thousands(stage: TrainingStage) -> str:
    return "?" if stage.steps is None else f"{svg.amount(stage.steps / 1000, 4)}k"


def _key(y: float) -> list[str]:
    parts, x = [], R + 1
    for objective, (letter, meaning) in SIGNS.items():
        words = f"predicts {letter}, the {meaning}"
        parts += [*_sign(objective, x, y), text(x + R + 5, y + 4, words, SMALL)]
        x += text_width(words, SMALL) + 2 * R + 18
    return parts


def _alt(rows: Sequence[tuple[Model, int]], title: str | None) -> str:
    told = []
    for model, _ in rows:
        _, meaning = SIGNS.get(model.training.objective, ("", model.training.objective))
        told.append(
            f"{model.name} ({model.resolution} pixels, predicts the {meaning}) {_start(model)}: "
            f"{_steps(model.training.stages)}"
        )
    return (
        (f"{title}. " if title else "")
        + f"Family tree of {len(rows)} models. "
        + "; ".join(told)
        + "."
    )
