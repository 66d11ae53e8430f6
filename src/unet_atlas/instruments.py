"""What well-known counters report on these UNets, laid beside the truth.

torchinfo is shown as it is: its rows, its totals and the rule behind its mult-adds. Other tools are
read from a record that ``scripts/record_counters.py`` made. Book: *Counting correctly*.
Upstream: torchinfo 1.8.0, ``layer_info.py`` (``calculate_macs``, ``num_params_to_str``).
"""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
import torchinfo
from diffusers.models.activations import GEGLU
from torch import nn

from unet_atlas import cost, crosscheck, formula
from unet_atlas.build import example_inputs, from_config
from unet_atlas.config import resolve
from unet_atlas.records import Record
from unet_atlas.tables import NONE, Table, giga, table_of

ROW = re.compile(r": \d+(-\d+)? ")  # every row but the first carries its depth and index
COLUMNS = re.compile(r"(.*\S) {2,}(\[[^]]*\]|--|Output Shape) {2,}(\S.*)")
RECURSIVE = "(recursive)"
NUMBER = re.compile(r"\d+(\.\d+)*")


@dataclass(frozen=True)
class Column:
    """torchinfo's column of parameters at one depth: how many rows, and what they add up to."""

    depth: int
    rows: int
    recursive: int
    shown: int
    total: int

    @property
    def missing(self) -> int:
        """Parameters that stand in no row."""
        return self.total - self.shown


@dataclass(frozen=True)
class Counts:
    """MACs of one forward pass: seen by the dispatcher, by hooks, and computed without a model."""

    latent: tuple[int, int]
    dispatcher: int
    hooks: int
    formula: int

    @property
    def agree(self) -> bool:
        """Whether all three are the same number."""
        return self.dispatcher == self.hooks == self.formula


def three_counts(source: str, latent: int | None = None) -> Counts:
    """The MACs of a model (id, file or folder) by dispatcher, by hooks and by formula."""
    label, config = resolve(source)
    unet = from_config(config, label)
    counted = cost.count(unet, latent=latent)
    hooked = crosscheck.hook_macs(unet, example_inputs(unet, latent=latent))
    predicted = formula.macs(config, counted.latent)
    return Counts(counted.latent, counted.total, sum(hooked.values()), sum(predicted.values()))


def counts_table(counts: Mapping[str, Counts]) -> Table:
    """One row a model: the dispatcher's count, and how the other two differ from it."""
    rows = [(k, c.latent[0], c.dispatcher, c.hooks, c.formula) for k, c in counts.items()]
    data = pd.DataFrame(rows, columns=["model", "latent", "dispatcher", "hooks", "formula"])
    shown = data.astype(object)
    for other in ("hooks", "formula"):
        gaps = data[other] - data["dispatcher"]
        shown[other] = [f"{gap:+,}" if gap else "same" for gap in gaps]
    shown["latent"] = [f"{side} × {side}" for side in data["latent"]]
    shown["dispatcher"] = [f"{macs:,}" for macs in data["dispatcher"]]
    return Table("counts", "MACs of one forward pass, counted three times", shown, data)


def parameter_column(summary: torchinfo.ModelStatistics) -> Column:
    """What a reader gets who adds up the ``Param #`` column of a printed summary."""
    lines = [line for line in str(summary).splitlines() if ROW.search(line)]
    cells = [line.split()[-1].strip("()") for line in lines]
    shown = sum(int(cell.replace(",", "")) for cell in cells if cell.replace(",", "").isdigit())
    recursive = sum(line.endswith(RECURSIVE) for line in lines)
    return Column(summary.formatting.max_depth, len(lines), recursive, shown, summary.total_params)


def parameter_columns(
    summary: torchinfo.ModelStatistics, depths: Iterable[int] = range(1, 7)
) -> tuple[Column, ...]:
    """The column of parameters as printed at several depths.

    One summary is enough: torchinfo keeps all layers, and depth decides only what is printed.
    """
    return tuple(parameter_column(_at_depth(summary, depth)) for depth in depths)


def summarise(
    model: nn.Module, inputs: Mapping[str, Any], depth: int = 3
) -> torchinfo.ModelStatistics:
    """``torchinfo.summary`` without printing, on the model's own device (``meta`` will do)."""
    device = next(model.parameters()).device
    return torchinfo.summary(model, input_data=dict(inputs), device=device, depth=depth, verbose=0)


def excerpt(summary: torchinfo.ModelStatistics, first: int = 0, last: int | None = None) -> str:
    """Lines ``first`` … ``last - 1`` of a printed summary, its wide columns moved together."""
    lines = str(summary).splitlines()[first:last]
    found = [COLUMNS.fullmatch(line) for line in lines]
    cells = [match.groups() for match in found if match]
    name, shape, count = (max(map(len, column)) for column in zip(*cells, strict=True))
    rule = "=" * (name + shape + count + 4)
    return "\n".join(
        f"{match[1]:<{name}}  {match[2]:<{shape}}  {match[3]}"
        if match
        else (rule if line.startswith("==") else line)
        for match, line in zip(found, lines, strict=True)
    )


