"""The figures: well-formed, legible on a phone, true to their data, and readable without eyes."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

from unet_atlas import catalog, draw, roles
from unet_atlas.anatomy import Stage, stages
from unet_atlas.build import build_unet
from unet_atlas.draw import palette, svg
from unet_atlas.errors import AtlasError

METER = TextToPath()
SVG = "{http://www.w3.org/2000/svg}"
BOXES = [
    ("Prompt", "a red circle"), ("Text encoder", "CLIP"), ("Noise", "seeded"), ("UNet", "859.5 M"),
    ("Scheduler", "DDIM"), ("VAE", "decoder"), ("Image", ""),
]  # fmt: skip
ARROWS = [
    ("Prompt", "Text encoder", "77 ids"), ("Text encoder", "UNet", "2 × 77 × 768"),
    ("Noise", "UNet", "1 × 4 × 64 × 64"), ("UNet", "Scheduler", "noise"),
    ("Scheduler", "UNet", "×50"), ("Scheduler", "VAE", "1 × 4 × 64 × 64"), ("VAE", "Image", ""),
    ("Prompt", "Image", "a skip"),
]  # fmt: skip


@cache
def rows(model_id: str) -> tuple[Stage, ...]:
    return stages(build_unet(model_id))


def operations() -> pd.DataFrame:
    values = np.arange(1.0, 1 + 2 * len(roles.OPERATIONS)).reshape(2, -1) ** 2
    return pd.DataFrame(values, index=["SD 1.5", "SDXL"], columns=roles.OPERATIONS)


def curves(n: int = 4) -> pd.DataFrame:
    xs = [256, 512, 768, 1024]
    return pd.DataFrame({f"series {i}": [x * (1 + i / 50) for x in xs] for i in range(n)}, index=xs)


def odd() -> tuple[Stage, ...]:
    """Eight levels, no middle, bare attention, layers that differ by level."""
    down = [
        Stage(f"down {i}", "B", i, (256 >> i, 384 >> i), 64, 64 * (i + 1), i % 3 + 1,
              (0,) * (i % 3) if i < 5 else (24, 1), 8 if i % 3 or i > 4 else None, 40, 768,
              "conv", "down", 10)
        for i in range(8)
    ]  # fmt: skip
    up = [replace(s, key=f"up {7 - s.level}", resampler="up") for s in reversed(down)]
    return (*down, *up)


def stages_measured() -> pd.DataFrame:
    names = ["stem", *(f"{way} {i}" for way in ("down", "up") for i in range(4)), "mid", "head"]
    xs = [5, 180, 300, 301, 302, 303, 90, 120, 280, 310, 1200]
    rates = [min(8e14, x * 3e12) * (0.4 + i / 20) for i, x in enumerate(xs)]
    return pd.DataFrame({"intensity": xs, "rate": rates}, index=names)


NEEDED = ["value", "low", "high"]


def differences() -> pd.DataFrame:
    """Three rows with an interval, one without."""
    values = [[-0.002, -0.005, 0.001], [0.001, -0.002, 0.004], [0.004, 0.001, 0.009]]
    names = ["low", "middle", "high", "low, with more parameters"]
    table = pd.DataFrame([*values, [-0.003, np.nan, np.nan]], index=names, columns=NEEDED)
    return table.assign(points=[[-0.003, -0.001], [0.0, 0.002], [0.003, 0.005], [-0.003]])


MAKERS: dict[str, Callable[[], draw.Figure]] = {
    "roofline": lambda: draw.roofline(stages_measured(), 8e14, 3e12, "SD 1.5, guided step"),
    "roofline, one point": lambda: draw.roofline(stages_measured()[:1], 8e14, 3e12),
    "u one": lambda: draw.u_diagram(
        {"SDXL refiner 1.0": rows("sdxl-refiner-1.0")}, title="The refiner"
    ),
    "u two": lambda: draw.u_diagram(
        {"SD 1.5": rows("sd-1.5"), "SDXL base 1.0": rows("sdxl-base-1.0")}
    ),
    "u alike": lambda: draw.u_diagram(
        {"SD 1.5": rows("sd-1.5"), "SD 2.1 unCLIP-H": rows("sd-2.1-unclip-h")}
    ),
    "u three": lambda: draw.u_diagram(
        {
            "SD 1.5": rows("sd-1.5"),
            "SDXL": rows("sdxl-base-1.0"),
            "Refiner": rows("sdxl-refiner-1.0"),
        }
    ),
    "u odd": lambda: draw.u_diagram({"odd": odd()}),
    "u odd and even": lambda: draw.u_diagram(odd=odd(), sdxl=rows("sdxl-base-1.0")),
    "stacked": lambda: draw.stacked_bars(operations(), "GMAC", title="A long title " * 6),
    "shares": lambda: draw.stacked_bars(operations().assign(other=3.0), "GMAC", share=True),
    "stages": lambda: draw.stacked_bars(operations().T.rename(columns=str), "M", patterns=False),
    "bars": lambda: draw.bars(pd.Series({"SD 1.5": 859.52, "SDXL": 2567.46}), "M parameters"),
    "differences": lambda: draw.bars(
        pd.Series({"a name that is far too long " * 3: -4.2, "b": 3}), "M"
    ),
    "signs": lambda: draw.stacked_bars(
        pd.DataFrame({"$a": [1.0, 0], "_b$": [3.0, 0]}, index=["<0.12345> $x_1$ & é", "none"]), "M"
    ),
    "zeros": lambda: draw.bars(pd.Series({"a": 0.0, "b": np.nan}), "M"),
    "lines": lambda: draw.lines(curves(), "pixels", "milliseconds", title="Time"),
    "log lines": lambda: draw.lines(curves(9), "pixels", "GMAC", log_x=True, log_y=True),
    "flat": lambda: draw.lines(pd.DataFrame({"one": [3.0]}, index=[1]), "x", "y"),
    "band": lambda: draw.lines(curves(3), "x", "y", bands={"series 1": ("series 0", "series 2")}),
    "named": lambda: draw.lines(pd.DataFrame({"s": [3.0, np.nan, 5]}, index=list("abc")), "x", "y"),
    "intervals": lambda: draw.intervals(
        differences(), "difference in loss", "The difference", "the even arm"
    ),
    "one interval": lambda: draw.intervals(differences()[NEEDED][:1], "a long label " * 9),
    "tree": lambda: draw.family_tree(catalog.models(), title="The family"),
    "branch": lambda: draw.family_tree([catalog.get("sd-2.1-v"), catalog.get("sd-2.1-unclip-l")]),
    "flow": lambda: draw.flow(BOXES, ARROWS, title="Text to image"),
}


@cache
def made(name: str) -> draw.Figure:
    return MAKERS[name]()


@pytest.fixture(params=MAKERS)
def figure(request) -> draw.Figure:
    return made(request.param)


def root(figure: draw.Figure) -> ET.Element:
    return ET.fromstring(figure.svg)


def marked(figure: draw.Figure, name: str) -> int:
    return sum(name == e.get("class") for e in root(figure).iter())


def texts(figure: draw.Figure) -> list[tuple[str, float, float, float, float]]:
    """(words, left, right, baseline, size) of every line of text, in a wide font."""
    tree, found = root(figure), []
    for e in tree.iter(SVG + "text"):
        css = dict(part.split(": ") for part in e.get("style", "").split("; ") if part)
        look = {**tree.attrib, **e.attrib, **css}
        size = float(look["font-size"].removesuffix("px"))
        font = FontProperties(family="DejaVu Sans", size=size, weight=look.get("font-weight"))
        x, width = float(e.get("x")), METER.get_text_width_height_descent(e.text, font, False)[0]
        left = x - {"start": 0, "middle": width / 2, "end": width}[look.get("text-anchor", "start")]
        found.append((e.text, left, left + width, float(e.get("y")), size))
    return found


def test_a_figure_is_a_labelled_image(figure):
    tree = root(figure)
    assert tree.get("role") == "img"
    assert tree.get("class") == "ua-figure"
    assert tree.get("aria-label") == figure.alt
    assert tree.find(SVG + "title").text
    assert re.search(r"\d", figure.alt)


def test_a_figure_stands_on_its_own(figure):
    assert not re.search("<script|<style|font-family|transform=", figure.svg)
    used = re.findall(r"(?:url\(|href=\")([^)\"]+)", figure.svg)
    ids = [f"#{e.get('id')}" for e in root(figure).iter() if e.get("id")]
    assert set(used) <= set(ids)
    assert len(ids) == len(set(ids))
    assert all(i.startswith("#ua-") for i in ids)


def test_every_colour_follows_the_page(figure):
    assert not re.search("(?<!, )#[0-9a-f]{6}", figure.svg.replace(figure.alt, ""))
    assert not re.search('(?:fill|stroke)="(?!currentColor|none)', figure.svg)


@pytest.mark.parametrize("name", ["log lines", "stacked", "bars"])
def test_the_readers_matplotlib_is_left_alone(name):
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "svg.fonttype": "path"}):
        before = dict(matplotlib.rcParams)
        assert MAKERS[name]().svg == made(name).svg
        assert dict(matplotlib.rcParams) == before


def test_every_text_lies_inside_the_figure(figure):
    _, _, width, height = map(float, root(figure).get("viewBox").split())
    for words, left, right, y, size in texts(figure):
        assert left >= -0.5, words
        assert right <= width + 0.5, words
        assert 0.7 * size <= y <= height, words


def test_no_two_texts_touch(figure):
    found = texts(figure)
    for i, (words, left, right, y, size) in enumerate(found):
        for other, left_2, right_2, y_2, _ in found[i + 1 :]:
            apart = right <= left_2 or right_2 <= left or abs(y - y_2) >= 0.9 * size
            assert apart, (words, other)


def test_text_is_legible_on_a_phone(figure):
    width = float(root(figure).get("viewBox").split()[2])
    shown = 358 / width if width <= 400 else 1  # wider ones scroll at their own size
    assert min(size for *_, size in texts(figure)) * shown >= 10


def test_a_wide_figure_scrolls_in_its_own_box():
    assert "overflow-x:auto" in made("u three")._repr_html_()
    assert made("u two")._repr_html_() == made("u two").svg


def test_figures_are_deterministic():
    for name, make in MAKERS.items():
        assert make().svg == made(name).svg


def test_ids_and_alts_are_unique():
    ids = [e.get("id") for name in MAKERS for e in root(made(name)).iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    assert len({made(name).alt for name in MAKERS}) == len(MAKERS)


def test_coloured_things_have_another_mark_too():
    for field in ("variable", "fallback", "hatch", "dash", "marker"):
        looks = [getattr(m, field) for m in (*palette.OPERATIONS.values(), palette.MUTED)]
        assert len(set(looks)) == len(looks), field


def test_colours_show_on_white_and_on_near_black():
    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05

    for mark in (*palette.OPERATIONS.values(), *palette.SERIES, palette.MUTED):
        here = light(mark.fallback)
        assert light("#ffffff") / here >= 3, mark
        assert here / light("#121212") >= 3, mark


def test_a_notebook_without_html_shows_the_alt_text_only():
    figure = made("bars")
    assert repr(figure) == f"Figure(alt={figure.alt!r})"


@pytest.mark.parametrize(
    ("value", "words"),
    [(2567.46, "2,567"), (0.033333, "0.0333"), (-4.2, "−4.2"), (0, "0"), (3.2e-7, "3.2e-7")],
)
def test_numbers_are_for_readers(value, words):
    assert svg.amount(value, 4 if value > 1000 else 3) == words


def test_a_saved_figure_needs_no_page(tmp_path):
    saved = made("stacked").save(tmp_path / "figure.svg")
    words = saved.read_text("utf-8")
    ET.fromstring(words.encode())
    assert "var(" not in words
    assert "prefers-color-scheme:dark" in words
    assert [p.name for p in tmp_path.iterdir()] == ["figure.svg"]


@pytest.mark.parametrize("model_id", ["sd-1.5", "sdxl-base-1.0", "sdxl-refiner-1.0"])
def test_the_u_draws_each_block_and_each_resnet(model_id):
    table = rows(model_id)
    figure = draw.u_diagram({model_id: table})
    assert marked(figure, "block") == sum(sum(s.depths) for s in table)
    assert marked(figure, "resnet") == sum(s.resnets for s in table)
    assert marked(figure, "bar") == sum(s.level is not None for s in table)
    assert marked(figure, "skip") == sum(s.key.startswith("down") for s in table)


def test_the_u_narrows_with_the_level():
    bars = [e for e in root(made("u one")).iter(SVG + "rect") if e.get("class") == "bar"]
    widths = [float(e.get("width")) for e in bars]
    assert widths == sorted(widths[:5], reverse=True) + sorted(widths[5:])
    assert widths[4] < 0.6 * widths[0]


def test_levels_stand_side_by_side():
    bars = [e for e in root(made("u two")).iter(SVG + "rect") if e.get("class") == "bar"]
    ys = [e.get("y") for e in bars]
    sd, sdxl = ys[:9], ys[9:]
    assert sdxl == [*sd[:3], sd[4], *sd[6:]]


def test_the_u_marks_differences_only_where_there_are_some():
    same = draw.u_diagram({"a": rows("sd-1.4"), "b": rows("sd-1.5")})
    signs = [words for words, *_ in texts(same) if "≠" in words]
    assert signs == ["≠"]  # the legend's
    words = [w for w, *_ in texts(made("u two"))]
    assert {"≠ down 3 · 8²", "10 ≠", "no attention ≠", "≠ 20 heads × 64"} <= set(words)


def test_bare_attention_is_no_transformer_block():
    figure = draw.u_diagram(odd=odd())
    assert marked(figure, "block") == 2 * 3 * 25
    assert marked(figure, "attention") == 2 * (1 + 2 + 1)
    assert "bare attention" in figure.alt


def test_the_u_takes_one_to_three_models():
    with pytest.raises(AtlasError, match="not 0"):
        draw.u_diagram()
    with pytest.raises(AtlasError, match="no down, mid or up"):
        draw.u_diagram(empty=())


def test_stacked_bars_add_up():
    table = operations()
    for label, total in table.sum(axis=1).items():
        shown = f"{total:,.0f}" if total >= 1000 else f"{total:.4g}"
        assert f"{label}: {shown} GMAC" in draw.stacked_bars(table, "GMAC").alt
        assert shown in [w for w, *_ in texts(draw.stacked_bars(table, "GMAC"))]
    assert marked(draw.stacked_bars(table, "GMAC", patterns=False), "segment") == table.size


def test_segments_are_as_long_as_their_values():
    table = pd.DataFrame([[1.0, 3.0]], index=["m"], columns=["res conv", "x"])
    tree = root(draw.stacked_bars(table, "M", patterns=False))
    boxes = [e[0].get("d") for e in tree.iter() if e.get("class") == "segment"]
    xs = [[float(x) for x in re.findall(r"[ML] (\S+) ", d)] for d in boxes]
    a, b = [max(x) - min(x) for x in xs]
    assert b == pytest.approx(3 * a, abs=0.05)


def test_words_are_shown_as_they_are():
    assert {"<0.12345> $x_1$ & é", "$a", "_b$"} <= {w for w, *_ in texts(made("signs"))}


@pytest.mark.parametrize(
    ("table", "words"),
    [(pd.DataFrame(), "nothing to draw"), (pd.DataFrame({"a": [-1.0]}), "negative")],
)
def test_stacked_bars_refuse_what_they_cannot_show(table, words):
    with pytest.raises(AtlasError, match=words):
        draw.stacked_bars(table, "M")


def test_bars_take_one_column():
    table = pd.DataFrame({"M": [1.5, float("nan")]}, index=["res conv", "feed-forward"])
    figure = draw.bars(table, "M")
    assert "res conv: 1.5 M; feed-forward: n/a" in figure.alt
    assert "--ua-ff" in figure.svg
    with pytest.raises(AtlasError, match="one column"):
        draw.bars(operations(), "M")
    with pytest.raises(AtlasError, match="empty"):
        draw.bars(pd.Series(dtype=float), "M")


def test_lines_tell_their_values():
    figure = draw.lines(curves(1), "pixels", "ms")
    assert "series 0: 256 at 256, 512 at 512" in figure.alt
    assert marked(made("log lines"), "series") == 9
    many = pd.DataFrame({"loss": [1 / (i + 1) for i in range(30)]})
    assert "lowest 0.03333 at 29" in draw.lines(many, "step", "loss").alt


def test_long_lines_have_few_markers():
    few, many = (pd.DataFrame({"SNR": np.geomspace(1e3, 1e-5, n)}) for n in (5, 1000))
    assert count_markers(draw.lines(few, "step", "SNR", log_y=True)) == 5
    figure = draw.lines(many, "step", "SNR", log_y=True)
    assert 5 < count_markers(figure) <= 12
    assert {"10", "0.001", "0", "800"} <= {words for words, *_ in texts(figure)}


def count_markers(figure: draw.Figure) -> int:
    series = [e for e in root(figure).iter() if e.get("class") == "series"]
    return sum(len(list(e.iter(SVG + "use"))) for e in series)


def test_ticks_are_plain_numbers():
    words = [w for w, *_ in texts(draw.lines(curves(1), "pixels", "ms", log_x=True))]
    assert {"256", "512", "768", "1,024"} <= set(words)


def test_the_last_tick_keeps_its_name_where_names_are_tight():
    sizes = [256, 512, 768, 1024, 1536, 2048]
    table = pd.DataFrame({"SD 1.5": np.geomspace(100, 20_000, 6)}, index=sizes)
    figure = draw.lines(table, "pixels a side", "GMACs", log_x=True, log_y=True)
    named = [w for w, *_ in texts(figure) if w in {f"{n:,}" for n in sizes}]
    assert (named[0], named[-1]) == ("256", "2,048")
    test_no_two_texts_touch(figure)


def test_lines_skip_gaps():
    table = pd.DataFrame({"a": [np.nan, 2.0, 3], "b": [1.0, np.nan, 4]}, index=[1, 2, 3])
    figure = draw.lines(table, "x", "y")
    assert "a: 2 at 2, 3 at 3; b: 1 at 1, 4 at 3" in figure.alt
    assert "nan" not in figure.svg


def test_bands_are_shaded_and_no_lines():
    table = pd.DataFrame(
        {"FID": [3.0, 5], "low": [2.0, np.nan], "high": [4.0, np.nan], "other": [1.0, 9]},
        index=[1, 2],
    )
    figure = draw.lines(table, "x", "y", bands={"FID": ("low", "high")})
    assert marked(figure, "series") == 2
    assert marked(figure, "band") == 1
    assert "FID: 3 (2 to 4) at 1, 5 at 2; other: 1 at 1, 9 at 2." in figure.alt
    assert marked(draw.lines(table[["FID"]], "x", "y"), "band") == 0
    with pytest.raises(AtlasError, match="no column 'lower'"):
        draw.lines(table, "x", "y", bands={"FID": ("lower", "high")})


def test_lines_refuse_what_they_cannot_show():
    with pytest.raises(AtlasError, match="above zero"):
        draw.lines(pd.DataFrame({"a": [0.0, 1]}), "x", "y", log_y=True)
    with pytest.raises(AtlasError, match="numbers in the index"):
        draw.lines(pd.DataFrame({"a": [1.0]}, index=["b"]), "x", "y", log_x=True)
    with pytest.raises(AtlasError, match="no values"):
        draw.lines(pd.DataFrame({"a": [np.nan]}), "x", "y")


def test_intervals_tell_values_ends_and_single_results():
    figure = made("intervals")
    assert (marked(figure, "interval"), marked(figure, "value"), marked(figure, "point")) == (
        3,
        4,
        7,
    )
    assert "low: −0.002 (−0.005 to 0.001), from −0.003, −0.001;" in figure.alt
    assert "low, with more parameters: −0.003, from −0.003." in figure.alt
    assert "0 is the even arm" in figure.alt
    assert marked(made("one interval"), "point") == 0


def test_intervals_refuse_what_they_cannot_show():
    with pytest.raises(AtlasError, match="no rows"):
        draw.intervals(differences()[:0], "x")
    with pytest.raises(AtlasError, match="no column 'high'"):
        draw.intervals(differences()[["value", "low"]], "x")


def test_series_after_the_sixth_change_their_look():
    looks = [(m.variable, m.hatch, m.marker) for m in palette.marks([f"s{i}" for i in range(20)])]
    assert len(set(looks)) == 20


def test_the_tree_shows_every_model_below_its_start():
    figure = made("tree")
    models = catalog.models()
    known = {m.id for m in models}
    assert marked(figure, "edge") == sum(m.training.start in known for m in models)
    at = {words: (left, y) for words, left, _, y, _ in texts(figure)}
    assert at["SD 1.1"] < at["SD 1.2"] < at["SD 1.5"]
    assert at["SD 1.2"][0] == at["SD 2.0-v"][0]
    assert "SD 1.5 (512 pixels, predicts the noise) from sd-1.2: 595k at 512²" in figure.alt
    assert "from sd-2.0-v: 55k" in made("branch").alt


def test_the_flow_draws_every_box_and_arrow():
    figure = made("flow")
    assert marked(figure, "box") == len(BOXES)
    assert marked(figure, "arrow") == len(ARROWS)
    at = {words: y for words, _, _, y, _ in texts(figure)}
    assert at["Noise"] == at["Text encoder"] < at["UNet"] < at["Scheduler"]
    assert "Scheduler to UNet: ×50" in figure.alt


def test_the_flow_names_what_is_wrong():
    with pytest.raises(AtlasError, match="'Nowhere'"):
        draw.flow(BOXES, [("Prompt", "Nowhere", "")])
    with pytest.raises(AtlasError, match="no other box"):
        draw.flow([("a", ""), ("a", "")], [])


def test_a_roofline_tells_how_near_each_point_is_to_the_roof():
    points = pd.DataFrame({"intensity": [100, 500], "rate": [1.5e14, 4e14]}, index=["a", "b"])
    alt = draw.roofline(points, 8e14, 3e12, "A card").alt
    assert alt.startswith("A card. Roofline: the roof rises with 3 TB/s and is flat at 800 TFLOP/s")
    assert "from 267 FLOPs a byte on" in alt
    assert "a: 150 TFLOP/s at 100 FLOPs a byte, 50% of the roof" in alt
    assert "b: 400 TFLOP/s at 500 FLOPs a byte, 50% of the roof" in alt


@pytest.mark.parametrize(
    ("points", "peak"),
    [([], 1.0), ([(0.0, 1.0)], 1.0), ([(1.0, float("nan"))], 1.0), ([(1.0, 1.0)], 0.0)],
)
def test_a_roofline_needs_values_above_zero(points: list, peak: float):
    with pytest.raises(AtlasError, match="above zero"):
        draw.roofline(pd.DataFrame(points, columns=["intensity", "rate"]), peak, 1.0)
