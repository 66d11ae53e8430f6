"""Draw the picture of the README: SD 1.5 and SDXL side by side, as book/_static/paired-u.svg."""

from __future__ import annotations

from pathlib import Path

from unet_atlas import draw
from unet_atlas.anatomy import stages
from unet_atlas.build import build_unet

PICTURE = Path(__file__).resolve().parent.parent / "book" / "_static" / "paired-u.svg"


def cover() -> draw.Figure:
    """The paired U of the two models that differ most."""
    pair = {"SD 1.5": "sd-1.5", "SDXL base 1.0": "sdxl-base-1.0"}
    return draw.u_diagram({name: stages(build_unet(model)) for name, model in pair.items()})


if __name__ == "__main__":
    cover().save(PICTURE)
