"""The house palette can be seen on paper and in the dark."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CSS = (Path(__file__).resolve().parents[2] / "book/_static/atlas.css").read_text("utf8")
BLOCKS = {
    "light": CSS.split(":root {")[1].split("}")[0],
    "dark": CSS.split('html[data-theme="dark"] {')[1].split("}")[0],
}
FILLS = (
    *("conv", "conv-other", "proj", "qkv", "attn-self", "attn-cross", "ff", "embed", "other"),
    *(f"series-{i}" for i in range(1, 7)),
)


def colours(theme: str) -> dict[str, str]:
    """The palette of one theme by name."""
    return dict(re.findall(r"--ua-([\w-]+): (#[0-9a-f]{6});", BLOCKS[theme]))


def luminance(colour: str) -> float:
    """Relative luminance after WCAG 2."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast ratio after WCAG 2."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", BLOCKS)
def test_fills_and_words_stand_out(theme: str) -> None:
    """3 : 1 for parts of a drawing, 4.5 : 1 for words."""
    palette = colours(theme)
    low = {n: contrast(palette[n], palette["paper"]) for n in FILLS}
    assert min(low.values()) >= 3, low
    assert min(contrast(palette[n], palette["paper"]) for n in ("ink", "muted", "accent")) >= 4.5


def test_both_themes_have_the_same_names() -> None:
    """No colour of one theme leaks into the other."""
    assert colours("light").keys() == colours("dark").keys()
    assert {*FILLS} < colours("light").keys()
