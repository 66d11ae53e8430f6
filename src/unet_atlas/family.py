"""The mini family at a glance: what each member is, how it was trained, what it can draw.

Book: *A family that ships with the book*.
"""

from __future__ import annotations

import pandas as pd

from unet_atlas import cards, exam
from unet_atlas.metrics.bootstrap import Estimate, wilson
from unet_atlas.mini.members import MEMBERS, unet_config
from unet_atlas.shapes import damage
from unet_atlas.tables import Table, table_of

OBJECTIVES = {"epsilon": "noise", "v_prediction": "velocity"}


def members_table() -> Table:
    """One row a member: its model, size, objective, context, and where its training took place."""
    rows = []
    for name, member in MEMBERS.items():
        params, macs = cards.size(name)
        trained = exam.recorded(name).facts["training"]
        rows.append(
            {
                "member": name,
                "miniature of": member.like,
                "parameters": params,
                "MACs a pass": macs,
                "predicts": OBJECTIVES[member.prediction],
                "context": unet_config(name)["cross_attention_dim"],
                "steps": trained["outcome"]["steps"],
                "minutes": trained["outcome"]["seconds"] / 60,
                "trained on": trained["device"],
            }
        )
    formats = {
        "parameters": lambda n: f"{n / 1e6:.2f} M",
        "MACs a pass": lambda n: f"{n / 1e6:.1f} M",
        "steps": lambda n: f"{n:,}",
        "minutes": lambda m: f"{m:.0f}",
    }
    return table_of("The mini family: UNets and their training", pd.DataFrame(rows), formats)


def exam_table(split: str = "test") -> Table:
    """Marks of every member with 95 % Wilson intervals: one row a question.

    Args:
        split: ``test`` or ``unseen``, combinations that training did or didn't hold.
    """
    sat = {name: exam.recorded(name).facts for name in MEMBERS}
    questions = sat["mini-sd"]["marks"][split]
    rows = [
        {"question": question}
        | {name: facts["marks"][split][question]["value"] for name, facts in sat.items()}
        for question in questions
    ]
    shown = [
        {"question": question}
        | {
            name: percent(Estimate(**facts["marks"][split][question]))
            for name, facts in sat.items()
        }
        for question in questions
    ]
    n = sat["mini-sd"]["captions"]
    words = {"test": "combinations of the training set", "unseen": "combinations never trained on"}
    caption = f"Share of pictures that are right: {n} captions, {words[split]}, read by the oracle"
    return Table("exam", caption, pd.DataFrame(shown), pd.DataFrame(rows))


def oracle_table(n: int = 60, seed: int = 0) -> Table:
    """How much of ``n`` scenes, of each kind of damage, the oracle reads right in every respect."""
    found = damage.validate(n, seed)
    marks = [wilson(int(right), n) for right in found.right]
    data = found.assign(right=[m.value for m in marks], low=[m.low for m in marks])
    shown = pd.DataFrame(
        {
            "damage": found.disturbance,
            "scenes": found.scenes.map(str),
            "read right": [percent(m) for m in marks],
        }
    )
    return Table("oracle", "What the oracle reads right, with 95 % Wilson intervals", shown, data)


def percent(estimate: Estimate) -> str:
    """``93 % [90, 95]``."""
    value, low, high = (f"{100 * v:.0f}" for v in (estimate.value, estimate.low, estimate.high))
    return f"{value} % [{low}, {high}]"
