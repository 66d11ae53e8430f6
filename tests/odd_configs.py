"""Tiny UNets with unusual settings: what `compare` may meet outside Stable Diffusion.

Each entry is what one would write into a ``config.json``: the base below plus its differences.
"""

from __future__ import annotations

from typing import Any

BASE: dict[str, Any] = {
    "sample_size": 8,
    "block_out_channels": (32, 64),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "cross_attention_dim": 24,
    "attention_head_dim": 4,
}
SIMPLE = {  # DeepFloyd IF, Kandinsky 2: attention without a transformer around it
    "down_block_types": ("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
    "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
    "up_block_types": ("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
    "attention_head_dim": 8,
    "act_fn": "gelu",
    "resnet_time_scale_shift": "scale_shift",
}
K_BLOCKS = {  # the latent upscaler x2 of Stable Diffusion
    "sample_size": 16,
    "in_channels": 8,
    "out_channels": 5,
    "block_out_channels": (32, 32, 64, 64),
    "down_block_types": ("KDownBlock2D", *("KCrossAttnDownBlock2D",) * 3),
    "mid_block_type": None,
    "up_block_types": (*("KCrossAttnUpBlock2D",) * 3, "KUpBlock2D"),
    "layers_per_block": 2,
    "norm_num_groups": None,
    "act_fn": "gelu",
    "attention_head_dim": 8,
    "conv_in_kernel": 1,
    "conv_out_kernel": 1,
    "resnet_time_scale_shift": "ada_group",
    "time_embedding_type": "fourier",
    "timestep_post_act": "gelu",
    "time_cond_proj_dim": 20,
}
SIZES = {"addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 16 + 6 * 8}

DIFFERENCES: dict[str, dict[str, Any]] = {
    "plain": {},
    "no middle": {"mid_block_type": None},
    "middle without attention": {"mid_block_type": "UNetMidBlock2D"},
    "layers per level": {"layers_per_block": (1, 2)},
    "depth per level": {
        "block_out_channels": (32, 32, 64),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 3),
        "attention_head_dim": (2, 4, 8),
    },
    "depth per layer": {
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "layers_per_block": 2,
        "transformer_layers_per_block": ((1, 2), (3, 1)),
        "reverse_transformer_layers_per_block": ((1, 2, 1), (2, 1, 1)),
    },
    "simple cross-attention": SIMPLE,
    "simple cross-attention, text only": {**SIMPLE, "only_cross_attention": True},
    "simple cross-attention, normed text": {
        **SIMPLE,
        "cross_attention_norm": "layer_norm",
        "cross_attention_dim": 64,  # diffusers norms the text with the width of the image
    },
    "simple cross-attention, group-normed text": {
        **SIMPLE,
        "cross_attention_norm": "group_norm",
        "cross_attention_dim": 32,
    },
    "scale-shift, skipped activation": {**SIMPLE, "resnet_skip_time_act": True},
    "bare self-attention": {
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": 8,
    },
    "bare self-attention, one head": {
        "down_block_types": ("AttnDownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D"),
        "attention_head_dim": (None, None),
        "mid_block_type": "UNetMidBlock2D",
    },
    "K blocks": K_BLOCKS,
    "K blocks, plain": {
        **K_BLOCKS,
        "down_block_types": ("KDownBlock2D",) * 4,
        "up_block_types": ("KUpBlock2D",) * 4,
    },
    "class ids": {"num_class_embeds": 10},
    "class from time": {"class_embed_type": "timestep"},
    "class as it is": {"class_embed_type": "identity"},
    "class projected": {
        "class_embed_type": "projection",
        "projection_class_embeddings_input_dim": 40,
    },
    "class projected once": {
        "class_embed_type": "simple_projection",
        "projection_class_embeddings_input_dim": 40,
    },
    "class beside time": {
        "class_embed_type": "simple_projection",
        "projection_class_embeddings_input_dim": 40,
        "class_embeddings_concat": True,
    },
    "text added": {"addition_embed_type": "text", "addition_embed_type_num_heads": 4},
    "text added and projected": {
        "addition_embed_type": "text",
        "addition_embed_type_num_heads": 4,
        "encoder_hid_dim": 32,
        "encoder_hid_dim_type": "text_proj",
    },
    "text and image added": {"addition_embed_type": "text_image"},
    "text and sizes added": {"addition_embed_type": "text_time", **SIZES},
    "image added": {
        "addition_embed_type": "image",
        "encoder_hid_dim": 20,
        "encoder_hid_dim_type": "image_proj",
    },
    "image and hint added": {
        "in_channels": 8,
        "addition_embed_type": "image_hint",
        "encoder_hid_dim": 20,
        "encoder_hid_dim_type": "image_proj",
    },
    "text projected": {"encoder_hid_dim": 40, "encoder_hid_dim_type": "text_proj"},
    "text projected, type left out": {"encoder_hid_dim": 40},
    "text and image projected": {"encoder_hid_dim": 40, "encoder_hid_dim_type": "text_image_proj"},
    "image projected": {"encoder_hid_dim": 40, "encoder_hid_dim_type": "image_proj"},
    "only cross-attention": {"only_cross_attention": True},
    "only cross-attention at one level": {
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "only_cross_attention": (True, False),
    },
    "inpainting": {"in_channels": 9},
    "guidance as a condition": {"time_cond_proj_dim": 12},
    "gated": {"attention_type": "gated"},
    "gated, text and image": {"attention_type": "gated-text-image"},
    "linear projection, upcast": {"use_linear_projection": True, "upcast_attention": True},
    "time width, activation": {"time_embedding_dim": 48, "time_embedding_act_fn": "silu"},
    "fourier time": {"time_embedding_type": "fourier"},
    "large kernels": {"conv_in_kernel": 5, "conv_out_kernel": 1, "center_input_sample": True},
    "two texts": {
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": (24, 24),
    },
    "one level": {
        "block_out_channels": (32,),
        "down_block_types": ("CrossAttnDownBlock2D",),
        "up_block_types": ("CrossAttnUpBlock2D",),
    },
    "one level, no attention": {
        "block_out_channels": (32,),
        "down_block_types": ("DownBlock2D",),
        "mid_block_type": None,
        "up_block_types": ("UpBlock2D",),
    },
    "five levels": {
        "block_out_channels": (16, 16, 32, 32, 32),
        "down_block_types": ("DownBlock2D",) * 4 + ("CrossAttnDownBlock2D",),
        "up_block_types": ("CrossAttnUpBlock2D",) + ("UpBlock2D",) * 4,
    },
    "size unknown": {"sample_size": None},
    "not square": {"sample_size": [8, 12]},
    "odd size": {"sample_size": 7},
    "old names": {
        "down_block_types": ("UNetResCrossAttnDownBlock2D", "UNetResDownBlock2D"),
        "up_block_types": ("UNetResUpBlock2D", "UNetResCrossAttnUpBlock2D"),
    },
}
ODD = {name: {**BASE, **difference} for name, difference in DIFFERENCES.items()}

# Built and shown, but no forward pass: no single text fits two widths, and diffusers' blocks hand
# the dual transformer an argument that it does not take.
NO_FORWARD = {
    "two text widths": {**ODD["two texts"], "cross_attention_dim": (24, 32)},
    "two transformers": {**BASE, "dual_cross_attention": True},
}
