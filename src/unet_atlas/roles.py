"""What each module of a live UNet is for: the operation its MACs and parameters belong to.

Decided by the types of the modules and of those around them, never by the configuration.
"""

from __future__ import annotations

from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from diffusers.models.downsampling import Downsample2D, KDownsample2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.upsampling import KUpsample2D, Upsample2D
from torch import nn

from unet_atlas.anatomy import RESNETS, STEM, is_cross, stage_of

# The eight operations that have MACs, in the order in which tables show them.
RES_CONV = "res conv"
OTHER_CONV = "other conv"
PROJECTION = "proj in/out"
QKV = "qkv/out proj"
SELF_ATTENTION = "self-attention"
CROSS_ATTENTION = "cross-attention"
FEED_FORWARD = "feed-forward"
EMBEDDING = "embeddings"
OPERATIONS = (
    RES_CONV,
    OTHER_CONV,
    PROJECTION,
    QKV,
    SELF_ATTENTION,
    CROSS_ATTENTION,
    FEED_FORWARD,
    EMBEDDING,
)
ATTENTION_PRODUCTS = (SELF_ATTENTION, CROSS_ATTENTION)
POINTWISE = "norm, pointwise"  # parameters and bytes, no MACs

# Finer than operations: what a difference of parameters between two models is due to.
CROSS_KV = "cross-attention K/V"
CROSS_QO = "cross-attention Q/out"
SELF_QKVO = "self-attention Q/K/V/out"
KV_NAMES = ("to_k", "to_v", "add_k_proj", "add_v_proj")


def operation(unet: UNet2DConditionModel, path: str) -> str:
    """The operation that the module at ``path`` (or the work done in it directly) belongs to."""
    chain = _chain(unet, path)
    module = chain[-1]
    if isinstance(module, Attention):
        return CROSS_ATTENTION if is_cross(module) else SELF_ATTENTION
    if isinstance(module, nn.GroupNorm | nn.LayerNorm):
        return POINTWISE
    if any(isinstance(m, Attention) for m in chain) and isinstance(module, nn.Linear):
        return EMBEDDING if stage_of(path) == STEM else QKV
    if any(isinstance(m, FeedForward) for m in chain):
        return FEED_FORWARD if isinstance(module, nn.Linear) else POINTWISE
    if isinstance(module, nn.Conv2d | nn.Linear) and _is_projection(chain):
        return PROJECTION
    if isinstance(module, KDownsample2D | KUpsample2D):  # convolve with a fixed kernel
        return OTHER_CONV
    if isinstance(module, nn.Conv2d):
        return RES_CONV if _in_resnet(chain) else OTHER_CONV
    if isinstance(module, nn.Linear | nn.Embedding) or _in_embedding(unet, path):
        return EMBEDDING
    return POINTWISE


def parameter_role(unet: UNet2DConditionModel, path: str) -> str:
    """What the parameter at ``path`` is for (``….attn2.to_k.weight``), fine enough for a delta.

    In the stem that is the module's own name (``time_embedding``, ``class_embedding``, …).
    """
    owner, _, _ = path.rpartition(".")
    chain = _chain(unet, owner)
    if stage_of(path) == STEM:
        return path.split(".")[0]
    attention = next((m for m in chain if isinstance(m, Attention)), None)
    if attention is not None and operation(unet, owner) == QKV:
        if not is_cross(attention) and attention.added_kv_proj_dim is None:
            return SELF_QKVO
        if attention.added_kv_proj_dim is not None:
            return CROSS_KV if "add_" in owner else SELF_QKVO
        return CROSS_KV if owner.rsplit(".", 1)[-1] in KV_NAMES else CROSS_QO
    role = operation(unet, owner)
    return "norms" if role == POINTWISE else "time projection" if role == EMBEDDING else role


def _chain(unet: UNet2DConditionModel, path: str) -> list[nn.Module]:
    """The modules from the outermost to the one at ``path``; the UNet itself left out."""
    chain, module = [], unet
    for name in path.split(".") if path else ():
        module = getattr(module, name)
        chain.append(module)
    return chain or [unet]


def _is_projection(chain: list[nn.Module]) -> bool:
    parent = chain[-2] if len(chain) > 1 else None
    return isinstance(parent, Transformer2DModel) and chain[-1] in (parent.proj_in, parent.proj_out)


def _in_resnet(chain: list[nn.Module]) -> bool:
    resampler = any(isinstance(m, Downsample2D | Upsample2D) for m in chain)
    return any(isinstance(m, RESNETS) for m in chain) and not resampler


def _in_embedding(unet: UNet2DConditionModel, path: str) -> bool:
    return stage_of(path) == STEM and path.split(".")[0] not in ("conv_in", "")
