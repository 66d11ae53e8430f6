"""Runs as tables and figures for pages: this machine's, where there is CUDA, and the newest record.

Every view is a pure function of a :class:`Run`; :func:`show` puts it into boxes that say where the
numbers come from. Nothing here measures. Book: the part *On a GPU*.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import pandas as pd
import torch
from diffusers.models.attention_processor import AttnProcessor

from unet_atlas import cost, draw, measure, records
from unet_atlas.build import build_unet
from unet_atlas.device import parse_dtype
from unet_atlas.gpu import allocator, published, reading
from unet_atlas.gpu.floors import bounds
from unet_atlas.gpu.run import SAME, Run
from unet_atlas.records import Shown
from unet_atlas.tables import NONE, Table, giga, mebibytes

COMMAND = "python scripts/record_gpu.py"
STEPS = 20  # guided steps of a picture in `throughput`
BUSY = 0.8  # below this share of its time at work, a stage waits for launches
FP32_BYTES = 4
LEAST = "at least: its arithmetic at the measured peak"
SPREAD = "spread: the middle half of the samples as a share of their median"
Row = Mapping[str, Any]
Piece = Table | draw.Figure | str


@dataclass(frozen=True)
class View:
    """What a page shows of a run: its name in a sentence, the experiments it takes, its pieces."""

    title: str
    needs: tuple[str, ...]
    pieces: Callable[[Run], Sequence[Piece]]


def live(*views: View) -> Run | None:
    """With CUDA, one quick run of all that these views need; else ``None``."""
    if not torch.cuda.is_available():
        return None
    from unet_atlas.gpu import recorder  # what measures is loaded only where something is measured

    return recorder.live(list(dict.fromkeys(name for view in views for name in view.needs)))


def show(view: View, run: Run | None = None) -> Shown:
    """A view of this machine's run, if there is one, beside the same of the newest record."""
    record = reading.newest(*view.needs)
    boxes = []
    if run is not None and set(view.needs) <= set(run.experiments):
        boxes.append(_this_machine(view, run))
    if record is not None:
        pieces = map(_shown, view.pieces(record))
        boxes.append(records.boxed(provenance(record, view.needs), *pieces))
    if not boxes:
        boxes = [_missing(view)]
    shown = Shown("".join(b.markup for b in boxes), "\n\n".join(b.words for b in boxes))
    return shown if record is not None else records.with_left_out(shown)


def provenance(run: Run, experiments: Iterable[str]) -> str:
    """Device, libraries, day, seconds, and whether it was a quick run, in one line."""
    libraries = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    seconds = sum(run.experiments[name].seconds for name in experiments)
    kind = "quick run" if run.quick else "full run"
    words = f"{run.device}; {libraries}; {run.date}, {seconds:,.1f} s, {kind}, seed {run.seed}"
    return f"{words} (records/{run.file})" if run.file else words


def rows_of(run: Run, experiment: str) -> tuple[Row, ...]:
    """The rows of one experiment."""
    return run.experiments[experiment].rows


def peaks(run: Run) -> dict[str, float]:
    """FLOP/s of the large product by dtype, as measured in this run."""
    return {r["dtype"]: r["rate"] for r in rows_of(run, "ceilings") if r["what"] == "product"}


def bandwidth(run: Run) -> float:
    """Bytes/s of the device copy, as measured in this run; NaN where it was not reached."""
    found = (r["rate"] for r in rows_of(run, "ceilings") if r["what"] == "copy")
    return next(found, math.nan)


# --- ceilings ------------------------------------------------------------------------------