def mult_adds_by_rule(model: nn.Module, inputs: Mapping[str, Any]) -> Counter[str]:
    """torchinfo's mult-adds, rebuilt from its rule, by kind of layer.

    A convolution: weights and biases, once a cell of its output. Any other layer: weights and
    biases, once a sample, however many tokens it is applied to. Products of tensors: never.
    """
    macs: Counter[str] = Counter()

    def count(layer: nn.Module, args: tuple, output: torch.Tensor) -> None:
        size = sum(p.numel() for p in layer.parameters(recurse=False))
        if isinstance(layer, nn.Conv2d):
            macs["conv"] += size * output.shape[0] * output.shape[2:].numel()
        else:
            macs["linear" if isinstance(layer, nn.Linear) else "norm"] += size * output.shape[0]

    _run(model, inputs, lambda m: any(True for _ in m.parameters(recurse=False)), count)
    return macs


def elementwise_products(model: nn.Module, inputs: Mapping[str, Any]) -> Counter[str]:
    """Numbers that norms and gates write: what torchprofile 0.0.4 adds to its MACs.

    ``norm``: outputs of normalisations with weights; ``gate``: products in gated feed-forwards.
    """
    made: Counter[str] = Counter()

    def count(layer: nn.Module, args: tuple, output: torch.Tensor) -> None:
        made["gate" if isinstance(layer, GEGLU) else "norm"] += output.numel()

    def writes(layer: nn.Module) -> bool:
        norm = isinstance(layer, nn.GroupNorm | nn.LayerNorm) and layer.weight is not None
        return norm or isinstance(layer, GEGLU)

    _run(model, inputs, writes, count)
    return made


def biased_linear_macs(model: nn.Module, inputs: Mapping[str, Any]) -> int:
    """MACs of the linear layers with a bias: what ptflops counts twice on ``meta``."""
    macs: Counter[str] = Counter()

    def count(layer: nn.Module, args: tuple, output: torch.Tensor) -> None:
        macs["linear"] += output.numel() * layer.in_features

    _run(model, inputs, lambda m: isinstance(m, nn.Linear) and m.bias is not None, count)
    return macs["linear"]


def columns_table(columns: Mapping[str, Sequence[Column]]) -> Table:
    """Depths down, models across: the parameters that torchinfo's rows leave out."""
    depths = [c.depth for c in next(iter(columns.values()))]
    rows = {label: [c.missing for c in found] for label, found in columns.items()}
    data = pd.DataFrame({"depth": depths, **rows})
    shown = pd.DataFrame(
        {
            "depth": [f"{d} (the default)" if d == 3 else str(d) for d in depths],
            **{k: [f"{n:,}" if n else "none" for n in v] for k, v in rows.items()},
        }
    )
    return Table("depths", "Parameters that stand in no row of torchinfo's table", shown, data)


def reported(record: Record, model: str = "sd-1.5") -> dict[tuple[str, str], dict[str, Any]]:
    """What a record of counters says of one model: (tool, version) → {device: row}."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in record.rows:
        if row["model"] == model:
            found.setdefault((row["tool"], row["version"]), {})[row["device"]] = row
    return found


def counters_table(record: Record) -> Table:
    """A record of counters: reported ÷ true on meta and on the CPU, one row a tool and version."""
    shown = [
        {
            "counter": tool,
            "version": NUMBER.match(number)[0] if NUMBER.match(number) else number,
            "on meta": _ratio(devices.get("meta")),
            "on the CPU": _ratio(devices.get("cpu")),
        }
        for (tool, number), devices in reported(record).items()
    ]
    side = record.rows[0]["latent"]
    caption = (
        f"Reported ÷ true MACs of one forward pass of SD 1.5, latent {side} × {side}, "
        f"attention products included; recorded on {record.date}"
    )
    return Table("counters", caption, pd.DataFrame(shown), pd.DataFrame(record.rows))


def mult_adds_table(models: Mapping[str, tuple[int, int]]) -> Table:
    """torchinfo's mult-adds beside the true MACs: label → (reported, true)."""
    rows = [(label, a, b, a / b) for label, (a, b) in models.items()]
    names = ["model", "torchinfo, GMACs", "true, GMACs", "reported ÷ true"]
    formats = dict(zip(names[1:], (giga, giga, "{:.3f}".format), strict=True))
    caption = "Mult-adds by torchinfo and MACs, attention products included"
    return table_of(caption, pd.DataFrame(rows, columns=names), formats)


def rule_table(label: str, rule: Counter[str], exact: Counter[str]) -> Table:
    """torchinfo's rule beside the hook count, by kind of layer, with the total."""
    kinds = ["conv", "linear", "norm", "attention"]
    rows = [(kind, rule[kind], exact[kind]) for kind in kinds]
    rows.append(("total", rule.total(), exact.total()))
    names = [f"{label}, GMACs", "torchinfo's rule", "true"]
    return table_of(
        "Where torchinfo's mult-adds come from",
        pd.DataFrame(rows, columns=names),
        {names[1]: giga, names[2]: giga},
    )


def _at_depth(summary: torchinfo.ModelStatistics, depth: int) -> torchinfo.ModelStatistics:
    cut = copy.copy(summary)
    cut.formatting = copy.copy(summary.formatting)
    cut.formatting.max_depth = depth
    return cut


def _run(
    model: nn.Module,
    inputs: Mapping[str, Any],
    wanted: Callable[[nn.Module], bool],
    count: Callable[[nn.Module, tuple, torch.Tensor], None],
) -> None:
    """One forward pass; ``count`` is called after each layer that is wanted."""
    hooks = [m.register_forward_hook(count) for m in model.modules() if wanted(m)]
    try:
        with torch.no_grad():
            model(**inputs)
    finally:
        for hook in hooks:
            hook.remove()


def _ratio(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return NONE
    return "fails" if row["ratio"] is None else f"{row['ratio']:.4f}"
