"""Values with intervals, one row each, and the single results that they come from."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from unet_atlas.draw import mpl, svg
from unet_atlas.draw.palette import marks
from unet_atlas.draw.svg import Figure, amount
from unet_atlas.errors import AtlasError

PITCH, FOOT, NAME = 34.0, 44.0, 96.0  # a row, the axis below, the names' most width
MOST_LABEL = 300.0
MARK = marks(["interval"])[0]
NEEDED = ("value", "low", "high")


@mpl.in_house_style
def intervals(
    table: pd.DataFrame, x_label: str, title: str | None = None, zero: str | None = None
) -> Figure:
    """One row a value: a filled mark, a bar from end to end of its interval, an open circle for
    each of the single results.

    Args:
        table: index = rows; columns ``value``, ``low`` and ``high`` (NaN where there is no
            interval), and ``points``, if there are any: the single results of a row, a list.
        x_label: with its unit.
        zero: what the line at 0 stands for; without it there is none.

    Raises:
        AtlasError: there is nothing to draw, or a column is missing.
    """
    _check(table)
    heading, fig, ax = mpl.sheet(PITCH * len(table) + FOOT, title, _legend(table, zero))
    ax.grid(axis="x")
    for i, (_, row) in enumerate(table.iterrows()):
        _row(ax, i, row)
    if zero is not None:
        ax.axvline(0, color=mpl.INK, linewidth=0.8)
    mpl.name_rows(ax, [svg.wrap(str(name), NAME) for name in table.index], gap=8)
    ax.set(ylim=(len(table) - 0.5, -0.5), xmargin=0.04)
    ax.yaxis.set_visible(False)
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: amount(x, 5)))
    ax.set_xlabel(svg.fit(x_label, MOST_LABEL), alpha=0.8)
    fig.draw_without_rendering()  # the layout needs two passes to settle; saving is the second
    return mpl.finish(heading, fig, _alt(table, x_label, title, zero), title or x_label)


def _check(table: pd.DataFrame) -> None:
    if table.empty:
        raise AtlasError("There is nothing to draw: the table has no rows.")
    for name in NEEDED:
        if name not in table.columns:
            raise AtlasError(f"The table has no column {name!r} to draw intervals from.")


def _legend(table: pd.DataFrame, zero: str | None) -> str:
    points = ["circles: single results"] if "points" in table.columns else []
    line = [f"line at 0: {zero}"] if zero else []
    return "; ".join(["bars: 95 % intervals", *points, *line])


def _row(ax: Axes, i: int, row: pd.Series) -> None:
    colour = MARK.fallback
    if math.isfinite(row["low"]):
        ax.plot([row["low"], row["high"]], [i, i], color=colour, linewidth=2.2, gid="interval",
                solid_capstyle="butt", marker="|", markersize=9)  # fmt: skip
    ax.plot([row["value"]], [i], color=colour, marker=MARK.marker, markersize=7, gid="value")
    for point in row.get("points", ()):
        ax.plot([point], [i + 0.27], color=mpl.INK, marker="o", markersize=4, fillstyle="none",
                alpha=0.8, gid="point")  # fmt: skip


def _alt(table: pd.DataFrame, x_label: str, title: str | None, zero: str | None) -> str:
    told = "; ".join(f"{name}: {_told(row)}" for name, row in table.iterrows())
    about = f", 0 is {zero}" if zero else ""
    return f"{title + '. ' if title else ''}Intervals of {x_label}{about}. {told}."


def _told(row: pd.Series) -> str:
    words = amount(row["value"], 3)
    if math.isfinite(row["low"]):
        words += f" ({amount(row['low'], 3)} to {amount(row['high'], 3)})"
    points = ", ".join(amount(p, 3) for p in row.get("points", ()))
    return words + (f", from {points}" if points else "")
