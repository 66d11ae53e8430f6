"""The family's tokenizer: CLIP's own class, with a vocabulary in which each word of the picture
world is one token."""

from __future__ import annotations

import json
import string

from tokenizers import Tokenizer, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import CLIPTokenizer

from unet_atlas.mini.members import TOKENS
from unet_atlas.shapes.captions import ANY_SHAPE
from unet_atlas.shapes.world import COLOURS, RADII, RELATIONS, SHAPES

START, END = "<|startoftext|>", "<|endoftext|>"
EXTRA = ("a", "an", "and", "of", "photo", "depicts", "picture", "the", "with", "in", "no")


def words() -> list[str]:
    """Every word that is one token."""
    spoken = " ".join((*SHAPES, ANY_SHAPE, *COLOURS, *RADII, *RELATIONS, *EXTRA)).split()
    return sorted(set(spoken))


def tokenizer() -> CLIPTokenizer:
    """The tokenizer, made from the words alone: letters, digits, and merges that build the words.

    A word that it doesn't know falls into letters; a sign that it doesn't know becomes the
    end-of-text token, as in CLIP.
    """
    alphabet = [*string.ascii_lowercase, *string.digits, ",", ".", "-"]
    learned = Tokenizer(BPE(end_of_word_suffix="</w>"))
    learned.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=10_000, min_frequency=1, end_of_word_suffix="</w>", show_progress=False
    )
    learned.train_from_iterator(words() * 2, trainer)
    merges = [tuple(pair) for pair in json.loads(learned.to_str())["model"]["merges"]]
    tokens = [*alphabet, *(letter + "</w>" for letter in alphabet)]
    tokens += [a + b for a, b in merges]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys((*tokens, START, END)))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=TOKENS)
