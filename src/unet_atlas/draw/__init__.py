"""Figures: tables in, SVG with generated alt text out.

Each function is pure and returns a :class:`Figure` (pictures: a :class:`Gallery` of HTML), which a
notebook shows inline (it takes the
page's ink and font, in light and dark mode) and which ``save`` writes as a stand-alone file.
"""

from unet_atlas.draw.bar_charts import bars, stacked_bars
from unet_atlas.draw.dataflow import flow
from unet_atlas.draw.intervals import intervals
from unet_atlas.draw.line_chart import lines
from unet_atlas.draw.pictures import Gallery, gallery
from unet_atlas.draw.roofline import roofline
from unet_atlas.draw.svg import Figure
from unet_atlas.draw.tree import family_tree
from unet_atlas.draw.u_shape import u_diagram

__all__ = [
    "Figure",
    "Gallery",
    "bars",
    "family_tree",
    "flow",
    "gallery",
    "intervals",
    "lines",
    "roofline",
    "stacked_bars",
    "u_diagram",
]
