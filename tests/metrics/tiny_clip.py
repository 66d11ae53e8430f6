"""A random CLIP of a few thousand weights and a tokenizer of a few words, built in no time."""

from __future__ import annotations

import torch
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

WORDS = ("a", "red", "blue", "circle", "square", "photo", "depicts")
WINDOW = 24  # tokens
SIDE = 16  # pixels


def tokenizer(first_id: int = 0) -> CLIPTokenizer:
    """One token a word and a letter; ``first_id`` shifts every id."""
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    tokens, merges = [*letters, *(c + "</w>" for c in letters)], []
    for word in WORDS:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            if tuple(parts[:2]) not in merges:
                merges.append(tuple(parts[:2]))
            parts = ["".join(parts[:2]), *parts[2:]]
            tokens.append(parts[0])
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: i + first_id for i, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=WINDOW)


def clip(words: CLIPTokenizer, end: int | None = None) -> CLIPModel:
    """A random model for the tokenizer; ``end`` is the end token that its config names."""
    small = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
    }
    text = small | {
        "vocab_size": len(words) + 10,
        "max_position_embeddings": WINDOW,
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.eos_token_id if end is None else end,
        "pad_token_id": words.pad_token_id,
    }
    vision = small | {"image_size": SIDE, "patch_size": 8}
    torch.manual_seed(0)
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    return CLIPModel(config).eval()


def image_processor(images, return_tensors: str):
    """Pixels from −1 to 1, for pictures of the model's size."""
    assert return_tensors == "pt"
    stack = [
        i.float() if isinstance(i, torch.Tensor) else torch.from_numpy(i.copy()).permute(2, 0, 1)
        for i in images
    ]
    return {"pixel_values": torch.stack([i.float() / 127.5 - 1 for i in stack])}
