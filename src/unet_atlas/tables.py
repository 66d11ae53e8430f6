"""Rows → tables for readers: on a page, in a terminal, or as a file.

A :class:`Table` keeps two frames: what is shown (text) and what is exported (plain numbers).
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import pandas as pd

from unet_atlas.anatomy import Block, Stage
from unet_atlas.catalog import Model
from unet_atlas.compare import Comparison, Delta, Row
from unet_atlas.cost import Cost, Memory
from unet_atlas.roles import OPERATIONS

NONE = "–"
SHORT = 20  # characters of a row header that stay on one line
NUMBER = re.compile(r"[+−-]?[\d,]+(\.\d+)?( (M|MiB|GiB|%))?|–|none|")
INSIDE_A_QUANTITY = re.compile(
    r"(?<=[×→≠]) | (?=[×→])| (?=(?:M|MiB|GiB)\b)|(?<=level) (?=\d)|(?<=down) (?=\d)|(?<=up) (?=\d)"
)


@dataclass(frozen=True)
class Table:
    """A captioned table. ``shown`` is text; ``data`` has the same facts as plain values.

    ``marked`` holds the (row, column) positions of cells that differ between models; they carry a
    sign in their text as well, so that colour is never needed. A ``big`` one can be sorted,
    filtered and downloaded on a page (book/_static/tables.js).
    """

    name: str
    caption: str
    shown: pd.DataFrame
    data: pd.DataFrame
    marked: frozenset[tuple[int, int]] = field(default_factory=frozenset)
    big: bool = False

    def _repr_html_(self) -> str:
        return self.to_html()

    def to_html(self) -> str:
        """An accessible HTML table: caption, column and row headers, marked cells."""
        caption = _escape(self.caption)
        head = "".join(
            f'<th scope="col"{_class(self._of_numbers(j))}>{_escape(name)}</th>'
            if str(name).strip()
            else "<td></td>"  # a corner without a name is no header
            for j, name in enumerate(self.shown.columns)
        )
        body = "".join(
            self._html_row(i, row) for i, row in enumerate(self.shown.itertuples(index=False))
        )
        return (
            f'<div class="ua-scroll{" ua-tall" * self.big}" role="region" tabindex="0"'
            f' aria-label="{caption}">'
            f"<table {self._kind()}><caption>{caption}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{self._download()}</div>"
        )

    def _kind(self) -> str:
        name = f' data-name="{_escape(self.name)}"' * self.big
        return f'class="ua-table{" ua-big" * self.big}"{name}'

    def _download(self) -> str:
        """The data of a big table, for the page's script; a browser doesn't show it."""
        data = self.to_csv().replace("</script", "< /script")
        return f'<script type="text/csv">{data}</script>' if self.big else ""

    def _html_row(self, i: int, row: Sequence[str]) -> str:
        first, *rest = row
        cells = "".join(
            f"<td{_class(self._of_numbers(j), (i, j) in self.marked)}>{_cell(value)}</td>"
            for j, value in enumerate(rest, start=1)
        )
        short = ' class="ua-short"' if len(str(first)) <= SHORT else ""
        return f'<tr><th scope="row"{short}>{_cell(first)}</th>{cells}</tr>'

    def _of_numbers(self, j: int) -> bool:
        """Whether a column holds nothing but numbers, which are set flush right."""
        values = {str(v) for v in self.shown.iloc[:, j]}
        return j > 0 and all(map(NUMBER.fullmatch, values)) and bool(values - {"", NONE})

    def to_text(self) -> str:
        """For a terminal."""
        body = self.shown.to_markdown(index=False, tablefmt="simple", disable_numparse=True)
        return f"{self.caption}\n\n{body}"

    def to_markdown(self) -> str:
        """A GitHub-flavoured Markdown table under its caption."""
        body = self.shown.to_markdown(index=False, tablefmt="github", disable_numparse=True)
        return f"**{self.caption}**\n\n{body}"

    def to_csv(self) -> str:
        """Plain numbers, one line a row."""
        return self.data.to_csv(index=False)

    def records(self) -> list[dict[str, Any]]:
        """The rows as JSON-ready dictionaries; what is missing is ``None``."""
        return json.loads(self.data.to_json(orient="records"))


def table_of(
    caption: str, data: pd.DataFrame, formats: Mapping[str, Callable[[Any], str]] | None = None
) -> Table:
    """A table of a plain frame; ``formats`` says how a column is shown, else as text."""
    known = formats or {}
    shown = pd.DataFrame({c: [known.get(c, str)(v) for v in data[c]] for c in data.columns})
    return Table("table", caption, shown, data)


def models_table(models: Sequence[Model]) -> Table:
    """The catalogue: one row a model."""
    rows = [
        {
            "model": m.id,
            "name": m.name,
            "resolution": m.resolution,
            "predicts": m.training.objective,
            "text encoders": ", ".join(p.id for p in m.text_encoders),
            "config known": m.unet.seen,
            "weights": m.availability.status,
            "hub": m.hub,
        }
        for m in models
    ]
    data = pd.DataFrame(rows)
    return Table("models", f"{len(rows)} models in the catalogue", data.astype(str), data)


def stage_table(label: str, stages: Sequence[Stage]) -> Table:
    """One model, one row a stage, with the total at the end."""
    shown = [_stage_text(s) for s in stages]
    total = sum(s.params for s in stages)
    shown.append(dict.fromkeys(shown[0], "") | {"stage": "total", "parameters": f"{total:,}"})
    caption = f"{label}: {total:,} parameters in {sum(s.level is not None for s in stages)} stages"
    return Table("stages", caption, pd.DataFrame(shown), _frame(stages))


def all_stages_table(models: Mapping[str, Sequence[Stage]]) -> Table:
    """Many models, one row a stage of each; to be sorted, filtered and downloaded on a page."""
    rows = [(name, stage) for name, stages in models.items() for stage in stages]
    shown = pd.DataFrame([{"model": name, **_stage_text(stage)} for name, stage in rows])
    data = pd.DataFrame([{"model": name, **_record(stage)} for name, stage in rows])
    caption = f"{len(models)} models, stage by stage: {len(rows)} rows"
    return Table("all-stages", caption, shown, _whole(data), big=True)


def _stage_text(stage: Stage) -> dict[str, str]:
    """The cells of a stage."""
    return {
        "stage": stage.key,
        "block": stage.block,
        "size": NONE if stage.size is None else _size(stage.size),
        "channels": f"{stage.channels_in} → {stage.channels_out}",
        "resnets": _or_none(stage.resnets or None),
        "transformer blocks": depth_text(stage),
        "heads × dim": heads_text(stage),
        "context": _or_none(stage.cross_attention_dim),
        "parameters": f"{stage.params:,}",
    }


def block_table(label: str, blocks: Sequence[Block]) -> Table:
    """One model, one row a block."""
    shown = [
        {
            "stage": b.stage,
            "module": b.path,
            "kind": b.kind,
            "channels": f"{_or_none(b.channels_in)} → {_or_none(b.channels_out)}",
            "transformer blocks": _or_none(b.transformer_blocks or None),
            "heads × dim": NONE if b.heads is None else f"{b.heads} × {b.head_dim}",
            "context": _or_none(b.cross_attention_dim),
            "parameters": f"{b.params:,}",
        }
        for b in blocks
    ]
    caption = f"{label}: {sum(b.params for b in blocks):,} parameters in {len(blocks)} blocks"
    return Table("blocks", caption, pd.DataFrame(shown), _frame(blocks))


def comparison_table(comparison: Comparison) -> Table:
    """The paired table: one row a stage; a cell that differs shows every model's value around ≠."""
    columns = {
        "block": lambda s: s.block,
        "channels": lambda s: str(s.channels_out),
        "resnets": lambda s: _or_none(s.resnets or None),
        "transformer blocks": depth_text,
        "heads × dim": heads_text,
        "context": lambda s: _or_none(s.cross_attention_dim),
        "projection": lambda s: _or_none(s.projection),
        "parameters": lambda s: millions(s.params),
    }
    shown, marked = [], set()
    for i, row in enumerate(comparison.rows):
        shown.append({"stage": row.place})
        for j, (name, text) in enumerate(columns.items(), start=1):
            values = [NONE if s is None else text(s) for s in row.stages]
            if name == "parameters" and "params" in row.differs and len(set(values)) == 1:
                values = [f"{s.params:,}" for s in row.stages]  # equal only when rounded
            same = len(set(values)) == 1
            shown[-1][name] = values[0] if same else " ≠ ".join(values)
            if not same:
                marked.add((i, j))
    caption = f"{' ≠ '.join(comparison.labels)}, stage by stage; differing values in this order"
    data = _comparison_frame(comparison)
    return Table("stages", caption, pd.DataFrame(shown), data, frozenset(marked))


