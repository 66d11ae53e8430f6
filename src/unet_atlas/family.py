"""The mini family at a glance: what each member is, how it was trained, what it can draw.

Book: *A family that ships with the book*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from unet_atlas import cards, exam
from unet_atlas.metrics.bootstrap import Estimate, wilson
from unet_atlas.mini.members import MEMBERS, unet_config
from unet_atlas.shapes import damage
from unet_atlas.tables import NONE, Table, table_of

OBJECTIVES = {"epsilon": "noise", "v_prediction": "velocity"}
TARGETS = {  # shares that the family was planned to reach
    "one object: shape and colour": 0.98,
    "two objects: both right": 0.93,
    "two objects: relation": 0.90,
}
NEW = {  # splits of an exam with combinations that training never held, and what is new in them
    "unseen pair": "colour with shape",
    "unseen arrangement": "shapes in a relation",
}


def runs(trained: dict[str, Any]) -> list[dict[str, Any]]:
    """The runs of a member's training, first to last, from what its exam says of it.

    mini-unclip's begin where those of mini-sd2 ended, which are not among them.
    """
    return [*trained["before"], {k: v for k, v in trained.items() if k != "before"}]


def members_table() -> Table:
    """One column a member: its model, size, objective, context, and its training in all.

    The data has one row a member.
    """
    rows = []
    for name, member in MEMBERS.items():
        params, macs = cards.size(name)
        trained = runs(exam.recorded(name).facts["training"])
        rows.append(
            {
                "member": name,
                "miniature of": member.like,
                "parameters": params,
                "MACs a pass": macs,
                "predicts": OBJECTIVES[member.prediction],
                "context": unet_config(name)["cross_attention_dim"],
                "steps": sum(run["outcome"]["steps"] for run in trained),
                "minutes": sum(run["outcome"]["seconds"] for run in trained) / 60,
                "trained on": ", then ".join(dict.fromkeys(run["device"] for run in trained)),
            }
        )
    formats = {
        "parameters": lambda n: f"{n / 1e6:.2f} M",
        "MACs a pass": lambda n: f"{n / 1e6:.1f} M",
        "steps": lambda n: f"{n:,}",
        "minutes": lambda m: f"{m:.0f}",
        "trained on": lambda device: device.replace("cpu, 1 threads", "CPU, 1 thread"),
    }
    table = table_of("The mini family: UNets and their training", pd.DataFrame(rows), formats)
    shown = table.shown.set_index("member").T.rename_axis("member").reset_index()
    return replace(table, shown=shown.rename_axis(columns=None))


def exam_table() -> Table:
    """Marks of every member on the exam, with 95 % Wilson intervals, and what was aimed at: one
    row a question."""
    sat = {name: exam.recorded(name).facts for name in MEMBERS}
    n = sat["mini-sd"]["captions"]
    aims = {question: f"{100 * share:.0f} %" for question, share in TARGETS.items()}
    rows = [
        ({"question": question, "target": aims.get(question, NONE)}, _marks(sat, "test", question))
        for question in sat["mini-sd"]["marks"]["test"]
    ]
    return _marks_table("exam", f"Right pictures in % [95 % interval]: {n} captions", rows)


def unseen_table() -> Table:
    """Marks on combinations that training never held: one row a question, for each of what can be
    new; where no member has been asked apart, for both together."""
    sat = {name: exam.recorded(name).facts for name in MEMBERS}
    apart = {s: new for s, new in NEW.items() if any(s in f["marks"] for f in sat.values())}
    rows = [
        ({"new": new, "question": question}, marks)
        for split, new in (apart or {"unseen": "either"}).items()
        for question in exam.QUESTIONS
        if any((marks := _marks(sat, split, question)).values())
    ]
    caption = "Right pictures in % [95 % interval] where a combination is new to the model"
    return _marks_table("unseen", caption, rows)


def _marks(
    sat: Mapping[str, dict[str, Any]], split: str, question: str
) -> dict[str, Estimate | None]:
    """Every member's mark; None for one that has not been asked."""
    told = {name: facts["marks"].get(split, {}).get(question) for name, facts in sat.items()}
    return {name: Estimate(**mark) if mark else None for name, mark in told.items()}


def _marks_table(
    name: str, caption: str, rows: Sequence[tuple[dict[str, str], dict[str, Estimate | None]]]
) -> Table:
    """A row is the words at its head and every member's mark."""
    shown = [head | {who: in_brackets(m) for who, m in marks.items()} for head, marks in rows]
    data = [
        head | {who: m.value if m else float("nan") for who, m in marks.items()}
        for head, marks in rows
    ]
    return Table(name, caption, pd.DataFrame(shown), pd.DataFrame(data))


def in_brackets(mark: Estimate | None) -> str:
    """``93 [90, 95]``, in %; the interval stays on one line."""
    return percent(mark).replace(" %", "").replace(", ", ",\u00a0") if mark else NONE


def oracle_table(n: int = 60, seed: int = 0) -> Table:
    """How much of ``n`` scenes, of each kind of damage, the oracle reads right in every respect."""
    found = damage.validate(n, seed)
    marks = [wilson(int(right), n) for right in found.right]
    data = found.assign(right=[m.value for m in marks], low=[m.low for m in marks])
    shown = pd.DataFrame(
        {
            "damage": found.disturbance,
            "scenes": found.scenes.map(str),
            "read right, %": [in_brackets(m) for m in marks],
        }
    )
    return Table("oracle", "What the oracle reads right, with 95 % Wilson intervals", shown, data)


def percent(estimate: Estimate) -> str:
    """``93 % [90, 95]``."""
    value, low, high = (f"{100 * v:.0f}" for v in (estimate.value, estimate.low, estimate.high))
    return f"{value} % [{low}, {high}]"


def reached() -> dict[tuple[str, str], bool]:
    """Whether a member has reached a target, by (question, member)."""
    sat = {name: exam.recorded(name).facts["marks"]["test"] for name in MEMBERS}
    return {
        (question, name): marks[question]["value"] >= share
        for question, share in TARGETS.items()
        for name, marks in sat.items()
    }
