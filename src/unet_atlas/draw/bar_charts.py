"""Horizontal bars, plain and stacked: tables in, figures out."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.container import BarContainer

from unet_atlas.draw import mpl, svg
from unet_atlas.draw.palette import Mark, marks
from unet_atlas.draw.svg import SMALL, TEXT, WIDTH, Figure, amount, text_width
from unet_atlas.errors import AtlasError

BAR, PITCH, SWATCH, LEGEND_ROW = 14.0, 48.0, 18.0, 15.5
NAME, TOP, VALUE = 14.0, 18.0, 42.5  # from one stacked bar's place: its name, box and values
SIDE_LABEL = 130.0  # the most width of names beside plain bars


@mpl.in_house_style
def stacked_bars(
    table: pd.DataFrame,
    unit: str,
    title: str | None = None,
    share: bool = False,
    patterns: bool = True,
) -> Figure:
    """One horizontal bar a row, one segment a column.

    Args:
        table: index = bars, columns = segments (operations get the house colours); no negatives.
        unit: of the values, shown with the totals.
        share: draw every bar at full length, in percent of its own total.
        patterns: hatch the segments, so that they can be told apart without colour.
    """
    table = _checked(table)
    totals = table.sum(axis=1)
    ends = [amount(total, 4) for total in totals]
    shown = table.div(totals, axis=0).fillna(0) * 100 if share else table
    room = WIDTH - 6 - max(text_width(e, TEXT, bold=True) for e in ends)
    scale = room / (shown.sum(axis=1).max() or 1.0)

    names = [svg.fit(str(c), WIDTH - SWATCH) for c in table.columns]
    columns = int((WIDTH + 13) // (SWATCH + max(map(text_width, names)) + 13)) or 1
    used = int((table > 0).any().sum())
    height = PITCH * len(table) + 10 + LEGEND_ROW * math.ceil(used / columns)
    heading, fig, ax = mpl.sheet(height, title, _units(unit, share))
    fig.set_layout_engine("none")
    ax.set(position=(0, 0, 1, height / (72 * fig.get_figheight())))
    ax.set(xlim=(0, WIDTH / scale), ylim=(height, 0))
    ax.set_axis_off()

    boxes = _segments(ax, shown, patterns)
    for i, (label, row) in enumerate(shown.iterrows()):
        ax.text(0, PITCH * i + NAME, svg.fit(str(label), WIDTH))
        at = (row.sum() + 5 / scale, PITCH * i + TOP + BAR - 3)
        ax.text(*at, ends[i], weight="bold")
        _values(ax, list(row), PITCH * i + VALUE, scale, share)
    em = {"handlelength": 13 / TEXT, "handletextpad": 5 / TEXT, "columnspacing": 13 / TEXT}
    top = (0, PITCH * len(table) + 8)
    ax.legend(boxes.values(), [names[j] for j in boxes], ncols=columns, loc="upper left",
              bbox_to_anchor=top, bbox_transform=ax.transData, handleheight=0.9,
              labelspacing=0.32, **em)  # fmt: skip
    return mpl.finish(heading, fig, _stacked_alt(table, unit, title), title or "Stacked bars")


@mpl.in_house_style
def bars(data: pd.Series | pd.DataFrame, unit: str, title: str | None = None) -> Figure:
    """One plain horizontal bar a row, with its value; negative values go left of the zero line.

    Args:
        data: a series, or a table with one column.
        unit: of the values.
    """
    values = _one_column(data)
    names = [str(i) for i in values.index]
    shown = [amount(v, 4) for v in values]
    wrapped = [svg.wrap(n, SIDE_LABEL) for n in names]
    pitch = max(BAR + 7, mpl.LINE * max(map(len, wrapped)) + 5)
    heading, fig, ax = mpl.sheet(pitch * len(names) + 10, title, _units(unit, share=False))
    colours = [m.fallback for m in _bar_marks(names)]
    drawn = ax.barh(range(len(names)), values.fillna(0), BAR / pitch, color=colours)
    for patch in drawn:
        patch.set(gid="bar", clip_on=False)
    ax.bar_label(drawn, shown, padding=4)
    ax.axvline(0, color=mpl.INK, linewidth=0.8, clip_on=False)
    ax.set(ylim=(len(names) - 0.5, -0.5), xmargin=0)
    ax.autoscale(axis="x")
    ax.spines.bottom.set_visible(False)
    ax.xaxis.set_visible(False)
    ax.yaxis.set_visible(False)
    beside = max((text_width(s) for s in shown if s.startswith("−")), default=0) + 8
    mpl.name_rows(ax, wrapped, beside)
    fig.draw_without_rendering()  # the layout needs two passes to settle; saving is the second
    return mpl.finish(heading, fig, _bars_alt(names, shown, unit, title), title or "Bars")


def _checked(table: pd.DataFrame) -> pd.DataFrame:
    if table.empty:
        raise AtlasError("There is nothing to draw: the table has no rows or no columns.")
    table = table.astype(float).fillna(0.0)
    if (table < 0).any().any():
        raise AtlasError("Stacked bars can't show negative values; use bars() for differences.")
    return table


def _one_column(data: pd.Series | pd.DataFrame) -> pd.Series:
    if isinstance(data, pd.DataFrame):
        if data.shape[1] != 1:
            raise AtlasError(f"bars() takes one column, not {data.shape[1]}; use stacked_bars().")
        data = data.iloc[:, 0]
    if data.empty:
        raise AtlasError("There is nothing to draw: the series is empty.")
    return data.astype(float)


def _bar_marks(names: list[str]) -> list[Mark]:
    """The house colours if every bar is an operation, else one colour for all."""
    look = marks(names)
    operations = all(not m.variable.startswith("--ua-series") for m in look)
    return look if operations else marks(["bars"]) * len(names)


def _segments(ax: Axes, shown: pd.DataFrame, patterns: bool) -> dict[int, BarContainer]:
    """The boxes of all bars by column; a column without any is left out."""
    left, drawn = shown.cumsum(axis=1) - shown, {}
    for j, mark in enumerate(marks([str(c) for c in shown.columns])):
        rows = [i for i, value in enumerate(shown.iloc[:, j]) if value > 0]
        if rows:
            drawn[j] = ax.barh(
                [PITCH * i + TOP + BAR / 2 for i in rows], shown.iloc[rows, j], BAR,
                left.iloc[rows, j], color=mark.fallback, hatch=mark.hatch if patterns else None,
            )  # fmt: skip
            for patch in drawn[j]:
                patch.set_gid("segment")
    return drawn


def _values(ax: Axes, row: list[float], y: float, scale: float, share: bool) -> None:
    """Below one bar, the values of the segments that have room for them."""
    x, free = 0.0, -2.0
    for value in row:
        words = f"{value:.0f} %" if share else amount(value)
        middle, half = (x + value / 2) * scale, text_width(words, SMALL) / 2
        if value * scale >= 2 * half + 3 and middle - half >= free:
            ax.text(middle / scale, y, words, ha="center", **mpl.FAINT)
            free = middle + half + 3
        x += value


def _units(unit: str, share: bool) -> str:
    if share:
        return "share of each total, in %; totals (bold)" + (f" in {unit}" if unit else "")
    return f"in {unit}" if unit else ""


def _stacked_alt(table: pd.DataFrame, unit: str, title: str | None) -> str:
    told = []
    for label, row in table.iterrows():
        total = row.sum()
        top = row.sort_values(ascending=False, kind="stable")[:3]
        parts = ", ".join(
            f"{name} {amount(v, 4)} ({100 * v / total:.0f}%)" for name, v in top.items() if v > 0
        )
        told.append(
            f"{label}: {amount(total, 4)} {unit}".rstrip()
            + (f", most of it {parts}" if parts else "")
        )
    segments = ", ".join(str(c) for c in table.columns)
    return f"{_named(title)}Stacked bars of {segments}. " + "; ".join(told) + "."


def _bars_alt(names: list[str], shown: list[str], unit: str, title: str | None) -> str:
    told = "; ".join(f"{n}: {s} {unit}".rstrip() for n, s in zip(names, shown, strict=True))
    return f"{_named(title)}Bars. {told}."


def _named(title: str | None) -> str:
    return f"{title}. " if title else ""
