"""Plans and recorded evaluations as tables and figures for a page.

What is planned comes from :mod:`unet_atlas.evaluation.plan`, what took place from ``records/``.
Book: *Scoring thirty thousand images*.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from unet_atlas import catalog, draw, records
from unet_atlas.evaluation import plan
from unet_atlas.evaluation.plan import Cluster, Plan, Work, closed, simulate
from unet_atlas.evaluation.protocol import MLPERF, Preset
from unet_atlas.gpu import published
from unet_atlas.metrics.bootstrap import Estimate
from unet_atlas.records import Record, Shown
from unet_atlas.tables import NONE, Table, table_of

GPUS = (1, 8, 64, 1000)
DOUBLED = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
SYSTEMS = {"SDXL": "stable-fast, SDXL", "SD 1.5": "stable-fast, SD 1.5"}  # in 16 bits, an H100
MODELS = {"SDXL": "sdxl-base-1.0", "SD 1.5": "sd-1.5"}
CARD = "H100 SXM"
NETWORKS = {  # name → bytes/s and seconds of a message
    "Ethernet, 10 Gbit/s, TCP": (1.25e9, 50e-6),
    "InfiniBand, 400 Gbit/s": (50e9, 5e-6),  # of each GPU in NVIDIA's DGX H100; latency assumed
}
SEGMENTS = {  # of a bar → the phases in it
    "start, weights": ("start", "weights"),
    "drawing": ("drawing",),
    "writing": ("writing",),
    "features": ("features",),
    "sums, intervals": ("sums", "jackknife", "cosines"),
}
SAME = (  # what runs must share to stand in one table
    *("model", "weights", "captions_digest", "pictures", "latents", "sampler", "steps", "guidance"),
    *("negative", "seed", "batch", "reference_digest"),
)
NEEDED = {  # of a record: kind of row → columns that these tables take
    "run": (*SAME, "parts", "pictures_digest"),
    "throughput": ("processes", "threads", "drawn", "found", "seconds", "scoring_seconds"),
    "score": ("metric", "value", "low", "high"),
}
WHAT = "An evaluation by scripts/evaluate.py"
SEEDS = 20  # of a simulated plan
JITTER = 0.05  # assumed, of a block's time


# --- plans ---------------------------------------------------------------------------------


def works(pictures: int = 30_000, batch: int = 16) -> dict[str, Work]:
    """SDXL and SD 1.5 at 20 guided steps, at the speed of a published 16-bit system on an H100."""
    return {
        label: plan.work_of(MODELS[label], plan.published_seconds(system), pictures, batch)
        for label, system in SYSTEMS.items()
    }


def speeds_frame(pictures: int = 30_000) -> pd.DataFrame:
    """Seconds of a picture by model and origin: a floor, published speeds, this book's record."""
    peak = published.cards()[CARD].rates["bf16"]
    rows = []
    for label, model in MODELS.items():
        recorded = plan.recorded_seconds(model)
        systems = [s for s in published.systems() if s.model == model and s.card == CARD]
        found = {f"least, all of the 16-bit peak of an {CARD}": plan.picture_seconds(model, peak)}
        found |= {f"{s.name}, {s.dtype}": plan.published_seconds(s.name) for s in systems}
        found |= {"this book's record": recorded} if recorded else {}
        rows += [{"model": label, "speed of": k, "seconds": v} for k, v in found.items()]
    data = pd.DataFrame(rows)
    return data.assign(hours=data["seconds"] * pictures / 3600)


def speeds_table(pictures: int = 30_000) -> Table:
    """:func:`speeds_frame` for readers."""
    data = speeds_frame(pictures)
    shown = pd.DataFrame(
        {
            "model": data["model"],
            "speed of": data["speed of"],
            "seconds a picture": [f"{v:.2f}" for v in data["seconds"]],
            "hours on one GPU": [f"{v:.1f}" for v in data["hours"]],
        }
    )
    caption = f"{pictures:,} pictures of {plan.STEPS} guided steps, drawing alone, by H100 speeds"
    return Table("speeds", caption, shown, data)


