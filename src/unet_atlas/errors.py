"""The one exception for bad input: its message is one sentence with the remedy."""

from __future__ import annotations


class AtlasError(ValueError):
    """Bad input. The message names the input and says what to do; the CLI exits with 2."""


def first_sentence(error: Exception) -> str:
    """What another library's error says, cut to one line of at most 300 characters."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300].rstrip(".") + "."