def config_table(labels: Sequence[str], delta: Mapping[str, tuple[Any, ...]]) -> Table:
    """The keys of the configuration that differ."""
    rows = [
        {"key": k, **dict(zip(labels, map(_config_text, v), strict=True))} for k, v in delta.items()
    ]
    frame = pd.DataFrame(rows, columns=["key", *labels])
    return Table("config", f"Configuration: {len(rows)} keys differ", frame, frame)


def delta_table(labels: Sequence[str], deltas: Sequence[Delta]) -> Table:
    """Parameters by role in two models, with the difference; the last row is the totals'."""
    total = Delta("total", sum(d.first for d in deltas), sum(d.second for d in deltas))
    shown = [
        {
            "role": d.role,
            labels[0]: f"{d.first:,}",
            labels[1]: f"{d.second:,}",
            "difference": signed(d.delta),
        }
        for d in (*deltas, total)
    ]
    data = [
        {"role": d.role, labels[0]: d.first, labels[1]: d.second, "difference": d.delta}
        for d in deltas
    ]
    caption = f"Parameters by role: {labels[1]} − {labels[0]} = {signed(total.delta)}"
    marked = frozenset((i, 3) for i, d in enumerate(deltas) if d.delta)
    return Table("parameters", caption, pd.DataFrame(shown), pd.DataFrame(data), marked)


