"""Model cards of the mini family: Markdown made from what training and the exam recorded."""

from __future__ import annotations

from typing import Any

from unet_atlas import build, cost
from unet_atlas.mini.members import LATENT_SIDE, MEMBERS, TOKENS, unet_config

HEAD = """---
library_name: diffusers
license: apache-2.0
---
# {name}

{what}

Trained on procedural pictures (`unet_atlas.shapes`), made for teaching: it draws one to three flat
shapes and nothing else. No picture, text or weight comes from anywhere else.
"""


SPLITS = {  # of the exam, and the heads of their columns
    "test": "seen combinations",
    "unseen pair": "unseen pair",
    "unseen arrangement": "unseen arrangement",
}


def size(name: str) -> tuple[int, int]:
    """Parameters of a member's UNet, and MACs of one forward pass with attention."""
    unet = build.from_config(unet_config(name), name)
    counted = cost.count(unet, latent=LATENT_SIDE, tokens=TOKENS)
    return sum(p.numel() for p in unet.parameters()), counted.total


def member_card(name: str, trained: dict[str, Any], exam: dict[str, Any]) -> str:
    """The card of a member.

    Args:
        trained: what :meth:`unet_atlas.mini.school.School.finish` wrote.
        exam: what :func:`unet_atlas.exam.assess` wrote.
    """
    member = MEMBERS[name]
    params, macs = size(name)
    what = (
        f"A miniature of `{member.like}`: a latent diffusion model with the same stages, "
        f"{params:,} parameters in its UNet and {macs / 1e6:.1f} million MACs a pass at "
        f"{LATENT_SIDE} × {LATENT_SIDE} latents. Load it with `{member.pipeline}.from_pretrained`."
    )
    recipe = exam["recipe"]
    rows = [
        f"| {question} | "
        + " | ".join(_share(exam["marks"][split].get(question)) for split in SPLITS)
        + " |"
        for question in exam["marks"]["test"]
    ]
    return "\n".join(
        [
            HEAD.format(name=name, what=what),
            *_training(trained, member.start),
            "",
            f"## Exam ({exam['captions']} captions)",
            "",
            "Captions with several objects were kept out of training, word for word; those with "
            "one are too few for that. Unseen: a colour with a shape, or shapes in a relation, "
            "that training never held. "
            f"Read by the exact oracle, with 95 % Wilson intervals; sampler {recipe['sampler']}, "
            f"{recipe['steps']} steps, guidance {recipe['guidance']:g} (the best of "
            f"{', '.join(f'{float(g):g}' for g in exam['search'])} on other captions).",
            "",
            f"| question | {' | '.join(SPLITS.values())} |",
            "|---" * (1 + len(SPLITS)) + "|",
            *rows,
            "",
            "`exam.png` holds the pictures, `exam.json` how they were made.",
            "",
        ]
    )


def scorer_card(name: str, trained: dict[str, Any]) -> str:
    """The card of the CLIP model that scores."""
    what = (
        "A small CLIP model that scores pictures of the picture world; it conditions no model of "
        "the family. Load it with `CLIPModel.from_pretrained`."
    )
    return "\n".join([HEAD.format(name=name, what=what), *_training(trained, None), ""])


def _training(trained: dict[str, Any], start: str | None) -> list[str]:
    runs = [*trained["before"], trained]
    lines = ["## Training", ""]
    for i, run in enumerate(runs):
        begun = "those weights" if i else f"the weights of {start}" if start else "random weights"
        plan, outcome = run["plan"], run["outcome"]
        weighting = f"loss {run['weighting']}, " if "weighting" in run else ""
        lines += [
            f"- {run['pictures']:,} pictures, {outcome['steps']:,} steps of {plan['batch']}, from "
            f"{begun}: {weighting}AdamW, rate {plan['rate']:g}, seed {plan['seed']}, averaged "
            "weights (EMA); "
            f"{outcome['seconds']:.0f} s on {run['device']}, torch {run['torch']}; mean loss of "
            f"the last tenth {outcome['loss']:.4f}"
        ]
    return lines


def _share(mark: dict[str, float] | None) -> str:
    if mark is None:
        return "–"
    return f"{mark['value']:.1%} [{mark['low']:.1%}, {mark['high']:.1%}]"
