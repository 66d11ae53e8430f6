"""What chapters need to talk about their own run: numbers for the prose, claims that are proved.

``say`` hands numbers to the text (MyST ``{glue:text}``); ``prove`` guards sentences that carry a
number of their own: a false one stops the build.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from unet_atlas.tables import Table


def say(**values: object) -> None:
    """Make values available to the page's text as ``{glue:text}`name```.

    Underscores in names become hyphens. Outside a Jupyter Book environment nothing happens.
    """
    try:
        from myst_nb import glue
    except ImportError:
        return
    for name, value in values.items():
        glue(name.replace("_", "-"), str(value), display=False)


def prove(claims: Mapping[str, bool]) -> Table:
    """Check the claims of a page; each is a sentence or phrase of its text, with its test.

    Raises:
        AssertionError: naming every claim that is false.
    """
    false = [text for text, holds in claims.items() if not holds]
    if false:
        raise AssertionError("This page says what is not so: " + "; ".join(false))
    frame = pd.DataFrame({"this page says": list(claims), "this run finds": "true"})
    return Table(
        "claims", f"{len(claims)} statements of this page, checked in this run", frame, frame
    )