def phases_frame(
    work: Work, cluster: Cluster | None = None, gpus: Sequence[int] = GPUS
) -> pd.DataFrame:
    """One row a number of GPUs: seconds by phase, ``total``, ``efficiency``, ``GPU-hours``."""
    plans = [closed(work, replace(cluster or Cluster(), processes=g)) for g in gpus]
    rows = [
        {"GPUs": p.cluster.processes, **p.seconds}
        | {"total": p.total, "efficiency": p.efficiency, "GPU-hours": p.gpu_hours}
        for p in plans
    ]
    return pd.DataFrame(rows)


def phases_table(work: Work, cluster: Cluster | None = None, gpus: Sequence[int] = GPUS) -> Table:
    """:func:`phases_frame` for readers: one row a phase, one column a number of GPUs."""
    data = phases_frame(work, cluster, gpus)
    words = dict.fromkeys((*plan.PHASES, "total"), seconds_words)
    words["efficiency"] = lambda v: f"{100 * v:.0f} %"
    words["GPU-hours"] = lambda v: f"{v:,.1f}"
    rows = [
        {"seconds of": name, **{_gpus(g): say(v) for g, v in zip(gpus, data[name], strict=True)}}
        for name, say in words.items()
    ]
    caption = f"{work.name}, {work.pictures:,} pictures: planned seconds by phase"
    return Table("phases", caption, pd.DataFrame(rows), data)


def phases_figure(planned: Mapping[str, Work], gpus: Sequence[int] = GPUS) -> draw.Figure:
    """Shares of the phases of each work on so many GPUs, with the minutes of the whole."""
    rows = {}
    for label, work in planned.items():
        for row in phases_frame(work, gpus=gpus).to_dict("records"):
            rows[f"{label}, {_gpus(int(row['GPUs']))}"] = {
                s: sum(row[p] for p in ps) / 60 for s, ps in SEGMENTS.items()
            }
    return draw.stacked_bars(pd.DataFrame(rows).T, "minutes", share=True)


def scaling_frame(
    planned: Mapping[str, Work],
    cluster: Cluster | None = None,
    gpus: Sequence[int] = DOUBLED,
    jitter: float = JITTER,
) -> pd.DataFrame:
    """Simulated runs: one row a work and number of GPUs.

    Returns:
        Columns ``work``, ``GPUs``, ``minutes``, ``efficiency`` (%), ``pictures a second`` (from
        the first block begun to the last picture written) and ``wished`` (one GPU's times G).
    """
    rows = []
    for label, work in planned.items():
        found = {
            g: simulate(work, replace(cluster or Cluster(), processes=g), jitter)
            for g in dict.fromkeys((1, *gpus))
        }
        rows += [
            {
                "work": label,
                "GPUs": g,
                "minutes": found[g].total / 60,
                "efficiency": 100 * found[1].total / (g * found[g].total),
                "pictures a second": work.pictures / _drawn(found[g]),
                "wished": g * work.pictures / _drawn(found[1]),
            }
            for g in gpus
        ]
    return pd.DataFrame(rows)


def efficiency_figure(
    planned: Mapping[str, Work], cluster: Cluster | None = None, gpus: Sequence[int] = DOUBLED
) -> draw.Figure:
    """The efficiency of simulated runs over the number of GPUs."""
    frame = scaling_frame(planned, cluster, gpus)
    table = frame.pivot_table("efficiency", "GPUs", "work", sort=False)
    return draw.lines(table, "GPUs", "efficiency, %", log_x=True)


def files_figure(
    planned: Mapping[str, Work], cluster: Cluster | None = None, gpus: Sequence[int] = DOUBLED
) -> draw.Figure:
    """Pictures a second on disk while a simulated run draws, and what the GPUs alone would do."""
    frame = scaling_frame(planned, cluster, gpus)
    table = frame.pivot_table("pictures a second", "GPUs", "work", sort=False)
    wished = frame.pivot_table("wished", "GPUs", "work", sort=False)
    table = table.join(wished.add_suffix(", wished"))
    return draw.lines(table, "GPUs", "pictures a second", log_x=True, log_y=True)


