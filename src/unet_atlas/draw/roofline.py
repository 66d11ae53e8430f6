"""A roofline: what a machine can do at most for each byte it moves, and what was done."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.text import Annotation

from unet_atlas.draw import mpl, svg
from unet_atlas.draw.line_chart import LABEL_STEP, _spread, _ticks
from unet_atlas.draw.palette import marks
from unet_atlas.draw.svg import Figure, amount
from unet_atlas.errors import AtlasError

PLOT_HEIGHT = 250.0
X_LABEL, Y_LABEL = "FLOPs for each byte moved", "TFLOP/s"


@mpl.in_house_style
def roofline(
    points: pd.DataFrame, peak: float, bandwidth: float, title: str | None = None
) -> Figure:
    """Points under a machine's two ceilings, on logarithmic axes, each with its name.

    Args:
        points: index = names; columns ``intensity`` (FLOPs for each byte) and ``rate`` (FLOP/s).
        peak: the ceiling of arithmetic, FLOP/s.
        bandwidth: the ceiling of memory, bytes/s.

    Raises:
        AtlasError: no points, or values that are not above zero.
    """
    values = points[["intensity", "rate"]].astype(float)
    if values.empty or not (values > 0).all().all() or min(peak, bandwidth) <= 0:
        raise AtlasError("A roofline needs points, and values above zero.")
    height = max(PLOT_HEIGHT, LABEL_STEP * len(values) + 60)
    heading, fig, ax = mpl.sheet(height, title, Y_LABEL)
    ax.grid(axis="y")
    _ceilings(ax, values, peak, bandwidth)
    ax.set_xlabel(X_LABEL, alpha=0.8)
    ends = _points(ax, values)
    fig.draw_without_rendering()  # lays the axes out, so that distances are known
    _spread(ends)
    return mpl.finish(heading, fig, _alt(values, peak, bandwidth, title), title or "Roofline")


def _points(ax: Axes, values: pd.DataFrame) -> list[Annotation]:
    """The points, and their names beside the plot, still to be spread."""
    mark = marks(["points"])[0]
    ax.plot(values["intensity"], values["rate"] / 1e12, mark.marker, color=mark.fallback,
            markersize=5, clip_on=False, gid="series")  # fmt: skip
    leader = {"arrowstyle": "-", "color": mark.fallback, "alpha": 0.45, "shrinkB": 4,
              "linewidth": 0.8, "relpos": (0, 0.5)}  # fmt: skip
    return [
        ax.annotate(svg.fit(str(name), 90), (x, rate / 1e12), (1.04, 0.5),
                    textcoords="axes fraction", va="center", arrowprops=leader)
        for name, x, rate in values.itertuples()
    ]  # fmt: skip


def _ceilings(ax: Axes, values: pd.DataFrame, peak: float, bandwidth: float) -> None:
    """The two lines that no point passes, with their values, and the axes around all of it."""
    ridge = peak / bandwidth
    left, right = values["intensity"].min() / 1.5, max(values["intensity"].max(), ridge) * 1.5
    left = min(left, ridge / 4)
    low = min(values["rate"].min(), left * bandwidth) / 1e12 / 1.2
    ax.set(xscale="log", yscale="log", xlim=(left, right), ylim=(low, peak / 1e12 * 1.6))
    ax.minorticks_off()
    x_ticks = [t for t in _ticks(left, right, log=True) if left <= t <= right]
    y_ticks = [t for t in _ticks(low, peak / 1e12 * 1.6, log=True) if low <= t <= peak / 1e12]
    ax.set_xticks(x_ticks, [amount(t, 5) for t in x_ticks])
    ax.set_yticks(y_ticks, [amount(t, 5) for t in y_ticks])
    ax.plot([left, ridge, right], [left * bandwidth / 1e12, peak / 1e12, peak / 1e12],
            color=mpl.INK, linewidth=1.2, gid="roof")  # fmt: skip
    ax.annotate(f"{amount(bandwidth / 1e12)} TB/s, then {amount(peak / 1e12)} TFLOP/s",
                (left, peak / 1e12), (4, 4), textcoords="offset points", **mpl.FAINT)  # fmt: skip


def _alt(values: pd.DataFrame, peak: float, bandwidth: float, title: str | None) -> str:
    told = "; ".join(
        f"{name}: {amount(rate / 1e12)} TFLOP/s at {amount(x)} FLOPs a byte, "
        f"{100 * rate / min(peak, x * bandwidth):.0f}% of the roof"
        for name, x, rate in values.itertuples()
    )
    return (
        f"{title + '. ' if title else ''}Roofline: the roof rises with {amount(bandwidth / 1e12)} "
        f"TB/s and is flat at {amount(peak / 1e12)} TFLOP/s from {amount(peak / bandwidth)} FLOPs "
        f"a byte on. {told}."
    )
