"""What a page shows of a model at a glance."""

from __future__ import annotations

from unet_atlas import components, overview
from unet_atlas.catalog import get


def test_shape_text_breaks_before_height_and_width() -> None:
    assert overview.shape_text((1, 77)) == "1×77"
    assert overview.shape_text((1, 4, 64, 96)) == "1×4×\u200b64×96"


def test_flow_chart_names_every_box_it_joins() -> None:
    boxes, arrows = overview.flow_chart(components.live_shapes(get("sdxl-base-1.0")))
    names = [name for name, _ in boxes]
    assert {end for start, stop, _ in arrows for end in (start, stop)} == set(names)
    assert ("Scheduler", "UNet", "next latent") in arrows
    assert "pooled text 2 × 1280; size numbers 2 × 6" in dict(boxes)["UNet"]
    plain, _ = overview.flow_chart(components.live_shapes(get("sd-1.5")))
    assert dict(plain)["UNet"] == "one call for both prompts"


def test_at_a_glance() -> None:
    facts = overview.at_a_glance(get("sdxl-base-1.0"))
    facts = {name: text.replace(overview.NBSP, " ") for name, text in facts.items()}
    assert facts["blocks, down"] == "– | 2, 2 | 10, 10"
    assert facts["blocks, middle"] == "10"
    assert facts["blocks, up"] == "10, 10, 10 | 2, 2, 2 | –"
    assert facts["heads × dim"] == "10 × 64, 20 × 64"
    assert (facts["levels"], facts["GMACs"]) == ("3", "3,380.6")
    assert overview.at_a_glance(get("sd-2.1-v"))["predicts"] == "velocity (v)"
