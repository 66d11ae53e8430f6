"""The book's colours, dashes, hatches and markers: one meaning each, everywhere.

Every colour is a CSS custom property with a fallback, so that a page's style sheet may change it.
The fallbacks are Okabe and Ito's, some darkened, each with a contrast of at least 3 : 1 on white
and on #121212 alike. Nothing is told apart by colour alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from unet_atlas import roles


@dataclass(frozen=True)
class Mark:
    """How one operation or series looks: colour, and matplotlib's hatch, dash and marker."""

    variable: str
    fallback: str
    hatch: str
    dash: tuple[float, ...]
    marker: str

    @property
    def colour(self) -> str:
        """The colour as CSS."""
        return f"var({self.variable}, {self.fallback})"


OPERATIONS = {
    roles.RES_CONV: Mark("--ua-conv", "#0072b2", "", (), "o"),
    roles.OTHER_CONV: Mark("--ua-conv-other", "#857a00", "//", (4, 2), "s"),
    roles.PROJECTION: Mark("--ua-proj", "#b05a8e", "////", (1.2, 1.4), "D"),
    roles.QKV: Mark("--ua-qkv", "#7d6bc4", "\\\\", (5, 2, 1.2, 2), "^"),
    roles.SELF_ATTENTION: Mark("--ua-attn-self", "#c75300", "||", (7, 2), "X"),
    roles.CROSS_ATTENTION: Mark("--ua-attn-cross", "#ad7700", "++", (3, 1.2, 1, 1.2, 1, 1.2), "P"),
    roles.FEED_FORWARD: Mark("--ua-ff", "#00805d", "--", (2.4, 2.4), "v"),
    roles.EMBEDDING: Mark("--ua-embed", "#2f8fc4", "xx", (0.8, 1.8), "*"),
}
MUTED = Mark("--ua-other", "#6e7378", "/-", (1.8, 3), ".")
MUTED_NAMES = (roles.POINTWISE, "norms", "norm", "rest", "others", "time projection")
SERIES = (
    Mark("--ua-series-1", "#2b8c9e", "", (), "o"),
    Mark("--ua-series-2", "#b052a8", "//", (4, 2), "s"),
    Mark("--ua-series-3", "#a9713f", "xx", (1.2, 1.4), "^"),
    Mark("--ua-series-4", "#6f7fd0", "\\\\", (5, 2, 1.2, 2), "D"),
    Mark("--ua-series-5", "#6f9420", "||", (7, 2), "v"),
    Mark("--ua-series-6", "#d4506c", "--", (3, 1.2, 1, 1.2, 1, 1.2), "X"),
)


def marks(names: list[str]) -> list[Mark]:
    """A mark for each name: the house's for operations, then the cycle in order."""
    known = {n: OPERATIONS.get(n, MUTED) for n in names if n in OPERATIONS or n in MUTED_NAMES}
    taken = {m.hatch for m in known.values()} | {m.marker for m in known.values()}
    free = [m for m in SERIES if not taken & {m.hatch, m.marker}] or list(SERIES)
    others = [n for n in names if n not in known]
    cycle = {n: _repeated(free[i % len(free)], i // len(free)) for i, n in enumerate(others)}
    return [known.get(n) or cycle[n] for n in names]


def _repeated(mark: Mark, turn: int) -> Mark:
    """A colour used once more, with another hatch, dash and marker than before."""
    look = SERIES[(SERIES.index(mark) + turn) % len(SERIES)]
    return replace(mark, hatch=look.hatch, dash=look.dash, marker=look.marker)
