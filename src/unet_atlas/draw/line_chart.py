"""Lines over a common x axis, labelled at their ends."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.ticker import LogLocator, MaxNLocator

from unet_atlas.draw import mpl, svg
from unet_atlas.draw.palette import marks
from unet_atlas.draw.svg import Figure, amount
from unet_atlas.errors import AtlasError

PLOT_HEIGHT, LABEL_STEP, MOST_MARKERS = 235.0, 13.0, 12
MOST_LABEL, MOST_X_LABEL = 122.0, 280.0
BAND = 0.22  # opacity


@mpl.in_house_style
def lines(
    table: pd.DataFrame,
    x_label: str,
    y_label: str,
    title: str | None = None,
    log_x: bool = False,
    log_y: bool = False,
    bands: Mapping[str, tuple[str, str]] | None = None,
) -> Figure:
    """One line a column over the index, each with its own dash, marker and label at its end.

    Args:
        table: index = x (numbers, or names drawn at equal steps), columns = series; gaps are NaN.
        x_label, y_label: with their units.
        bands: for a series, the two columns that hold the ends of its interval; they are no
            lines, but the space between them is shaded.

    Raises:
        AtlasError: there is nothing to draw, or a scale or a band that the table does not allow.
    """
    bands = dict(bands or {})
    if missing := {name for band in bands.items() for name in (band[0], *band[1])} - {*table}:
        raise AtlasError(f"The table has no column {min(missing)!r} to draw a band from.")
    values, x_names = _checked(table, log_x, log_y)
    height = max(PLOT_HEIGHT, LABEL_STEP * (values.shape[1] - 2 * len(bands)) + 50)
    heading, fig, ax = mpl.sheet(height, title, y_label)
    ax.grid(axis="y")
    _axes(ax, values, x_names, log_x, log_y)
    ax.set_xlabel(svg.fit(x_label, MOST_X_LABEL), alpha=0.8)
    ends = _curves(ax, values, bands)
    fig.draw_without_rendering()  # lays the axes out, so that distances are known
    _apart(ax)
    _spread(ends)
    xs = x_names or [amount(x, 5) for x in values.index]
    alt = _alt(values, xs, (x_label, y_label, title), bands)
    return mpl.finish(heading, fig, alt, title or y_label)


def _checked(
    table: pd.DataFrame, log_x: bool, log_y: bool
) -> tuple[pd.DataFrame, list[str] | None]:
    """The table over a numeric index, and the names of its places if it had names."""
    values, x_names = table.astype(float).dropna(axis=1, how="all"), None
    if values.empty:
        raise AtlasError("There is nothing to draw: the table has no values.")
    if not pd.api.types.is_numeric_dtype(values.index):
        if log_x:
            raise AtlasError("A logarithmic x axis needs numbers in the index.")
        x_names = [str(i) for i in values.index]
        values = values.set_axis(range(len(values)))
    values = values.set_axis(values.index.astype(float)).sort_index()
    if (log_x and values.index[0] <= 0) or (log_y and (values <= 0).any().any()):
        raise AtlasError("A logarithmic axis needs values above zero.")
    return values, x_names


def _axes(
    ax: Axes, values: pd.DataFrame, x_names: list[str] | None, log_x: bool, log_y: bool
) -> None:
    """Scales, limits and ticks; few places on the x axis are all named."""
    xs, low, high = values.index.unique(), values.min().min(), values.max().max()
    ax.set(xscale="log" if log_x else "linear", yscale="log" if log_y else "linear")
    ax.minorticks_off()
    x_ticks = xs if x_names or len(xs) <= 8 else _ticks(xs[0], xs[-1], log_x)
    x_ticks = [t for t in x_ticks if xs[0] <= t <= xs[-1]]
    ax.set_xticks(x_ticks, x_names or [amount(t, 5) for t in x_ticks])
    ax.update_datalim([(xs[0], low), (xs[-1], high)])
    ax.margins(x=0.025)
    ax.autoscale(axis="x")
    if log_y:
        low, high = low / 1.1, high * 1.1
    else:
        room = (abs(low) or 1.0) / 2 if low == high else 0.0
        low, high = 0.0 if 0 < low < 0.4 * high else low - room, high + room
    y_ticks = _ticks(low, high, log_y)
    limits = (low, high) if log_y else (y_ticks[0], y_ticks[-1])
    y_ticks = [t for t in y_ticks if limits[0] <= t <= limits[1]]
    ax.set_yticks(y_ticks, [amount(t, 5) for t in y_ticks])
    ax.set_ylim(*limits)


def _ticks(low: float, high: float, log: bool) -> list[float]:
    """Round numbers around the data; on a logarithmic axis of a decade or more, 1, 2, 5, 10 …"""
    if log and high >= 10 * low:
        many = high > 200 * low
        ticks = LogLocator(subs=(1,) if many else (1, 2, 5), numticks=8).tick_values(low, high)
    else:
        ticks = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(t) for t in ticks]


def _series(values: pd.DataFrame, bands: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """The columns that are lines."""
    edges = [edge for band in bands.values() for edge in band]
    return values.drop(columns=edges, errors="ignore")


def _curves(
    ax: Axes, values: pd.DataFrame, bands: Mapping[str, tuple[str, str]]
) -> list[Annotation]:
    """The lines with some markers over their bands, and their names beside their ends."""
    series, ends = _series(values, bands), []
    names = [str(c) for c in series.columns]
    for (key, column), name, mark in zip(series.items(), names, marks(names), strict=True):
        shown = column.dropna()
        between = values.reindex(columns=bands.get(key, ())).dropna()
        if not between.empty:
            ax.fill([*between.index, *between.index[::-1]],
                    [*between.iloc[:, 0], *between.iloc[::-1, 1]],
                    color=mark.fallback, alpha=BAND, linewidth=0, gid="band")  # fmt: skip
        ax.plot(shown, color=mark.fallback, linestyle=(0, mark.dash) if mark.dash else "-",
                marker=mark.marker, markevery=-(-len(shown) // MOST_MARKERS),
                clip_on=False, gid="series")  # fmt: skip
        leader = {"arrowstyle": "-", "color": mark.fallback, "shrinkB": 5, "relpos": (0, 0.5)}
        ends.append(ax.annotate(
            svg.fit(name, MOST_LABEL), (shown.index[-1], shown.iloc[-1]), (1.06, 0.5),
            textcoords="axes fraction", va="center", arrowprops=leader,
        ))  # fmt: skip
    return ends


def _apart(ax: Axes) -> None:
    """Hide the x tick labels that would touch another; the first and the last come first."""
    labels = ax.get_xticklabels()
    boxes = [label.get_window_extent() for label in labels]
    free, ends = -math.inf, boxes[:1] + boxes[-1:]
    for label, box in zip(labels, boxes, strict=True):
        label.set_visible(box.x0 >= free and (box in ends or box.x1 + 3 <= ends[-1].x0))
        free = box.x1 + 3 if label.get_visible() else free


def _spread(ends: list[Annotation]) -> None:
    """Move the names of the lines to the heights of their ends, a step apart, beside the plot."""
    ax = ends[0].axes
    place = (ax.transData - ax.transAxes).transform
    step = LABEL_STEP / ax.get_window_extent().height
    wanted = sorted(((place(end.xy)[1], i, end) for i, end in enumerate(ends)), reverse=True)
    ys, free = [], 1.0
    for y, _, _ in wanted:
        ys.append(min(y, free))
        free = ys[-1] - step
    free = 0.0
    for (_, _, end), y in zip(reversed(wanted), reversed(ys), strict=True):
        end.set_y(max(y, free))
        free = max(y, free) + step


def _alt(
    values: pd.DataFrame,
    xs: list[str],
    words: tuple[str, str, str | None],
    bands: Mapping[str, tuple[str, str]],
) -> str:
    x_label, y_label, title = words
    told = []
    for name in _series(values, bands):
        shown = [(x, y) for x, y in zip(xs, values[name], strict=True) if y == y]
        if len(shown) <= 6:
            about = dict(zip(xs, _intervals(values, bands.get(name)), strict=True))
            facts = ", ".join(f"{amount(y, 4)}{about[x]} at {x}" for x, y in shown)
        else:
            low, high = min(shown, key=lambda p: p[1]), max(shown, key=lambda p: p[1])
            facts = (
                f"from {amount(shown[0][1], 4)} at {shown[0][0]} to {amount(shown[-1][1], 4)} at "
                f"{shown[-1][0]}, lowest {amount(low[1], 4)} at {low[0]}, "
                f"highest {amount(high[1], 4)} at {high[0]}, {len(shown)} points"
            )
        told.append(f"{name}: {facts}")
    return (
        f"{title + '. ' if title else ''}Lines of {y_label} over {x_label}. "
        + "; ".join(told)
        + "."
    )


def _intervals(values: pd.DataFrame, band: tuple[str, str] | None) -> list[str]:
    """`` (3 to 5)`` for each row: the ends of a series' band; empty where it has none."""
    ends = values.reindex(columns=band or ())
    if ends.empty:
        return [""] * len(values)
    return [
        "" if row.isna().any() else f" ({amount(row.iloc[0], 4)} to {amount(row.iloc[1], 4)})"
        for _, row in ends.iterrows()
    ]