def cost_table(label: str, cost: Cost) -> Table:
    """MACs by stage and operation."""
    frame = cost_frame(cost)
    shown = frame.map(giga)
    shown.loc["total"] = frame.sum().map(giga)
    shown["total"] = [giga(v) for v in [*frame.sum(axis=1), cost.total]]
    caption = (
        f"{label}: {giga(cost.total)} GMACs ({cost.flops / 1e12:,.3f} TFLOPs) a forward pass, "
        f"{giga(cost.without_attention)} without the attention products; "
        f"latent {_size(cost.latent)}, batch {cost.batch}, {cost.tokens} tokens"
    )
    data = frame.stack().rename_axis(["stage", "operation"]).rename("macs").reset_index()
    return Table("macs", caption, shown.rename_axis("GMACs").reset_index(), data)


def cost_frame(cost: Cost) -> pd.DataFrame:
    """MACs as numbers: stages down, operations across."""
    stages = list(dict.fromkeys(stage for stage, _ in cost.macs))
    return pd.DataFrame(
        [[cost.macs.get((s, op), 0) for op in OPERATIONS] for s in stages],
        index=stages,
        columns=list(OPERATIONS),
    )


def memory_table(label: str, memory: Memory) -> Table:
    """Bytes of one forward pass."""
    parts = {
        "weights": memory.weights,
        "activations written": memory.activations,
        "peak of activations": memory.peak,
        "weights + peak": memory.weights + memory.peak,
    }
    data = pd.DataFrame({"what": list(parts), "bytes": list(parts.values())})
    shown = data.assign(bytes=[mebibytes(v) for v in data["bytes"]]).rename(
        columns={"bytes": "size"}
    )
    return Table(
        "bytes", f"{label}: memory of a forward pass, fused attention, no gradients", shown, data
    )


def merge_equal_rows(frame: pd.DataFrame, name: str = "model") -> pd.DataFrame:
    """One row for all whose other columns are equal: their names together, first come first."""
    facts = [column for column in frame if column != name]
    merged = frame.groupby(facts, sort=False, dropna=False)[name].agg(", ".join)
    return merged.reset_index()[[name, *facts]]


def depth_text(stage: Stage) -> str:
    """``10, 10``: the transformer blocks of each attention module; ``attn`` for a bare layer."""
    return ", ".join(str(d) if d else "attn" for d in stage.depths) or NONE


def heads_text(stage: Stage) -> str:
    """``8 × 40``: number of heads × head dim."""
    return NONE if stage.heads is None else f"{stage.heads} × {stage.head_dim}"


def millions(n: int) -> str:
    """``859.52 M``, or the plain number below ten thousand."""
    return f"{n / 1e6:,.2f} M" if n >= 10_000 else f"{n:,}"


def giga(n: float) -> str:
    """``401.637`` for 401,636,720,640: thousands of millions, three decimals."""
    return f"{n / 1e9:,.3f}"


def mebibytes(n: int) -> str:
    """``1,639.4 MiB``."""
    return f"{n / 2**20:,.1f} MiB"


def signed(n: int) -> str:
    """``+6,389,760``, ``−1``, ``0``; with a real minus sign."""
    return f"{n:+,}".replace("-", "−") if n else "0"


def _comparison_frame(comparison: Comparison) -> pd.DataFrame:
    def record(row: Row, label: str, stage: Stage | None) -> dict[str, Any]:
        facts = {} if stage is None else _record(stage)
        facts.pop("level", None)
        return {
            "place": row.place,
            "level": row.level,
            "model": label,
            **facts,
            "differs": ", ".join(row.differs),
        }

    rows = [
        record(row, label, stage)
        for row in comparison.rows
        for label, stage in zip(comparison.labels, row.stages, strict=True)
    ]
    return _whole(pd.DataFrame(rows))


def _frame(rows: Sequence[Any]) -> pd.DataFrame:
    return _whole(pd.DataFrame([_record(r) for r in rows]))


def _record(row: Any) -> dict[str, Any]:
    return {f.name: _plain(f.name, getattr(row, f.name)) for f in fields(row)}


def _plain(name: str, value: Any) -> Any:
    if name == "size" and value is not None:
        return _size(value)
    return ", ".join(map(str, value)) if isinstance(value, tuple) else value


def _whole(frame: pd.DataFrame) -> pd.DataFrame:
    """Integers that may be missing stay integers (pandas would make them floats)."""
    return frame.convert_dtypes()


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]} × {size[1]}"


def _or_none(value: Any) -> str:
    return NONE if value is None else str(value)


def _config_text(value: Any) -> str:
    """A configuration value as JSON spells it, without the quotes of words."""
    return json.dumps(value).replace('"', "")


def _escape(value: Any) -> str:
    return html.escape(str(value), quote=True)


def _class(number: bool, differs: bool = False) -> str:
    names = " ".join(n for n, on in (("ua-num", number), ("ua-diff", differs)) if on)
    return f' class="{names}"' if names else ""


def _cell(value: Any) -> str:
    """A cell's text for HTML: it may break after ≠ and commas, but not inside a quantity."""
    return _escape(INSIDE_A_QUANTITY.sub("\u00a0", str(value)))