def ceilings(run: Run) -> list[Piece]:
    """The two ceilings beside the data sheet, where the card is listed."""
    card = published.card_of(run.device)
    rows = []
    for r in rows_of(run, "ceilings"):
        product = r["what"] == "product"
        sheet = None if card is None else card.rates.get(r["dtype"]) if product else card.bandwidth
        rows.append(
            {
                "ceiling": f"product, {r['dtype']}" if product else "copy, read and written",
                "measured": r["rate"],
                "data sheet": sheet,
                "share": r["rate"] / sheet if sheet else None,
                "spread": spread(r["samples"]),
            }
        )
    data = pd.DataFrame(rows)
    units = ["TFLOP/s" if c.startswith("product") else "TB/s" for c in data["ceiling"]]
    shown = data.assign(
        measured=[f"{v / 1e12:,.2f} {u}" for v, u in zip(data["measured"], units, strict=True)],
        share=[_percent(v) for v in data["share"]],
        spread=[_percent(v, 1) for v in data["spread"]],
        **{"data sheet": [_rate(v, u) for v, u in zip(data["data sheet"], units, strict=True)]},
    )
    return [Table("ceilings", f"The ceilings of this card; {SPREAD}", shown, data)]


def spread(samples: Sequence[float]) -> float | None:
    """The interquartile range of timed calls as a share of their median."""
    if len(samples) < 4:
        return None
    low, middle, high = pd.Series(samples).quantile([0.25, 0.5, 0.75])
    return (high - low) / middle if middle else None


# --- building ------------------------------------------------------------------------------


def weights(run: Run) -> list[Piece]:
    """Bytes of the weights: their sum, what the allocator should make of it, what it made of it."""
    rows = []
    for r in rows_of(run, "build"):
        held = _held(r["model"], parse_dtype(r["dtype"]).itemsize)
        rows.append(
            {
                "model": r["model"],
                "dtype": r["dtype"],
                "sum": _predicted(r).weights,
                "allocated, predicted": held.allocated,
                "allocated, measured": r["weights"],
                "reserved, predicted": held.reserved,
                "reserved, measured": r["reserved"],
                "ratio": r["weights"] / held.allocated,
                "seconds": r["seconds"],
            }
        )
    data = pd.DataFrame(rows)
    shown = data.assign(
        **{c: [f"{v / 2**20:,.1f}" for v in data[c]] for c in data.columns[2:7]},
        ratio=_numbers(data["ratio"], ".4f"),
        seconds=_numbers(data["seconds"], ".2f"),
    )
    caption = (
        "Weights on the card in MiB: their sum, and what the allocator counts; measured ÷ "
        "predicted of what is allocated; seconds to build and place"
    )
    return [Table("weights", caption, shown, data)]


def passes(run: Run) -> list[Piece]:
    """The peak of one pass, predicted and measured, with fused and with plain attention."""
    data = pd.DataFrame(
        {
            "model": r["model"],
            "dtype": r["dtype"],
            "latent": r["latent"],
            "batch": r["batch"],
            "predicted": _predicted(r).peak,
            "measured": r["peak"],
            "ratio": r["peak"] / _predicted(r).peak,
            "plain, predicted": _predicted_plain(r),
            "plain, measured": r["peak_plain"],
        }
        for r in rows_of(run, "build")
    )
    plain = data["plain, measured"].astype(float)
    shown = data.assign(
        latent=[f"{v} × {v}" for v in data["latent"]],
        predicted=data["predicted"].map(mebibytes),
        measured=data["measured"].map(mebibytes),
        ratio=_numbers(data["ratio"], ".3f"),
        **{
            "plain, predicted": data["plain, predicted"].map(mebibytes),
            "plain, measured": ["no room" if v != v else mebibytes(int(v)) for v in plain],
        },
    )
    caption = (
        "The highest mark above the weights in one pass: fused attention, measured ÷ predicted "
        "of it, and plain attention"
    )
    return [Table("passes", caption, shown, data)]


def _predicted(row: Row) -> measure.Measurement:
    """The prediction for a row of ``build``."""
    dtype = parse_dtype(row["dtype"])
    half = _predicted_in_16_bits(row["model"], row["latent"], row["batch"])
    if dtype.itemsize == 2:
        return half
    # all is twice as large but the time steps: one number of 32 bits a sample in either
    peak = 2 * half.peak - FP32_BYTES * row["batch"]
    return measure.Measurement(half.model, half.latent, half.batch, 2 * half.weights, peak)


