"""The CLIP model that scores: with its tokenizer and image processor, from disk.

Book: *CLIP score*. Upstream: transformers, ``models/clip/``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from unet_atlas.errors import AtlasError, first_sentence
from unet_atlas.metrics.features import clip_features, evaluating, float64
from unet_atlas.mini.members import SCORER, folder
from unet_atlas.sampling.pipelines import PICKLED, quiet

LIBRARY = f"transformers {transformers.__version__}"
FILTERS = {0: "nearest", 1: "Lanczos", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers


@dataclass(frozen=True)
class Scorer:
    """A CLIP model with what belongs to it."""

    model: Any
    tokenizer: Any
    processor: Any
    label: str

    @property
    def resized(self) -> str:
        """``64 px, bicubic``: what the image processor makes of a picture."""
        size = self.model.config.vision_config.image_size
        if not self.processor.do_resize:
            return f"not ({size} px)"
        return f"{size} px, {FILTERS.get(int(self.processor.resample), 'other')}"

    @property
    def shape(self) -> str:
        """``224 px, patches of 32 px, 512 wide``: the vision tower and the projection."""
        vision, width = self.model.config.vision_config, self.model.config.projection_dim
        return f"{vision.image_size} px, patches of {vision.patch_size} px, {width} wide"

    def features(self, images: np.ndarray) -> np.ndarray:
        """Image features before the projection, (n, d) float64, as FID and KID take them."""
        return clip_features(self.model, self.processor, images, projected=False)

    def projected(self, features: np.ndarray) -> np.ndarray:
        """:meth:`features` in the space that pictures and captions share, (n, e) float64."""
        with evaluating(self.model) as device:
            pooled = torch.from_numpy(features).to(self.model.dtype).to(device)
            return float64([self.model.visual_projection(pooled)], "CLIP image features")


def load_scorer(source: str | Path = SCORER, device: str | torch.device = "cpu") -> Scorer:
    """A CLIP model that scores, from the mini family or a folder of transformers' (safetensors).

    Raises:
        AtlasError: no such folder, pickled or broken weights, or another kind of model.
    """
    path = Path(source)
    if not path.is_dir():
        if str(source) != SCORER:
            raise AtlasError(f"There is no folder '{source}' with a CLIP model; save one there.")
        path = folder(SCORER)
    names = [f.name for f in path.iterdir()]
    if any(n.endswith(PICKLED) for n in names) and not any(".safetensors" in n for n in names):
        raise AtlasError(
            f"The folder '{path}' holds pickled weights, which can run code when they are opened; "
            "where you trust them, load them and write model.save_pretrained(folder)."
        )
    options = {"local_files_only": True}
    try:
        with quiet():  # the import too: it speaks of torchvision
            from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

            model = CLIPModel.from_pretrained(path, use_safetensors=True, **options)
            tokenizer = CLIPTokenizer.from_pretrained(path, **options)
            processor = CLIPImageProcessor.from_pretrained(path, **options)
    except Exception as error:  # of transformers, tokenizers, safetensors and the file system
        raise AtlasError(f"'{path}' is no CLIP model: {first_sentence(error)}") from None
    return Scorer(model.float().eval().to(device), tokenizer, processor, path.resolve().name)
