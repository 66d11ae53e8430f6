"""The one exception for bad input: its message is one sentence with the remedy."""

from __future__ import annotations


class AtlasError(ValueError):
    """Bad input. The message names the input and says what to do; the CLI exits with 2."""