def _predicted_plain(row: Row) -> int:
    """The peak of a pass for a row of ``build``, with diffusers' explicit product and softmax."""
    width = parse_dtype(row["dtype"]).itemsize
    return _predicted_with_scores(row["model"], width, row["latent"], row["batch"])


@cache
def _predicted_with_scores(model: str, width: int, latent: int, batch: int) -> int:
    # not twice as large in 32 bits for a model that keeps its scores in 32 bits in any dtype
    unet = build_unet(model, dtype=torch.bfloat16 if width == 2 else torch.float32)
    unet.set_attn_processor(AttnProcessor())
    return cost.memory(unet, latent=latent, batch=batch).peak


@cache
def _held(model: str, width: int) -> allocator.Held:
    return allocator.weights(build_unet(model), width)


@cache
def _predicted_in_16_bits(model: str, latent: int, batch: int) -> measure.Measurement:
    return measure.predict(model, torch.bfloat16, latent, batch)


# --- stages --------------------------------------------------------------------------------


def stage_frame(run: Run, rows: Sequence[Row]) -> pd.DataFrame:
    """One row a stage of one model: time, work, how near to the ceilings, and what binds it.

    A stage is bound by *launches* when its kernels run for less than ``BUSY`` of its time; else by
    *arithmetic* or *memory*, whichever ceiling allows it less. Without both ceilings it is open.

    Args:
        rows: those of ``stages`` that belong to one pass of one model.
    """
    data = _with_spread(rows).set_index("stage")
    data = data.join(bounds(data, _peak(run, data["dtype"].iloc[0]), bandwidth(run)))
    parts = data.drop(index="all", errors="ignore")
    if (
        "all" in data.index and not parts.empty
    ):  # stages run one after the other: their floors add up
        data.loc["all", "floor"] = parts["floor"].sum(skipna=False)
    data["time share"] = data["milliseconds"] / parts["milliseconds"].sum()
    data["work share"] = data["macs"] / parts["macs"].sum()
    data["rate"] = 2000 * data["macs"] / data["milliseconds"]
    data["of the ceiling"] = data["floor"] / data["milliseconds"]
    data["busy"] = data["profiler"].astype(float) / data["milliseconds"]
    arithmetic = data["arithmetic"] >= data["memory"]
    data["bound by"] = ["arithmetic" if a else "memory" for a in arithmetic]
    data.loc[data["floor"].isna(), "bound by"] = NONE
    data.loc[data["busy"] < BUSY, "bound by"] = "launches"
    return data


def stages(run: Run) -> list[Piece]:
    """For each model: its stages under the roofline, as a table, and a sentence."""
    passes: dict[tuple, list[Row]] = {}
    for row in rows_of(run, "stages"):
        passes.setdefault((row["model"], row["dtype"], row["latent"], row["batch"]), []).append(row)
    found: list[Piece] = []
    for (model, dtype, side, batch), rows in passes.items():
        data = stage_frame(run, rows)
        parts = data.drop(index="all", errors="ignore")
        title = f"{model}, {dtype}, latent {side} × {side}, batch {batch}"
        if not parts.empty and not parts["floor"].isna().any():
            ceilings = (_peak(run, dtype), bandwidth(run))
            found.append(draw.roofline(parts, *ceilings, f"{title}, measured"))
            found.append(_bound_sentence(model, parts))
        found.append(_stage_table(title, data))
    return found


def _stage_table(title: str, data: pd.DataFrame) -> Table:
    shown = pd.DataFrame(
        {
            "stage": data.index,
            "ms": [f"{v:.3f}" for v in data["milliseconds"]],
            "spread": [_percent(v, 1) for v in data["spread"]],
            "time": [_percent(v) for v in data["time share"]],
            "MACs": [_percent(v) for v in data["work share"]],
            "FLOPs a byte": [f"{v:,.0f}" for v in data["intensity"]],
            "TFLOP/s": [f"{v / 1e12:,.1f}" for v in data["rate"]],
            "of ceiling": [_percent(v) for v in data["of the ceiling"]],
            "kernels": [NONE if v != v else f"{v:,.0f}" for v in data["kernels"].astype(float)],
            "busy": [_percent(v) for v in data["busy"]],
            "bound by": list(data["bound by"]),
        }
    )
    caption = (
        f"{title}: shares of time and of MACs by stage. Bound by launches: kernels busy for less "
        f"than {100 * BUSY:.0f} % of the time; else by the lower ceiling, reached or not; {SPREAD}"
    )
    return Table("stage-times", caption, shown, data.reset_index())


