"""The same features through torchmetrics: what the book's own metrics are checked against, and the
fault that long captions meet there.

torchmetrics 1.9 keeps FID's sums in float64 whatever the features are; its result is rounded to the
features' dtype. ``set_dtype`` moves the sums too: with float32 they lose what FID needs.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.multimodal.clip_score import CLIPScore

from unet_atlas.metrics.arrays import pair_of
from unet_atlas.metrics.clipscore import text_features
from unet_atlas.metrics.features import evaluating, pictures
from unet_atlas.metrics.kernels import unit


class Through(nn.Module):
    """An extractor for what is already features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features


def torchmetrics_fid(
    x: Any, y: Any, dtype: torch.dtype = torch.float64, sums: torch.dtype = torch.float64
) -> float:
    """FID of features (n, d) and (m, d) by torchmetrics' FrechetInceptionDistance.

    Args:
        dtype: of the features that it is given.
        sums: of its state, set with ``set_dtype``.
    """
    x, y = pair_of(x, y, least=2)
    metric = FrechetInceptionDistance(feature=Through(x.shape[1])).set_dtype(sums)
    metric.update(torch.from_numpy(y).to(dtype), real=True)
    metric.update(torch.from_numpy(x).to(dtype), real=False)
    return float(metric.compute())


def torchmetrics_clip_score(
    model: Any, tokenizer: Any, image_processor: Any, images: Any, captions: list[str]
) -> float:
    """100 · the mean cosine by torchmetrics' CLIPScore, with any ``CLIPModel``."""
    stack = [torch.from_numpy(p.copy()).permute(2, 0, 1) for p in pictures(images)]
    with evaluating(model):
        metric = CLIPScore(lambda: (_Tensors(model), _processor(tokenizer, image_processor)))
        metric.update(stack, list(captions))
        return float(metric.compute())


def torchmetrics_text_features(model: Any, tokenizer: Any, captions: list[str]) -> np.ndarray:
    """Captions through torchmetrics' own tokenising, cutting and pooling, (n, d) float64."""
    # private: its public class gives no features
    from torchmetrics.functional.multimodal.clip_score import _get_features

    with evaluating(model) as device:
        features = _get_features(
            captions, "text", device, _Tensors(model), _processor(tokenizer, None)
        )
    return features.double().cpu().numpy()


@dataclass(frozen=True)
class LongCaptions:
    """Two unrelated captions over CLIP's window, seen by torchmetrics and by this package."""

    tokens: tuple[int, int]  # with start and end
    window: int  # positions that the model has
    cosine_torchmetrics: float  # of their text features; at 1 they can't be told apart
    cosine_truncated: float  # the same, cut by the tokenizer


def long_caption_fault(model: Any, tokenizer: Any) -> LongCaptions:
    """Run torchmetrics' own text path on "red circle …" and "blue square …", too long for CLIP.

    Shows the fault of issue 2883 on any ``CLIPModel``, trained or not: without the end token CLIP
    pools at the start token, which sees nothing but itself.
    """
    window = model.config.text_config.max_position_embeddings
    captions = ("red circle " * window, "blue square " * window)
    lengths = tuple(len(tokenizer(t, verbose=False)["input_ids"]) for t in captions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchmetrics says that it cuts, not what it loses
        cut = torchmetrics_text_features(model, tokenizer, list(captions))
    kept = text_features(model, tokenizer, captions)
    between = [float(np.prod(unit(features), axis=0).sum()) for features in (cut, kept)]
    return LongCaptions(lengths, window, *between)


class _Tensors(nn.Module):
    """A CLIPModel whose features are tensors, as before transformers 5; torchmetrics 1.9 fails on
    the objects that they are now (Lightning-AI/torchmetrics issue 3407)."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.config = model, model.config

    def get_text_features(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.model.get_text_features(ids, mask).pooler_output

    def get_image_features(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.model.get_image_features(pixels).pooler_output


def _processor(tokenizer: Any, image_processor: Any) -> Any:
    """What a CLIPProcessor does, from its two halves."""

    def process(text: Any = None, images: Any = None, padding: bool = False, **kwargs: Any) -> Any:
        if text is not None:
            return tokenizer(text, padding=padding, verbose=False, **kwargs)
        return image_processor(images=images, **kwargs)

    return process
