"""The study for a page: arms, pilot, differences, curves, what the pictures show, seconds.

All from records; a part of the runs makes a part of each table, and what lacks a partner is left
out. Book: *Where do transformer blocks belong?*
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from unet_atlas import draw, records
from unet_atlas.placement.analysis import (
    BINDING,
    HALVES,
    LOSS,
    Difference,
    about_run,
    curves,
    differences,
    outcomes,
    primary,
)
from unet_atlas.placement.protocol import EVEN, Protocol
from unet_atlas.records import Record, Shown
from unet_atlas.tables import NONE, Table, table_of

EXPECTED = {
    "low": "smaller",
    "high": "larger",
    "middle": "other",
    "low, more parameters": "smaller",
}
HYPOTHESES = dict(zip(EXPECTED, ("H1", "H2", "H3", "H4"), strict=True))
PICTURES = {  # outcome → what it is called, in which unit, and its factor
    "shapes": ("right shapes", "%", 100.0),
    "colours": ("right colours", "%", 100.0),
    "objects": ("shape bound to colour", "%", 100.0),
    "relation": ("right relation", "%", 100.0),
    "right": ("everything right", "%", 100.0),
    "FD": ("FD", "", 1.0),
    "CLIP score": ("100 × CLIP cosine", "", 1.0),
}
SPLITS = {"test": "exam", "unseen": "unseen combinations"}
EXPLORATORY = (  # name, outcome, factor (None: in % of the even arm)
    ("loss, noisier half, %", "loss, noisier half", None),
    ("loss, cleaner half, %", "loss, cleaner half", None),
    ("H5: noisier half less cleaner half, points", HALVES, 100.0),
    ("H6: relation and objects less shapes, points", f"{BINDING}, test", 100.0),
)
SHORT = {"low, more parameters": "low, larger"}  # at the end of a line
ALPHA = 0.05
PAIRS = "A pair of runs with one seed"


def runs(protocol: Protocol, folder: Path | None = None) -> tuple[Record, ...]:
    """The recorded runs of a study."""
    found = records.load(folder)
    return tuple(record for record in found if record.experiment == f"placement-{protocol.name}")


def complete(protocol: Protocol, found: Sequence[Record]) -> bool:
    """Whether every arm has a run with every seed; one that failed, as laid down, is a run."""
    wanted = {(arm.name, seed) for arm in protocol.arms for seed in protocol.seeds}
    return wanted <= {(about["arm"], about["seed"]) for about in map(about_run, found)}


def arms_table(protocol: Protocol) -> Table:
    """Depths, widths, parameters and MACs of each arm, and how far they are from the even arm's."""
    base = protocol.size(protocol.arms[0])
    rows = []
    for arm in protocol.arms:
        size = protocol.size(arm)
        params, macs = size.off(base)
        rows.append(
            {
                "arm": arm.name,
                "depths": unbroken(arm.depths),
                "channels": unbroken(arm.channels),
                "parameters, M": size.params / 1e6,
                "less even's": params,
                "MACs, M": size.macs / 1e6,
                "less even's ": macs,
            }
        )
    formats = dict.fromkeys(("parameters, M", "MACs, M"), lambda v: f"{v:.2f}")
    formats |= dict.fromkeys(("less even's", "less even's "), lambda v: signed(v, "%", 100))
    return table_of("The arms, finest level first", pd.DataFrame(rows), formats)


def pilot_table(protocol: Protocol, folder: Path | None = None) -> Table | Shown:
    """The learning rates that were tried on the even arm."""
    record = records.newest(f"placement-{protocol.name}-pilot", folder)
    if record is None:
        return records.absent("The pilot")
    data = pd.DataFrame(record.rows)[["rate", "step", "loss"]]
    data.columns = ["learning rate", "steps", "validation loss"]
    formats = {"learning rate": lambda v: f"{v:g}", "validation loss": lambda v: f"{v:.4f}"}
    caption = f"The pilot, even arm, seed {record.rows[0]['seed']}"
    return records.box(record, table_of(caption, data, formats))