def _bound_sentence(model: str, parts: pd.DataFrame) -> str:
    """Which share of the time is bound by what, from the data."""
    shares = parts.groupby("bound by")["time share"].sum().sort_values(ascending=False)
    told = ", ".join(f"{_percent(v)} in stages bound by {name}" for name, v in shares.items())
    return f"{model} spends {told}."


# --- the ladder ----------------------------------------------------------------------------


def ladder_frame(run: Run) -> pd.DataFrame:
    """One row a work and rung: guided steps a second, speed-up, shares of the peaks."""
    data = _with_spread(rows_of(run, "ladder"))
    times = data["milliseconds"].astype(float)
    data["milliseconds"] = times
    data["difference"] = data["difference"].astype(float)
    data["steps a second"] = 1000 / times
    data["speed-up"] = data.groupby("work")["milliseconds"].transform("first") / times
    rate = 2000 * data["macs"] / times
    peak, card = peaks(run), published.card_of(run.device)
    data["rate"] = rate
    data["of the measured peak"] = rate / data["dtype"].map(peak).astype(float)
    sheet = {} if card is None else dict(card.rates)
    data["of the data sheet"] = rate / data["dtype"].map(sheet).astype(float)
    return data


def ladder(run: Run) -> list[Piece]:
    """For each work: bars of guided steps a second, the table of rungs, and the best one."""
    found: list[Piece] = []
    for work, data in ladder_frame(run).groupby("work", sort=False):
        reached = data.dropna(subset="milliseconds")
        if not reached.empty:
            bars = reached.set_index("rung")["steps a second"]
            found.append(draw.bars(bars, "guided steps a second", work))
        found.append(_ladder_table(work, data))
        if not reached.empty:
            found.append(_best_sentence(work, reached))
    return found


def _ladder_table(work: str, data: pd.DataFrame) -> Table:
    shown = pd.DataFrame(
        {
            "rung": data["rung"],
            "dtype": data["dtype"],
            "ms": _numbers(data["milliseconds"], ".2f"),
            "spread": [_percent(v, 1) for v in data["spread"]],
            "steps/s": _numbers(data["steps a second"], ".2f"),
            "faster": _numbers(data["speed-up"], ".2f"),
            "of peak": data["of the measured peak"].map(_percent),
            "of sheet": data["of the data sheet"].map(_percent),
            "compile, s": _numbers(data["compile_seconds"], ".1f"),
            "GiB": _numbers(data["peak"].astype(float) / 2**30, ".2f"),
            "difference": _numbers(data["difference"], ".0e"),
        }
    )
    caption = (
        f"{work}: guided steps of one image; shares of the measured peak and of the data sheet, "
        f"highest memory, distance to fp32's output; {SPREAD}"
    )
    return Table("ladder", caption, _with_notes(shown, data), data)


def _fastest(reached: pd.DataFrame) -> pd.Series | None:
    """The fastest rung whose output hardly differs from fp32's, or is not known to."""
    same = reached[~(reached["difference"] > SAME)]
    return None if same.empty else same.loc[same["milliseconds"].idxmin()]


def _best_sentence(work: str, reached: pd.DataFrame) -> str:
    best = _fastest(reached)
    if best is None:
        return f"{work}: every rung's output differs from fp32's by more than {SAME:g}."
    share = _percent(best["of the measured peak"])
    of_peak = "" if share == NONE else f", {share} of the peak measured in {best['dtype']}"
    rate = f"{best['steps a second']:.1f} guided steps a second"
    apart = best["difference"]
    moved = "" if apart != apart else f", at a distance of {apart:.0e} from fp32's output"
    name = f"{work}: the fastest rung with the same output is “{best['rung']}”"
    told = f"{name} with {rate}{of_peak}{moved}."
    return told + _rest(best["milliseconds"], best["of the measured peak"])


