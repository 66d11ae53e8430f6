"""Attention caught in the act: every call of PyTorch's ``scaled_dot_product_attention``.

diffusers' attention layers end in this one function, which is no module and so has no hooks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

# what to do with Q, K, V (each batch, heads, tokens, head dim) and the call that is caught
Handler = Callable[[Tensor, Tensor, Tensor, Callable[[], Tensor]], Tensor]


class AttentionCalls(TorchFunctionMode):
    """While active, ``handle`` stands in for the function and returns what it should return."""

    def __init__(self, handle: Handler):
        super().__init__()
        self.handle = handle

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        given = {**dict(zip(("query", "key", "value"), args, strict=False)), **kwargs}
        return self.handle(
            given["query"], given["key"], given["value"], lambda: func(*args, **kwargs)
        )
