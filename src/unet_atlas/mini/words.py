"""The family's tokenizer: CLIP's own class, with a vocabulary in which each word of the picture
world is one token."""

from __future__ import annotations

import string
from collections.abc import Iterable
from itertools import pairwise

from transformers import CLIPTokenizer

from unet_atlas.mini.members import TOKENS
from unet_atlas.shapes.captions import ANY_SHAPE
from unet_atlas.shapes.world import COLOURS, RADII, RELATIONS, SHAPES

START, END = "<|startoftext|>", "<|endoftext|>"
LAST = "</w>"  # marks the last piece of a word
EXTRA = ("a", "an", "and", "of", "photo", "depicts", "picture", "the", "with", "in", "no")


def words() -> list[str]:
    """Every word that is one token."""
    spoken = " ".join((*SHAPES, ANY_SHAPE, *COLOURS, *RADII, *RELATIONS, *EXTRA)).split()
    return sorted(set(spoken))


def tokenizer() -> CLIPTokenizer:
    """The tokenizer, made from the words alone: letters, digits, and merges that build the words.

    A word that it doesn't know falls into the longest pieces that it does; a sign that it doesn't
    know becomes the end-of-text token, as in CLIP.
    """
    alphabet = [*string.ascii_lowercase, *string.digits, ",", ".", "-"]
    merges = merges_of(words())
    tokens = [*alphabet, *(letter + LAST for letter in alphabet)]
    tokens += [a + b for a, b in merges]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys((*tokens, START, END)))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=TOKENS)


def merges_of(words: Iterable[str]) -> list[tuple[str, str]]:
    """Byte-pair merges, in order of priority, that make one token of every word.

    A learned order (by frequency) has ties, which the usual trainer breaks differently from run to
    run. Here each word in turn is merged as far as earlier words' merges go; what is left is joined
    from the left by new ones, which come last and so change no earlier word.
    """
    ranks: dict[tuple[str, str], int] = {}
    for word in words:
        pieces = [*word[:-1], word[-1] + LAST]
        while len(pieces) > 1:
            pairs = list(pairwise(pieces))
            known = [pair for pair in pairs if pair in ranks]
            pair = min(known, key=ranks.__getitem__) if known else pairs[0]
            ranks.setdefault(pair, len(ranks))
            at = pairs.index(pair)
            pieces[at : at + 2] = ["".join(pair)]
    return list(ranks)