def _rest(milliseconds: float, share: float) -> str:
    """How much of a step arithmetic takes at the measured peak, where that is known."""
    if not share < 1:
        return ""
    return (
        f" Of its {milliseconds:.2f} ms, {share * milliseconds:.2f} ms are arithmetic at that "
        "peak; the rest is bytes, launches and kernels below the peak."
    )


def decode(run: Run) -> list[Piece]:
    """The VAE's decoder, timed alone."""
    data = _with_spread(rows_of(run, "decode"))
    data["rate"] = 2000 * data["macs"] / data["milliseconds"]
    shown = pd.DataFrame(
        {
            "work": data["work"],
            "pixels a side": data["resolution"],
            "batch": data["batch"],
            "computes in": data["dtype"],
            "rung": data["rung"],
            "ms": _numbers(data["milliseconds"], ".2f"),
            "spread": [_percent(v, 1) for v in data["spread"]],
            "GMACs": data["macs"].map(giga),
            "TFLOP/s": _numbers(data["rate"] / 1e12, ".1f"),
        }
    )
    return [Table("decode", f"Decoding latents, apart from the UNet; {SPREAD}", shown, data)]


def beside_published(run: Run) -> list[Piece]:
    """The published speeds; below them the best rung and the best batch of each work in this run.

    A run without ``throughput`` has no batches to show.
    """
    own = pd.DataFrame([*_best_rungs(run), *_best_batches(run)])
    data = pd.concat([published.systems_frame(), own], ignore_index=True)
    return [published.systems_table(data)]


def _best_rungs(run: Run) -> list[Row]:
    reached = ladder_frame(run).dropna(subset="milliseconds")
    rows = []
    for work, data in reached.groupby("work", sort=False):
        if (best := _fastest(data)) is not None:
            rows.append(_own_speed(run, f"ladder: {work}", best, 1, best["milliseconds"]))
    return rows


def _best_batches(run: Run) -> list[Row]:
    """The row of ``throughput`` with most images a second, of several at once, for each work."""
    best: dict[str, Row] = {}
    for row in rows_of(run, "throughput") if "throughput" in run.experiments else ():
        speed = row["images_per_second"]
        if row["batch"] == 1 or speed is None:
            continue
        if row["work"] not in best or speed > best[row["work"]]["images_per_second"]:
            best[row["work"]] = row
    return [
        _own_speed(run, f"throughput: {work}, batch {r['batch']}", r, r["batch"], r["step"])
        for work, r in best.items()
    ]


def _own_speed(run: Run, name: str, row: Row, batch: int, milliseconds: float) -> Row:
    """A step of this run as a row of :func:`published.systems_frame`."""
    card, rate = published.card_of(run.device), 2000 * row["macs"] / milliseconds
    return {
        "system": f"this book's {name}",
        "card": card.name if card else run.device,
        "model": row["model"],
        "computes in": row["dtype"],
        "software": f"PyTorch {run.versions.get('torch', '')}".strip(),
        "published": row["rung"],
        "guided steps a second": 1000 * batch / milliseconds,
        "timed": "UNet",
        "FLOP/s": rate,
        "share": rate / card.rates["bf16"] if card else math.nan,
    }


# --- throughput, resolution, blocks --------------------------------------------------------