def limits_table(planned: Mapping[str, Work], cluster: Cluster | None = None) -> Table:
    """Where a run stops gaining from more GPUs, in the order in which the first work meets it."""
    cluster = cluster or Cluster()
    rows = []
    for words, (find, remedy) in _LIMITS.items():
        found = {label: find(work, cluster) for label, work in planned.items()}
        rows.append({"from this number of GPUs": words, **found, "what helps": remedy})
    data = pd.DataFrame(rows).astype(dict.fromkeys(planned, "Int64"))
    data = data.sort_values(next(iter(planned)), ignore_index=True)
    shown = data.assign(**{label: [_count(v) for v in data[label]] for label in planned})
    one = next(iter(planned.values()))
    caption = f"{one.pictures:,} pictures in blocks of {one.batch}: where more GPUs stop helping"
    return Table("limits", caption, shown, data)


def stragglers_table(
    work: Work, cluster: Cluster | None = None, jitter: float = JITTER, gpus: Sequence[int] = GPUS
) -> Table:
    """Drawing and writing by the formula and by simulation: mean and range over 20 seeds."""
    rows = []
    for g in gpus:
        at = replace(cluster or Cluster(), processes=g)
        even = _drawn(closed(work, at))
        found = [_drawn(simulate(work, at, jitter, seed)) for seed in range(SEEDS)]
        mean = sum(found) / SEEDS
        rows.append(
            {
                "GPUs": g,
                "blocks each": -(-work.blocks // g),
                "all alike": even,
                "simulated": mean,
                "shortest": min(found),
                "longest": max(found),
                "change": mean / even - 1,
            }
        )
    data = pd.DataFrame(rows)
    times = dict.fromkeys(("all alike", "simulated", "shortest", "longest"), seconds_words)
    caption = (
        f"{work.name}: seconds of drawing and writing if blocks take alike, and with a spread of "
        f"{100 * jitter:.0f} % ({SEEDS} seeds)"
    )
    change = {"change": lambda v: f"{round(100 * v, 1) + 0.0:+.1f} %".replace("-", "−")}
    return table_of(caption, data, times | change | {"GPUs": "{:,}".format})


def sums_frame(work: Work, gpus: Sequence[int] = GPUS[1:]) -> pd.DataFrame:
    """Seconds of adding up the moments around a ring and along a tree, on two networks."""
    rows = [
        {
            "network": name,
            "GPUs": g,
            "ring": plan.ring(work.moments, at),
            "tree": plan.tree(work.moments, at),
        }
        for name, (link, latency) in NETWORKS.items()
        for g in gpus
        for at in [Cluster(processes=g, link=link, latency=latency)]
    ]
    return pd.DataFrame(rows)


def sums_table(work: Work, gpus: Sequence[int] = GPUS[1:]) -> Table:
    """:func:`sums_frame` for readers, in milliseconds."""
    data = sums_frame(work, gpus)
    shown = data.assign(
        GPUs=[f"{v:,}" for v in data["GPUs"]],
        ring=[f"{1000 * v:.1f}" for v in data["ring"]],
        tree=[f"{1000 * v:.1f}" for v in data["tree"]],
    )
    caption = f"Milliseconds of adding up {work.moments / 1e6:.1f} MB in every process"
    return Table("sums", caption, shown, data)


def seconds_words(seconds: float) -> str:
    """Seconds with as many digits as a plan deserves."""
    return f"{seconds:,.0f}" if seconds >= 10 else f"{seconds:.2g}" if seconds else "0"


def _gpus(count: int) -> str:
    return f"{count:,} GPU{'s' if count > 1 else ''}"


def _drawn(found: Plan) -> float:
    return found.seconds["drawing"] + found.seconds["writing"]


def _count(value: Any) -> str:
    return f"above {plan.MOST:,}" if pd.isna(value) else f"{value:,}"


def _longer(phase: str) -> Callable[[Work, Cluster], int | None]:
    """The number of GPUs from which a phase takes longer than drawing."""
    return lambda work, cluster: plan.least_where(
        lambda found: found.seconds[phase] > found.seconds["drawing"], work, cluster
    )


_LIMITS: Mapping[str, tuple[Callable[[Work, Cluster], int | None], str]] = {
    "some are idle while features are taken": (
        lambda work, _: work.parts + 1,
        "smaller parts",
    ),
    "half of the GPUs' time is lost": (
        lambda work, cluster: plan.least_where(lambda p: p.efficiency < 0.5, work, cluster),
        "more pictures in one run",
    ),
    "the run ends no sooner with more": (
        lambda work, cluster: plan.shortest(work, cluster).cluster.processes,
        "what the next rows say",
    ),
    "drawing waits for the file system": (
        lambda work, cluster: plan.saturation(work, cluster) + 1,
        "a disk in each node, or pictures in archives",
    ),
    "reading the weights takes longer than drawing": (
        _longer("weights"),
        "weights on each node beforehand",
    ),
    "features take longer than drawing": (_longer("features"), "smaller parts"),
    "some get no block": (lambda work, _: work.blocks + 1, "a smaller batch"),
    "adding up takes longer than drawing": (_longer("sums"), "nothing needed"),
}


# --- the published window ------------------------------------------------------------------


def protocol_table(preset: Preset = MLPERF) -> Table:
    """What a protocol fixes, and the window in which a right evaluation falls."""
    facts = {
        "model": catalog.get(MODELS["SDXL"]).name,
        "sampler": preset.sampler,
        "steps": f"{preset.steps}",
        "guidance": f"{preset.guidance:g}",
        "negative prompt": preset.negative,
        "captions": f"the first {preset.limit:,}",
        "features": preset.features,
    }
    facts |= {w.metric: f"{w.low} to {w.high}" for w in preset.windows}
    data = pd.DataFrame({"what": list(facts), "published": list(facts.values())})
    return Table("protocol", f"The protocol {preset.name} and its window", data, data)


# --- runs that took place ------------------------------------------------------------------


def runs(folder: Path | None = None) -> tuple[Record, ...]:
    """The recorded evaluations that these tables can show, oldest first."""
    found = records.load(folder)
    return tuple(r for r in found if r.experiment == "evaluation" and _complete(r))


def about(record: Record) -> Mapping[str, Any]:
    """What a recorded evaluation drew and scored: its row of kind ``run``."""
    return _row(record, "run")


def groups(folder: Path | None = None) -> list[list[Record]]:
    """:func:`runs`, those of the same pictures and reference together."""
    found: dict[tuple, list[Record]] = {}
    for record in runs(folder):
        run = about(record)
        found.setdefault(tuple(str(run[key]) for key in SAME), []).append(record)
    return list(found.values())


def show_runs(folder: Path | None = None) -> Shown:
    """Recorded evaluations in boxes, those of the same pictures and reference side by side."""
    boxes = [_box(group) for group in groups(folder)]
    if not boxes:
        return records.absent(WHAT)
    return Shown("".join(b.markup for b in boxes), "\n\n".join(b.words for b in boxes))


def speed_table(found: Sequence[Record]) -> Table:
    """How fast recorded runs were: one row a run."""
    rows = []
    for label, record in _labelled(found).items():
        fast = _row(record, "throughput")
        rows.append(
            {
                "run": label,
                "threads each": fast["threads"],
                "drawn": fast["drawn"],
                "found on disk": fast["found"],
                "drawing, s": fast["seconds"],
                "pictures a second": fast["images_per_second"] if fast["drawn"] else math.nan,
                "scoring, s": fast["scoring_seconds"],
            }
        )
    run = about(found[0])
    caption = (
        f"{run['model']}, {run['pictures']:,} pictures, {run['sampler']}, "
        f"{run['steps']} steps, guidance {run['guidance']:g}, batch {run['batch']}"
    )
    formats = dict.fromkeys(("drawing, s", "scoring, s"), _number(1))
    return table_of(caption, pd.DataFrame(rows), formats | {"pictures a second": _number(2)})


def scores_table(found: Sequence[Record]) -> Table:
    """The scores of recorded runs side by side, and how far the runs are apart at most."""
    labelled = _labelled(found)
    scores = {label: _scores(record) for label, record in labelled.items()}
    names = list(dict.fromkeys(name for of in scores.values() for name in of))
    rows, data = [], []
    for name in names:
        values = [of[name].value for of in scores.values() if name in of]
        apart = (max(values) - min(values)) / abs(values[0]) if values[0] else math.nan
        words = {k: _words(of[name]) if name in of else NONE for k, of in scores.items()}
        rows.append({"score": name, **words, "apart": NONE if apart != apart else _tiny(apart)})
        data += [
            {"score": name, "run": k, **vars(of[name])} for k, of in scores.items() if name in of
        ]
    same = len({about(r)["pictures_digest"] for r in found}) == 1
    one = about(found[0])
    caption = (
        f"Scores with 95 % intervals, {one['parts']} parts"
        + (f", reference {one['reference']}" if one.get("reference") else "")
        + (f"; pictures {'equal' if same else 'NOT equal'} in all runs" if len(found) > 1 else "")
    )
    shown = pd.DataFrame(rows)
    shown = shown if len(found) > 1 else shown.drop(columns="apart")
    return Table("scores", caption, shown, pd.DataFrame(data))


def window_table(record: Record) -> Table | None:
    """A recorded run against a protocol's window; ``None`` where none was asked for."""
    rows = [row for row in record.rows if row.get("kind") == "window"]
    if not rows:
        return None
    data = pd.DataFrame(rows).drop(columns="kind")
    verdicts = {True: "inside", False: "outside"}
    shown = pd.DataFrame(
        {
            "metric": data["metric"],
            "value": [_number(3)(v) for v in data["value"]],
            "window": [f"{r['low']} to {r['high']}" for r in rows],
            "verdict": [verdicts.get(r["inside"], r["reason"]) for r in rows],
        }
    )
    return Table("window", f"Against the window of {rows[0]['source']}", shown, data)


def digits(estimate: Estimate) -> int:
    """Decimals that show an interval's width with two digits; at most six."""
    width = estimate.high - estimate.low
    return min(6, max(0, 1 - math.floor(math.log10(width)))) if width > 0 else 6


def _box(found: Sequence[Record]) -> Shown:
    """Runs of one group in one box."""
    windows = [table for record in found if (table := window_table(record))]
    return records.boxed(_source(found), speed_table(found), scores_table(found), *windows)


def _source(found: Sequence[Record]) -> str:
    """Where runs come from in one line; what they share is said once."""
    lines = [r.provenance.rpartition(", ") for r in found]
    ends = [f"{seconds} (records/{r.file})" for (*_, seconds), r in zip(lines, found, strict=True)]
    shared = {head for head, *_ in lines}
    if len(shared) == 1:
        return f"{shared.pop()}, {', '.join(ends)}"
    return "; ".join(f"{head}, {end}" for (head, *_), end in zip(lines, ends, strict=True))


def _labelled(found: Sequence[Record]) -> dict[str, Record]:
    """Runs by number of processes; equal ones are told apart by day and file."""
    labels: dict[str, Record] = {}
    for record in found:
        processes = _row(record, "throughput")["processes"]
        label = f"{processes} process{'es' if processes > 1 else ''}"
        if label in labels:
            label = f"{label}, {record.date}, {record.file}"
        labels[label] = record
    return labels


def _scores(record: Record) -> dict[str, Estimate]:
    """The values of a run by metric; a score that is absent is left out."""
    rows = [row for row in record.rows if row.get("kind") == "score" and row["value"] is not None]
    return {
        row["metric"]: Estimate(*(_or_nan(row[k]) for k in ("value", "low", "high")))
        for row in rows
    }


def _row(record: Record, kind: str) -> Mapping[str, Any]:
    return next(row for row in record.rows if row.get("kind") == kind)


def _complete(record: Record) -> bool:
    """Whether a record has the rows and columns that these tables take."""
    kinds = {row.get("kind") for row in record.rows}
    return set(NEEDED) <= kinds and all(
        set(NEEDED.get(row.get("kind"), ())) <= set(row) for row in record.rows
    )


def _words(estimate: Estimate) -> str:
    """A value and its interval, or the value alone."""
    if math.isnan(estimate.low):
        return f"{estimate.value:.4g}".replace("-", "−")
    return estimate.shown(digits(estimate))


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _number(decimals: int) -> Callable[[Any], str]:
    return lambda v: NONE if v is None or v != v else f"{v:,.{decimals}f}"


def _tiny(value: float) -> str:
    return f"{value:.0e}".replace("-", "−") if value else "0"
