"""CLIP score: the cosine of a picture's and its caption's CLIP embeddings, in both conventions.

Hessel et al. 2021 (EMNLP 595) report w · max(cos, 0) a sample with w = 2.5, ViT-B/32 and the prefix
"A photo depicts"; torchmetrics reports 100 · cos and clamps only the mean; papers print the plain
cosine. None is comparable across backbones or prefixes, so :func:`cosines` is the one measurement
and the conventions are two functions of it.

Ours exists because torchmetrics 1.9 slices captions that are longer than CLIP's window and so loses
the end token at which CLIP pools (Lightning-AI/torchmetrics issue 2883;
:func:`~unet_atlas.metrics.torchmetrics_check.long_caption_fault` shows it), because its CLIPScore
stops with an AttributeError on transformers 5 (issue 3407), and because it keeps only the sum,
which no interval can be taken from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from unet_atlas.errors import AtlasError
from unet_atlas.metrics.arrays import values_of
from unet_atlas.metrics.features import batches, clip_features, evaluating, float64, pictures
from unet_atlas.metrics.kernels import unit

HESSEL_W = 2.5
HESSEL_PREFIX = "A photo depicts "
LEGACY_END = 2  # an eos_token_id from before transformers PR 24773: CLIP pools at the highest id


def cosines(
    model: Any,
    tokenizer: Any,
    image_processor: Any,
    images: Any,
    captions: Sequence[str],
    batch: int = 64,
    prefix: str = "",
) -> np.ndarray:
    """The cosine of each picture with its caption, (n,) float64.

    Args:
        model: a transformers ``CLIPModel``, with its tokenizer and image processor.
        images: see :func:`~unet_atlas.metrics.features.pictures`.
        captions: one a picture, in the same order; too long ones lose their tail but keep the end
            token.
        batch: how many at a time; changes nothing beyond rounding.
        prefix: put before each caption; ``HESSEL_PREFIX`` for Hessel's protocol.

    Raises:
        AtlasError: no pictures, other numbers of captions and pictures, a caption that is no text,
            a tokenizer that does not belong to the model, or NaN.
    """
    shown, captions = pictures(images), _texts(captions)
    if len(shown) != len(captions):
        raise AtlasError(
            f"There are {len(shown)} pictures and {len(captions)} captions; give one a picture."
        )
    image = clip_features(model, image_processor, shown, batch)
    text = text_features(model, tokenizer, [prefix + caption for caption in captions], batch)
    return agreement(image, text)


def agreement(image: np.ndarray, text: np.ndarray) -> np.ndarray:
    """The cosine of each picture's features with its caption's, (n, d) each → (n,).

    Raises:
        AtlasError: features that are all zero, NaN or infinity.
    """
    return (unit(image, "image") * unit(text, "text")).sum(axis=1)


def text_features(
    model: Any, tokenizer: Any, captions: Sequence[str], batch: int = 64
) -> np.ndarray:
    """CLIP's text embeddings after the projection, (n, d) float64, not normalised.

    Every caption is padded to CLIP's whole window, so that a caption's features don't depend on
    its neighbours in the batch.

    Raises:
        AtlasError: see :func:`cosines`.
    """
    parts = []
    with evaluating(model) as device:
        for part in batches(_texts(captions), batch):
            tokens = _tokens(model, tokenizer, part)
            pooled = model.text_model(
                tokens["input_ids"].to(device), tokens["attention_mask"].to(device)
            ).pooler_output
            parts.append(model.text_projection(pooled))
    return float64(parts, "CLIP text features")


def clip_score_hessel(cosines: Any) -> np.ndarray:
    """Hessel's CLIP score of each sample: w · max(cos, 0), (n,); from 0 to w, mostly 0.6–0.9."""
    return HESSEL_W * np.maximum(values_of(cosines, "cosines", 1), 0)


def clip_score_percent(cosines: Any) -> float:
    """torchmetrics' CLIP score of a set: max(mean of 100 · cos, 0); 22–33 for real models."""
    return max(100 * float(values_of(cosines, "cosines", 1).mean()), 0.0)


def _texts(captions: Sequence[str]) -> list[str]:
    if isinstance(captions, str):
        raise AtlasError("Captions come as a list; put a single one in a list.")
    captions = list(captions)
    for i, caption in enumerate(captions):
        if not isinstance(caption, str):
            raise AtlasError(f"Caption {i} is no text but {type(caption).__name__}; give a string.")
    if not captions:
        raise AtlasError("There are no captions; give at least one.")
    return captions


def _tokens(model: Any, tokenizer: Any, captions: Sequence[str]) -> Any:
    """Token ids and mask, (n, window), each row with the end token at which CLIP pools."""
    config = model.config.text_config
    window = min(tokenizer.model_max_length, config.max_position_embeddings)
    tokens = tokenizer(
        list(captions),
        padding="max_length",
        truncation=True,
        max_length=window,
        return_tensors="pt",
    )
    ids, end = tokens["input_ids"], tokenizer.eos_token_id
    if config.eos_token_id == LEGACY_END:
        pooled = ids.gather(1, ids.argmax(dim=1, keepdim=True)) == end
    else:
        pooled = ids == config.eos_token_id
    if not torch.all(pooled.any(dim=1)):
        raise AtlasError(
            f"CLIP would not find its end token (id {config.eos_token_id} in its config, {end} in "
            "the tokenizer); give the tokenizer that belongs to the model."
        )
    return tokens