def primary_table(protocol: Protocol, found: Sequence[Record]) -> Table | Shown:
    """The four hypotheses: difference to the even arm, interval, corrected p, verdict."""
    rows = [
        {
            "hypothesis": HYPOTHESES[d.arm],
            "arm": d.arm,
            "expected": EXPECTED[d.arm],
            "seeds": len(d.by_seed),
            "difference": 100 * d.mean / d.base,
            "95 % interval": interval_words(d, 100 / d.base),
            "p (Holm)": p,
            "verdict": verdict(d, p),
        }
        for d, p in primary(outcomes(found), protocol)
    ]
    if not rows:
        return records.absent(PAIRS)
    formats = {
        "difference": lambda v: signed(v, "%"),
        "p (Holm)": lambda v: f"{v:.3f}" if math.isfinite(v) else NONE,
    }
    caption = "Validation loss less the even arm's with the same seed, in % of the even arm's mean"
    return table_of(caption, pd.DataFrame(rows), formats)


def verdict(found: Difference, p: float) -> str:
    """What the test says, in words; without a spread over seeds it says nothing."""
    if not math.isfinite(p):
        return "too few seeds"
    if p >= ALPHA:
        return "no difference shown"
    way = "smaller" if found.mean < 0 else "larger"
    return f"{way}, as expected" if EXPECTED[found.arm] in (way, "other") else f"{way}, contrary"


def loss_figure(protocol: Protocol, found: Sequence[Record]) -> draw.Figure | Shown:
    """The differences in validation loss with their intervals, in % of the even arm's."""
    shown = differences(outcomes(found), protocol, LOSS)
    if not shown:
        return records.absent(PAIRS)
    rows = [
        {
            "value": 100 * d.mean / d.base,
            "low": 100 * d.low / d.base,
            "high": 100 * d.high / d.base,
            "points": [100 * v / d.base for v in d.by_seed.values()],
        }
        for d in shown
    ]
    table = pd.DataFrame(rows, index=[d.arm for d in shown])
    return draw.intervals(table, "difference in validation loss, %", "At the end", "even arm")


def curves_figure(found: Sequence[Record]) -> draw.Figure | Shown:
    """Validation loss along training, over the MACs that training has cost."""
    if not found:
        return records.absent(PAIRS)
    table = curves(found)
    table.index = table.index / 1e12
    return draw.lines(
        table.interpolate(method="index", limit_area="inside").rename(columns=SHORT),
        "training compute, TMACs",
        "validation loss, mean over seeds",
        log_y=True,
    )


def noise_figure(protocol: Protocol, found: Sequence[Record]) -> draw.Figure | Shown:
    """Differences in loss by level of noise, in % of the even arm's at that level."""
    frame = outcomes(found)
    if not differences(frame, protocol, LOSS):
        return records.absent(PAIRS)
    levels = sorted(
        (o for o in frame.outcome.unique() if o.startswith("loss, noise level")),
        key=lambda name: int(name.rsplit(" ", 1)[1]),
    )
    columns: dict[str, list[float]] = {}
    for level in levels:
        for d in differences(frame, protocol, level):
            columns.setdefault(d.arm, []).append(100 * d.mean / d.base)
    table = pd.DataFrame(columns, index=range(1, len(levels) + 1)).rename(columns=SHORT)
    label = "level of noise (10: noise alone)"
    return draw.lines(table, label, "difference in loss, %", "By level of noise")


def exploratory_table(protocol: Protocol, found: Sequence[Record]) -> Table | Shown:
    """What the exploratory hypotheses ask for: each arm's differences to the even arm."""
    frame = outcomes(found)
    if not differences(frame, protocol, LOSS):
        return records.absent(PAIRS)
    rows = []
    for name, outcome, factor in EXPLORATORY:
        shown = differences(frame, protocol, outcome)
        scale = {d.arm: factor or 100 / d.base for d in shown}
        rows.append(
            {"outcome": name} | {d.arm: interval_words(d, scale[d.arm], True) for d in shown}
        )
    caption = "Exploratory: differences to the even arm with 95 % intervals, without a verdict"
    return table_of(caption, pd.DataFrame(rows))