def throughput(run: Run) -> list[Piece]:
    """For each work: images a second over the batch, and the table."""
    data = _with_spread(rows_of(run, "throughput"))
    for name in ("step", "decode", "images_per_second", "peak"):
        data[name] = data[name].astype(float)
    peak = data["dtype"].map(peaks(run)).astype(float)
    least = 2000 * data["macs"] / peak
    data["utilisation"] = least / data["step"]
    data["at most"] = 1000 * data["batch"] / (STEPS * least)
    found: list[Piece] = []
    reached = data.dropna(subset="images_per_second")
    if not reached.empty:
        rates = reached.pivot_table("images_per_second", "batch", "work", sort=False)
        title = f"{STEPS} guided steps and the decoder"
        found.append(draw.lines(rates, "images at once", "images a second", title, log_x=True))
    return [*found, *(_throughput_table(w, part) for w, part in data.groupby("work", sort=False))]


def _throughput_table(work: str, data: pd.DataFrame) -> Table:
    shown = pd.DataFrame(
        {
            "batch": data["batch"],
            "recipe": data["rung"],
            "ms a step": _numbers(data["step"], ".2f"),
            "spread": [_percent(v, 1) for v in data["spread"]],
            "ms to decode": _numbers(data["decode"], ".2f"),
            "images a second": _numbers(data["images_per_second"], ".3f"),
            "at most": _numbers(data["at most"], ".3f"),
            "of peak": data["utilisation"].map(_percent),
            "GiB": _numbers(data["peak"] / 2**30, ".2f"),
        }
    )
    caption = (
        f"{work}: images a second, and at most if {STEPS} steps ran at the measured peak and "
        f"decoding took no time; a step's share of that peak; highest memory; {SPREAD} (of a step)"
    )
    return Table("throughput", caption, _with_notes(shown, data), data)


def resolution(run: Run) -> list[Piece]:
    """For each model: the time of a guided step over the size, beside what its MACs predict."""
    data = _with_spread(rows_of(run, "resolution"))
    data["milliseconds"] = data["milliseconds"].astype(float)
    data["rate"] = 2000 * data["macs"] / data["milliseconds"]
    data["least"] = _least(run, data)
    found: list[Piece] = []
    for model, part in data.groupby("model", sort=False):
        reached = part.dropna(subset="milliseconds").set_index("resolution").sort_index()
        if len(reached) > 1:
            best = 2000 * reached["macs"] / reached["rate"].max()
            curves = pd.DataFrame({"measured": reached["milliseconds"], "at best rate": best})
            title = f"{model}: a guided step"
            found.append(draw.lines(curves, "pixels a side", "ms", title, log_x=True, log_y=True))
        found.append(_resolution_table(model, part))
    return found


def _resolution_table(model: str, data: pd.DataFrame) -> Table:
    shown = pd.DataFrame(
        {
            "pixels a side": data["resolution"],
            "ms": _numbers(data["milliseconds"], ".2f"),
            "ms at least": _numbers(data["least"], ".2f"),
            "spread": [_percent(v, 1) for v in data["spread"]],
            "GMACs": data["macs"].map(giga),
            "attention products": (data["attention_macs"] / data["macs"]).map(_percent),
            "TFLOP/s": _numbers(data["rate"] / 1e12, ".1f"),
            "of peak": (data["least"] / data["milliseconds"]).map(_percent),
        }
    )
    caption = f"{model}: one guided step at each size; {LEAST}; {SPREAD}"
    return Table("resolution", caption, _with_notes(shown, data), data)


def blocks(run: Run) -> list[Piece]:
    """The price list of transformer blocks: one table a model."""
    data = _with_spread(rows_of(run, "blocks"))
    data["least"] = _least(run, data)
    data["ms a GMAC"] = 1e9 * data["milliseconds"] / data["macs"]
    data["all"] = data["used"] * data["milliseconds"]
    return [_block_table(model, part) for model, part in data.groupby("model", sort=False)]


def _block_table(model: str, data: pd.DataFrame) -> Table:
    shown = pd.DataFrame(
        {
            "level": [str(v) for v in data["level"]],
            "width": data["width"],
            "positions": [f"{v:,}" for v in data["tokens"]],
            "heads": data["heads"],
            "parameters": [f"{v:,}" for v in data["params"]],
            "GMACs": data["macs"].map(giga),
            "ms": _numbers(data["milliseconds"], ".3f"),
            "ms at least": _numbers(data["least"], ".3f"),
            "spread": [_percent(v, 1) for v in data["spread"]],
            "ms a GMAC": _numbers(data["ms a GMAC"], ".4f"),
            "used": data["used"],
            "used × ms": _numbers(data["all"], ".2f"),
        }
    )
    caption = f"{model}: one transformer block at each level, in a guided step; {LEAST}; {SPREAD}"
    return Table("blocks", caption, shown, data)


