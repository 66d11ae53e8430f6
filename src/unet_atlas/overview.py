"""A model and its pipeline at a glance: facts for a table, boxes and arrows for a drawing.

Book: *Start here*, *The pipeline*.
"""

from __future__ import annotations

from collections.abc import Mapping

from unet_atlas.anatomy import stages, total_params
from unet_atlas.build import build_unet
from unet_atlas.catalog import Model
from unet_atlas.cost import count
from unet_atlas.tables import depth_text, heads_text, millions

SIDES = ("down", "mid", "up")
NBSP, BREAK = "\u00a0", "\u200b"  # no line break here; a line may break here
EXTRA = {
    "UNet in: pooled text": "pooled text",
    "UNet in: size numbers": "size numbers",
    "UNet in: class": "class",
}


def at_a_glance(model: Model) -> dict[str, str]:
    """What a reader wants to know first about a model: one column of the book's first table.

    MACs are those of one forward pass of the UNet for one picture of the model's own resolution,
    attention products included.
    """
    unet = build_unet(model.id)
    rows = [s for s in stages(unet) if s.level is not None]
    depths = {s.key: depth_text(s).replace(" ", NBSP) for s in rows}
    blocks = {k: " | ".join(d for key, d in depths.items() if key.startswith(k)) for k in SIDES}
    heads = dict.fromkeys(heads_text(s).replace(" ", NBSP) for s in rows if s.heads)
    return {
        "levels": str(len({s.level for s in rows})),
        "blocks, down": blocks["down"],
        "blocks, middle": blocks["mid"],
        "blocks, up": blocks["up"],
        "heads × dim": ", ".join(heads),
        "context": str(unet.config.cross_attention_dim),
        "text encoders": " + ".join(p.id for p in model.text_encoders),
        "picture": f"{model.resolution} × {model.resolution}",
        "parameters": millions(total_params(unet)),
        "GMACs": f"{count(unet, model.resolution).total / 1e9:,.1f}",
        "predicts": {"epsilon": "noise (ε)", "v_prediction": "velocity (v)"}[
            model.training.objective
        ],
    }


def shape_text(shape: tuple[int, ...]) -> str:
    """``1×4×64×64``, with a place to break the line before the height and the width."""
    sizes = [str(n) for n in shape]
    return "×".join(sizes) if len(sizes) < 4 else "×".join([*sizes[:2], BREAK + sizes[2], sizes[3]])


def flow_chart(
    shapes: Mapping[str, tuple[int, ...]],
) -> tuple[list[tuple[str, str]], list[tuple[str, str, str]]]:
    """Boxes and arrows for :func:`unet_atlas.draw.flow`, from a text-to-image model's shapes."""
    size = {name: " × ".join(map(str, shape)) for name, shape in shapes.items()}
    extra = [f"{name} {size[key]}" for key, name in EXTRA.items() if key in size]
    boxes = [
        ("Noise", size["next latent"]),
        ("Prompt", f"{size['token ids']} token ids"),
        ("Text encoder", "once, for the prompt and for the empty one"),
        ("UNet", "; ".join(["one call for both prompts", *extra])),
        ("Guidance", "what the prompt changes, made larger"),
        ("Scheduler", "one step towards less noise"),
        ("VAE decoder", "once, after the last step"),
        ("Picture", size["picture"]),
    ]
    arrows = [
        ("Prompt", "Text encoder", ""),
        ("Text encoder", "UNet", size["UNet in: text"]),
        ("Noise", "UNet", size["UNet in: latent"]),
        ("UNet", "Guidance", size["UNet out"]),
        ("Guidance", "Scheduler", size["guided prediction"]),
        ("Scheduler", "UNet", "next latent"),
        ("Scheduler", "VAE decoder", size["next latent"]),
        ("VAE decoder", "Picture", ""),
    ]
    return boxes, arrows
