"""How far a run is: a bar on a terminal, else a line now and then; the first process shows it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from unet_atlas.evaluation.team import Team

EVERY = 30.0  # seconds from line to line


class Progress:
    """Counts what is done, as ``counted`` finds it, out of ``total``.

    Args:
        counted: says how many are done, over all processes.
        total: at the end.
        what: is counted.
        brief: say nothing of what is over in less than ``EVERY`` seconds; never a bar.
    """

    def __init__(
        self,
        counted: Callable[[], int],
        total: int,
        what: str,
        team: Team,
        brief: bool = False,
    ) -> None:
        self.counted, self.total, self.what, self.brief = counted, total, what, brief
        self.bar: Any = None
        self.begun = self.last = time.monotonic()
        self.shown = team.first
        if self.shown and not brief and sys.stderr.isatty():
            from tqdm.auto import tqdm

            self.bar = tqdm(total=total, initial=counted(), desc=what, unit="image")
        elif self.shown and not brief:
            self._line()

    def tick(self) -> None:
        """Show how far it is, unless it was shown a moment ago."""
        now = time.monotonic()
        if self.bar is not None and now - self.last >= 1:
            self.bar.update(self.counted() - self.bar.n)
            self.last = now
        elif self.shown and self.bar is None and now - self.last >= EVERY:
            self._line()
            self.last = now

    def close(self) -> None:
        """The last state."""
        if self.bar is not None:
            self.bar.update(self.counted() - self.bar.n)
            self.bar.close()
        elif self.shown and not self.brief:
            self._line()

    def _line(self) -> None:
        minutes = (time.monotonic() - self.begun) / 60
        done = self.counted()
        line = f"{self.what}: {done:,} of {self.total:,} after {minutes:.1f} min"
        print(line, file=sys.stderr, flush=True)