# --- small parts ---------------------------------------------------------------------------


def _peak(run: Run, dtype: str) -> float:
    """The measured peak of a dtype; of the fastest product where that one is missing, or NaN."""
    found = peaks(run)
    return found.get(dtype, max(found.values(), default=math.nan))


def _least(run: Run, data: pd.DataFrame) -> pd.Series:
    """Milliseconds of each row's arithmetic at the measured peak of its dtype."""
    return 2000 * data["macs"] / data["dtype"].map(lambda dtype: _peak(run, dtype))


def _with_spread(rows: Sequence[Row]) -> pd.DataFrame:
    """Rows with the spread of their samples in place of these."""
    data = pd.DataFrame(rows)
    data["spread"] = [spread(samples) for samples in data.pop("samples")]
    return data


def _this_machine(view: View, run: Run) -> Shown:
    source = f"This machine: {provenance(run, view.needs)}"
    pieces = [_shown(piece) for piece in view.pieces(run)]
    body = "".join(piece.markup for piece in pieces)
    markup = f'<div class="ua-live"><p>{html.escape(source)}</p>{body}</div>'
    return Shown(markup, "\n\n".join([source, *(piece.words for piece in pieces)]))


def _shown(piece: Piece) -> Shown:
    if isinstance(piece, Table):
        return Shown(piece.to_html(), piece.to_text())
    if isinstance(piece, draw.Figure):
        return Shown(piece._repr_html_(), piece.alt)
    return Shown(f"<p>{html.escape(piece)}</p>", piece)


def _missing(view: View) -> Shown:
    """One line for a view that has neither a run nor a record."""
    words = f"{view.title}: no record yet; {COMMAND} on a machine with CUDA makes one."
    markup = html.escape(words).replace(COMMAND, f"<code>{COMMAND}</code>")
    return Shown(f'<p class="ua-record-none">{markup}</p>', words)


def _percent(value: Any, digits: int = 0) -> str:
    return NONE if value is None or value != value else f"{100 * value:.{digits}f} %"


def _rate(value: float | None, unit: str) -> str:
    return NONE if value is None or value != value else f"{value / 1e12:,.2f} {unit}"


def _with_notes(shown: pd.DataFrame, data: pd.DataFrame) -> pd.DataFrame:
    """A column of notes where there are any."""
    return shown.assign(note=list(data["note"])) if any(data["note"]) else shown


def _numbers(values: pd.Series, form: str) -> list[str]:
    """Numbers as text; what is missing is a dash."""
    return [NONE if v != v else f"{v:{form}}" for v in values.astype(float)]


CEILINGS = View("The two ceilings", ("ceilings",), ceilings)
WEIGHTS = View("Weights on the card", ("build",), weights)
PASSES = View("The peak of a pass", ("build",), passes)
STAGES = View("Time by stage", ("ceilings", "stages"), stages)
LADDER = View("The ladder", ("ceilings", "ladder"), ladder)
DECODE = View("The decoder", ("decode",), decode)
PUBLISHED = View("This book's ladder beside them", ("ceilings", "ladder"), beside_published)
THROUGHPUT = View("Throughput", ("ceilings", "throughput"), throughput)
RESOLUTION = View("Time by resolution", ("ceilings", "resolution"), resolution)
BLOCKS = View("The price list of blocks", ("ceilings", "blocks"), blocks)
VIEWS = (
    *(CEILINGS, WEIGHTS, PASSES, STAGES, LADDER, DECODE, PUBLISHED),
    *(THROUGHPUT, RESOLUTION, BLOCKS),
)