def pictures_table(protocol: Protocol, found: Sequence[Record], split: str) -> Table | Shown:
    """What the drawn pictures show: the even arm's mean, and each arm's difference to it."""
    frame, rows = outcomes(found), []
    if not differences(frame, protocol, LOSS):
        return records.absent(PAIRS)
    for outcome, (name, unit, factor) in PICTURES.items():
        shown = differences(frame, protocol, f"{outcome}, {split}")
        row = {"outcome": name + (f", {unit}" if unit else ""), "even": factor * shown[0].base}
        rows.append(row | {d.arm: interval_words(d, factor, True) for d in shown})
    caption = f"Pictures of the {SPLITS[split]}: the even arm, and differences to it"
    return table_of(caption, pd.DataFrame(rows), {"even": lambda v: f"{v:.1f}"})


def times_table(protocol: Protocol, folder: Path | None = None) -> Table | Shown:
    """Median seconds of a training step by arm, beside its MACs."""
    record = records.newest(f"placement-{protocol.name}-times", folder)
    if record is None:
        return records.absent("Seconds of a training step")
    data = pd.DataFrame(record.rows).groupby("arm", sort=False).seconds
    quartiles = data.quantile([0.25, 0.5, 0.75]).unstack()
    rows = [
        {
            "arm": arm.name,
            "MACs, M": protocol.size(arm).macs / 1e6,
            "ms a step": 1e3 * quartiles.loc[arm.name, 0.5],
            "middle half": "{:.0f} to {:.0f}".format(*1e3 * quartiles.loc[arm.name, [0.25, 0.75]]),
            "of even's": quartiles.loc[arm.name, 0.5] / quartiles.loc[EVEN, 0.5],
        }
        for arm in protocol.arms
    ]
    formats = {
        "MACs, M": lambda v: f"{v:.1f}",
        "ms a step": lambda v: f"{v:.0f}",
        "of even's": lambda v: f"{v:.2f}",
    }
    caption = f"A training step of {protocol.batch} pictures, arms timed in turn"
    return records.box(record, table_of(caption, pd.DataFrame(rows), formats))


def provenance(protocol: Protocol, found: Sequence[Record]) -> str:
    """How many runs there are and for how long; on what and with what; when: three lines."""
    wanted = len(protocol.arms) * len(protocol.seeds)
    if not found:
        return f"none of {wanted} runs recorded"
    libraries = ", ".join(f"{name} {version}" for name, version in found[-1].versions.items())
    days = sorted({record.date for record in found})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    hours = sum(record.seconds for record in found) / 3600
    devices = "; ".join(sorted({f"{record.device}, {record.dtype}" for record in found}))
    runs_made = f"{len(found)} of {wanted} runs, {hours:.1f} hours of training"
    return "\n".join([runs_made, f"{devices}; {libraries}", when])


def unbroken(numbers: Sequence[int]) -> str:
    """A list on one line: ``[1, 1, 1]`` with spaces that don't break."""
    return str(list(numbers)).replace(" ", "\N{NO-BREAK SPACE}")


def interval_words(found: Difference, factor: float = 1.0, value: bool = False) -> str:
    """``−1.2 to 0.4``, or with the mean before it; a dash where one seed allows no interval."""
    mean = f"{signed(found.mean * factor)} " if value else ""
    if not math.isfinite(found.low):
        return mean.strip() or NONE
    ends = f"{signed(found.low * factor)} to {signed(found.high * factor)}"
    return f"{mean}[{ends}]" if value else ends


def signed(value: float, unit: str = "", factor: float = 1.0) -> str:
    """A difference with its sign: ``+1.2 %``."""
    words = f"{factor * value:+.1f}".replace("-", "−")
    words = words[1:] if float(f"{factor * value:.1f}") == 0 else words
    return f"{words} {unit}".strip()
